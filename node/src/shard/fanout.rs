//! Fan-out of a shard: one delivery per interested node.
//!
//! Spine: step 11 of 13. Previous: `node: shard/apply_results`. Next: `node: subscription/hub/deliver`.
//!
//! Queue: one buffer per destination, sent at 64 KiB or after a millisecond, in front of the connection class `fanout`
//! of 32 MiB. A frame beyond the bound is dropped. Metrics: `conversation_fanout_frames`,
//! `conversation_fanout_dropped`.
//!
//! * The state machine encoded the event once. Here it becomes one record, copied behind the header of each
//!   destination.
//! * All shards of a thread share one buffer per destination. An idle buffer is sent at once, a busy one every
//!   millisecond or at 64 KiB.
//! * A frame that cannot be sent is dropped. The delivery seqs show the gap, and the node registers again.
//! * Every half second each node gets its last delivery seqs, which reveals the loss of the last delivery.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{CastError, NodeId};
use protocol::{ConversationId, UserId};
use tokio::sync::Notify;
use tracing::debug;

use super::context::ShardContext;
use super::interest_table::NumberedDelivery;
use super::recent::RecentSubject;
use super::shard_deps::ShardDeps;
use crate::rpc;
use crate::rpc::deliver::{self, DeliveryPayload, DeliveryTarget, Positions};
use crate::state_machine::{EventEnvelope, MovedMember};
use crate::subscription::{Delivered, OwnerDelivery};

/// Minimum time between two sends of a buffer.
const GATHER: Duration = Duration::from_millis(1);
/// Buffer size in bytes at which it is sent at once.
const FRAME_BYTES: usize = 64 << 10;

thread_local! {
    /// One instance per arbiter thread; an arbiter belongs to exactly one node.
    static FANOUT: OnceCell<Rc<Fanout>> = const { OnceCell::new() };
}

/// Outgoing delivery buffers of one thread's shards.
pub(crate) struct Fanout {
    shared: Arc<ShardDeps>,
    buffers: RefCell<HashMap<NodeId, FanoutBuffer>>,
    cores: RefCell<Vec<Weak<ShardContext>>>,
    /// Event half of a record; kept to reuse its allocation.
    scratch: RefCell<Vec<u8>>,
    wake: Notify,
}

/// Deliveries buffered for one node.
#[derive(Default)]
struct FanoutBuffer {
    frame: Vec<u8>,
    /// Deliveries for this node itself, which need no encoding.
    here: Vec<OwnerDelivery>,
}

// === impl Fanout ===

impl Fanout {
    /// Returns the instance of this thread, created by the first call.
    pub(crate) fn of_this_thread(shared: &Arc<ShardDeps>) -> Rc<Fanout> {
        FANOUT.with(|fanout| {
            let fanout = fanout.get_or_init(|| {
                let fanout = Rc::new(Fanout {
                    shared: shared.clone(),
                    buffers: RefCell::default(),
                    cores: RefCell::default(),
                    scratch: RefCell::default(),
                    wake: Notify::new(),
                });
                // Both tasks end with the thread's arbiter.
                actix::spawn(fanout.clone().send_what_gathers());
                actix::spawn(fanout.clone().send_idle_heartbeats());
                fanout
            });
            fanout.clone()
        })
    }

    /// Adds a shard to the idle heartbeats, and removes those that have ended.
    pub(crate) fn add(&self, core: &Rc<ShardContext>) {
        let mut cores = self.cores.borrow_mut();
        cores.retain(|core| core.strong_count() > 0);
        cores.push(Rc::downgrade(core));
    }

    /// Appends an event to the buffer of each interested node.
    pub(crate) fn publish(&self, core: &ShardContext, event: EventEnvelope) {
        let me = self.me();
        let mut encoded = false;
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        let mut here = None;
        // Seqs are assigned and appended in one step, so a buffer holds them in order.
        core.interest.borrow_mut().wanted(&event.conv, |to| {
            let numbered = to_of(core, to);
            if Some(to.node) == me {
                here = Some(numbered);
                return;
            }
            // Encoded at the first remote destination, and never for local sessions only.
            if !encoded {
                encoded = true;
                deliver::encode_what(&what_of(&event), &mut scratch);
            }
            self.append(to.node, &numbered, &scratch);
        });
        // Delivered after the loop, so that the event moves instead of being cloned.
        if let Some(to) = here {
            self.append_here(OwnerDelivery {
                to,
                what: Delivered::Event(Arc::new(event)),
            });
        }
    }

    /// Appends an unlogged event to the buffer of each interested node, and keeps it for new subscribers.
    pub(crate) fn publish_recent(&self, core: &ShardContext, about: RecentSubject, event: EventEnvelope) {
        let envelope = Arc::new(event.clone());
        core.recent.borrow_mut().note(about, envelope, Instant::now());
        self.publish(core, event);
    }

    /// Appends a new membership to the buffer of each node with sessions of the user.
    pub(crate) fn joined(&self, core: &ShardContext, user: &UserId, conv: &ConversationId) {
        let what = DeliveryPayload::Joined {
            user: user.as_str(),
            conv: conv.as_str(),
        };
        self.to_user(core, user, &what, || Delivered::Joined {
            user: user.clone(),
            conv: conv.clone(),
        });
    }

