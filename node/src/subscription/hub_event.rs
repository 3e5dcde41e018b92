//! Messages between the hub of a worker and the subscription manager.

use std::sync::Arc;

use protocol::{ConversationId, UserId};
use tokio::sync::mpsc;

use crate::registration::WorkerId;
use crate::rpc::register::Proof;
use crate::shard_client::CommandError;
use crate::state_machine::{EventEnvelope, MovedMember, PlacedEntry};

/// Command of a worker's hub to the manager.
#[derive(Debug)]
pub(super) enum HubCommand {
    /// Registers a worker with its queue.
    Hello {
        worker: WorkerId,
        events: mpsc::Sender<Vec<HubEvent>>,
    },
    /// Requests the conversation's events and a proof that the user is a member, for a new subscription or after a
    /// jump.
    Subscribe {
        worker: WorkerId,
        conv: ConversationId,
        /// User whose membership is to be proved.
        user: UserId,
        /// Number that [`HubEvent::Admitted`] repeats.
        ticket: u64,
    },
    /// Ends the worker's interest in a conversation.
    Unsubscribe { worker: WorkerId, conv: ConversationId },
    /// Requests events that the worker missed.
    Pull {
        worker: WorkerId,
        conv: ConversationId,
        /// Seq of the last event in order.
        after: u64,
    },
    /// Registers the worker's interest in a user with sessions.
    Attach { worker: WorkerId, user: UserId },
    /// Ends the worker's interest in a user.
    Detach { worker: WorkerId, user: UserId },
}

/// Event of the manager for a worker's hub, in order.
#[derive(Debug)]
pub(super) enum HubEvent {
    /// The next event of a conversation.
    Event(Arc<EventEnvelope>),
    /// A conversation is live: its events follow, the next one with seq `as_of + 1`.
    Live { conv: ConversationId, as_of: u64 },
    /// Result of a membership check.
    Admitted {
        ticket: u64,
        /// Proof of the owner, or the reason why there is none.
        result: Result<Proof, CommandError>,
        /// Recent events outside the log.
        recent: Vec<Arc<EventEnvelope>>,
    },
    /// Events that the worker requested.
    Pulled {
        conv: ConversationId,
        /// Position behind which the events were requested.
        after: u64,
        /// Ascending by their seq.
        events: Vec<Arc<EventEnvelope>>,
        /// End of the log when the events were read.
        last: u64,
    },
    /// A user became a member of a conversation.
    Joined { user: UserId, conv: ConversationId },
    /// A message was sent in a conversation of a user.
    Active(MovedMember),
    /// Latest conversations of a user, as of a registration.
    Index { user: UserId, convs: Arc<[PlacedEntry]> },
    /// Events were dropped because the worker's queue was full: every conversation may have a gap.
    Overflow,
}

// === impl HubEvent ===

impl HubEvent {
    /// Returns true if the event may be dropped when the worker's queue is full, because it can be read again.
    pub(super) fn droppable(&self) -> bool {
        matches!(self, HubEvent::Event(_))
    }
}
