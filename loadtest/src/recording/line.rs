//! One line of a recording.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::LineError;

/// Line of a recording. The type `t` decides which of the fields it needs.
#[derive(Deserialize, Default, Debug)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RecordedLine<'a> {
    pub(super) t: &'a str,
    /// User of the client.
    u: Option<&'a str>,
    /// Id of the conversation.
    c: Option<&'a str>,
    cid: Option<&'a str>,
    /// Position of a message, or after which a view begins.
    s: Option<u64>,
    /// Body of a sent message, exactly as events will have it.
    #[serde(borrow)]
    b: Option<&'a RawValue>,
    /// Error code of a refusal.
    code: Option<&'a str>,
    /// First and last position of a gap.
    from: Option<u64>,
    to: Option<u64>,
    /// Event that the client showed.
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    /// Events of a log that was read again.
    #[serde(borrow)]
    pub(super) events: Vec<&'a RawValue>,
    /// Node that returned a log; `None` for the window of the client.
    node: Option<&'a str>,
    /// In `reach`, numbers of members; in `row`, the client's own cursors.
    delivered: Option<u64>,
    read: Option<u64>,
    /// Position of the last event of a row.
    last: Option<u64>,
    unread: Option<u64>,
    /// Number of lines before the end.
    lines: Option<u64>,
}

// === impl RecordedLine ===

impl<'a> RecordedLine<'a> {
    pub(super) fn user(&self) -> Result<&'a str, LineError> {
        self.u.ok_or(LineError::Missing("u"))
    }

    pub(super) fn conversation(&self) -> Result<&'a str, LineError> {
        self.c.ok_or(LineError::Missing("c"))
    }

    pub(super) fn cid(&self) -> Result<&'a str, LineError> {
        self.cid.ok_or(LineError::Missing("cid"))
    }

    pub(super) fn s(&self) -> Result<u64, LineError> {
        self.s.ok_or(LineError::Missing("s"))
    }

    pub(super) fn body(&self) -> Result<&'a RawValue, LineError> {
        self.b.ok_or(LineError::Missing("b"))
    }

    pub(super) fn code(&self) -> Result<&'a str, LineError> {
        self.code.ok_or(LineError::Missing("code"))
    }

    pub(super) fn gap(&self) -> Result<(u64, u64), LineError> {
        let from = self.from.ok_or(LineError::Missing("from"))?;
        Ok((from, self.to.ok_or(LineError::Missing("to"))?))
    }

    pub(super) fn event(&self) -> Result<&'a RawValue, LineError> {
        self.event.ok_or(LineError::Missing("event"))
    }

    /// Returns `true` for a log that the client itself showed.
    pub(super) fn is_window(&self) -> bool {
        self.node.is_none()
    }

    pub(super) fn delivered(&self) -> Result<u64, LineError> {
        self.delivered.ok_or(LineError::Missing("delivered"))
    }

    pub(super) fn read(&self) -> Result<u64, LineError> {
        self.read.ok_or(LineError::Missing("read"))
    }

    pub(super) fn last(&self) -> Result<u64, LineError> {
        self.last.ok_or(LineError::Missing("last"))
    }

    pub(super) fn unread(&self) -> Result<u64, LineError> {
        self.unread.ok_or(LineError::Missing("unread"))
    }

    pub(super) fn lines(&self) -> Result<u64, LineError> {
        self.lines.ok_or(LineError::Missing("lines"))
    }
}
