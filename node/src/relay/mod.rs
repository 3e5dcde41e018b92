//! From the owners of shards to the sessions of this node: one stream of events per node, shared by all who listen.
//!
//! The node's relay (`task`) registers, per shard, for the conversations that some session here is subscribed to, puts
//! what the owner delivers in `order`, reads again what got lost, and hands each event once to every worker thread
//! with subscribers. There the thread's [`LocalHub`] calls each [`Subscriber`]. So a message costs the owner one
//! delivery per node, and a node one hand-over per worker and one call per subscriber.
//!
//! ```text
//!  owner's fan-out ──▶ Inlet ──▶ relay task ──▶ worker 1: LocalHub ──▶ Subscriber …
//!  (other nodes, here)           one per node ─▶ worker 2: LocalHub ──▶ Subscriber …
//! ```
//!
//! What every subscriber may rely on: the events of a conversation come in the order of their `s`, none twice, none
//! left out, from the position that [`LocalHub::subscribe`] returned; and nothing above the event that removes its
//! user. Losses on the way (a broken link, a full queue, a new owner, a slow worker) delay events, and nothing else.
//!
//! What is gone from the log when it is to be read again can't be delivered, and with it may be gone the event that
//! removes somebody. So **a position moves over events that were not seen only with a proof of membership**: the hub
//! holds a subscriber back at such a jump until the owner has said, at a place of the log behind it, whether the user is
//! a member, and in the same membership as before ([`Subscriber::jumped`], or [`Subscriber::ended`]).

mod hub;
mod notice;
mod order;
mod shard;
mod slots;
mod subscriber;
mod task;
mod workers;

use std::sync::Arc;

use bytes::Bytes;
use cluster::NodeId;
use protocol::{ConvId, UserId};
use tokio::sync::mpsc;

use crate::conversation::metrics::Metrics;
use crate::conversation::shared::Shared;
use crate::conversation::timeline::{Moved, Published};
use crate::rpc::deliver::{Positions, To};

pub use hub::{Feed, LocalHub};
pub use subscriber::Subscriber;

pub(crate) use task::run;

use self::notice::Control;

/// Orders of all workers that wait for the relay.
const CONTROL: usize = 4096;

/// The way to this node's relay, for those who build workers. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    control: mpsc::Sender<Control>,
    worker_batches: usize,
}

/// Where deliveries enter. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Inlet {
    arrivals: mpsc::Sender<Arrival>,
    metrics: Metrics,
}

/// What the relay takes in.
pub(crate) struct Outlet {
    arrivals: mpsc::Receiver<Arrival>,
    control: mpsc::Receiver<Control>,
}

/// What the owners send.
enum Arrival {
    /// A frame of another node.
    Frame(Bytes),
    /// From shards of this node.
    Here(Vec<Delivery>),
    /// The last number of registrations.
    Positions(Positions),
}

/// One delivery of an owner.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// The registration and the number.
    pub(crate) to: To,
    /// What it is.
    pub(crate) what: Delivered,
}

/// What owners deliver.
#[derive(Clone, Debug)]
pub(crate) enum Delivered {
    /// An event.
    Event(Arc<Published>),
    /// A user became a member.
    Joined {
        /// The user.
        user: UserId,
        /// The conversation.
        conv: ConvId,
    },
    /// Something was sent in a conversation of a user.
    Active(Moved),
}

// === impl Relay, Inlet ===

/// Makes the queues of a node's relay.
pub(crate) fn channels(frames: usize, worker_batches: usize, metrics: Metrics) -> (Relay, Inlet, Outlet) {
    let (frame_sender, arrivals) = mpsc::channel(frames);
    let (control_sender, control) = mpsc::channel(CONTROL);
    let relay = Relay {
        control: control_sender,
        worker_batches,
    };
    (
        relay,
        Inlet {
            arrivals: frame_sender,
            metrics,
        },
        Outlet { arrivals, control },
    )
}

impl Relay {
    /// Makes the hub of the calling worker thread. Call it once per thread, inside its actix runtime.
    #[must_use]
    pub fn hub(&self) -> LocalHub {
        LocalHub::connect(self.control.clone(), self.worker_batches)
    }
}

impl Inlet {
    /// A frame of another node.
    pub(crate) fn frame(&self, from: NodeId, link: u64, frame: Bytes) {
        // Which node and which link it came by doesn't matter: the registration in each record does.
        let _ = (from, link);
        self.push(Arrival::Frame(frame));
    }

    /// Deliveries of shards on this node.
    pub(crate) fn here(&self, deliveries: Vec<Delivery>) {
        self.push(Arrival::Here(deliveries));
    }

    /// The last number of registrations.
    pub(crate) fn positions(&self, positions: Positions) {
        self.push(Arrival::Positions(positions));
    }

    fn push(&self, arrival: Arrival) {
        // What is dropped shows as a gap.
        if self.arrivals.try_send(arrival).is_err() {
            self.metrics.relay_dropped.inc();
        }
    }
}

/// The relay's view of the node.
pub(crate) type Node = Arc<Shared>;
