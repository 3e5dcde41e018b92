//! Metrics of the transport.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::ConnectionClass;
use crate::ids::NodeId;

/// Metrics of a node's transport, per peer and connection class. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    sent_bytes: Family<ConnectionLabels, Counter>,
    sent_frames: Family<ConnectionLabels, Counter>,
    received_bytes: Family<ConnectionLabels, Counter>,
    received_frames: Family<ConnectionLabels, Counter>,
    connects: Family<ConnectionLabels, Counter>,
    full: Family<ConnectionLabels, Counter>,
    class_bytes: Family<ConnectionLabels, Gauge>,
    /// By class, without the peer: a histogram for each of both would be many series.
    queue_seconds: Family<QueueLabels, Histogram, fn() -> Histogram>,
    refused: Counter,
    unencrypted: Counter,
}

/// Metrics of one peer and class, looked up once so that the hot path only touches atomics.
#[derive(Clone, Debug)]
pub(crate) struct ClassMetrics {
    pub(crate) sent_bytes: Counter,
    pub(crate) sent_frames: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) received_frames: Counter,
    pub(crate) connects: Counter,
    pub(crate) full: Counter,
    pub(crate) class_bytes: Gauge,
    pub(crate) queue_seconds: Histogram,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ConnectionLabels {
    peer: u64,
    class: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct QueueLabels {
    class: &'static str,
}

/// 0.1 ms to 3.3 s: a peer that takes nothing for longer is disconnected.
fn queue_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 16))
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            sent_bytes: Family::default(),
            sent_frames: Family::default(),
            received_bytes: Family::default(),
            received_frames: Family::default(),
            connects: Family::default(),
            full: Family::default(),
            class_bytes: Family::default(),
            queue_seconds: Family::new_with_constructor(queue_buckets),
            refused: Counter::default(),
            unencrypted: Counter::default(),
        }
    }
}

impl Default for ClassMetrics {
    fn default() -> ClassMetrics {
        Metrics::default().class(NodeId(0), ConnectionClass::Rpc)
    }
}

impl Metrics {
    /// Registers the metrics in `registry`, under names that begin with `transport_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("transport");
        registry.register(
            "sent_bytes",
            "Bytes written to a peer, including frame headers",
            self.sent_bytes.clone(),
        );
        registry.register(
            "sent_frames",
            "Frames written to a peer",
            self.sent_frames.clone(),
        );
        registry.register(
            "received_bytes",
            "Bytes read from a peer",
            self.received_bytes.clone(),
        );
        registry.register(
            "received_frames",
            "Frames read from a peer",
            self.received_frames.clone(),
        );
        registry.register(
            "connects",
            "Outgoing connections established; each after the first is a reconnection",
            self.connects.clone(),
        );
        registry.register(
            "full",
            "Requests refused because the outgoing queue of their connection class was full",
            self.full.clone(),
        );
        registry.register(
            "class_bytes",
            "Bytes in the outgoing queue of a connection class",
            self.class_bytes.clone(),
        );
        registry.register(
            "queue_seconds",
            "Time of the oldest frame of a write in the outgoing queue of a connection class, in seconds",
            self.queue_seconds.clone(),
        );
        registry.register(
            "refused",
            "Handshakes refused by either side",
            self.refused.clone(),
        );
        registry.register(
            "unencrypted",
            "Connections of other nodes without TLS, at a node that has certificates",
            self.unencrypted.clone(),
        );
    }

    /// Returns the metrics of one peer and class.
    pub(crate) fn class(&self, peer: NodeId, class: ConnectionClass) -> ClassMetrics {
        let labels = ConnectionLabels {
            peer: peer.0,
            class: class.name(),
        };
        ClassMetrics {
            sent_bytes: self.sent_bytes.get_or_create_owned(&labels),
            sent_frames: self.sent_frames.get_or_create_owned(&labels),
            received_bytes: self.received_bytes.get_or_create_owned(&labels),
            received_frames: self.received_frames.get_or_create_owned(&labels),
            connects: self.connects.get_or_create_owned(&labels),
            full: self.full.get_or_create_owned(&labels),
            class_bytes: self.class_bytes.get_or_create_owned(&labels),
            queue_seconds: self
                .queue_seconds
                .get_or_create_owned(&QueueLabels { class: class.name() }),
        }
    }

    /// Counts a refused handshake.
    pub(crate) fn count_refused(&self) {
        self.refused.inc();
    }

    /// Counts an incoming connection without TLS.
    pub(crate) fn count_unencrypted(&self) {
        self.unencrypted.inc();
    }
}
