//! Tests of the translation, frame by frame, without a session.

use protocol::{ErrorCode, Response};
use serde_json::{Value, json};

use super::*;
use crate::gateway::cable::client_frame::CableFrame;

mod history;
mod presence;

const CHAT: &str = r#"{"channel":"ChatChannel","c":"g_1"}"#;
const INBOX: &str = r#"{"channel":"InboxChannel"}"#;

#[derive(Default)]
struct Frames(Vec<Value>);

impl FrameSink for Frames {
    fn frame(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        write(&mut out);
        self.0.push(serde_json::from_slice(&out).unwrap());
    }
}

/// Translator of Alice's connection, and the frames of the step at hand.
struct Connection {
    translator: CableTranslator,
    frames: Frames,
}

impl Connection {
    /// Connection that was welcomed.
    fn new(is_extended: bool) -> Connection {
        let limits = SubscriptionLimits {
            count: 4,
            bytes: 1_000,
        };
        let mut connection = Connection {
            translator: CableTranslator::new("alice".parse().unwrap(), is_extended, limits),
            frames: Frames::default(),
        };
        connection.answer(r#"{"t":"ready","user":"alice","sid":"2c","resumed":false,"n":0}"#);
        connection.frames();
        connection
    }

    /// Connection with a confirmed subscription to the conversation at position `last`.
    fn subscribed(is_extended: bool, last: u64) -> Connection {
        let mut connection = Connection::new(is_extended);
        connection.subscribe(CHAT, Value::Null);
        let id = connection.request()["id"].clone();
        connection.answer(&opened(&id, last));
        assert_eq!(connection.frames(), [status("confirm_subscription", CHAT)]);
        connection
    }

    fn frames(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.frames.0)
    }

    fn client(&mut self, frame: Value) {
        let text = frame.to_string();
        let frame = CableFrame::parse(&text).unwrap();
        self.translator.on_frame(frame, text.len(), &mut self.frames);
    }

    fn subscribe(&mut self, identifier: &str, history: Value) {
        self.client(json!({"command": "subscribe", "identifier": identifier, "history": history}));
    }

    fn perform(&mut self, identifier: &str, data: Value) {
        let data = data.to_string();
        self.client(json!({"command": "message", "identifier": identifier, "data": data}));
    }

    fn answer(&mut self, body: &str) {
        self.translator.on_answer(body.as_bytes(), &mut self.frames);
    }

    fn event(&mut self, n: u64, tail: &str) {
        self.translator.on_event(n, tail.as_bytes(), &mut self.frames);
    }

    /// Returns the only request, as its native JSON.
    fn request(&mut self) -> Value {
        let [request] = &self.requests()[..] else {
            panic!("one request");
        };
        request.clone()
    }

    /// Returns the requests, as their native JSON.
    fn requests(&mut self) -> Vec<Value> {
        let requests = self.translator.take_requests();
        let requests = requests.iter().map(|command| command.request.as_ref().unwrap());
        let requests = requests.map(|request| serde_json::from_str(&request.encode()).unwrap());
        requests.collect()
    }
}

fn status(kind: &str, identifier: &str) -> Value {
    json!({"type": kind, "identifier": identifier})
}

fn opened(id: &Value, last: u64) -> String {
    format!(
        r#"{{"t":"conv","id":{id},"c":"g_1","kind":"group","role":"member","last":{{"s":{last},"mn":1,"ts":{}}},"read":0,"delivered":0}}"#,
        1_000 * last
    )
}

fn msg(s: u64) -> String {
    format!(
        r#""t":"msg","c":"g_1","s":{s},"mn":{s},"ts":{},"u":"bob","cid":"k{s}","b":{{}}}}"#,
        1_000 * s
    )
}

fn refused(id: &Value, code: ErrorCode) -> String {
    Response::Err(protocol::response::ErrorResponse::new(code, "no", None)).encode(id.as_i64())
}

fn page(id: &Value, seqs: std::ops::RangeInclusive<u64>, more: bool) -> String {
    let events: Vec<String> = seqs.map(|s| format!("{{{}", msg(s))).collect();
    format!(
        r#"{{"t":"hist","id":{id},"c":"g_1","events":[{}],"more":{more}}}"#,
        events.join(",")
    )
}

