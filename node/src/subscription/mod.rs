//! Subscriptions of this node: one stream of events per node, from the owners of the shards to the sessions.
//!
//! Per shard, the node's manager (`manager`) registers the conversations that have a subscriber here. It orders the
//! owner's deliveries (`reorder_buffer`), reads lost events again, and passes each event once to every worker thread
//! with subscribers. There the thread's [`SubscriptionHub`] calls each [`Subscriber`]. So a message costs the owner one
//! delivery per node. It costs the node one transfer per worker thread and one call per subscriber.
//!
//! ```text
//!  owner's fan-out ──▶ DeliverySender ──▶ manager ───────▶ worker 1: SubscriptionHub ──▶ Subscriber …
//!  (other nodes, here)                    one per node ──▶ worker 2: SubscriptionHub ──▶ Subscriber …
//! ```
//!
//! Every subscriber receives the events of a conversation in the order of their seq, none twice and none left out. They
//! begin at the position that [`SubscriptionHub::subscribe`] returned. It receives nothing above the event that removes
//! its user. Losses on the way (a broken connection, a full queue, a new owner, a slow worker) delay events, and
//! nothing else.
//!
//! Events that were trimmed from the log cannot be delivered, and the event that removes a user may be among them. So
//! **a position moves over undelivered events only with a proof of membership**. At such a jump the hub holds a
//! subscriber back and requests a proof from the owner, at a position behind the jump. In the same membership as before
//! the subscription continues ([`Subscriber::jumped`]); otherwise it ends ([`Subscriber::ended`]). See
//! docs/decisions/0016-membership-is-proved-where-a-position-jumps.md.

mod joined_conversations;

mod hub;
mod hub_batch;
mod hub_event;
mod manager;
mod reorder_buffer;
mod shard_interest;
mod subscriber;
mod subscriber_list;

pub(crate) use joined_conversations::JoinedConversations;

use std::sync::Arc;

use protocol::{ConversationId, UserId};
use tokio::sync::mpsc;

use crate::rpc::deliver::DeliveryTarget;
use crate::shard_client::ClientContext;
use crate::state_machine::{EventEnvelope, MovedMember};

#[cfg(any(test, feature = "testkit"))]
pub use self::hub::DetachedHub;
pub use self::hub::SubscriptionHub;
pub use self::subscriber::Subscriber;

pub(crate) use self::manager::{DeliveryReceiver, DeliverySender, channels, run};

use self::hub_event::HubCommand;

/// Batches of events queued for a worker. Further ones are dropped and read again from the log.
const WORKER_BATCHES: usize = 1_024;

/// Handle to the node's subscription manager, from which workers create their hubs. Cheap to clone.
#[derive(Clone)]
pub struct SubscriptionManager {
    control: mpsc::Sender<HubCommand>,
}

/// Delivery of an owner to this node.
#[derive(Clone, Debug)]
pub(crate) struct OwnerDelivery {
    /// Registration and delivery seq.
    pub(crate) to: DeliveryTarget,
    pub(crate) what: Delivered,
}

#[derive(Clone, Debug)]
pub(crate) enum Delivered {
    Event(Arc<EventEnvelope>),
    /// A user with sessions here became a member.
    Joined {
        user: UserId,
        conv: ConversationId,
    },
    /// A message was sent in a conversation of a user with sessions here.
    Active(MovedMember),
}

// === impl SubscriptionManager ===

impl SubscriptionManager {
    /// Creates the hub of the calling worker thread. Must be called once per thread, inside its actix runtime.
    #[must_use]
    pub fn hub(&self) -> SubscriptionHub {
        SubscriptionHub::connect(self.control.clone(), WORKER_BATCHES)
    }
}

/// State of the node that the manager uses.
pub(crate) type Node = Arc<ClientContext>;
