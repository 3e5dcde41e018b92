//! Packets of the chat to a client, appended to a buffer. Pure.
//!
//! An event is wrapped, not encoded anew: the bytes of its tail are the same for every receiver and transport.

use bytes::{BufMut, BytesMut};

use super::engine_settings::EngineSettings;
use crate::gateway::native_command::quoted;
use crate::gateway::response_head::ResponseHead;

/// Start of every event of the main namespace: a message of the engine, and its type.
const EVENT: &str = "42[\"";

/// Appends the handshake of an engine connection. It has exactly these five fields.
pub(super) fn open(out: &mut BytesMut, engine_id: &str, can_upgrade: bool, settings: &EngineSettings) {
    put(out, r#"0{"sid":""#);
    put(out, engine_id);
    put(out, r#"","upgrades":["#);
    put(out, if can_upgrade { r#""websocket""# } else { "" });
    put(out, r#"],"pingInterval":"#);
    put(out, &settings.ping_interval.as_millis().to_string());
    put(out, r#","pingTimeout":"#);
    put(out, &settings.ping_timeout.as_millis().to_string());
    put(out, r#","maxPayload":"#);
    put(out, &settings.max_payload.to_string());
    put(out, "}");
}

/// Appends the confirmation of a CONNECT. `pid`: id by which the client recovers its state.
pub(super) fn connected(out: &mut BytesMut, socket_id: &str, pid: &str) {
    put(out, r#"40{"sid":""#);
    put(out, socket_id);
    put(out, r#"","pid":"#);
    put(out, &quoted(pid));
    put(out, "}");
}

/// Appends the refusal of a CONNECT. `body`: the response `err`.
pub(super) fn refused(out: &mut BytesMut, code: &str, body: &[u8]) {
    put(out, r#"44{"message":"#);
    put(out, &quoted(code));
    put(out, r#","data":"#);
    out.put_slice(body);
    put(out, "}");
}

/// Appends the refusal of a namespace.
pub(super) fn invalid_namespace(out: &mut BytesMut, namespace: &str) {
    put(out, "44");
    put(out, namespace);
    put(out, r#",{"message":"Invalid namespace"}"#);
}

/// Appends event `n` of session `sid`. The last argument is the offset at which the client recovers.
pub(super) fn event(out: &mut BytesMut, name: &str, n: u64, tail: &[u8], sid: &str) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(n);
    out.reserve(EVENT.len() + name.len() + tail.len() + sid.len() + 2 * digits.len() + 14);
    put(out, EVENT);
    // Names of events need no escapes, nor do session ids.
    put(out, name);
    put(out, "\",{\"n\":");
    put(out, digits);
    put(out, ",");
    out.put_slice(tail);
    put(out, ",\"");
    put(out, sid);
    put(out, ":");
    put(out, digits);
    put(out, "\"]");
}

/// Appends the event `ready`, whose offset makes the client recoverable from the start. `body`: the response `ready`.
pub(super) fn ready(out: &mut BytesMut, body: &[u8], sid: &str, n: u64) {
    put(out, EVENT);
    put(out, "ready\",");
    out.put_slice(body);
    put(out, ",\"");
    put(out, sid);
    put(out, ":");
    put(out, itoa::Buffer::new().format(n));
    put(out, "\"]");
}

/// Appends the response to an event that requested an acknowledgement.
pub(super) fn acknowledgement(out: &mut BytesMut, ack: u64, response: &ResponseHead<'_>) {
    put(out, "43");
    put(out, itoa::Buffer::new().format(ack));
    put(out, "[");
    // The number of the acknowledgement is that of the request.
    response.write(out, i64::try_from(ack).ok());
    put(out, "]");
}

/// Appends the event `err`, for an event that requested no acknowledgement. It has no offset.
pub(super) fn error(out: &mut BytesMut, response: &ResponseHead<'_>) {
    put(out, EVENT);
    put(out, "err\",");
    response.write(out, None);
    put(out, "]");
}

/// Appends the event `bye` of a connection that ends. It has no offset.
pub(super) fn bye(out: &mut BytesMut, tail: &str) {
    put(out, EVENT);
    put(out, "bye\",{");
    put(out, tail);
    put(out, "]");
}

/// Appends the end of the namespace, after which the client stays disconnected.
pub(super) fn disconnect(out: &mut BytesMut) {
    put(out, "41");
}

fn put(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &[u8] = br#""t":"msg","c":"g_1","s":7,"b":{"text":"hi"}}"#;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Golden text: stock clients read these packets.
    #[test]
    fn packets_to_the_client_are_frozen() {
        let settings = EngineSettings::default();
        let err = ResponseHead::read(br#"{"t":"err","id":-1,"code":"busy"}"#).unwrap();
        for (packet, text) in [
            (
                written(|out| open(out, "1-ab", true, &settings)),
                r#"0{"sid":"1-ab","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":65536}"#,
            ),
            (
                written(|out| open(out, "1-ab", false, &settings)),
                r#"0{"sid":"1-ab","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":65536}"#,
            ),
            (
                written(|out| connected(out, "ab", "p\"")),
                r#"40{"sid":"ab","pid":"p\""}"#,
            ),
            (
                written(|out| refused(out, "token_expired", br#"{"t":"err"}"#)),
                r#"44{"message":"token_expired","data":{"t":"err"}}"#,
            ),
            (
                written(|out| invalid_namespace(out, "/x")),
                r#"44/x,{"message":"Invalid namespace"}"#,
            ),
            (
                written(|out| event(out, "msg", 413, TAIL, "1ab")),
                r#"42["msg",{"n":413,"t":"msg","c":"g_1","s":7,"b":{"text":"hi"}},"1ab:413"]"#,
            ),
            (
                written(|out| ready(out, br#"{"t":"ready"}"#, "1ab", 0)),
                r#"42["ready",{"t":"ready"},"1ab:0"]"#,
            ),
            (
                written(|out| acknowledgement(out, 12, &err)),
                r#"4312[{"t":"err","id":12,"code":"busy"}]"#,
            ),
            (
                written(|out| error(out, &err)),
                r#"42["err",{"t":"err","code":"busy"}]"#,
            ),
            (
                written(|out| bye(out, r#""t":"bye","code":4409,"retry_ms":0}"#)),
                r#"42["bye",{"t":"bye","code":4409,"retry_ms":0}]"#,
            ),
            (written(disconnect), "41"),
        ] {
            assert_eq!(packet, text);
        }
    }
}
