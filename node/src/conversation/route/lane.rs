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
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use self::runner::Runner;
use super::gather::Gather;
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
    /// Cursors that are not in the window yet.
    cursors: Gather<Waiter>,
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
    /// One, except for cursors that were gathered.
    waiters: SmallVec<[Waiter; 1]>,
}

type Waiter = oneshot::Sender<Result<Done, Refusal>>;

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

// === impl Queued ===

impl Queued {
    fn new(command: Command, waiters: SmallVec<[Waiter; 1]>, deadline: Instant) -> Queued {
        let bytes = command.encode();
        let Command { conv, user, cid, .. } = command;
        Queued {
            bytes,
            conv,
            user,
            cid,
            deadline,
            waiters,
        }
    }

    /// Tells whoever waits; a session that is gone doesn't want to know.
    fn answer(self, result: Result<Done, Refusal>) {
        for waiter in self.waiters {
            let _ = waiter.send(result.clone());
        }
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
            cursors: Gather::new(settings.cursors),
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
        let now = Instant::now();
        let (waiter, ticket) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Refusal::unavailable());
            }
            if state.cursors.len() >= shared.settings.lane_commands {
                return Err(Refusal::busy("too many cursors wait for this shard"));
            }
            match state.cursors.add(command, waiter) {
                Ok(()) => {
                    shared.metrics.cursors.inc();
                }
                Err((command, waiter)) => {
                    let queued = Queued::new(command, [waiter].into(), now + shared.settings.send_budget);
                    state
                        .enqueue(queued, now, shared)
                        .map_err(|(_, refusal)| refusal)?;
                }
            }
        }
        self.wake.notify_one();
        Ok(ticket)
    }

    /// Puts cursors whose time has come, or all of them, into the window.
    fn ripen(&self, all: bool, shared: &Shared) {
        let now = Instant::now();
        let mut state = self.state.lock();
        for (command, waiters) in state.cursors.take(now, all) {
            shared.metrics.cursors_sent.inc();
            let queued = Queued::new(command, waiters, now + shared.settings.send_budget);
            if let Err((queued, refusal)) = state.enqueue(queued, now, shared) {
                queued.answer(Err(refusal));
            }
        }
    }

    /// Refuses new commands from now on, and sends the cursors that were gathered.
    pub(crate) fn close(&self, shared: &Shared) {
        self.state.lock().closed = true;
        self.ripen(true, shared);
        self.wake.notify_one();
    }

    /// Whether no command waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.window.oldest().is_none() && state.cursors.len() == 0
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
            expired.entry.answer(Err(refusal));
        }
    }
}

// === impl State ===

impl State {
    fn enqueue(&mut self, queued: Queued, now: Instant, shared: &Shared) -> Result<(), (Queued, Refusal)> {
        if let Some(cid) = &queued.cid
            && !self.holds.admits(&queued.user, &queued.conv, cid, now)
        {
            shared.metrics.lane_refused.inc();
            let refusal = Refusal::busy("an earlier command of this sender was refused: send that one first");
            return Err((queued, refusal));
        }
        if let Err(queued) = self.window.push(queued) {
            shared.metrics.lane_refused.inc();
            self.hold(&queued, now, shared.settings.order_hold);
            return Err((queued, Refusal::busy("too many commands wait for this shard")));
        }
        shared.metrics.lane_commands.inc();
        Ok(())
    }

    fn hold(&mut self, queued: &Queued, now: Instant, lasts: Duration) {
        if let Some(cid) = &queued.cid {
            self.holds.refuse(&queued.user, &queued.conv, cid, now, lasts);
        }
    }
}
