//! A node's half of presence: it tells the owners of users' shards which sessions are here and whom they watch, and
//! hands what the owners say to the worker threads.
//!
//! ```text
//!  session ─▶ Desk (worker) ─▶ attendance task ─ ATTEND, BEAT ─▶ owner's directory
//!          ◀─              ◀─  one per node    ◀──── NEWS ──────
//! ```
//! One request per shard is under way; what happens meanwhile goes with the next. Any doubt about what an owner knows (a
//! new owner, a registration it has forgotten) is answered by telling everything anew.

mod shard;
mod task;
mod workers;

use cluster::{Clock, NodeId, Reply};
use protocol::{Cid, UserId};
use tokio::sync::mpsc;

use super::metrics::Metrics;
use crate::rpc::presence::{Admission, Displaced, News, Seat};
use crate::rpc::{self, Refused};

pub(super) use shard::shown;
pub(crate) use task::run;

/// Names a worker.
pub(super) type WorkerId = u64;

/// The way to this node's attendance, for those who build workers. Cheap to clone.
#[derive(Clone)]
pub struct Attendance {
    /// Taking an order never waits. Bounded by what is behind the orders: two per session, and what the rates of
    /// sessions let through of `watch`.
    orders: mpsc::UnboundedSender<Order>,
    worker_batches: usize,
    metrics: Metrics,
    clock: Clock,
}

/// Where news enters. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Inlet {
    news: mpsc::Sender<Arrival>,
    metrics: Metrics,
}

/// What the task takes in.
pub(crate) struct Outlet {
    orders: mpsc::UnboundedReceiver<Order>,
    news: mpsc::Receiver<Arrival>,
}

/// News of an owner, which waits to hear that it was taken.
pub(super) struct Arrival {
    from: NodeId,
    news: News,
    reply: Reply,
}

/// A worker's desk to the task.
#[derive(Debug)]
pub(super) enum Order {
    /// A worker is there.
    Hello {
        /// Drawn by it.
        worker: WorkerId,
        /// Where its notices go.
        notices: mpsc::Sender<Vec<Notice>>,
    },
    /// A session is connected.
    Enter {
        /// The worker.
        worker: WorkerId,
        /// The session.
        seat: Seat,
    },
    /// A session is connected no more.
    Leave {
        /// The user.
        user: UserId,
        /// The session.
        tag: u64,
    },
    /// A session of `viewer` watches `user`, and wants to be told how that one stands.
    Watch {
        /// The worker.
        worker: WorkerId,
        /// Whom.
        user: UserId,
        /// Who.
        viewer: UserId,
    },
    /// The worker has no session of `viewer` any more that watches `user`.
    Unwatch {
        /// The worker.
        worker: WorkerId,
        /// Whom.
        user: UserId,
        /// Who.
        viewer: UserId,
    },
}

/// The task to a worker's desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// Whether a session is let in.
    Admitted {
        /// The session.
        tag: u64,
        /// Whether.
        admission: Admission,
    },
    /// A session lost its place.
    Displaced {
        /// The session.
        tag: u64,
        /// How.
        how: Displaced,
    },
    /// A login of a user has ended, or all.
    Ended {
        /// The user.
        user: UserId,
        /// Which login; `None`: all.
        login: Option<Cid>,
    },
    /// How a user stands, for the sessions of one viewer.
    Stands {
        /// The user.
        user: UserId,
        /// The viewer.
        viewer: UserId,
        /// What the viewer is shown.
        shown: Shown,
    },
}

/// What a viewer is shown of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Whether the user counts as present.
    pub online: bool,
    /// When the user was seen last, in milliseconds since the epoch.
    pub seen: Option<u64>,
}

// === impl Attendance, Inlet ===

/// Makes the queues of a node's attendance.
pub(crate) fn channels(
    news: usize,
    worker_batches: usize,
    metrics: Metrics,
    clock: Clock,
) -> (Attendance, Inlet, Outlet) {
    let (order_sender, orders) = mpsc::unbounded_channel();
    let (news_sender, news) = mpsc::channel(news);
    let attendance = Attendance {
        orders: order_sender,
        worker_batches,
        metrics: metrics.clone(),
        clock,
    };
    let inlet = Inlet {
        news: news_sender,
        metrics,
    };
    (attendance, inlet, Outlet { orders, news })
}

impl Attendance {
    /// Makes the desk of the calling worker thread. Call it once per thread, inside its actix runtime.
    #[must_use]
    pub fn desk(&self) -> super::Desk {
        super::Desk::connect(
            self.orders.clone(),
            self.worker_batches,
            self.metrics.clone(),
            self.clock.clone(),
        )
    }
}

impl Inlet {
    /// News of an owner. What finds no room is refused, and told again.
    pub(crate) fn news(&self, from: NodeId, body: &[u8], reply: Reply) {
        let news: News = match rpc::decode(body) {
            Ok(news) => news,
            Err(error) => return reply.send(Err(rpc::encode(&Refused::Bad(error.to_string())))),
        };
        if let Err(error) = self.news.try_send(Arrival { from, news, reply }) {
            self.metrics.news_refused.inc();
            error.into_inner().reply.send(Err(rpc::encode(&Refused::Busy)));
        }
    }
}

#[cfg(test)]
mod tests;
