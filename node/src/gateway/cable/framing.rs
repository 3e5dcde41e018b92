//! Messages to the client: answers and events of the session, translated, and frames that are complete already.

use std::rc::Rc;

use bytes::{BufMut, BytesMut};
use protocol::CloseCode;

use super::connection::CableConnection;
use super::server_frame::{self, DisconnectReason};
use super::translator::FrameSink;
use crate::gateway::websocket::{MessageFraming, MessageWriter};

/// Start of an answer of the session. Frames of this protocol begin in another way.
const RESPONSE: &[u8] = br#"{"t":""#;
/// Start of the first answer of a session.
const READY: &[u8] = br#"{"t":"ready""#;
/// Start of a ping.
const PING: &[u8] = br#"{"type":"ping""#;

/// Framing of one connection.
pub(super) struct CableMessages(pub(super) Rc<CableConnection>);

/// Sink of frames that are written at once.
struct WriterSink<'a, 'b>(&'a mut MessageWriter<'b>);

// === impl CableMessages ===

impl MessageFraming for CableMessages {
    fn answer(&self, out: &mut MessageWriter<'_>, body: &[u8]) {
        if body.starts_with(READY) {
            self.0.restore();
        }
        if body.starts_with(RESPONSE) {
            return self
                .0
                .translate(|translator| translator.on_answer(body, &mut WriterSink(out)));
        }
        if body.starts_with(PING) {
            self.0.on_ping_written();
        }
        out.text(|out| out.put_slice(body));
    }

    fn event(&self, out: &mut MessageWriter<'_>, n: u64, tail: &[u8]) {
        self.0
            .translate(|translator| translator.on_event(n, tail, &mut WriterSink(out)));
    }

    /// Writes the reason in front of the close frame, from which the client knows if it may come back.
    fn end(&self, out: &mut MessageWriter<'_>, code: Option<u16>, _reason: &str) {
        let farewell = farewell(code).filter(|_| !self.0.is_closed_by_client());
        if let Some((reason, reconnect)) = farewell {
            out.text(|out| server_frame::disconnect(out, reason, reconnect));
        }
    }
}

/// Returns the reason for a close code of the native protocol, and true if the client shall connect again. `None`: the
/// connection was lost, and a client connects again by itself.
pub(super) fn farewell(code: Option<u16>) -> Option<(DisconnectReason, bool)> {
    let code = code?;
    Some(match CloseCode::from_code(code) {
        Some(CloseCode::TokenExpired) => (DisconnectReason::TokenExpired, false),
        Some(CloseCode::AuthFailed | CloseCode::NoAuth) => (DisconnectReason::Unauthorized, false),
        Some(
            CloseCode::Framing
            | CloseCode::Binary
            | CloseCode::Utf8
            | CloseCode::TooLarge
            | CloseCode::Protocol,
        ) => (DisconnectReason::InvalidRequest, false),
        _ => match code {
            4000..=4199 => (DisconnectReason::ServerRestart, true),
            _ => (DisconnectReason::Remote, false),
        },
    })
}

// === impl WriterSink ===

impl FrameSink for WriterSink<'_, '_> {
    fn frame(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.0.text(write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_code_says_whether_the_client_comes_back() {
        for code in CloseCode::ALL {
            let (reason, reconnect) = farewell(Some(code.code())).unwrap();
            assert_eq!(reconnect, (4000..4200).contains(&code.code()), "{code:?}");
            assert_eq!(reconnect, reason == DisconnectReason::ServerRestart, "{code:?}");
        }
        assert_eq!(
            farewell(Some(4_201)),
            Some((DisconnectReason::TokenExpired, false))
        );
        assert_eq!(
            farewell(Some(4_099)),
            Some((DisconnectReason::ServerRestart, true))
        );
        assert_eq!(
            farewell(Some(1_009)),
            Some((DisconnectReason::InvalidRequest, false))
        );
        assert_eq!(farewell(None), None);
    }
}
