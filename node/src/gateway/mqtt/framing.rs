//! Packets to the client: answers and events of the session, translated, and packets that are complete already.

use std::rc::Rc;

use bytes::{BufMut, BytesMut};

use super::connection::MqttConnection;
use crate::session::Framing;

/// Start of an answer of the session. No packet of the server begins with this byte.
const ANSWER: u8 = b'{';

/// Framing of one connection.
pub(in crate::gateway) struct MqttFraming(pub(super) Rc<MqttConnection>);

impl Framing for MqttFraming {
    fn takes_event(&self) -> bool {
        self.0.takes_event()
    }

    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        if body.first() == Some(&ANSWER) {
            self.0.answer(body, out);
        } else {
            out.put_slice(body);
        }
    }

    fn event(&self, out: &mut BytesMut, n: u64, tail: &[u8]) {
        self.0.translate(|translator| translator.on_event(n, tail, out));
    }

    // The protocol has no ping of the server.
    fn ping(&self, _out: &mut BytesMut, _sent: u64) {}

    fn pong(&self, _out: &mut BytesMut, _payload: &[u8]) {}

    fn close(&self, out: &mut BytesMut, code: Option<u16>, _reason: &str) {
        self.0.close(code, out);
    }
}
