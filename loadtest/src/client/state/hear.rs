//! What the node says, and what follows from it: events are applied by the client rule, answers complete requests,
//! refusals bring messages back.

use super::sync::Purpose;
use super::{Asked, State, Task, World};
use crate::client::place::{Place, Rule};
use crate::clock::MILLISECOND;
use crate::oracle::{Kind, Resyncs, Seen, What};
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
                let (why, places) = (frame.why.unwrap_or_default(), self.places.len());
                let now = (!self.marks_late()).then(|| world.clock.now());
                world
                    .oracle
                    .resynced(self.me, &mut self.resyncs, why, places, now);
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
            "conv" | "delta" | "hist" | "ok" | "hb" | "inbox" | "members" => {
                if let Some(asked) = frame.id.and_then(|id| self.requests.remove(&id)) {
                    self.answer(asked, &frame, world);
                }
            }
            "receipt" => self.receipt(&frame, world),
            "activity" => self.activity(&frame, world),
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

    /// Something happened in a conversation that is not live: the client reads what it lacks.
    fn activity(&mut self, frame: &Frame<'_>, world: &mut World) {
        let place = frame.c.and_then(|c| self.by_name.get(c)).copied();
        let (Some(place), Some(last)) = (place, &frame.last) else {
            return;
        };
        world.oracle.received(self.places[place].conv, self.me, last.s);
        if !self.places[place].out {
            self.places[place].fell_behind(last.s);
            self.drain(place, world);
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
        self.requests.retain(|_, asked| !matches!(asked.task, Task::Auth));
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
        // Whether it goes on or not, its queue is a new one and its conversations are followed anew.
        self.resyncs = Resyncs::default();
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
        self.requests.retain(|_, asked| !asked.task.is_to_catch_up());
        self.todo.retain(|(_, task)| !task.is_to_catch_up());
        let places = self.present();
        if !places.is_empty() {
            self.sync(places, Purpose::CatchUp, 0, world);
        }
    }

    fn ack(&mut self, frame: &Frame<'_>, world: &mut World) {
        let Some(id) = frame.id else { return };
        if id >> 32 == 0 {
            if let Some(asked) = self.requests.remove(&id) {
                self.answer(asked, frame, world);
            }
            return;
        }
        let (index, ordinal) = ((id >> 32) as usize - 1, id as Ordinal);
        let answered = self
            .places
            .get_mut(index)
            .and_then(|place| place.answered(ordinal));
        let (Some((due, since)), Some(s)) = (answered, frame.s) else {
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
        world.oracle.appended(self.places[index].conv, self.me, s, since);
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
            let Some(Asked { task, .. }) = self.requests.remove(&id) else {
                return;
            };
            if refusal == Refusal::Never {
                self.refused_for_good(&task, code, world);
            }
            let pause = match (refusal, &task) {
                (_, Task::Probe { .. }) => return,
                (Refusal::Later(ms), _) => ms.max(20),
                (Refusal::Never, Task::Change(_)) => {
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
                    code,
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

    /// A definite refusal has to be explained, whatever it refuses.
    fn refused_for_good(&self, task: &Task, code: &str, world: &mut World) {
        let (place, command) = match task {
            Task::Change(changing) => {
                let tag = Tag {
                    sender: self.me,
                    ordinal: changing.ordinal,
                };
                let conv = self.places[changing.place].conv;
                return world.oracle.change_refused(conv, tag, code);
            }
            Task::Read { place, .. } => (place, "read"),
            Task::Open { place, .. } => (place, "open"),
            Task::Fill { place } | Task::Reread { place, .. } => (place, "hist"),
            Task::Probe { place, read } => (place, read.name()),
            Task::Auth => return world.oracle.refused_anywhere(self.me, "auth", code),
            Task::Create { .. } => return world.oracle.refused_anywhere(self.me, "create", code),
            Task::Enrol { change, .. } => {
                return world.oracle.refused_anywhere(self.me, change.command(), code);
            }
            Task::List { .. } => return world.oracle.refused_anywhere(self.me, "list", code),
            Task::Sync(_) => return world.oracle.refused_anywhere(self.me, "sync", code),
            Task::Watch(_) => return world.oracle.refused_anywhere(self.me, "watch", code),
        };
        world
            .oracle
            .refused_there(self.places[*place].conv, self.me, command, code);
    }

    /// Takes note that others have seen the client being removed. Who was away then is not told: the place is missing
    /// where it was before, or refused.
    pub(super) fn put_out(&mut self, place: usize, world: &World) -> bool {
        let here = &mut self.places[place];
        if !here.out && world.oracle.was_removed(here.conv, self.me) {
            here.removed();
        }
        here.out
    }

    pub(super) fn read(&self, place: usize, frame: &Frame<'_>, world: &mut World) -> Option<Seen> {
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
    pub(super) fn event(&mut self, place: usize, frame: &Frame<'_>, live: bool, world: &mut World) {
        let Some(seen) = self.read(place, frame, world) else {
            return;
        };
        let here = &mut self.places[place];
        world.oracle.received(here.conv, self.me, seen.s);
        if here.out {
            return;
        }
        if live && let Some(missing) = here.streamed(seen.s) {
            return self.stream_hole(place, missing, world);
        }
        let here = &mut self.places[place];
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

    /// A hole in the live stream that no answer covers.
    pub(super) fn stream_hole(&self, place: usize, missing: u64, world: &mut World) {
        let here = &self.places[place];
        let detail = format!(
            "s={missing} is above what was answered, and did not come (has s={:?})",
            here.cursor
        );
        world
            .oracle
            .violate(Kind::LiveHole, Some(here.conv), Some(self.me), missing, detail);
    }

    /// Applies what was held, and asks for what is missing.
    pub(super) fn drain(&mut self, place: usize, world: &mut World) {
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
