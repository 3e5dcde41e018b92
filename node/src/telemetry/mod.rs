//! Telemetry of the node: logging and metrics.

mod conversation_metrics;
mod loop_lag;
mod process;
mod recent_lines;
mod user_metrics;

pub mod logging;
pub mod metrics;

pub(crate) use conversation_metrics::ConversationMetrics;
pub use loop_lag::{EventLoop, LoopLag};
pub(crate) use recent_lines::{RecentLine, recent_lines};
pub(crate) use user_metrics::UserMetrics;
