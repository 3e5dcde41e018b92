//! What one client knows and says, without its socket: frames come in as text, frames to be sent go to `out`, what
//! the oracle and the recorder must hear they hear at once. The socket half is in the module above.

mod act;
mod answer;
mod hear;
mod probe;
mod sync;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::oneshot;

use self::act::Changing;
pub(super) use self::probe::{HttpRead, Read};
use self::sync::Syncing;
use super::Enrol;
use super::place::Place;
use crate::clock::{Clock, Nanos};
use crate::failover::FirstAcks;
use crate::measure::latency::Recorder;
use crate::measure::recovery::Recovery;
use crate::oracle::{ConvIx, Oracle, Reading, Resyncs, Since};
use crate::payload::{ClientIx, Payload, Tag};
use crate::wire;

/// What all clients of a run share; they live on one thread.
pub(crate) struct World {
    pub(crate) clock: Clock,
    /// When the frame that is being taken was read.
    pub(crate) heard: Nanos,
    pub(crate) payload: Payload,
    pub(crate) oracle: Oracle,
    pub(crate) recorder: Recorder,
    pub(crate) acks: FirstAcks,
    pub(crate) recovery: Recovery,
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
    requests: HashMap<u64, Asked>,
    /// Requests that are to be made (again), each at its time.
    todo: Vec<(Nanos, Task)>,
    /// Frames to be sent.
    pub(crate) out: Vec<String>,
    /// After `ready` and until the connection ends.
    pub(crate) online: bool,
    /// The session that may be resumed, and the number of its last event.
    sid: Option<String>,
    n: u64,
    pub(crate) hb_ms: u64,
    /// What the node asked for before it closes.
    pub(crate) retry_ms: Option<u64>,
    /// When the client began to come back, until it has everything again.
    returning: Option<Nanos>,
    /// Deliveries to this client of what was due before say nothing about the cluster: it was away, or didn't read.
    late_before: Nanos,
    /// What this session was told to sync again for.
    resyncs: Resyncs,
    /// An edit, deletion or reaction is on its way: one at a time.
    changing: bool,
    /// What arrives is marked as read.
    pub(crate) marks: bool,
    /// Whose presence a new session has to follow.
    watching: Vec<String>,
}

/// A request on its way, and what had been acknowledged, per place that it is about, before it was sent.
struct Asked {
    task: Task,
    bases: Vec<Basis>,
}

/// What a read is held against.
#[derive(Clone, Debug, Default)]
struct Basis {
    since: Since,
    /// The client's removal was acknowledged.
    removed: bool,
    /// The last acknowledged message of each sender.
    cursors: HashMap<ClientIx, u64>,
}

/// How far an inbox is looked through, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// One page.
    Page,
    /// Page by page to the end, as an act of its own that is measured.
    Act,
    /// The same, only to be judged.
    Whole,
    /// Again and again until every place was found: the last look.
    Last,
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
    /// Changes who is in a conversation, and as what.
    Enrol {
        name: String,
        change: Enrol,
        reply: oneshot::Sender<()>,
    },
    /// An edit, a deletion or a reaction.
    Change(Changing),
    /// Moves the read cursor.
    Read { place: usize, s: u64, due: Nanos },
    /// A page of the inbox. With `reply` it is the last look, and goes on until every place was found.
    List {
        cursor: Option<String>,
        due: Nanos,
        /// When this page was asked for.
        asked: Nanos,
        /// Per place, what the node had agreed was read when the first page was asked for.
        floors: Vec<u64>,
        found: Vec<usize>,
        reply: Option<oneshot::Sender<()>>,
        look: Look,
    },
    /// A read that is there to be judged.
    Probe { place: usize, read: Read },
    /// Follows the presence of others.
    Watch(Vec<String>),
    /// Asks where a conversation stands; the client's view begins there.
    Open {
        place: usize,
        reply: Option<oneshot::Sender<()>>,
    },
    /// Asks for what was missed, after a new session or a `resync`.
    Sync(Syncing),
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

// === impl Task ===

