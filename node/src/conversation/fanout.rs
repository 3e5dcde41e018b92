//! Step 11 of the life of a message: one delivery per interested node.
//!
//! Comes from [`committed`](super::committed) (step 10); goes to the [relay](crate::relay) of each node, which hands
//! the event to its sessions' [outboxes](crate::session::outbox) (step 12).
//!
//! The event was encoded once, by the rules; here it is put once into the shape of a record and copied behind the
//! number of each destination. All shards of a thread share one lane per destination, which is sent at once when it
//! was idle, otherwise every millisecond or when it holds 64 KiB. A frame that can't be sent is dropped: the numbers
//! show the gap, and the node registers anew. Every half second each node is told the numbers themselves, so that the
//! loss of the last delivery shows too.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{CastError, NodeId};
use protocol::{ConvId, UserId};
use tokio::sync::Notify;
use tracing::debug;

use super::interest::Numbered;
use super::shard::core::Core;
use super::shared::Shared;
use super::timeline::{Moved, Published};
use crate::relay::{Delivered, Delivery};
use crate::rpc;
use crate::rpc::deliver::{self, Positions, To, What};

/// How long a lane that was just sent gathers.
const GATHER: Duration = Duration::from_millis(1);
/// A lane with this many bytes is sent at once.
const FRAME_BYTES: usize = 64 << 10;

thread_local! {
    /// Each arbiter's thread belongs to one node.
    static FANOUT: OnceCell<Rc<Fanout>> = const { OnceCell::new() };
}

/// The outgoing lanes of one thread's shards.
pub(crate) struct Fanout {
    shared: Arc<Shared>,
    lanes: RefCell<HashMap<NodeId, OutLane>>,
    cores: RefCell<Vec<Weak<Core>>>,
    /// The event half of a record, reused.
    scratch: RefCell<Vec<u8>>,
    wake: Notify,
}

/// What gathers for one node.
#[derive(Default)]
struct OutLane {
    frame: Vec<u8>,
    /// Instead of a frame, for this node itself.
    here: Vec<Delivery>,
}

// === impl Fanout ===

impl Fanout {
    /// The lanes of this thread, made at the first call.
    pub(crate) fn of_this_thread(shared: &Arc<Shared>) -> Rc<Fanout> {
        FANOUT.with(|fanout| {
            let fanout = fanout.get_or_init(|| {
                let fanout = Rc::new(Fanout {
                    shared: shared.clone(),
                    lanes: RefCell::default(),
                    cores: RefCell::default(),
                    scratch: RefCell::default(),
                    wake: Notify::new(),
                });
                // Both end with the thread's arbiter.
                actix::spawn(fanout.clone().send_what_gathers());
                actix::spawn(fanout.clone().tell_positions());
                fanout
            });
            fanout.clone()
        })
    }

    /// Adds a shard whose positions are told.
    pub(crate) fn add(&self, core: &Rc<Core>) {
        let mut cores = self.cores.borrow_mut();
        cores.retain(|core| core.strong_count() > 0);
        cores.push(Rc::downgrade(core));
    }

    /// Appends an event to the lane of each node that wants it.
    pub(crate) fn publish(&self, core: &Core, event: Published) {
        let me = self.me();
        let mut encoded = false;
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        let mut here = None;
        core.interest.borrow_mut().wanted(&event.conv, |to| {
            let numbered = to_of(core, to);
            if Some(to.node) == me {
                here = Some(numbered);
                return;
            }
            if !encoded {
                encoded = true;
                deliver::encode_what(&what_of(&event), &mut scratch);
            }
            self.append(to.node, &numbered, &scratch);
        });
        if let Some(to) = here {
            self.append_here(Delivery {
                to,
                what: Delivered::Event(Arc::new(event)),
            });
        }
    }

    /// Appends the news of a membership to the lane of each node that has sessions of the user.
    pub(crate) fn joined(&self, core: &Core, user: &UserId, conv: &ConvId) {
        let what = What::Joined {
            user: user.as_str(),
            conv: conv.as_str(),
        };
        self.to_user(core, user, &what, || Delivered::Joined {
            user: user.clone(),
            conv: conv.clone(),
        });
    }

    /// Appends the news of a message to the lane of each node that has sessions of the user.
    pub(crate) fn active(&self, core: &Core, moved: Moved) {
        let Moved { user, conv, last } = &moved;
        let what = What::Active {
            user: user.as_str(),
            conv: conv.as_str(),
            last: *last,
        };
        self.to_user(core, user, &what, || Delivered::Active(moved.clone()));
    }

