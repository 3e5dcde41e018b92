//! Telemetry of the node: logging and metrics.

mod conversation_metrics;
mod process;
mod user_metrics;

pub mod logging;
pub mod metrics;

pub(crate) use conversation_metrics::ConversationMetrics;
pub(crate) use user_metrics::UserMetrics;
