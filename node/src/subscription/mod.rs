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

pub(crate) mod joined_conversations;

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

use bytes::Bytes;
use cluster::NodeId;
use protocol::{ConversationId, UserId};
use tokio::sync::mpsc;

use crate::rpc::deliver::{DeliveryTarget, Positions};
use crate::shard_client::ClientContext;
use crate::state_machine::{EventEnvelope, MovedMember};
use crate::telemetry::ConversationMetrics;

pub use self::hub::{DetachedHub, SubscriptionHub};
pub use self::subscriber::Subscriber;

pub(crate) use self::manager::run;

use self::hub_event::HubCommand;

/// Maximum number of queued commands of all workers.
const CONTROL: usize = 4096;
/// Frames queued for the subscription manager. Further ones are dropped and show as a gap.
const FRAMES: usize = 512;
/// Batches of events queued for a worker. Further ones are dropped and read again from the log.
const WORKER_BATCHES: usize = 1_024;

/// Handle to the node's subscription manager, from which workers create their hubs. Cheap to clone.
#[derive(Clone)]
pub struct SubscriptionManager {
    control: mpsc::Sender<HubCommand>,
}

/// Sending end of the queue of deliveries. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DeliverySender {
    deliveries: mpsc::Sender<IncomingDelivery>,
    metrics: ConversationMetrics,
}

/// Receiving ends of the manager's queues.
pub(crate) struct DeliveryReceiver {
    deliveries: mpsc::Receiver<IncomingDelivery>,
    control: mpsc::Receiver<HubCommand>,
}

/// Input from the owners of shards.
enum IncomingDelivery {
    /// Encoded deliveries of another node.
    Frame(Bytes),
    /// Deliveries of shards that this node owns.
    Here(Vec<OwnerDelivery>),
    /// Last delivery seq of each idle registration.
    Positions(Positions),
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

// === impl SubscriptionManager, DeliverySender ===

/// Creates the queues of a node's subscription manager.
pub(crate) fn channels(
    metrics: ConversationMetrics,
) -> (SubscriptionManager, DeliverySender, DeliveryReceiver) {
    let (frame_sender, deliveries) = mpsc::channel(FRAMES);
    let (control_sender, control) = mpsc::channel(CONTROL);
    let relay = SubscriptionManager {
        control: control_sender,
    };
    (
        relay,
        DeliverySender {
            deliveries: frame_sender,
            metrics,
        },
        DeliveryReceiver { deliveries, control },
    )
}

impl SubscriptionManager {
    /// Creates the hub of the calling worker thread. Must be called once per thread, inside its actix runtime.
    #[must_use]
    pub fn hub(&self) -> SubscriptionHub {
        SubscriptionHub::connect(self.control.clone(), WORKER_BATCHES)
    }
}

impl DeliverySender {
    /// Queues a frame of another node.
    pub(crate) fn frame(&self, from: NodeId, link: u64, frame: Bytes) {
        // Irrelevant: every record names its registration.
        let _ = (from, link);
        self.push(IncomingDelivery::Frame(frame));
    }

    /// Queues deliveries of shards that this node owns.
    pub(crate) fn here(&self, deliveries: Vec<OwnerDelivery>) {
        self.push(IncomingDelivery::Here(deliveries));
    }

    /// Queues the last delivery seqs of registrations.
    pub(crate) fn positions(&self, positions: Positions) {
        self.push(IncomingDelivery::Positions(positions));
    }

    fn push(&self, arrival: IncomingDelivery) {
        // Never blocks the transport: a dropped delivery shows as a gap in the delivery seq, and is read again.
        if self.deliveries.try_send(arrival).is_err() {
            self.metrics.relay_dropped.inc();
        }
    }
}

/// State of the node that the manager uses.
pub(crate) type Node = Arc<ClientContext>;
