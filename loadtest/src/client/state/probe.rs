//! Reads that are there to be judged: from any client, at any moment, of every kind that promises "everything that was
//! acknowledged before". A client goes on with them when it was removed: then there must be nothing to read.

use std::collections::HashMap;
use std::rc::Rc;

use rand::Rng;
use rand::rngs::StdRng;

use super::sync::Purpose;
use super::{Asked, Basis, Look, State, Task, World};
use crate::oracle::{ConvIx, Kind};
use crate::payload::ClientIx;
use crate::wire::{self, Frame};

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// The newest page of the log.
    History,
    /// The state of the conversation.
    Open,
    /// What came after the client's own position.
    Sync,
    /// The members and their cursors.
    Members,
    /// Inbox, by its first page or to its end.
    List,
    /// The newest messages over HTTP.
    Messages,
}

/// How often each is read, of a hundred.
const READS: [(Read, u32); 6] = [
    (Read::History, 35),
    (Read::Open, 20),
    (Read::Sync, 15),
    (Read::Members, 10),
    (Read::List, 5),
    (Read::Messages, 15),
];
/// Events or messages of a page: the newest decide.
const NEWEST: usize = 5;

/// A read over HTTP, by itself: its answer comes to no connection of the client.
pub(crate) struct HttpRead {
    conversation: Rc<str>,
    conv: ConvIx,
    me: ClientIx,
    basis: Basis,
}

// === impl Read ===

impl Read {
    pub(crate) fn pick(rng: &mut StdRng) -> Read {
        let mut point = rng.random_range(0..READS.iter().map(|(_, weight)| weight).sum());
        for (read, weight) in READS {
            if point < weight {
                return read;
            }
            point -= weight;
        }
        Read::History
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Read::History => "hist",
            Read::Open => "open",
            Read::Sync => "sync",
            Read::Members => "members",
            Read::List => "list",
            Read::Messages => "GET messages",
        }
    }

    pub(super) fn frame(self, id: u64, c: &str) -> String {
        match self {
            Read::Open => wire::open(id, c),
            Read::Members => wire::members(id, c),
            Read::History | Read::Sync | Read::List | Read::Messages => wire::newest(id, c, NEWEST),
        }
    }
}

// === impl HttpRead ===

impl HttpRead {
    pub(crate) fn path(&self) -> String {
        format!("/v1/conversations/{}/messages?limit={NEWEST}", self.conversation)
    }

    /// Judges the answer: its status and body.
    pub(crate) fn answered(self, node: &str, status: u16, body: &str, world: &mut World) {
        // What may be asked again (408, 429, 5xx) says nothing.
        if !matches!(status, 200 | 400..=407 | 409..=428) {
            return;
        }
        let (conv, me, oracle) = (self.conv, self.me, &mut world.oracle);
        let read = format!("{} at {node}", Read::Messages.name());
        let frame = match Frame::parse(body) {
            Ok(frame) => frame,
            Err(error) => {
                let detail = format!("{error} in the answer to {read}: {body}");
                return oracle.violate(Kind::Malformed, Some(conv), Some(me), 0, detail);
            }
        };
        if status != 200 {
            return oracle.refused_there(conv, me, &read, frame.refusal().0);
        }
        let newest = frame.items.iter().filter_map(|item| item.s).max().unwrap_or(0);
        oracle.answered_as_member(conv, me, &read, self.basis.removed);
        oracle.received(conv, me, newest);
        if !oracle.may_be_removed(conv, me) {
            oracle.read_reached(conv, me, &read, newest, self.basis.since.message);
        }
    }
}

// === impl State: probes ===

