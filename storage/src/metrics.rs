//! What the writer did, in numbers.

use prometheus_client::registry::Registry;

/// Counters of a store.
#[derive(Debug, Clone, Default)]
pub struct Metrics {}

// === impl Metrics ===

impl Metrics {
    /// Registers all metrics under their names.
    pub fn register(&self, registry: &mut Registry) {
        let _ = registry;
    }
}