    fn to_user(&self, core: &Core, user: &UserId, what: &What<'_>, own: impl FnOnce() -> Delivered) {
        let me = self.me();
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        let mut here = None;
        core.interest.borrow_mut().wanted_by(user, |to| {
            let numbered = to_of(core, to);
            if Some(to.node) == me {
                here = Some(numbered);
                return;
            }
            if scratch.is_empty() {
                deliver::encode_what(what, &mut scratch);
            }
            self.append(to.node, &numbered, &scratch);
        });
        if let Some(to) = here {
            self.append_here(Delivery { to, what: own() });
        }
    }

    fn me(&self) -> Option<NodeId> {
        self.shared.cluster().map(cluster::Cluster::node_id)
    }

    fn append(&self, node: NodeId, to: &To, what: &[u8]) {
        self.shared.metrics.fanout_records.inc();
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.entry(node).or_default();
        deliver::push(&mut lane.frame, to, what);
        if lane.frame.len() >= FRAME_BYTES {
            let frame = std::mem::take(&mut lane.frame);
            self.cast(node, rpc::DELIVER, frame.into());
        } else {
            self.wake.notify_one();
        }
    }

    fn append_here(&self, delivery: Delivery) {
        self.shared.metrics.fanout_records.inc();
        if let Some(me) = self.me() {
            self.lanes.borrow_mut().entry(me).or_default().here.push(delivery);
            self.wake.notify_one();
        }
    }

    async fn send_what_gathers(self: Rc<Fanout>) {
        loop {
            self.wake.notified().await;
            self.flush();
            tokio::time::sleep(GATHER).await;
        }
    }

    fn flush(&self) {
        let mut lanes = self.lanes.borrow_mut();
        for (node, lane) in lanes.iter_mut() {
            if !lane.frame.is_empty() {
                let room = lane.frame.len().next_power_of_two().min(FRAME_BYTES);
                let frame = std::mem::replace(&mut lane.frame, Vec::with_capacity(room));
                self.cast(*node, rpc::DELIVER, frame.into());
            }
            if !lane.here.is_empty() {
                self.shared.metrics.fanout_frames.inc();
                self.shared.inlet.here(std::mem::take(&mut lane.here));
            }
        }
    }

    async fn tell_positions(self: Rc<Fanout>) {
        let mut every = tokio::time::interval(self.shared.settings.positions_every);
        loop {
            every.tick().await;
            let cores: Vec<Rc<Core>> = self.cores.borrow().iter().filter_map(Weak::upgrade).collect();
            for core in &cores {
                core.admit_loss();
            }
            // What gathers is sent first: a position counts what was sent before it.
            self.flush();
            let mut positions: HashMap<NodeId, Positions> = HashMap::new();
            for core in cores.iter().filter(|core| !core.end.is_cancelled()) {
                for to in core.interest.borrow().positions() {
                    positions.entry(to.node).or_default().push(to_of(core, to));
                }
            }
            for (node, positions) in positions {
                if Some(node) == self.me() {
                    self.shared.inlet.positions(positions);
                } else {
                    let gone = self.cast(node, rpc::POSITIONS, rpc::encode(&positions))
                        == Some(CastError::Unreachable);
                    if gone {
                        self.forget(node, &cores);
                    }
                }
            }
        }
    }

    /// Sends a frame, or drops it and says why.
    fn cast(&self, node: NodeId, kind: u16, frame: Bytes) -> Option<CastError> {
        self.shared.metrics.fanout_frames.inc();
        let error = self.shared.cluster()?.cast(node, kind, frame).err()?;
        self.shared.metrics.fanout_dropped.inc();
        Some(error)
    }

    /// There is no link to the node: its interest ends, and it registers anew when there is one.
    fn forget(&self, node: NodeId, cores: &[Rc<Core>]) {
        debug!(%node, "no link, forgetting the node's interest");
        for core in cores {
            core.interest.borrow_mut().forget(node);
        }
        if let Entry::Occupied(lane) = self.lanes.borrow_mut().entry(node) {
            lane.remove();
        }
    }
}

fn to_of(core: &Core, to: Numbered) -> To {
    To {
        shard: core.shard.0,
        epoch: core.epoch,
        registration: to.registration,
        fo: to.fo,
    }
}

fn what_of(event: &Published) -> What<'_> {
    What::Event {
        conv: event.conv.as_str(),
        seq: event.seq,
        skip: event.skip,
        removes: event.removes.as_ref().map(UserId::as_str),
        adds: event.adds.as_ref().map(UserId::as_str),
        only: event.only.as_ref().map(UserId::as_str),
        tail: &event.tail,
    }
}
