//! Answers to requests other than messages: conversations made and opened, what was missed, pages of history and of the
//! inbox.

use std::collections::HashSet;

use super::sync::Purpose;
use super::{Asked, Basis, Look, State, Task, World};
use crate::clock::{MILLISECOND, Nanos};
use crate::oracle::{Kind, Row, Since, What};
use crate::payload::Tag;
use crate::wire::Frame;

// === impl State: answers ===

impl State {
    pub(super) fn answer(&mut self, asked: Asked, frame: &Frame<'_>, world: &mut World) {
        let basis = asked.basis();
        let Asked { task, bases } = asked;
        match task {
            Task::Create { reply, .. } => drop(reply.send(frame.c.unwrap_or_default().to_owned())),
            Task::Enrol { name, change, reply } => {
                change.ends(&name, frame.s.unwrap_or(0), world);
                let _ = reply.send(());
            }
            Task::Probe { place, read } => self.probed(place, read, basis, frame, world),
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
                if changing.what() == What::Delete {
                    // Once more would be acknowledged as the first time, with its place.
                    self.places[changing.place].forget(changing.of());
                }
                if let Some(since) = changing.since {
                    world.oracle.appended(conv, self.me, frame.s.unwrap_or(0), since);
                }
                world.oracle.change_acked(conv, tag, frame.s.unwrap_or(0));
            }
            Task::List { .. } => self.inbox(task, &bases, frame, world),
            Task::Open { place, reply } => {
                let last = frame.last.as_ref().map_or(0, |last| last.s);
                let known = self.places[place].cursor;
                self.got_to(place, "open", &basis, last, world);
                if let Some(missing) = self.places[place].opened(last) {
                    self.stream_hole(place, missing, world);
                }
                if known.is_none() {
                    self.places[place].joined_at = world.clock.now();
                    world.oracle.joined(self.places[place].conv, self.me, last);
                }
                self.drain(place, world);
                reply.map(|reply| reply.send(()));
            }
            Task::Sync(syncing) => self.synced(syncing, bases, frame, world),
            Task::Fill { place } => {
                self.places[place].filling = false;
                let before = self.places[place].cursor;
                if !frame.more {
                    let last = frame.events.iter().filter_map(|event| event.s).max();
                    let last = last.or(before).unwrap_or(0);
                    self.got_to(place, "hist", &basis, last, world);
                }
                self.pass_over(place, frame, world);
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
                let (conv, now) = (self.places[place].conv, world.clock.now());
                let first = frame.events.first().and_then(|event| event.s);
                if let Some(first) = first.filter(|first| frame.gap && *first > after + 1) {
                    world.oracle.reread_above(conv, &mut reading, first, now);
                }
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

    /// A page that doesn't begin right behind the client's position says so, and then what lies between is gone.
    fn pass_over(&mut self, place: usize, frame: &Frame<'_>, world: &mut World) {
        let here = &mut self.places[place];
        let (Some(cursor), Some(first)) = (here.cursor, frame.events.first().and_then(|event| event.s))
        else {
            return;
        };
        if first <= cursor + 1 {
            return;
        }
        if !frame.gap {
            return world.oracle.gap_unsaid(here.conv, self.me, cursor, first);
        }
        here.pass_over(first - 1);
        let now = world.clock.now();
        world.oracle.passed_over(here.conv, self.me, first - 1, now);
    }

    /// A page of the inbox: every row is counted again.
    fn inbox(&mut self, task: Task, bases: &[Basis], frame: &Frame<'_>, world: &mut World) {
        let Task::List {
            due,
            asked,
            floors,
            mut found,
            reply,
            look,
            ..
        } = task
        else {
            return;
        };
        for item in &frame.items {
            let Some(place) = item.c.and_then(|c| self.by_name.get(c)).copied() else {
                continue;
            };
            // A row that says nothing yet is none where the look is the last one.
            if !item.stale || look != Look::Last {
                found.push(place);
            }
            if item.stale {
                continue;
            }
            if let (Some(basis), Some(last)) = (bases.get(place), &item.last) {
                let basis = Basis {
                    removed: false, // the inbox follows a removal a moment later
                    since: Since {
                        event: basis.since.message,
                        ..basis.since
                    },
                    ..Basis::default()
                };
                self.got_to(place, "list", &basis, last.s, world);
            }
            let row = Row {
                last: item.last.as_ref().map_or(0, |last| last.s),
                unread: item.unread,
                read: item.read,
                delivered: item.delivered,
                floor: floors.get(place).copied().unwrap_or(0),
                settled: look == Look::Last,
                at: world.clock.now(),
            };
            world.oracle.listed(self.places[place].conv, self.me, row);
        }
        let now = world.clock.now();
        if look == Look::Act {
            world.recorder.done("list (page)", asked, now);
        }
        let cursor = frame.next.as_ref().map(|next| next.to_string());
        if look == Look::Page {
            return;
        }
        if cursor.is_none() {
            if look != Look::Last {
                self.left_out(&found, due, "list", world);
                if look == Look::Act {
                    world.recorder.done("list", due, now);
                }
                return;
            }
            found.sort_unstable();
            found.dedup();
            let (wanted, all) =
                (0..self.places.len()).partition::<Vec<_>, _>(|place| !self.put_out(*place, world));
            found.retain(|place| !all.contains(place));
            if found.len() == wanted.len() {
                if let Some(reply) = reply {
                    self.sync(self.present(), Purpose::Last(reply), 0, world);
                }
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
                look,
            },
        ));
    }

    /// An answer that got to `last` in a place: what had been acknowledged before must be in it, and nothing from above
    /// the client's removal.
    pub(super) fn got_to(&self, place: usize, read: &str, basis: &Basis, last: u64, world: &mut World) {
        let (conv, me) = (self.places[place].conv, self.me);
        world.oracle.answered_as_member(conv, me, read, basis.removed);
        world.oracle.received(conv, me, last);
        if !world.oracle.may_be_removed(conv, me) {
            world.oracle.read_reached(conv, me, read, last, basis.since.event);
        }
    }

    /// Everything was listed that began at `due`: each conversation that the client was certainly in by then is there.
    fn left_out(&mut self, found: &[usize], due: Nanos, read: &str, world: &mut World) {
        let listed: HashSet<usize> = found.iter().copied().collect();
        for place in 0..self.places.len() {
            let conv = self.places[place].conv;
            if listed.contains(&place) {
                self.places[place].listed = true;
            } else if self.places[place].is_certain(due) && !world.oracle.may_be_removed(conv, self.me) {
                let detail = format!(
                    "{read} to its end names {} conversations of client {}, and not this one",
                    listed.len(),
                    self.me
                );
                world
                    .oracle
                    .violate(Kind::LeftOut, Some(conv), Some(self.me), 0, detail);
            }
        }
    }
}