    /// Appends a conversation's new activity to the buffer of each node with sessions of the user.
    pub(crate) fn active(&self, core: &ShardContext, moved: MovedMember) {
        let MovedMember { user, conv, last } = &moved;
        let what = DeliveryPayload::Active {
            user: user.as_str(),
            conv: conv.as_str(),
            last: *last,
        };
        self.to_user(core, user, &what, || Delivered::Active(moved.clone()));
    }

    fn to_user(
        &self,
        core: &ShardContext,
        user: &UserId,
        what: &DeliveryPayload<'_>,
        own: impl FnOnce() -> Delivered,
    ) {
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
            self.append_here(OwnerDelivery { to, what: own() });
        }
    }

    fn me(&self) -> Option<NodeId> {
        self.shared.client.cluster().map(cluster::Cluster::node_id)
    }

    fn append(&self, node: NodeId, to: &DeliveryTarget, what: &[u8]) {
        self.shared.client.metrics.fanout_records.inc();
        let mut buffers = self.buffers.borrow_mut();
        let buffer = buffers.entry(node).or_default();
        deliver::push(&mut buffer.frame, to, what);
        // Not left to the timer: under load the buffer would grow without bound.
        if buffer.frame.len() >= FRAME_BYTES {
            let frame = std::mem::take(&mut buffer.frame);
            self.cast(node, rpc::DELIVER, frame.into());
        } else {
            self.wake.notify_one();
        }
    }

    fn append_here(&self, delivery: OwnerDelivery) {
        self.shared.client.metrics.fanout_records.inc();
        if let Some(me) = self.me() {
            self.buffers
                .borrow_mut()
                .entry(me)
                .or_default()
                .here
                .push(delivery);
            self.wake.notify_one();
        }
    }

    async fn send_what_gathers(self: Rc<Fanout>) {
        loop {
            self.wake.notified().await;
            self.flush();
            // A wake-up during the pause is not lost: `Notify` stores it.
            tokio::time::sleep(GATHER).await;
        }
    }

    fn flush(&self) {
        let mut buffers = self.buffers.borrow_mut();
        for (node, buffer) in buffers.iter_mut() {
            if !buffer.frame.is_empty() {
                // The next frame probably has the size of this one; sizing it now saves reallocations.
                let room = buffer.frame.len().next_power_of_two().min(FRAME_BYTES);
                let frame = std::mem::replace(&mut buffer.frame, Vec::with_capacity(room));
                self.cast(*node, rpc::DELIVER, frame.into());
            }
            if !buffer.here.is_empty() {
                self.shared.client.metrics.fanout_frames.inc();
                self.shared.deliveries.here(std::mem::take(&mut buffer.here));
            }
        }
    }

    async fn send_idle_heartbeats(self: Rc<Fanout>) {
        let mut every = tokio::time::interval(self.shared.settings.positions_every);
        loop {
            every.tick().await;
            let cores: Vec<Rc<ShardContext>> = self.cores.borrow().iter().filter_map(Weak::upgrade).collect();
            // Buffered deliveries go first: the heartbeat counts them, and would otherwise show a gap.
            self.flush();
            let mut positions: HashMap<NodeId, Positions> = HashMap::new();
            // Without heartbeats the nodes of an ended epoch time out and register with the new owner.
            for core in cores.iter().filter(|core| !core.end.is_cancelled()) {
                for to in core.interest.borrow().positions() {
                    positions.entry(to.node).or_default().push(to_of(core, to));
                }
            }
            for (node, positions) in positions {
                if Some(node) == self.me() {
                    self.shared.deliveries.positions(positions);
                } else {
                    // A full queue needs no action: the gap in the delivery seqs makes the node register again.
                    let gone = self.cast(node, rpc::POSITIONS, rpc::encode(&positions))
                        == Some(CastError::Unreachable);
                    if gone {
                        self.forget(node, &cores);
                    }
                }
            }
        }
    }

    /// Sends a frame, or drops it and returns the reason.
    fn cast(&self, node: NodeId, kind: u16, frame: Bytes) -> Option<CastError> {
        self.shared.client.metrics.fanout_frames.inc();
        let error = self.shared.client.cluster()?.cast(node, kind, frame).err()?;
        self.shared.client.metrics.fanout_dropped.inc();
        Some(error)
    }

    /// Removes the interest of a node without a connection. The node registers again once it is connected.
    fn forget(&self, node: NodeId, cores: &[Rc<ShardContext>]) {
        debug!(%node, "no connection, removing the node's interest");
        for core in cores {
            core.interest.borrow_mut().forget(node);
        }
        // The buffered deliveries belong to the removed registration.
        if let Entry::Occupied(buffer) = self.buffers.borrow_mut().entry(node) {
            buffer.remove();
        }
    }
}

fn to_of(core: &ShardContext, to: NumberedDelivery) -> DeliveryTarget {
    DeliveryTarget {
        shard: core.shard.0,
        epoch: core.epoch,
        registration: to.registration,
        fo: to.fo,
    }
}

fn what_of(event: &EventEnvelope) -> DeliveryPayload<'_> {
    DeliveryPayload::Event {
        conv: event.conv.as_str(),
        seq: event.seq,
        skip: event.skip,
        removes: event.removes.as_ref().map(UserId::as_str),
        adds: event.adds.as_ref().map(UserId::as_str),
        only: event.only.as_ref().map(UserId::as_str),
        tail: &event.tail,
    }
}
