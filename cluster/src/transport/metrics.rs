//! What the transport counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Lane;
use crate::types::NodeId;

/// Counters of a node's transport, per peer and lane; a cheap handle.
#[derive(Clone, Default, Debug)]
pub struct Metrics {
    sent_bytes: Family<Labels, Counter>,
    sent_frames: Family<Labels, Counter>,
    received_bytes: Family<Labels, Counter>,
    received_frames: Family<Labels, Counter>,
    connects: Family<Labels, Counter>,
    full: Family<Labels, Counter>,
    lane_bytes: Family<Labels, Gauge>,
    refused: Counter,
}

/// The counters of one peer and lane, looked up once so that the hot path touches only atomics.
#[derive(Clone, Default, Debug)]
pub(crate) struct LaneMetrics {
    pub(crate) sent_bytes: Counter,
    pub(crate) sent_frames: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) received_frames: Counter,
    pub(crate) connects: Counter,
    pub(crate) full: Counter,
    pub(crate) lane_bytes: Gauge,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Labels {
    peer: u64,
    lane: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Adds the transport's metrics to `registry`, under names that begin with `transport_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("transport");
        registry.register(
            "sent_bytes",
            "Bytes written to a peer, frame headers included",
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
            "Outgoing links made; more than one is a reconnect",
            self.connects.clone(),
        );
        registry.register(
            "full",
            "Requests refused because their lane was full",
            self.full.clone(),
        );
        registry.register(
            "lane_bytes",
            "Bytes an outgoing lane holds",
            self.lane_bytes.clone(),
        );
        registry.register(
            "refused",
            "Handshakes that either side refused",
            self.refused.clone(),
        );
    }

    /// The counters of one peer and lane.
    pub(crate) fn lane(&self, peer: NodeId, lane: Lane) -> LaneMetrics {
        let labels = Labels {
            peer: peer.0,
            lane: lane.name(),
        };
        LaneMetrics {
            sent_bytes: self.sent_bytes.get_or_create_owned(&labels),
            sent_frames: self.sent_frames.get_or_create_owned(&labels),
            received_bytes: self.received_bytes.get_or_create_owned(&labels),
            received_frames: self.received_frames.get_or_create_owned(&labels),
            connects: self.connects.get_or_create_owned(&labels),
            full: self.full.get_or_create_owned(&labels),
            lane_bytes: self.lane_bytes.get_or_create_owned(&labels),
        }
    }

    /// Counts a refused handshake.
    pub(crate) fn count_refused(&self) {
        self.refused.inc();
    }
}
