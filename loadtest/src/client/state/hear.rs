//! What the node says, and what follows from it: events are applied by the client rule, answers complete requests,
//! refusals bring messages back.

use super::{State, Task, World};
use crate::client::place::{Place, Rule};
use crate::clock::MILLISECOND;
use crate::oracle::{Kind, Row, Seen, What};
use crate::payload::{Ordinal, Tag};
use crate::wire::{Code, Frame, Refusal};

impl State {
    /// Takes one text message.
    pub(crate) fn text(&mut self, text: &str, world: &mut World) {
        let frame = match Frame::parse(text) {
            Ok(frame) => frame,
            Err(error) => {
                return world.oracle.violate(
                    Kind::Malformed,
                    None,
                    Some(self.me),
                    0,
                    format!("{error} in {text}"),
                );
            }
        };
        if let Some(n) = frame.n.filter(|_| frame.t != "ready") {
            self.number(n, frame.t, world);
        }
        match frame.t {
            "ack" => self.ack(&frame, world),
            "err" => self.refusal(&frame, world),
            "msg" | "member" | "meta" | "edit" | "del" | "react" => {
                if let Some(place) = frame.c.and_then(|c| self.by_name.get(c)).copied() {
                    self.event(place, &frame, true, world);
                }
            }
            "hello" => self.hb_ms = frame.hb_ms.unwrap_or(self.hb_ms),
            "ready" => self.ready(&frame, world),
            "resync" => {
                world.oracle.note(
                    world.clock.now(),
                    format_args!("client {} was told to resync: {:?}", self.me, frame.why),
                );
                world.recorder.error("resync");
                self.resync(world);
            }
            "bye" => {
                self.retry_ms = frame.retry_ms;
                if let Some(Code::Number(code)) = frame.code {
                    world.recorder.error(&format!("bye {code}"));
                }
                world
                    .oracle
                    .note(world.clock.now(), format_args!("client {} got {text}", self.me));
            }
            "conv" | "delta" | "hist" | "ok" | "hb" | "inbox" => {
                if let Some(task) = frame.id.and_then(|id| self.requests.remove(&id)) {
                    self.answer(task, &frame, world);
                }
            }
            "receipt" => self.receipt(&frame, world),
            _ => {} // typing, presence, and what later versions add: never judged for loss
        }
        if self.online
            && let Some(since) = self.returning
            && self.places.iter().all(Place::is_level)
        {
            self.returning = None;
            world.recovery.level(since, world.clock.now());
        }
    }

    fn receipt(&self, frame: &Frame<'_>, world: &mut World) {
        let place = frame.c.and_then(|c| self.by_name.get(c));
        let subject = frame.u.and_then(|user| world.payload.client(user));
        if let (Some(place), Some(subject)) = (place, subject) {
            let conv = self.places[*place].conv;
            world
                .oracle
                .receipt(conv, self.me, subject, frame.delivered, frame.read);
        }
    }

    fn number(&mut self, n: u64, kind: &str, world: &mut World) {
        // What a full outbox dropped had its numbers: the `resync` that says so may stand after a jump. Nothing else may.
        let announced = kind == "resync" && n > self.n;
        if n != self.n + 1 && !announced {
            let detail = format!("a {kind:?} has n={n} after n={}", self.n);
            world
                .oracle
                .violate(Kind::NumberHole, None, Some(self.me), n, detail);
        }
        self.n = n;
    }

    fn ready(&mut self, frame: &Frame<'_>, world: &mut World) {
        self.requests.retain(|_, task| !matches!(task, Task::Auth));
        self.online = true;
        self.retry_ms = None;
        let (n, now) = (frame.n.unwrap_or(0), world.clock.now());
        if frame.resumed && (self.sid.is_none() || n != self.n) {
            let detail = format!("resumed at n={n} where n={} was asked for", self.n);
            world
                .oracle
                .violate(Kind::ResumeWrong, None, Some(self.me), n, detail);
        }
        self.n = n;
        self.sid = frame.sid.map(str::to_owned);
        if let Some(since) = self.returning {
            world.recovery.online(since, now, frame.resumed);
        }
        if !frame.resumed {
            self.resync(world);
            if !self.watching.is_empty() {
                self.ask(Task::Watch(self.watching.clone()));
            }
        }
        let line = format!(
            "client {} is ready, resumed {} {:?} at n={n}",
            self.me, frame.resumed, frame.why
        );
        world.oracle.note(now, line);
    }

    /// Asks for everything above the cursors, and buffers the live stream until the answer.
    fn resync(&mut self, world: &mut World) {
        for place in &mut self.places {
            place.interrupted();
            world.oracle.forget_receipts(place.conv, self.me);
        }
        self.requests
            .retain(|_, task| !matches!(task, Task::Sync { .. } | Task::Fill { .. }));
        self.todo
            .retain(|(_, task)| !matches!(task, Task::Sync { .. } | Task::Fill { .. }));
        let known: Vec<usize> = (0..self.places.len())
            .filter(|place| self.places[*place].cursor.is_some() && !self.places[*place].out)
            .collect();
        for places in known.chunks(protocol::limits::SYNC_HAVE) {
            self.todo.push((
                0,
                Task::Sync {
                    places: places.to_vec(),
                },
            ));
        }
    }

