//! Reasons for which a recording has no verdict.

use std::path::PathBuf;

/// Error of a recording that cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("line {number} of the recording: {why}")]
    Line { number: usize, why: LineError },
    #[error("the recording is cut short: its last line has the type `end`")]
    CutShort,
    #[error("the recording is inconclusive: {0}")]
    Inconclusive(&'static str),
}

/// Error of one line of a recording.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("no line of a recording: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the type {0:?} is unknown")]
    UnknownType(String),
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    #[error("{0:?} has not joined the conversation")]
    NotJoined(String),
    #[error("the cid {0:?} was sent before")]
    SentTwice(String),
    #[error("the cid {0:?} was not sent by the user, or is answered already")]
    NotPending(String),
    #[error("the recording has {recorded} lines before its end, not {counted}")]
    Count { recorded: u64, counted: u64 },
    #[error("a line follows the end")]
    AfterEnd,
}