impl Task {
    /// A new session, or a `resync`, begins it anew.
    fn is_to_catch_up(&self) -> bool {
        match self {
            Task::Sync(syncing) => syncing.is_to_catch_up(),
            Task::Fill { .. } => true,
            _ => false,
        }
    }
}

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
            sid: None,
            n: 0,
            hb_ms: 30_000,
            retry_ms: None,
            returning: None,
            late_before: 0,
            resyncs: Resyncs::default(),
            changing: false,
            marks: false,
            watching: Vec::new(),
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

    /// Follows the presence of others from now on, in later sessions too.
    pub(crate) fn watch(&mut self, others: Vec<String>) {
        self.ask(Task::Watch(others.clone()));
        self.watching = others;
    }

    /// A new message in a place.
    pub(crate) fn offer(&mut self, place: usize, due: Nanos, world: &mut World) {
        let ordinal = world.oracle.issue(self.places[place].conv, self.me);
        world.recorder.sent();
        self.places[place].offer(ordinal, due);
        self.work.push(place);
    }

    /// Whether the client is no member of a place any more.
    pub(crate) fn is_out(&self, place: usize) -> bool {
        self.places[place].out
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
        let id = self.request(Task::Auth, Vec::new());
        let resume = self.sid.as_deref().map(|sid| (sid, self.n));
        self.out.push(wire::auth(id, token, "loadtest", instance, resume));
    }

    /// The node said that this session is over for good.
    pub(crate) fn forget_session(&mut self) {
        self.sid = None;
    }

    /// The client is late by its own doing: from now on, or up to now.
    pub(crate) fn late(&mut self, from_now_on: bool, now: Nanos) {
        self.late_before = if from_now_on { Nanos::MAX } else { now };
    }

    /// Whether the client reads slowly by its own doing.
    fn marks_late(&self) -> bool {
        self.late_before == Nanos::MAX
    }

    /// The client begins to come back now.
    pub(crate) fn returns(&mut self, now: Nanos) {
        if self.returning.is_some() {
            self.returning = Some(now);
        }
    }

    /// The socket is gone. What was asked is asked again on the next one: of a session that goes on even the answers to
    /// its catching up are still due.
    pub(crate) fn disconnected(&mut self, world: &mut World) -> usize {
        if std::mem::take(&mut self.online) {
            world.recovery.dropped();
            if self.returning.is_none() {
                world.recovery.lost();
                self.returning = Some(world.clock.now());
            }
        }
        self.out.clear();
        let asked = self.requests.drain().map(|(_, asked)| asked.task);
        let again = asked.filter(|task| !matches!(task, Task::Auth | Task::Probe { .. }));
        self.todo.extend(again.map(|task| (0, task)));
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
    pub(crate) fn flush(&mut self, world: &mut World) {
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
            self.issue(task, world);
        }
        for index in std::mem::take(&mut self.work) {
            let place = &mut self.places[index];
            let (name, out, me) = (place.name.clone(), &mut self.out, self.me);
            let since = world.oracle.since(place.conv);
            place.send_due(now, since, |ordinal, due| {
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

    fn request(&mut self, task: Task, bases: Vec<Basis>) -> u64 {
        let id = self.next_id;
        self.next_id = (self.next_id + 1) & 0xffff_ffff;
        self.requests.insert(id, Asked { task, bases });
        id
    }

    fn issue(&mut self, mut task: Task, world: &mut World) {
        let id = self.next_id;
        match &mut task {
            Task::Change(changing) => changing.begins(world.oracle.since(self.places[changing.place].conv)),
            Task::Enrol { name, change, .. } => change.begins(name, world),
            _ => {}
        }
        let frame = match &task {
            Task::Auth => return,
            Task::Probe { place, read } => match self.position(*place) {
                Some((name, _)) => read.frame(id, name),
                None => return,
            },
            Task::Create {
                kind, cid, members, ..
            } => wire::create(id, kind, cid, members),
            Task::Enrol { name, change, .. } => match change {
                Enrol::Invite(who) => wire::invite(id, name, &format!("invite-{who}"), who),
                Enrol::Kick(who) => wire::kick(id, name, &format!("kick-{who}"), who),
                Enrol::Join => wire::join(id, name, "join"),
                Enrol::Speaker(who) => wire::role(id, name, &format!("speaker-{who}"), who, "member"),
            },
            Task::Change(changing) => changing.frame(id, &self.places[changing.place].name),
            Task::Read { place, s, .. } => wire::read(id, &self.places[*place].name, *s),
            Task::List { cursor, .. } => wire::list(id, cursor.as_deref()),
            Task::Watch(users) => wire::watch(id, users),
            Task::Open { place, .. } => wire::open(id, &self.places[*place].name),
            Task::Sync(syncing) => self.sync_frame(id, syncing),
            Task::Fill { place } => match self.position(*place) {
                Some((name, cursor)) => wire::hist(id, name, cursor, PAGE),
                None => return,
            },
            Task::Reread { place, after, .. } => wire::hist(id, &self.places[*place].name, *after, PAGE),
        };
        let bases = self.bases(&task, world);
        self.request(task, bases);
        self.out.push(frame);
    }

    fn position(&self, place: usize) -> Option<(&str, u64)> {
        let place = &self.places[place];
        place.cursor.map(|cursor| (&*place.name, cursor))
    }
}
