//! What is measured: latencies at the clients, and what the nodes cost.

pub(crate) mod latency;
pub(crate) mod nodes;
pub(crate) mod series;