impl State {
    /// Reads something of one of the client's conversations. Returns the read if it goes over HTTP.
    pub(crate) fn probe(&mut self, world: &World, rng: &mut StdRng) -> Option<HttpRead> {
        if !self.online || self.places.is_empty() {
            return None;
        }
        let place = rng.random_range(0..self.places.len());
        self.places[place].cursor?;
        match Read::pick(rng) {
            Read::List => {
                let walk = self.places.len() <= protocol::limits::PAGE || rng.random_bool(0.1);
                let due = world.clock.now();
                self.ask(Task::List {
                    cursor: None,
                    due,
                    asked: due,
                    floors: self.places.iter().map(|place| place.read).collect(),
                    found: Vec::new(),
                    reply: None,
                    look: if walk { Look::Whole } else { Look::Page },
                });
                None
            }
            // Page by page it would be a read of many moments, and dear.
            Read::Sync if self.places.len() <= protocol::limits::SYNC_HAVE => {
                // One who was removed goes on asking.
                let known = (0..self.places.len()).filter(|place| self.places[*place].cursor.is_some());
                self.sync(known.collect(), Purpose::Probe, 0, world);
                None
            }
            Read::Messages => Some(HttpRead {
                conversation: self.places[place].name.clone(),
                conv: self.places[place].conv,
                me: self.me,
                basis: self.basis(place, world),
            }),
            read => {
                self.ask(Task::Probe { place, read });
                None
            }
        }
    }

    /// The answer to a read.
    pub(super) fn probed(
        &mut self,
        place: usize,
        read: Read,
        basis: Basis,
        frame: &Frame<'_>,
        world: &mut World,
    ) {
        let (conv, me) = (self.places[place].conv, self.me);
        match read {
            Read::History => {
                let events = frame.events.iter();
                let newest = events.filter_map(|event| self.sight(place, event, world)).max();
                self.got_to(place, read.name(), &basis, newest.unwrap_or(0), world);
            }
            Read::Open => {
                let last = frame.last.as_ref().map_or(0, |last| last.s);
                self.got_to(place, read.name(), &basis, last, world);
            }
            Read::Members => {
                world
                    .oracle
                    .answered_as_member(conv, me, read.name(), basis.removed);
                self.members(conv, &basis.cursors, frame, world);
            }
            Read::Sync | Read::List | Read::Messages => {}
        }
    }

    /// An event in an answer that is not applied: the oracle compares it.
    pub(super) fn sight(&self, place: usize, event: &Frame<'_>, world: &mut World) -> Option<u64> {
        let seen = self.read(place, event, world)?;
        world.oracle.received(self.places[place].conv, self.me, seen.s);
        world.oracle.sighted(self.places[place].conv, self.me, &seen);
        Some(seen.s)
    }

    /// A sender's own message moves its cursors: both are at its last acknowledged one at least.
    fn members(&self, conv: ConvIx, cursors: &HashMap<ClientIx, u64>, frame: &Frame<'_>, world: &mut World) {
        for item in &frame.items {
            let Some(member) = item.u.and_then(|user| world.payload.client(user)) else {
                continue;
            };
            let least = cursors.get(&member).copied().unwrap_or(0);
            // In large conversations there are none.
            if item.delivered > 0 {
                let what = format!("members, client {member}'s own cursors");
                let reached = item.delivered.min(item.read);
                world.oracle.read_reached(conv, self.me, &what, reached, least);
            }
        }
    }

    /// What a read of a place that begins now is held against.
    pub(super) fn basis(&self, place: usize, world: &World) -> Basis {
        let conv = self.places[place].conv;
        Basis {
            since: world.oracle.since(conv),
            removed: world.oracle.removal_is_acked(conv, self.me),
            cursors: HashMap::new(),
        }
    }

    /// What the request is held against, per place that it is about.
    pub(super) fn bases(&self, task: &Task, world: &World) -> Vec<Basis> {
        match task {
            Task::Probe {
                place,
                read: Read::Members,
            } => vec![Basis {
                cursors: world.oracle.sent(self.places[*place].conv),
                ..self.basis(*place, world)
            }],
            Task::Open { place, .. }
            | Task::Fill { place }
            | Task::Reread { place, .. }
            | Task::Probe { place, .. } => vec![self.basis(*place, world)],
            Task::Sync(syncing) => {
                let rest = syncing.rest().iter();
                rest.map(|place| self.basis(*place, world)).collect()
            }
            Task::List { .. } => (0..self.places.len())
                .map(|place| self.basis(place, world))
                .collect(),
            Task::Auth
            | Task::Create { .. }
            | Task::Enrol { .. }
            | Task::Change(_)
            | Task::Read { .. }
            | Task::Watch(_) => Vec::new(),
        }
    }
}

// === impl Asked ===

impl Asked {
    /// What the read of the only place is held against.
    pub(super) fn basis(&self) -> Basis {
        self.bases.first().cloned().unwrap_or_default()
    }
}
