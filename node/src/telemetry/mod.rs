//! What the node tells about itself: log lines and figures.

pub mod logging;
pub mod metrics;
