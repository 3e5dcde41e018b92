//! Telemetry of the node: logging and metrics.

pub mod logging;
pub mod metrics;
