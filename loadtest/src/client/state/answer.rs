//! Answers to requests other than messages: conversations made and opened, what was missed, pages of history and of the
//! inbox.

use super::{State, Task, World};
use crate::clock::MILLISECOND;
use crate::oracle::{Row, What};
use crate::payload::Tag;
use crate::wire::Frame;

// === impl State: answers ===

impl State {
    pub(super) fn answer(&mut self, task: Task, frame: &Frame<'_>, world: &mut World) {
        match task {
            Task::Create { reply, .. } => drop(reply.send(frame.c.unwrap_or_default().to_owned())),
            Task::Enrol { reply, .. } => drop(reply.send(())),
            Task::Watch(_) => {}
            Task::Read { place, s, due } => {
                self.places[place].read = self.places[place].read.max(s);
                world.recorder.done("read", due, world.clock.now());
            }
            Task::Change(changing) => {
                self.changing = false;
                let name = match changing.what() {
                    What::Edit => "edit",
                    What::Delete => "delete",
                    What::React => "react",
                };
                world.recorder.done(name, changing.due, world.clock.now());
                let tag = Tag {
                    sender: self.me,
                    ordinal: changing.ordinal,
                };
                let conv = self.places[changing.place].conv;
                world.oracle.change_acked(conv, tag, frame.s.unwrap_or(0));
            }
            Task::List { .. } => self.inbox(task, frame, world),
            Task::Open { place, reply } => {
                let last = frame.last.as_ref().map_or(0, |last| last.s);
                let known = self.places[place].cursor;
                self.places[place].opened(last);
                if known.is_none() {
                    world.oracle.joined(self.places[place].conv, self.me, last);
                }
                self.drain(place, world);
                reply.map(|reply| reply.send(()));
            }
            Task::Sync { mut places } => {
                for item in &frame.items {
                    if let Some(place) = item.c.and_then(|c| self.by_name.get(c)).copied() {
                        item.events
                            .iter()
                            .for_each(|event| self.event(place, event, false, world));
                    }
                }
                for (c, as_of) in &frame.as_of {
                    if let Some(place) = self.by_name.get(*c).copied() {
                        places.retain(|other| *other != place);
                        self.places[place].synced(*as_of);
                        self.drain(place, world);
                    }
                }
                places.retain(|place| !self.put_out(*place, world));
                if !places.is_empty() {
                    // Left out of the answer: its owner could not be asked. The next try may find it.
                    self.todo
                        .push((world.clock.now() + 200 * MILLISECOND, Task::Sync { places }));
                }
            }
            Task::Fill { place } => {
                self.places[place].filling = false;
                let before = self.places[place].cursor;
                frame
                    .events
                    .iter()
                    .for_each(|event| self.event(place, event, false, world));
                if self.places[place].cursor > before {
                    self.drain(place, world);
                } else if self.places[place].needs_page().is_some() {
                    self.places[place].filling = true; // not there yet: ask again, without haste
                    self.todo
                        .push((world.clock.now() + 200 * MILLISECOND, Task::Fill { place }));
                }
            }
            Task::Reread {
                place,
                mut after,
                mut reading,
                reply,
            } => {
                for event in &frame.events {
                    if let Some(seen) = self.read(place, event, world) {
                        after = seen.s;
                        world.oracle.reread(self.places[place].conv, &mut reading, &seen);
                    }
                }
                if frame.events.is_empty() {
                    let _ = reply.send(());
                } else {
                    self.todo.push((
                        0,
                        Task::Reread {
                            place,
                            after,
                            reading,
                            reply,
                        },
                    ));
                }
            }
            Task::Auth => {}
        }
    }

    /// A page of the inbox: every row is counted again.
    fn inbox(&mut self, task: Task, frame: &Frame<'_>, world: &mut World) {
        let Task::List {
            due,
            asked,
            floors,
            mut found,
            reply,
            ..
        } = task
        else {
            return;
        };
        for item in frame.items.iter().filter(|item| !item.stale) {
            let Some(place) = item.c.and_then(|c| self.by_name.get(c)).copied() else {
                continue;
            };
            found.push(place);
            let row = Row {
                last: item.last.as_ref().map_or(0, |last| last.s),
                unread: item.unread,
                read: item.read,
                delivered: item.delivered,
                floor: floors.get(place).copied().unwrap_or(0),
                settled: reply.is_some(),
            };
            world.oracle.listed(self.places[place].conv, self.me, row);
        }
        let now = world.clock.now();
        if reply.is_none() {
            world.recorder.done("list (page)", asked, now);
        }
        let cursor = frame.next.as_ref().map(|next| next.to_string());
        if cursor.is_none() {
            if reply.is_none() {
                return world.recorder.done("list", due, now);
            }
            found.sort_unstable();
            found.dedup();
            let (wanted, all) =
                (0..self.places.len()).partition::<Vec<_>, _>(|place| !self.put_out(*place, world));
            found.retain(|place| !all.contains(place));
            if found.len() == wanted.len() {
                reply.map(|reply| reply.send(()));
                return;
            }
        }
        // Another page; or from the beginning: a row may lag, or its owner could not be asked.
        let at = if cursor.is_none() {
            now + 300 * MILLISECOND
        } else {
            0
        };
        self.todo.push((
            at,
            Task::List {
                cursor,
                due,
                asked: now,
                floors,
                found,
                reply,
            },
        ));
    }
}
