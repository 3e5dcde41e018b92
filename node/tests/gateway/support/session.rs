//! A client that goes on with its session.

use serde_json::{Value, json};

use super::{Client, Incoming, Node};

/// A client as it is known to the server: what it has to say to go on with its session.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) sid: String,
    pub(crate) n: u64,
}

/// The `auth` of a device, which wants to go on with a session if it knows one.
pub(crate) fn auth(user: &str, device: &str, known: Option<&Known>) -> String {
    let mut auth = json!({"t":"auth","id":0,"token":format!("dev:{user}"),"device":device,"instance":"one"});
    if let Some(Known { sid, n }) = known {
        auth["resume"] = json!({"sid":sid,"n":n});
    }
    auth.to_string()
}

/// Connects, and returns the client and its `ready`.
pub(crate) async fn connect(node: &Node, user: &str, device: &str, known: Option<&Known>) -> (Client, Value) {
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    client.send(&auth(user, device, known)).await;
    let ready = client.answer(0).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    (client, ready)
}

/// What a `ready` lets the client know.
pub(crate) fn known(ready: &Value) -> Known {
    Known {
        sid: ready["sid"].as_str().unwrap().to_owned(),
        n: ready["n"].as_u64().unwrap(),
    }
}

/// Checks that the session goes on behind `n`.
#[track_caller]
pub(crate) fn is_resumed(ready: &Value, n: u64) {
    assert_eq!(
        (&ready["resumed"], &ready["n"], ready.get("why")),
        (&json!(true), &json!(n), None),
        "{ready}"
    );
}

/// Checks that a new session began, and why.
#[track_caller]
pub(crate) fn is_refused(ready: &Value, why: &str) {
    assert_eq!(
        (&ready["resumed"], &ready["n"], &ready["why"]),
        (&json!(false), &json!(0), &json!(why)),
        "{ready}"
    );
}

/// The next event, which has this number.
pub(crate) async fn event(client: &mut Client, n: u64) -> Value {
    loop {
        let message = client.json().await;
        if message.get("n").is_some() && message["t"] != "ready" {
            assert_eq!(message["n"], n, "{message}");
            return message;
        }
    }
}

/// Sends a message without waiting for its place.
pub(crate) async fn say(client: &mut Client, to: &str, cid: &str) -> Value {
    let id = 1_000 + i64::try_from(cid.len()).unwrap();
    let send = json!({"t":"send","id":id,"to":to,"cid":cid,"b":{"text":cid},"echo":false});
    let ack = client.ask(id, &send.to_string()).await;
    assert_eq!(ack["t"], "ack", "{ack}");
    ack
}

/// Two connections that go on with one session at once, and say something. Whichever is closed, and be it both: by one of
/// the names that the client knows then, the session goes on exactly where it was. Returns that.
pub(crate) async fn race(node: &Node, mut one: Client, mut two: Client, at: &Known) -> (Client, Known) {
    let text = auth("bob", "phone", Some(at));
    tokio::join!(one.send(&text), two.send(&text));
    let hb = r#"{"t":"hb","id":7}"#;
    tokio::join!(one.send(hb), two.send(hb));
    let (first, second) = tokio::join!(outcome(&mut one), outcome(&mut two));
    let names = [first, second, Some(at.sid.clone())];
    drop((one, two));
    for sid in names.into_iter().flatten() {
        let name = Known { sid, n: at.n };
        let (client, ready) = connect(node, "bob", "phone", Some(&name)).await;
        if ready["resumed"] == true {
            is_resumed(&ready, at.n);
            return (client, known(&ready));
        }
    }
    panic!("the session is gone");
}

/// The name that a connection tells before its heartbeat 7 is answered, or it is closed with 1000.
async fn outcome(client: &mut Client) -> Option<String> {
    let mut sid = None;
    loop {
        match client.recv().await {
            Incoming::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                match message["t"].as_str() {
                    Some("ready") => sid = message["sid"].as_str().map(str::to_owned),
                    Some("hb") => return sid,
                    _ => {}
                }
            }
            Incoming::Close(code, _) => {
                assert_eq!(code, 1000);
                return sid;
            }
            Incoming::End => panic!("the connection ended without a close frame"),
            Incoming::Ping(_) | Incoming::Pong(_) => {}
        }
    }
}
