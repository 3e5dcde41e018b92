//! What a worker's hub and the relay tell each other.

use std::sync::Arc;

use protocol::{ConvId, UserId};
use tokio::sync::mpsc;

use crate::conversation::Refusal;
use crate::conversation::timeline::read::Placed;
use crate::conversation::timeline::{Moved, Published};
use crate::rpc::register::Proof;

/// Names a worker to the relay.
pub(super) type WorkerId = u64;

/// A worker's hub to the relay.
#[derive(Debug)]
pub(super) enum Control {
    /// A worker is there.
    Hello {
        /// Drawn by it.
        worker: WorkerId,
        /// Where its notices go.
        notices: mpsc::Sender<Vec<Notice>>,
    },
    /// A user wants to subscribe, or to go on after a jump, and the worker wants the conversation's events.
    Subscribe {
        /// The worker.
        worker: WorkerId,
        /// The conversation.
        conv: ConvId,
        /// The user, whose membership is to be proved.
        user: UserId,
        /// Comes back in [`Notice::Admitted`].
        ticket: u64,
    },
    /// The worker has no subscribers of the conversation any more.
    Unsubscribe {
        /// The worker.
        worker: WorkerId,
        /// The conversation.
        conv: ConvId,
    },
    /// The worker misses events.
    Pull {
        /// The worker.
        worker: WorkerId,
        /// The conversation.
        conv: ConvId,
        /// The last event in order.
        after: u64,
    },
    /// The worker has sessions of the user.
    Attach {
        /// The worker.
        worker: WorkerId,
        /// The user.
        user: UserId,
    },
    /// The worker has no sessions of the user any more.
    Detach {
        /// The worker.
        worker: WorkerId,
        /// The user.
        user: UserId,
    },
}

/// The relay to a worker's hub; in order.
#[derive(Debug)]
pub(super) enum Notice {
    /// The next event of a conversation.
    Event(Arc<Published>),
    /// The conversation's events follow, from the next one on.
    Live {
        /// The conversation.
        conv: ConvId,
        /// The position.
        as_of: u64,
    },
    /// Whether the user is a member, and at which position that was read.
    Admitted {
        /// Of the subscription.
        ticket: u64,
        /// What the owner read, or why it couldn't be asked.
        result: Result<Proof, Refusal>,
        /// What was said lately outside the log.
        recent: Vec<Arc<Published>>,
    },
    /// Events that the worker missed.
    Pulled {
        /// The conversation.
        conv: ConvId,
        /// The events, ascending.
        events: Vec<Arc<Published>>,
        /// The end of the log when they were read.
        last: u64,
    },
    /// The user became a member.
    Joined {
        /// The user.
        user: UserId,
        /// The conversation.
        conv: ConvId,
    },
    /// Something was sent in a conversation of a user.
    Active(Moved),
    /// The latest conversations of a user, as of a registration.
    Index {
        /// The user.
        user: UserId,
        /// The conversations.
        convs: Arc<[Placed]>,
    },
    /// Events were dropped because this worker was behind: every conversation may have a hole.
    Overflow,
}

// === impl Notice ===

impl Notice {
    /// Whether it may be dropped when the worker is behind: it can be had again.
    pub(super) fn droppable(&self) -> bool {
        matches!(self, Notice::Event(_))
    }
}
