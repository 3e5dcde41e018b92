//! What one client knows and says, without its socket: frames come in as text, frames to be sent go to `out`, what
//! the oracle and the recorder must hear they hear at once. The socket half is in the module above.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::place::{Place, Rule};
use crate::clock::{Clock, MILLISECOND, Nanos};
use crate::failover::FirstAcks;
use crate::measure::latency::Recorder;
use crate::oracle::{ConvIx, Kind, Oracle, Reading, Seen};
use crate::payload::{ClientIx, Ordinal, Payload, Tag};
use crate::wire::{self, Code, Frame, Refusal};

/// What all clients of a run share; they live on one thread.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) payload: Payload,
    pub(crate) oracle: Oracle,
    pub(crate) recorder: Recorder,
    pub(crate) acks: FirstAcks,
}

/// The handle to it.
pub(crate) type Shared = Rc<RefCell<World>>;

/// One client.
pub(crate) struct State {
    me: ClientIx,
    places: Vec<Place>,
    by_name: HashMap<String, usize>,
    /// Places with something to send.
    work: Vec<usize>,
    next_id: u64,
    requests: HashMap<u64, Task>,
    /// Requests that are to be made (again), each at its time.
    todo: Vec<(Nanos, Task)>,
    /// Frames to be sent.
    pub(crate) out: Vec<String>,
    /// After `ready` and until the connection ends.
    pub(crate) online: bool,
    n: u64,
    pub(crate) hb_ms: u64,
    /// What the node asked for before it closes.
    pub(crate) retry_ms: Option<u64>,
}

/// A request other than a message, kept until it is answered.
pub(crate) enum Task {
    /// The first frame of a connection.
    Auth,
    /// Makes a conversation; answers its name.
    Create {
        kind: &'static str,
        cid: String,
        members: Vec<String>,
        reply: oneshot::Sender<String>,
    },
    /// Adds one member.
    Invite {
        place: usize,
        cid: String,
        who: String,
        reply: oneshot::Sender<()>,
    },
    /// Asks where a conversation stands; the client's view begins there.
    Open {
        place: usize,
        reply: Option<oneshot::Sender<()>>,
    },
    /// Asks for what was missed, after a new session or a `resync`.
    Sync { places: Vec<usize> },
    /// A page of what is missing.
    Fill { place: usize },
    /// Reads the log again from its beginning.
    Reread {
        place: usize,
        after: u64,
        reading: Reading,
        reply: oneshot::Sender<()>,
    },
}

/// The events of one page.
const PAGE: usize = protocol::limits::PAGE;

// === impl State ===

impl State {
    pub(crate) fn new(me: ClientIx) -> State {
        State {
            me,
            places: Vec::new(),
            by_name: HashMap::new(),
            work: Vec::new(),
            next_id: 1,
            requests: HashMap::new(),
            todo: Vec::new(),
            out: Vec::new(),
            online: false,
            n: 0,
            hb_ms: 30_000,
            retry_ms: None,
        }
    }

    // --- what the harness asks ---

    /// Takes part in a conversation; the reply comes when the view has begun.
    pub(crate) fn join(&mut self, name: &str, conv: ConvIx, reply: oneshot::Sender<()>) -> usize {
        let place = self.places.len();
        self.places.push(Place::new(name, conv));
        self.by_name.insert(name.to_owned(), place);
        self.todo.push((
            0,
            Task::Open {
                place,
                reply: Some(reply),
            },
        ));
        place
    }

    /// The place of a conversation in which the client takes part.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Makes a request at once, or as soon as the client is online.
    pub(crate) fn ask(&mut self, task: Task) {
        self.todo.push((0, task));
    }

    /// A new message in a place.
    pub(crate) fn offer(&mut self, place: usize, due: Nanos, world: &mut World) {
        let ordinal = world.oracle.issue(self.places[place].conv, self.me);
        world.recorder.sent();
        self.places[place].offer(ordinal, due);
        self.work.push(place);
    }

