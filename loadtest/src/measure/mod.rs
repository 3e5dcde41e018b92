//! What is measured: latencies at the clients, and what the nodes cost.

pub(crate) mod fdatasync;
pub(crate) mod latency;
pub(crate) mod merge;
pub(crate) mod nodes;
pub(crate) mod recovery;
pub(crate) mod series;
mod written;
