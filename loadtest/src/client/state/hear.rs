//! What the node says, and what follows from it: events are applied by the client rule, answers complete requests,
//! refusals bring messages back.

use super::{State, Task, World};
use crate::client::place::{Place, Rule};
use crate::clock::MILLISECOND;
use crate::oracle::{Kind, Seen};
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
        if let Some(n) = frame.n {
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
                self.resync();
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
            "conv" | "delta" | "hist" | "ok" | "hb" => {
                if let Some(task) = frame.id.and_then(|id| self.requests.remove(&id)) {
                    self.answer(task, &frame, world);
                }
            }
            _ => {} // receipts, typing, presence, and what later versions add
        }
    }

    fn number(&mut self, n: u64, kind: &str, world: &mut World) {
        // What a full outbox dropped had its numbers: the `resync` that says so may stand after a jump. Nothing else may.
        let announced = kind == "resync" && n > self.n;
        if n != self.n + 1 && kind != "ready" && !announced {
            let detail = format!("a {kind:?} has n={n} after n={}", self.n);
            world
                .oracle
                .violate(Kind::NumberHole, None, Some(self.me), n, detail);
        }
        self.n = n;
    }

    fn ready(&mut self, frame: &Frame<'_>, world: &mut World) {
        self.requests.retain(|_, task| !matches!(task, Task::Auth));
        self.n = frame.n.unwrap_or(0);
        self.online = true;
        self.retry_ms = None;
        if !frame.resumed {
            self.resync();
        }
        let now = world.clock.now();
        world.oracle.note(
            now,
            format_args!(
                "client {} is ready, sid {:?}",
                self.me,
                frame.sid.map(|sid| sid.len())
            ),
        );
    }

    /// Asks for everything above the cursors, and buffers the live stream until the answer.
    fn resync(&mut self) {
        self.places.iter_mut().for_each(Place::interrupted);
        self.todo
            .retain(|(_, task)| !matches!(task, Task::Sync { .. } | Task::Fill { .. }));
        let known: Vec<usize> = (0..self.places.len())
            .filter(|place| self.places[*place].cursor.is_some())
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
        let now = world.clock.now();
        world.recorder.acked(due, now);
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
            let pause = if let Refusal::Later(ms) = refusal {
                ms.max(20)
            } else {
                500
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
            Task::Invite { reply, .. } => drop(reply.send(())),
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
        if seen.tag.is_some_and(|tag| tag.sender != self.me) {
            world.recorder.delivered(seen.due, world.clock.now());
        }
    }
}
