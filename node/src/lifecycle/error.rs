//! Reasons why a node could not start.

use crate::auth::{UnusableTokens, token_verifier};
use crate::gateway::connection_limit;
use crate::webhook;

/// Reason why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be opened.
    #[error("storage.dir {dir}: {source}")]
    Storage { dir: String, source: storage::Error },
    /// The listener for other nodes cannot be bound.
    #[error("cluster.listen {listen}: {reason}")]
    Transport { listen: String, reason: String },
    /// A certificate cannot be used.
    #[error("{setting}: {reason}")]
    Certificate { setting: &'static str, reason: String },
    /// The cluster member could not start.
    #[error("{0}")]
    Cluster(#[from] cluster::Error),
    /// The keys for verifying tokens cannot be loaded.
    #[error("{0}")]
    Auth(#[from] token_verifier::Error),
    /// The tokens of operators cannot be read.
    #[error("{0}")]
    AdminTokens(#[from] UnusableTokens),
    /// The webhook that delivers one-time codes is misconfigured.
    #[error("login.webhook: {0}")]
    Webhook(webhook::UnusableSecret),
    /// The webhook for messages is misconfigured.
    #[error("webhook: {0}")]
    Hooks(webhook::UnusableSecret),
    /// The limit of open files is too low.
    #[error("{0}")]
    Files(#[from] connection_limit::FileLimitTooLow),
    /// A listener for clients cannot be bound.
    #[error("{setting} {address}: {source}")]
    Gateway {
        setting: &'static str,
        address: String,
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("threads: {0}")]
    Threads(#[from] std::io::Error),
    /// A component ended during the start; its own log lines give the reason.
    #[error("the {0} ended during its start")]
    Ended(&'static str),
}