    /// Messages without a final answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.places.iter().map(Place::unanswered).sum()
    }

    /// As [`State::unanswered`], for one place, in constant time and never too small.
    pub(crate) fn backlog(&self, place: usize) -> usize {
        self.places[place].backlog()
    }

    /// The messages that wait for an answer, for the history beside a violation.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (ConvIx, usize)> {
        self.places
            .iter()
            .map(|place| (place.conv, place.unanswered()))
            .filter(|(_, unanswered)| *unanswered > 0)
    }

    // --- the connection ---

    /// A socket is open: says who this is.
    pub(crate) fn connected(&mut self, token: &str, instance: &str) {
        let id = self.request(Task::Auth);
        self.out.push(wire::auth(id, token, "loadtest", instance, None));
    }

    /// The socket is gone. What was asked is asked again on the next one.
    pub(crate) fn disconnected(&mut self) -> usize {
        self.online = false;
        self.out.clear();
        for (_, task) in self.requests.drain() {
            match task {
                Task::Auth | Task::Sync { .. } | Task::Fill { .. } => {}
                task => self.todo.push((0, task)),
            }
        }
        self.todo
            .retain(|(_, task)| !matches!(task, Task::Sync { .. } | Task::Fill { .. }));
        let again = self.places.iter_mut().map(Place::disconnected).sum();
        self.work = (0..self.places.len())
            .filter(|place| self.places[*place].has_work())
            .collect();
        again
    }

    /// When this client wants to be woken although nothing arrives.
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        if !self.online {
            return None;
        }
        let retries = self
            .work
            .iter()
            .filter_map(|place| self.places[*place].retry_at());
        self.todo.iter().map(|(at, _)| *at).chain(retries).min()
    }

    /// Turns everything that is due into frames.
    pub(crate) fn flush(&mut self, world: &World) {
        if !self.online {
            return;
        }
        let now = world.clock.now();
        for task in self
            .todo
            .extract_if(.., |(at, _)| *at <= now)
            .map(|(_, task)| task)
            .collect::<Vec<_>>()
        {
            self.issue(task);
        }
        for index in std::mem::take(&mut self.work) {
            let place = &mut self.places[index];
            let (name, out, me) = (place.name.clone(), &mut self.out, self.me);
            place.send_due(now, |ordinal, due| {
                let tag = Tag { sender: me, ordinal };
                let id = ((index as u64 + 1) << 32) | u64::from(ordinal);
                out.push(wire::send(
                    id,
                    &name,
                    &world.payload.cid(tag),
                    &world.payload.body(&name, tag, due),
                ));
            });
            if place.has_work() && !self.work.contains(&index) {
                self.work.push(index);
            }
        }
    }

    /// Tells the node what was applied.
    pub(crate) fn heartbeat(&mut self) {
        self.out.push(wire::heartbeat(self.n));
    }

    fn request(&mut self, task: Task) -> u64 {
        let id = self.next_id;
        self.next_id = (self.next_id + 1) & 0xffff_ffff;
        self.requests.insert(id, task);
        id
    }

    fn issue(&mut self, task: Task) {
        let id = self.next_id;
        let frame = match &task {
            Task::Auth => return,
            Task::Create {
                kind, cid, members, ..
            } => wire::create(id, kind, cid, members),
            Task::Invite { place, cid, who, .. } => wire::invite(id, &self.places[*place].name, cid, who),
            Task::Open { place, .. } => wire::open(id, &self.places[*place].name),
            Task::Sync { places } => wire::sync(id, places.iter().filter_map(|place| self.position(*place))),
            Task::Fill { place } => match self.position(*place) {
                Some((name, cursor)) => wire::hist(id, name, cursor, PAGE),
                None => return,
            },
            Task::Reread { place, after, .. } => wire::hist(id, &self.places[*place].name, *after, PAGE),
        };
        self.request(task);
        self.out.push(frame);
    }

    fn position(&self, place: usize) -> Option<(&str, u64)> {
        let place = &self.places[place];
        place.cursor.map(|cursor| (&*place.name, cursor))
    }

    // --- what the node says ---

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
        if n != self.n + 1 && kind != "ready" {
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
