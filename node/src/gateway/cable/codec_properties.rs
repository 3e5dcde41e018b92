//! Properties of the codec of ActionCable that hold for every input.

use bytes::BytesMut;
use serde::de::IgnoredAny;

use super::client_frame::CableFrame;
use super::identifier::ChannelIdentifier;
use super::server_frame;
use crate::gateway::native_command::quoted;

/// Decodes a frame with its identifier. Returns true if the frame is accepted.
pub(crate) fn decode_frame(text: &str) -> bool {
    let frame = CableFrame::parse(text);
    if let Ok(frame) = &frame
        && let Some(identifier) = frame.identifier()
    {
        let _channel = ChannelIdentifier::parse(identifier);
    }
    frame.is_ok()
}

/// Checks a frame of a client, and the frame that its identifier comes back in.
///
/// # Panics
/// If frame or identifier come back changed, or the frame of the server is no JSON.
pub(crate) fn check_frame(text: &str) {
    let Ok(frame) = CableFrame::parse(text) else {
        return;
    };
    if let Some(written) = written(&frame) {
        assert_eq!(CableFrame::parse(&written).as_ref(), Ok(&frame), "{written}");
    }
    let Some(identifier) = frame.identifier() else {
        return;
    };
    let mut rejection = BytesMut::new();
    server_frame::reject_subscription(&mut rejection, &quoted(identifier));
    let json: Result<IgnoredAny, _> = serde_json::from_slice(&rejection);
    assert!(json.is_ok(), "{rejection:?}");
    if let Ok(channel) = ChannelIdentifier::parse(identifier) {
        let again: Option<String> = serde_json::from_str(&channel.quoted()).ok();
        assert_eq!(again.as_deref(), Some(identifier));
    }
}

/// Returns the text of a frame. `None` for one with a history, which only clients write.
fn written(frame: &CableFrame<'_>) -> Option<String> {
    let (command, data) = match frame {
        CableFrame::Subscribe { history: None, .. } => ("subscribe", None),
        CableFrame::Unsubscribe { .. } => ("unsubscribe", None),
        CableFrame::Presence { .. } => ("presence", None),
        CableFrame::Message { data, .. } => ("message", Some(quoted(data))),
        CableFrame::Whisper { data, .. } => ("whisper", Some((*data).to_owned())),
        CableFrame::Subscribe { .. } | CableFrame::History { .. } | CableFrame::Ignored => return None,
    };
    let identifier = quoted(frame.identifier()?);
    let data = data.map_or_else(String::new, |data| format!(r#","data":{data}"#));
    Some(format!(
        r#"{{"command":"{command}","identifier":{identifier}{data}}}"#
    ))
}

// === impl CableFrame ===

impl CableFrame<'_> {
    fn identifier(&self) -> Option<&str> {
        match self {
            CableFrame::Subscribe { identifier, .. }
            | CableFrame::Unsubscribe { identifier }
            | CableFrame::Message { identifier, .. }
            | CableFrame::History { identifier, .. }
            | CableFrame::Whisper { identifier, .. }
            | CableFrame::Presence { identifier } => Some(identifier),
            CableFrame::Ignored => None,
        }
    }
}