#[test]
fn welcome_names_the_session_to_extended_clients_only() {
    for (is_extended, welcome) in [
        (false, json!({"type": "welcome"})),
        (true, json!({"type": "welcome", "sid": "2c"})),
    ] {
        let limits = SubscriptionLimits { count: 1, bytes: 100 };
        let mut translator = CableTranslator::new("alice".parse().unwrap(), is_extended, limits);
        let mut frames = Frames::default();
        translator.on_answer(br#"{"t":"hello","proto":1}"#, &mut frames);
        assert!(frames.0.is_empty() && !translator.is_welcomed());
        translator.on_answer(br#"{"t":"ready","sid":"2c","resumed":false,"n":0}"#, &mut frames);
        assert!(translator.is_welcomed());
        assert_eq!(frames.0, [welcome]);
    }
}

#[test]
fn membership_confirms_a_subscription_once() {
    let mut connection = Connection::new(false);
    connection.subscribe(CHAT, Value::Null);
    connection.subscribe(CHAT, Value::Null);
    let request = connection.request();
    assert_eq!((&request["t"], &request["c"]), (&json!("open"), &json!("g_1")));
    connection.answer(&opened(&request["id"], 7));
    connection.subscribe(CHAT, Value::Null);
    assert_eq!(connection.frames(), [status("confirm_subscription", CHAT)]);
    connection.event(1, &msg(7));
    assert_eq!(
        connection.frames(),
        Vec::<Value>::new(),
        "before the confirmation"
    );
    connection.event(2, &msg(8));
    let frames = connection.frames();
    assert_eq!(
        (&frames[0]["identifier"], &frames[0]["message"]["s"]),
        (&json!(CHAT), &json!(8))
    );
    assert_eq!((frames.len(), &frames[0]["offset"]), (1, &Value::Null));
}

#[test]
fn refused_membership_rejects_and_a_temporary_one_does_not() {
    let mut connection = Connection::new(false);
    connection.subscribe(CHAT, Value::Null);
    let id = connection.request()["id"].clone();
    connection.answer(&refused(&id, ErrorCode::Unavailable));
    assert_eq!(connection.frames(), Vec::<Value>::new());
    connection.subscribe(CHAT, Value::Null);
    let id = connection.request()["id"].clone();
    connection.answer(&refused(&id, ErrorCode::NotMember));
    assert_eq!(connection.frames(), [status("reject_subscription", CHAT)]);
}

#[test]
fn unknown_channels_and_too_many_subscriptions_are_rejected() {
    let mut connection = Connection::new(false);
    for text in ["nonsense", r#"{"channel":"NewsChannel"}"#] {
        connection.subscribe(text, Value::Null);
        assert_eq!(connection.frames(), [status("reject_subscription", text)]);
    }
    for n in 0..4 {
        connection.subscribe(&format!(r#"{{"channel":"InboxChannel","n":{n}}}"#), Value::Null);
    }
    connection.frames();
    connection.subscribe(INBOX, Value::Null);
    assert_eq!(connection.frames(), [status("reject_subscription", INBOX)]);
}

#[test]
fn direct_conversation_is_confirmed_before_its_first_message() {
    let direct = r#"{"channel":"ChatChannel","to":"bob"}"#;
    let mut connection = Connection::new(false);
    connection.subscribe(direct, Value::Null);
    let request = connection.request();
    connection.answer(&refused(&request["id"], ErrorCode::NotMember));
    assert_eq!(connection.frames(), [status("confirm_subscription", direct)]);
    connection.perform(
        direct,
        json!({"action": "send", "cid": "k1", "b": {"text": "hi"}}),
    );
    let send = connection.request();
    assert_eq!((&send["to"], &send["c"]), (&json!("bob"), &Value::Null));
    connection.perform(direct, json!({"action": "read", "s": 3}));
    assert_eq!(connection.request()["c"], request["c"]);
}

#[test]
fn action_is_the_native_command_and_its_answer_comes_back() {
    let mut connection = Connection::new(false);
    connection.perform(
        CHAT,
        json!({"action": "send", "id": 900, "cid": "k1", "b": {"text": "hi"}, "c": "g_2"}),
    );
    let request = connection.request();
    assert_eq!(
        (&request["t"], &request["c"], &request["cid"]),
        (&json!("send"), &json!("g_1"), &json!("k1"))
    );
    connection.answer(&format!(
        r#"{{"t":"ack","id":{},"c":"g_1","cid":"k1","s":4}}"#,
        request["id"]
    ));
    let answer = json!({"t": "ack", "id": 900, "c": "g_1", "cid": "k1", "s": 4});
    assert_eq!(
        connection.frames(),
        [json!({"identifier": CHAT, "message": answer})]
    );

    connection.perform(INBOX, json!({"action": "list"}));
    let request = connection.request();
    connection.answer(&format!(r#"{{"t":"inbox","id":{},"items":[]}}"#, request["id"]));
    let answer = json!({"t": "inbox", "items": []});
    assert_eq!(
        connection.frames(),
        [json!({"identifier": INBOX, "message": answer})]
    );
}

#[test]
fn data_of_a_rails_action_is_the_body() {
    for action in [json!("speak"), json!("receive"), Value::Null] {
        let mut connection = Connection::new(false);
        let mut data = json!({"text": "hi", "id": 3, "cid": "k1"});
        if !action.is_null() {
            data["action"] = action;
        }
        connection.perform(CHAT, data);
        let request = connection.request();
        assert_eq!(
            (&request["t"], &request["b"]),
            (&json!("send"), &json!({"text": "hi"}))
        );
        assert_eq!(request["cid"], "k1");
    }
    let mut connection = Connection::new(false);
    connection.perform(CHAT, json!({"action": "speak", "cid": "k1", "b": {"text": "ho"}}));
    assert_eq!(connection.request()["b"], json!({"text": "ho"}));
}

#[test]
fn malformed_action_is_refused_at_its_identifier() {
    for data in [
        r#"{"action":"send","id":5,"b":{}}"#,
        r#"{"action":"send","id":5,"cid":"","b":{}}"#,
        r#"{"action":7,"id":5}"#,
        r#"{"action":"dance","id":5}"#,
        r#"{"action":"typing","id":5}"#,
    ] {
        let mut connection = Connection::new(false);
        connection.client(json!({"command": "message", "identifier": CHAT, "data": data}));
        let [
            ReceivedCommand {
                request: Err(error), ..
            },
        ] = &connection.translator.take_requests()[..]
        else {
            panic!("a refusal of {data}");
        };
        let id = json!(error.id.unwrap());
        assert_eq!(error.code, ErrorCode::BadRequest, "{data}");
        connection.answer(&refused(&id, ErrorCode::BadRequest));
        let frames = connection.frames();
        assert_eq!(
            (&frames[0]["identifier"], &frames[0]["message"]["id"]),
            (&json!(CHAT), &json!(5)),
            "{data}"
        );
    }
    let mut connection = Connection::new(false);
    connection.client(json!({"command": "message", "identifier": CHAT, "data": "not json"}));
    assert_eq!(connection.translator.take_requests().len(), 1);
}

#[test]
fn events_of_the_session_reach_the_inbox_alone() {
    let mut connection = Connection::subscribed(false, 0);
    connection.subscribe(INBOX, Value::Null);
    assert_eq!(connection.frames(), [status("confirm_subscription", INBOX)]);
    connection.event(1, r#""t":"presence","u":"bob","state":"online"}"#);
    connection.event(
        2,
        r#""t":"conv","c":"g_2","kind":"group","last":{"s":0,"mn":0,"ts":0}}"#,
    );
    connection.event(3, r#""t":"bye","code":4012,"retry_ms":1}"#);
    let frames = connection.frames();
    let of = |frame: &Value| (frame["identifier"].clone(), frame["message"]["t"].clone());
    assert_eq!(
        frames.iter().map(of).collect::<Vec<_>>(),
        [(json!(INBOX), json!("presence")), (json!(INBOX), json!("conv"))]
    );
    connection.event(4, r#""t":"typing","c":"g_1","u":"bob","on":true}"#);
    let identifiers: Vec<Value> = connection
        .frames()
        .iter()
        .map(|frame| frame["identifier"].clone())
        .collect();
    assert_eq!(identifiers, [json!(CHAT), json!(INBOX)]);
}

#[test]
fn removal_is_the_last_event_of_a_subscription() {
    let mut connection = Connection::subscribed(true, 4);
    let member = r#""t":"member","c":"g_1","s":5,"ts":9,"u":"bob","who":"alice","role":null,"why":"kick"}"#;
    connection.event(1, member);
    connection.event(2, &msg(6));
    let frames = connection.frames();
    assert_eq!(
        (&frames[0]["message"]["why"], &frames[0]["offset"]),
        (&json!("kick"), &json!(5))
    );
    assert_eq!(frames[1..], [status("reject_subscription", CHAT)]);
    let other = r#""t":"member","c":"g_1","s":5,"ts":9,"u":"bob","who":"carol","role":null,"why":"kick"}"#;
    let mut connection = Connection::subscribed(true, 4);
    connection.event(1, other);
    connection.event(2, &msg(6));
    assert_eq!(connection.frames().len(), 2, "that of another user ends nothing");
}

#[test]
fn unsubscribed_conversation_stays_silent() {
    let mut connection = Connection::subscribed(false, 4);
    connection.client(json!({"command": "unsubscribe", "identifier": CHAT}));
    assert!(!connection.translator.covers("g_1"));
    connection.event(1, &msg(5));
    assert_eq!(connection.frames(), Vec::<Value>::new());
    connection.subscribe(CHAT, Value::Null);
    let id = connection.request()["id"].clone();
    connection.client(json!({"command": "unsubscribe", "identifier": CHAT}));
    connection.answer(&opened(&id, 5));
    assert_eq!(connection.frames(), Vec::<Value>::new(), "a late answer");
}
