//! Clients that resume their sessions.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Client, Incoming, Node};

/// State that a client has to present to resume its session.
#[derive(Clone, Debug)]
pub struct Known {
    pub sid: String,
    pub n: u64,
}

/// Returns the `auth` of a device, with a resume point if the device has one.
pub fn auth(user: &str, device: &str, known: Option<&Known>) -> String {
    let mut auth = json!({"t":"auth","id":0,"token":format!("dev:{user}"),"device":device,"instance":"one"});
    if let Some(Known { sid, n }) = known {
        auth["resume"] = json!({"sid":sid,"n":n});
    }
    auth.to_string()
}

/// Connects a device, and returns the client and its `ready`.
pub async fn connect(node: &Node, user: &str, device: &str, known: Option<&Known>) -> (Client, Value) {
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    client.send(&auth(user, device, known)).await;
    let ready = client.answer(0).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    (client, ready)
}

/// Connects a device that names an action instead of a session, `device` or `clean`.
pub async fn connect_by_device(addr: SocketAddr, user: &str, device: &str, resume: &str) -> (Client, Value) {
    let mut client = Client::connect(addr).await;
    client.expect("hello").await;
    let auth = json!({
        "t": "auth", "id": 0, "token": format!("dev:{user}"), "device": device, "instance": "one", "resume": resume,
    });
    client.send(&auth.to_string()).await;
    let ready = client.answer(0).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    (client, ready)
}

/// Confirms the events up to `n`.
pub async fn confirm(client: &mut Client, n: u64) {
    let hb = json!({"t": "hb", "id": 9, "n": n});
    assert_eq!(client.ask(9, &hb.to_string()).await["t"], "hb");
}

/// Returns the resume point that a `ready` contains.
pub fn known(ready: &Value) -> Known {
    Known {
        sid: ready["sid"].as_str().unwrap().to_owned(),
        n: ready["n"].as_u64().unwrap(),
    }
}

/// Checks that the session continues behind `n`.
#[track_caller]
pub fn is_resumed(ready: &Value, n: u64) {
    assert_eq!(
        (&ready["resumed"], &ready["n"], ready.get("why")),
        (&json!(true), &json!(n), None),
        "{ready}"
    );
}

/// Checks that a new session began, for this reason.
#[track_caller]
pub fn is_refused(ready: &Value, why: &str) {
    assert_eq!(
        (&ready["resumed"], &ready["n"], &ready["why"]),
        (&json!(false), &json!(0), &json!(why)),
        "{ready}"
    );
}

/// Returns the next event, which must have this number.
pub async fn event(client: &mut Client, n: u64) -> Value {
    loop {
        let message = client.json().await;
        if message.get("n").is_some() && message["t"] != "ready" {
            assert_eq!(message["n"], n, "{message}");
            return message;
        }
    }
}

/// Returns the next message. Each event up to it must have the number behind `n`, which moves with them.
pub async fn next_message(client: &mut Client, n: &mut u64) -> Value {
    loop {
        *n += 1;
        let event = event(client, *n).await;
        if event["t"] == "msg" {
            return event;
        }
    }
}

/// Connects bob and creates his conversation with alice. His events continue at `n + 1`.
pub async fn introduced(node: &Node, alice: &mut Client) -> (Client, Known) {
    let (mut bob, ready) = connect(node, "bob", "phone", None).await;
    assert_eq!(ready["resumed"], false);
    say(alice, "bob", "hello").await;
    assert_eq!(event(&mut bob, 1).await["t"], "conv");
    assert_eq!(event(&mut bob, 2).await["cid"], "hello");
    let Known { sid, .. } = known(&ready);
    (bob, Known { sid, n: 2 })
}

/// Sends a message without echo, and returns its ack.
pub async fn say(client: &mut Client, to: &str, cid: &str) -> Value {
    let id = 1_000 + i64::try_from(cid.len()).unwrap();
    let send = json!({"t":"send","id":id,"to":to,"cid":cid,"b":{"text":cid},"echo":false});
    let ack = client.ask(id, &send.to_string()).await;
    assert_eq!(ack["t"], "ack", "{ack}");
    ack
}

/// Sends `much` messages from alice to bob, who loses every connection after fewer than `few` events, sometimes before the
/// first, and resumes at the node that `node_of` names for the round.
pub async fn flap<'a>(
    mut alice: Client,
    (mut bob, mut at): (Client, Known),
    much: u64,
    few: usize,
    node_of: impl Fn(usize) -> &'a Node,
) {
    let talking = tokio::spawn(async move {
        for i in 0..much {
            say(&mut alice, "bob", &format!("m{i}")).await;
        }
    });
    let (mut expected, mut round) = (0, 0);
    while expected < much {
        for _ in 0..round % few {
            if expected == much {
                break;
            }
            at.n += 1;
            let message = event(&mut bob, at.n).await;
            assert_eq!(message["cid"], format!("m{expected}"), "{message}");
            expected += 1;
        }
        round += 1;
        let ready;
        (bob, ready) = connect(node_of(round), "bob", "phone", Some(&at)).await;
        is_resumed(&ready, at.n);
        assert_ne!(ready["sid"], at.sid);
        at.sid = known(&ready).sid;
    }
    talking.await.unwrap();
}

/// Resumes one session over two connections at once, and sends a heartbeat over both. One of them remains, and the other
/// is closed without a message. The session continues exactly at its position over the remaining connection, unless the
/// other had already used the new session id; then under that id. Returns the client and the resume point.
pub async fn race(node: &Node, one: Client, two: Client, at: &Known) -> (Client, Known) {
    let (mut one, mut two) = (Racer::new(one), Racer::new(two));
    let text = auth("bob", "phone", Some(at));
    tokio::join!(one.client.send(&text), two.client.send(&text));
    let hb = r#"{"t":"hb","id":7}"#;
    tokio::join!(one.client.send(hb), two.client.send(hb));
    let second_stays = tokio::select! {
        () = one.is_closed() => true,
        () = two.is_closed() => false,
    };
    let (closed, mut stays) = if second_stays { (one, two) } else { (two, one) };
    stays.client.send(r#"{"t":"hb","id":8}"#).await;
    while !stays.receives(8).await {}
    let ready = stays.ready.expect("a ready was received");
    if ready["resumed"] == true {
        is_resumed(&ready, at.n);
        return (stays.client, known(&ready));
    }
    is_refused(&ready, "unknown");
    let first = closed.ready.expect("the first connection received a ready");
    is_resumed(&first, at.n);
    let (client, ready) = connect(node, "bob", "phone", Some(&known(&first))).await;
    is_resumed(&ready, at.n);
    (client, known(&ready))
}

struct Racer {
    client: Client,
    ready: Option<Value>,
}

// === impl Racer ===

impl Racer {
    fn new(client: Client) -> Racer {
        Racer { client, ready: None }
    }

    /// Reads until the connection is closed with 1000.
    async fn is_closed(&mut self) {
        loop {
            match self.client.recv().await {
                Incoming::Text(text) => self.note(serde_json::from_str(&text).unwrap()),
                Incoming::Close(code, _) => return assert_eq!(code, 1000),
                Incoming::End => panic!("the connection ended without a close frame"),
                Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Binary(_) => {}
            }
        }
    }

    /// Tests the next message for being the response to this request.
    async fn receives(&mut self, id: i64) -> bool {
        let message = self.client.json().await;
        let answers = message["id"] == id;
        self.note(message);
        answers
    }

    fn note(&mut self, message: Value) {
        if message["t"] == "ready" {
            self.ready = Some(message);
        }
    }
}
