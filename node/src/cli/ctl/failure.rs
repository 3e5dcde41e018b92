//! Failures of `rookery ctl` with their exit codes; docs/operations.md has the same list.

/// Reason why a command did not end with 0. The text is for standard error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum Failure {
    /// The node refused the request, or failed.
    #[error("{0}")]
    Refused(String),
    /// The answer is not that of a node, or not that of its admin API.
    #[error("{url}: {reason}")]
    NoNode { url: String, reason: String },
    /// The command needs `--yes`.
    #[error("this cannot be undone: add --yes")]
    NotConfirmed,
    /// No node has answered the request.
    #[error("{0}: no answer")]
    Unreachable(String),
    /// The token is missing, unknown, or lacks the role.
    #[error("not allowed: {0}")]
    NotAllowed(String),
    /// The outcome is not known: it may still happen.
    #[error("not known within the time: {0}")]
    Unknown(String),
    /// The check found problems, which are on standard output.
    #[error("")]
    Degraded,
    /// The node accepts no clients.
    #[error("{url}: not ready: {reason}")]
    NotReady { url: String, reason: String },
    /// A file or setting cannot be used.
    #[error("{0}")]
    Config(String),
    /// Result in the form of a monitor, whose exit codes are its own.
    #[error("")]
    Nagios(u8),
}

// === impl Failure ===

impl Failure {
    /// Returns the exit code. 2 is also that of clap for wrong arguments.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused(_) | Failure::NoNode { .. } => 1,
            Failure::NotConfirmed => 2,
            Failure::Unreachable(_) => 3,
            Failure::NotAllowed(_) => 4,
            Failure::Unknown(_) => 5,
            Failure::Degraded | Failure::NotReady { .. } => 6,
            // EX_USAGE of sysexits.h, as for a node.
            Failure::Config(_) => 64,
            Failure::Nagios(code) => *code,
        }
    }
}
