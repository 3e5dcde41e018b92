use protocol::response::{ReadyResponse, SessionLimits};
use protocol::{ErrorCode, Response};
use serde_json::{Value, json};

use super::*;

/// Packets of one write.
#[derive(Default)]
struct Packets(Vec<String>);

impl PacketSink for Packets {
    fn packet(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let packet = queued_packet(write);
        self.0.push(String::from_utf8(packet.to_vec()).unwrap());
    }

    fn binary(&mut self, _bytes: &[u8]) {}
}

fn written(write: impl FnOnce(&mut Packets)) -> Vec<String> {
    let mut packets = Packets::default();
    write(&mut packets);
    packets.0
}

fn ready(resumed: bool) -> String {
    let ready = ReadyResponse {
        user: "bob".parse().unwrap(),
        session_id: "1ab".to_owned(),
        resumed,
        session_seq: 7,
        reason: None,
        resume_ttl_ms: 1,
        limits: SessionLimits {
            body_bytes: 1,
            sends_per_second: 1,
            burst: 1,
            ephemeral_per_second: 1,
        },
    };
    Response::Ready(ready).encode(None)
}

fn err(id: Option<i64>) -> String {
    let refusal = protocol::response::ErrorResponse::new(ErrorCode::TokenExpired, "over".to_owned(), None);
    Response::Err(refusal).encode(id)
}

fn connected() -> SocketIoConnection {
    let connection = SocketIoConnection::default();
    assert!(connection.connect(None));
    written(|out| connection.queued(ready(false).as_bytes(), out));
    connection
}

#[test]
fn connect_is_confirmed_before_the_first_event() {
    let connection = SocketIoConnection::default();
    assert!(!connection.has_connected());
    assert!(connection.connect(Some("mine".to_owned())));
    assert!(!connection.connect(None), "it is connecting");
    let body = ready(false);
    let packets = written(|out| connection.queued(body.as_bytes(), out));
    let confirmed: Value = serde_json::from_str(packets[0].strip_prefix("40").unwrap()).unwrap();
    assert_eq!(confirmed["sid"].as_str().unwrap().len(), 32);
    assert_ne!(confirmed["pid"], "mine", "a new session is no recovery");
    let event: Value = serde_json::from_str(packets[1].strip_prefix("42").unwrap()).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(event, json!(["ready", body, "1ab:7"]));
    let events = written(|out| connection.event(8, br#""t":"msg","c":"g_1","s":2}"#, out));
    assert_eq!(events, [r#"42["msg",{"n":8,"t":"msg","c":"g_1","s":2},"1ab:8"]"#]);
}

#[test]
fn resumed_session_has_the_pid_of_the_client() {
    let connection = SocketIoConnection::default();
    assert!(connection.connect(Some("mine".to_owned())));
    let packets = written(|out| connection.queued(ready(true).as_bytes(), out));
    assert!(packets[0].ends_with(r#""pid":"mine"}"#), "{}", packets[0]);
}

#[test]
fn refused_client_may_connect_again() {
    let connection = SocketIoConnection::default();
    assert!(connection.connect(None));
    let packets = written(|out| connection.queued(err(None).as_bytes(), out));
    let refusal: Value = serde_json::from_str(packets[0].strip_prefix("44").unwrap()).unwrap();
    assert_eq!(
        (&refusal["message"], &refusal["data"]["http"]),
        (&json!("token_expired"), &json!(401))
    );
    assert!(!connection.has_connected());
    assert!(connection.connect(None));
}

#[test]
fn responses_go_to_their_acknowledgements() {
    let connection = connected();
    let of = |body: &str| written(|out| connection.queued(body.as_bytes(), out));
    assert_eq!(
        of(r#"{"t":"ack","id":0,"s":4}"#),
        [r#"430[{"t":"ack","id":0,"s":4}]"#]
    );
    assert_eq!(of(r#"{"t":"ack","id":-1,"s":4}"#).len(), 0);
    assert!(of(&err(Some(-1)))[0].starts_with(r#"42["err",{"t":"err","code":"token_expired""#));
    assert_eq!(of("44/x,{}"), ["44/x,{}"], "packets of the gateway pass");
}

#[test]
fn pong_confirms_the_events_before_the_ping() {
    let connection = connected();
    assert_eq!(written(|out| connection.ping(12, out)), ["2"]);
    assert_eq!((connection.on_pong(), connection.on_pong()), (Some(12), None));
}

#[test]
fn close_code_decides_whether_the_client_comes_back() {
    let ends = |code: Option<u16>| written(|out| connected().close(code, r#"{"retry_ms":30}"#, out));
    let bye = |code| format!(r#"42["bye",{{"t":"bye","code":{code},"retry_ms":30}}]"#);
    for code in CloseCode::ALL.map(CloseCode::code) {
        let expected = match code {
            1_000 => vec!["41".to_owned()],
            4_200..4_600 => vec![bye(code), "41".to_owned()],
            _ => vec![],
        };
        assert_eq!(ends(Some(code)), expected, "{code}");
    }
    assert_eq!(ends(None).len(), 0);
}

#[test]
fn end_is_announced_once_and_to_connected_clients_only() {
    let connection = connected();
    let tail = br#""t":"bye","code":4201,"retry_ms":0}"#;
    assert_eq!(written(|out| connection.event(9, tail, out)).len(), 1);
    assert_eq!(written(|out| connection.close(Some(4_201), "", out)), ["41"]);
    let unconnected = SocketIoConnection::default();
    assert_eq!(written(|out| unconnected.close(Some(4_210), "", out)).len(), 0);
    let closed = connected();
    closed.on_closed_by_client();
    assert_eq!(written(|out| closed.close(Some(1_000), "", out)).len(), 0);
}