    fn ack(&mut self, frame: &Frame<'_>, world: &mut World) {
        let Some(id) = frame.id else { return };
        if id >> 32 == 0 {
            if let Some(task) = self.requests.remove(&id) {
                self.answer(task, frame, world);
            }
            return;
        }
        let (index, ordinal) = ((id >> 32) as usize - 1, id as Ordinal);
        let due = self
            .places
            .get_mut(index)
            .and_then(|place| place.answered(ordinal));
        let (Some(due), Some(s)) = (due, frame.s) else {
            let detail = format!(
                "an ack of message {ordinal} that waits for none: s={:?} dup={}",
                frame.s, frame.dup
            );
            return world.oracle.violate(
                Kind::UnsolicitedAnswer,
                None,
                Some(self.me),
                frame.s.unwrap_or(0),
                detail,
            );
        };
        if self.places[index].has_work() {
            self.work.push(index);
        }
        world.oracle.acked(
            self.places[index].conv,
            Tag {
                sender: self.me,
                ordinal,
            },
            s,
        );
        let now = world.heard;
        if due < self.late_before {
            world.recorder.acked_late();
        } else {
            world.recorder.acked(due, now);
        }
        world.acks.acked(self.places[index].conv, due, now);
    }

    fn refusal(&mut self, frame: &Frame<'_>, world: &mut World) {
        let now = world.clock.now();
        let (code, refusal) = frame.refusal();
        world.recorder.error(code);
        world.oracle.note(
            now,
            format_args!(
                "client {}: request {:?} refused: {code} {:?} {refusal:?}",
                self.me, frame.id, frame.msg
            ),
        );
        let Some(id) = frame.id else { return };
        if id >> 32 == 0 {
            let Some(task) = self.requests.remove(&id) else {
                return;
            };
            let pause = match (refusal, &task) {
                (Refusal::Later(ms), _) => ms.max(20),
                (Refusal::Never, Task::Change(changing)) => {
                    let conv = self.places[changing.place].conv;
                    world.oracle.change_refused(conv, self.me, changing.ordinal);
                    self.changing = false;
                    return;
                }
                (Refusal::Never, Task::Read { .. } | Task::Watch(_)) => return,
                // A page of what has been somebody else's in the meantime.
                (Refusal::Never, Task::Fill { place }) if self.put_out(*place, world) => return,
                (Refusal::Never, _) => 500,
            };
            self.todo.push((now + pause * MILLISECOND, task));
            return;
        }
        let (index, ordinal) = ((id >> 32) as usize - 1, id as Ordinal);
        let Some(place) = self.places.get_mut(index) else {
            return;
        };
        let expected = match refusal {
            Refusal::Later(ms) => place.refused(ordinal, now + ms * MILLISECOND),
            Refusal::Never => {
                world.oracle.refused(
                    place.conv,
                    Tag {
                        sender: self.me,
                        ordinal,
                    },
                );
                place.answered(ordinal).is_some()
            }
        };
        if place.has_work() {
            self.work.push(index);
        }
        if !expected {
            let detail = format!("a refusal ({code}) of message {ordinal}, which waits for no answer");
            world
                .oracle
                .violate(Kind::UnsolicitedAnswer, None, Some(self.me), 0, detail);
        }
    }

    fn answer(&mut self, task: Task, frame: &Frame<'_>, world: &mut World) {
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

    /// Takes note that others have seen the client being removed. Who was away then is not told: the place is missing
    /// where it was before, or refused.
    fn put_out(&mut self, place: usize, world: &World) -> bool {
        let here = &mut self.places[place];
        if !here.out && world.oracle.was_removed(here.conv, self.me) {
            here.removed();
        }
        here.out
    }

    fn read(&mut self, place: usize, frame: &Frame<'_>, world: &mut World) -> Option<Seen> {
        match Seen::read(frame, &self.places[place].name, &world.payload) {
            Ok(seen) => seen,
            Err((kind, detail)) => {
                world.oracle.violate(
                    kind,
                    Some(self.places[place].conv),
                    Some(self.me),
                    frame.s.unwrap_or(0),
                    detail,
                );
                None
            }
        }
    }

    /// An event of a conversation, from the live stream or from a page.
    fn event(&mut self, place: usize, frame: &Frame<'_>, live: bool, world: &mut World) {
        let Some(seen) = self.read(place, frame, world) else {
            return;
        };
        let here = &mut self.places[place];
        if here.out {
            return world.oracle.told_outside(here.conv, self.me, seen.s);
        }
        match here.rule(&seen) {
            Rule::Apply => {
                self.applied(place, &seen, world);
                self.drain(place, world);
            }
            Rule::Held if live && here.live => {
                let detail = format!("has s={:?}, then comes s={}", here.cursor, seen.s);
                world
                    .oracle
                    .violate(Kind::LiveHole, Some(here.conv), Some(self.me), seen.s, detail);
            }
            Rule::Held | Rule::Ignore => {}
        }
    }

    /// Applies what was held, and asks for what is missing.
    fn drain(&mut self, place: usize, world: &mut World) {
        while let Some(seen) = self.places[place].next_held() {
            self.applied(place, &seen, world);
        }
        self.places[place].settle();
        if self.places[place].needs_page().is_some() {
            self.places[place].filling = true;
            self.todo.push((0, Task::Fill { place }));
        }
    }

    fn applied(&mut self, place: usize, seen: &Seen, world: &mut World) {
        world.oracle.applied(self.places[place].conv, self.me, seen);
        if seen.member == Some((self.me, false)) {
            self.places[place].removed();
        }
        if let Some(change) = &seen.change {
            if change.what == What::Delete {
                self.places[place].forget(change.of);
            }
            return;
        }
        let Some(tag) = seen.tag else { return };
        let own = tag.sender == self.me;
        if self.marks && !own {
            let (s, due) = (seen.s, world.clock.now());
            self.ask(Task::Read { place, s, due });
        }
        if !seen.deleted {
            self.places[place].remember(seen.s, own);
        }
        if !own && !seen.deleted {
            let (due, now) = (seen.due, world.heard);
            if due < self.late_before {
                world.recorder.delivered_late();
            } else {
                world.recorder.delivered(due, now);
            }
        }
    }
}
