//! Measurements: latencies at the clients, and resource usage of the nodes.

pub(crate) mod fdatasync;
pub(crate) mod merge;
pub(crate) mod node_samples;
pub(crate) mod nodes;
pub(crate) mod recorder;
pub(crate) mod recovery;
mod written;
