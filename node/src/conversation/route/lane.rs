//! The lane from this node to the owner of one shard: one task that sends what is queued, in order, until it is
//! answered.
//!
//! Several batches are under way at once. Anything unexpected (a refusal, a broken link, a timeout, the news of another
//! owner) has one answer: abandon the stream and send the whole unanswered [window](super::window) again, in order,
//! under a new stream number. The owner's [streams](crate::conversation::shard) let a stream in only from its first
//! batch on, and client ids make the repeats harmless.
//!
//! An owner that is paused or behind a black hole refuses nothing. So the lane listens to the routing table: a newer
//! epoch abandons what is under way at once.

mod runner;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Cluster, ShardId};
use parking_lot::Mutex;
use protocol::{Cid, ConvId, UserId};
use tokio::sync::{Notify, oneshot};

use self::runner::Runner;
use super::hold::Holds;
use super::window::{Bounds, Entry, Window};
use crate::conversation::answer::{Done, Refusal};
use crate::conversation::shared::Shared;
use crate::conversation::timeline::Command;

/// What is queued for one shard.
pub(crate) struct Lane {
    shard: ShardId,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    window: Window<Queued>,
    holds: Holds,
    closed: bool,
}

/// A command on its way.
struct Queued {
    bytes: Bytes,
    conv: ConvId,
    user: UserId,
    cid: Option<Cid>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// A command in the lane; resolves with its result.
pub(crate) type Ticket = oneshot::Receiver<Result<Done, Refusal>>;

// === impl Entry for Queued ===

impl Entry for Queued {
    type Sender = (UserId, ConvId);

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn sender(&self) -> Option<(UserId, ConvId)> {
        // Without a client id it is a cursor, which only moves forward.
        self.cid.as_ref().map(|_| (self.user.clone(), self.conv.clone()))
    }
}

// === impl Lane ===

impl Lane {
    pub(crate) fn new(shard: ShardId, shared: &Shared) -> Lane {
        let settings = &shared.settings;
        let bounds = Bounds {
            entries: settings.lane_commands,
            bytes: settings.lane_bytes,
            batch_entries: settings.batch_commands,
            batch_bytes: settings.batch_bytes,
            flights: settings.batches_in_flight,
        };
        let state = State {
            window: Window::new(bounds),
            holds: Holds::default(),
            closed: false,
        };
        Lane {
            shard,
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }

    /// Queues a command, or refuses it at once.
    pub(crate) fn push(&self, command: Command, shared: &Shared) -> Result<Ticket, Refusal> {
        let bytes = command.encode();
        let now = Instant::now();
        let (reply, ticket) = oneshot::channel();
        let Command { conv, user, cid, .. } = command;
        let queued = Queued {
            bytes,
            conv,
            user,
            cid,
            deadline: now + shared.settings.send_budget,
            reply,
        };
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Refusal::unavailable());
            }
            if let Some(cid) = &queued.cid
                && !state.holds.admits(&queued.user, &queued.conv, cid, now)
            {
                shared.metrics.lane_refused.inc();
                return Err(Refusal::busy(
                    "an earlier command of this sender was refused: send that one first",
                ));
            }
            if let Err(queued) = state.window.push(queued) {
                shared.metrics.lane_refused.inc();
                state.hold(&queued, now, shared.settings.order_hold);
                return Err(Refusal::busy("too many commands wait for this shard"));
            }
        }
        shared.metrics.lane_commands.inc();
        self.wake.notify_one();
        Ok(ticket)
    }

    /// Refuses new commands from now on.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Sends until the lane is closed and empty, or the node stops.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<Shared>, cluster: Cluster) {
        let stop = shared.stop.clone();
        let lane = self.clone();
        let runner = Runner::new(self, shared, cluster);
        tokio::select! {
            () = runner.run() => {}
            () = stop.cancelled() => {}
        }
        // The node stops.
        for expired in lane.state.lock().window.expire(|_| true) {
            let refusal = if expired.unknown {
                Refusal::unknown()
            } else {
                Refusal::unavailable()
            };
            let _ = expired.entry.reply.send(Err(refusal));
        }
    }
}

// === impl State ===

impl State {
    fn hold(&mut self, queued: &Queued, now: Instant, lasts: Duration) {
        if let Some(cid) = &queued.cid {
            self.holds.refuse(&queued.user, &queued.conv, cid, now, lasts);
        }
    }
}
