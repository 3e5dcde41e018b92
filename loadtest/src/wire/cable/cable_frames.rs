//! Frames of the server as the ActionCable client reads them.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Any frame of the server.
#[derive(Deserialize)]
pub(super) struct CableFrame<'a> {
    /// `None` for a message of a channel.
    #[serde(rename = "type")]
    pub(super) kind: Option<&'a str>,
    #[serde(default)]
    identifier: String,
    /// Event or response; of a ping, the time.
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
    /// Position of an event of the log.
    pub(super) offset: Option<u64>,
    pub(super) sid: Option<String>,
    #[serde(default)]
    pub(super) restored_ids: Vec<String>,
    pub(super) reason: Option<String>,
}

/// Fields of an event or a response that the wire uses itself.
#[derive(Deserialize)]
pub(super) struct MessageHead<'a> {
    #[serde(borrow)]
    pub(super) t: &'a str,
    last: Option<LastPosition>,
}

#[derive(Deserialize)]
struct LastPosition {
    s: u64,
}

/// Identifier of a channel. The inbox has no conversation.
#[derive(Deserialize)]
struct ChannelName {
    c: Option<String>,
}

// === impl CableFrame, MessageHead ===

impl CableFrame<'_> {
    /// Returns the conversation of the frame's channel.
    pub(super) fn conversation(&self) -> Option<String> {
        let name: ChannelName = serde_json::from_str(&self.identifier).ok()?;
        name.c
    }
}

impl MessageHead<'_> {
    /// Returns the end of the log that a response names.
    pub(super) fn last_seq(&self) -> Option<u64> {
        self.last.as_ref().map(|last| last.s)
    }
}
