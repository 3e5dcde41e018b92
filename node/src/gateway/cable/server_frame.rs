//! Frames to a client, of both subprotocols, appended to a buffer. Pure.
//!
//! An event is wrapped, not encoded anew: the bytes of its tail are the same for every receiver and transport.

use bytes::{BufMut, BytesMut};

use super::stream_history::EPOCH;
use crate::gateway::native_command::quoted;

/// Reason for which the server disconnects a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DisconnectReason {
    Unauthorized,
    /// The token has expired: @anycable/core renews it and connects again.
    TokenExpired,
    InvalidRequest,
    ServerRestart,
    /// The session was closed on purpose.
    Remote,
}

/// Position of an event of the log, for clients of the extended protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventOffset<'a> {
    /// Id of the conversation.
    pub(super) stream: &'a str,
    pub(super) seq: u64,
}

// === impl DisconnectReason ===

impl DisconnectReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            DisconnectReason::Unauthorized => "unauthorized",
            DisconnectReason::TokenExpired => "token_expired",
            DisconnectReason::InvalidRequest => "invalid_request",
            DisconnectReason::ServerRestart => "server_restart",
            DisconnectReason::Remote => "remote",
        }
    }
}

/// Appends the first frame of a connection. `sid`: session id, which only the extended protocol has.
pub(super) fn welcome(out: &mut BytesMut, sid: Option<&str>) {
    put(out, r#"{"type":"welcome""#);
    if let Some(sid) = sid {
        put(out, r#","sid":"#);
        put(out, &quoted(sid));
    }
    put(out, "}");
}

/// Appends the first frame of a connection that continues a session with these identifiers, each a JSON string.
pub(super) fn welcome_back<'a>(out: &mut BytesMut, sid: &str, identifiers: impl Iterator<Item = &'a str>) {
    put(out, r#"{"type":"welcome","sid":"#);
    put(out, &quoted(sid));
    put(out, r#","restored":true,"restored_ids":["#);
    for (at, identifier) in identifiers.enumerate() {
        if at > 0 {
            put(out, ",");
        }
        put(out, identifier);
    }
    put(out, "]}");
}

/// Appends a ping with the Unix time in seconds.
pub(super) fn ping(out: &mut BytesMut, unix_s: u64) {
    put(out, r#"{"type":"ping","message":"#);
    put(out, itoa::Buffer::new().format(unix_s));
    put(out, "}");
}

/// Appends a frame about a subscription, such as `confirm_subscription`. `identifier`: a JSON string.
pub(super) fn status_frame(out: &mut BytesMut, kind: &str, identifier: &str) {
    put(out, r#"{"type":""#);
    put(out, kind);
    put(out, r#"","identifier":"#);
    put(out, identifier);
    put(out, "}");
}

/// Appends the confirmation of a subscription. `identifier`: a JSON string, as in all functions below.
pub(super) fn confirm_subscription(out: &mut BytesMut, identifier: &str) {
    status_frame(out, "confirm_subscription", identifier);
}

/// Appends the rejection or the end of a subscription.
pub(super) fn reject_subscription(out: &mut BytesMut, identifier: &str) {
    status_frame(out, "reject_subscription", identifier);
}

/// Appends the end of a history that was sent in full.
pub(super) fn confirm_history(out: &mut BytesMut, identifier: &str) {
    status_frame(out, "confirm_history", identifier);
}

/// Appends the refusal of a history, of which nothing is sent.
pub(super) fn reject_history(out: &mut BytesMut, identifier: &str) {
    status_frame(out, "reject_history", identifier);
}

/// Appends an event. `n`: its number in the session; `None` for an event of the history.
pub(super) fn event(
    out: &mut BytesMut,
    identifier: &str,
    n: Option<u64>,
    tail: &[u8],
    offset: Option<EventOffset<'_>>,
) {
    put(out, r#"{"identifier":"#);
    put(out, identifier);
    put(out, r#","message":{"#);
    if let Some(n) = n {
        put(out, r#""n":"#);
        put(out, itoa::Buffer::new().format(n));
        put(out, ",");
    }
    out.put_slice(tail);
    if let Some(EventOffset { stream, seq }) = offset {
        // The id of a conversation needs no escapes.
        put(out, r#","stream_id":""#);
        put(out, stream);
        put(out, r#"","epoch":""#);
        put(out, EPOCH);
        put(out, r#"","offset":"#);
        put(out, itoa::Buffer::new().format(seq));
    }
    put(out, "}");
}

/// Appends a message that is no event, such as the answer to an action. `message`: text of a JSON value.
pub(super) fn message(out: &mut BytesMut, identifier: &str, message: &[u8]) {
    put(out, r#"{"identifier":"#);
    put(out, identifier);
    put(out, r#","message":"#);
    out.put_slice(message);
    put(out, "}");
}

/// Appends the announcement of the end of the connection.
pub(super) fn disconnect(out: &mut BytesMut, reason: DisconnectReason, reconnect: bool) {
    put(out, r#"{"type":"disconnect","reason":""#);
    put(out, reason.as_str());
    put(out, r#"","reconnect":"#);
    put(out, if reconnect { "true}" } else { "false}" });
}

fn put(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const TAIL: &[u8] = br#""t":"msg","c":"g_1","s":7,"b":{"text":"hi"}}"#;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Golden bytes: stock clients read these frames.
    #[test]
    fn frames_of_the_base_protocol_are_frozen() {
        let identifier = quoted(r#"{"channel":"InboxChannel"}"#);
        for (frame, text) in [
            (written(|out| welcome(out, None)), r#"{"type":"welcome"}"#),
            (
                written(|out| ping(out, 1_700_000_000)),
                r#"{"type":"ping","message":1700000000}"#,
            ),
            (
                written(|out| confirm_subscription(out, &identifier)),
                r#"{"type":"confirm_subscription","identifier":"{\"channel\":\"InboxChannel\"}"}"#,
            ),
            (
                written(|out| reject_subscription(out, &identifier)),
                r#"{"type":"reject_subscription","identifier":"{\"channel\":\"InboxChannel\"}"}"#,
            ),
            (
                written(|out| event(out, &identifier, Some(413), TAIL, None)),
                r#"{"identifier":"{\"channel\":\"InboxChannel\"}","message":{"n":413,"t":"msg","c":"g_1","s":7,"b":{"text":"hi"}}}"#,
            ),
            (
                written(|out| message(out, &identifier, br#"{"t":"ok"}"#)),
                r#"{"identifier":"{\"channel\":\"InboxChannel\"}","message":{"t":"ok"}}"#,
            ),
            (
                written(|out| disconnect(out, DisconnectReason::ServerRestart, true)),
                r#"{"type":"disconnect","reason":"server_restart","reconnect":true}"#,
            ),
            (
                written(|out| disconnect(out, DisconnectReason::Unauthorized, false)),
                r#"{"type":"disconnect","reason":"unauthorized","reconnect":false}"#,
            ),
        ] {
            assert_eq!(frame, text);
        }
    }

    #[test]
    fn frames_of_the_extended_protocol_are_frozen() {
        let offset = EventOffset {
            stream: "g_1",
            seq: 7,
        };
        for (frame, text) in [
            (
                written(|out| welcome(out, Some("2c"))),
                r#"{"type":"welcome","sid":"2c"}"#,
            ),
            (
                written(|out| welcome_back(out, "2c", [r#""a""#, r#""b""#].into_iter())),
                r#"{"type":"welcome","sid":"2c","restored":true,"restored_ids":["a","b"]}"#,
            ),
            (
                written(|out| event(out, r#""i""#, None, TAIL, Some(offset))),
                r#"{"identifier":"i","message":{"t":"msg","c":"g_1","s":7,"b":{"text":"hi"}},"stream_id":"g_1","epoch":"1","offset":7}"#,
            ),
            (
                written(|out| confirm_history(out, r#""i""#)),
                r#"{"type":"confirm_history","identifier":"i"}"#,
            ),
            (
                written(|out| reject_history(out, r#""i""#)),
                r#"{"type":"reject_history","identifier":"i"}"#,
            ),
        ] {
            assert_eq!(frame, text);
        }
    }

    proptest! {
        #[test]
        fn any_identifier_comes_back_unchanged(identifier in any::<String>(), n in any::<u64>(), seq in any::<u64>()) {
            let offset = EventOffset { stream: "g_1", seq };
            let frame = written(|out| event(out, &quoted(&identifier), Some(n), TAIL, Some(offset)));
            let frame: Value = serde_json::from_str(&frame).unwrap();
            prop_assert_eq!(&frame["identifier"], &json!(identifier));
            prop_assert_eq!((&frame["message"]["n"], &frame["offset"]), (&json!(n), &json!(seq)));
        }
    }
}
