//! Socket.IO by long polling, and the upgrade to a WebSocket.

use serde_json::{Value, json};

use node::testkit::{
    Call, Client, HumanDuration, HumanSize, Incoming, Node, PollingClient, SocketIoClient, eventually, group,
    masked,
};

const PATH: &str = "/socket.io/?EIO=4&transport=polling";

fn send(ack: u64, c: &str, cid: &str) -> String {
    format!(
        "42{ack}{}",
        json!(["send", {"c": c, "cid": cid, "b": {"text": cid}}])
    )
}

#[tokio::test]
async fn chat_works_by_polling_alone() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut bob = PollingClient::of(node.addr(), "bob").await;
    let payload = format!("{}\x1e{}", send(1, &c, "one"), send(2, &c, "two"));
    bob.post(&payload).await;
    let (one, two) = (bob.response(1).await, bob.response(2).await);
    assert!(one["s"].as_u64() < two["s"].as_u64(), "{one} {two}");
    let mut alice = SocketIoClient::of(node.addr(), "alice").await;
    let ack = alice
        .ask("send", json!({"c": c, "cid": "k", "b": {"text": "hi"}}))
        .await;
    loop {
        let event = bob.event("msg").await;
        if event["u"] == "alice" {
            assert_eq!(event["s"], ack["s"]);
            break;
        }
    }
}

#[tokio::test]
async fn next_poll_confirms_what_the_last_answer_held() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut bob = PollingClient::of(node.addr(), "bob").await;
    let mut alice = SocketIoClient::of(node.addr(), "alice").await;
    let ack = alice.ask("send", json!({"c": c, "cid": "k", "b": {}})).await;
    while bob.event("msg").await["s"] != ack["s"] {}
    bob.post(&send(1, &c, "answer")).await;
    bob.response(1).await;
    let delivered = async |alice: &mut SocketIoClient| {
        let members = alice.ask("members", json!({"c": c})).await;
        let items = members["items"].as_array().unwrap().clone();
        let bob = items.into_iter().find(|member| member["u"] == "bob").unwrap();
        bob["delivered"].as_u64().unwrap()
    };
    while delivered(&mut alice).await < ack["s"].as_u64().unwrap() {
        bob.packet().await;
    }
}

#[tokio::test]
async fn unknown_and_malformed_requests_have_the_codes_of_the_engine() {
    let node = Node::start().await;
    for (method, path, code) in [
        ("GET", "/socket.io/?transport=polling", 5),
        ("GET", "/socket.io/?EIO=3&transport=polling", 5),
        ("GET", "/socket.io/?EIO=4", 0),
        ("GET", "/socket.io/?EIO=4&transport=smoke", 0),
        ("POST", PATH, 2),
        ("PUT", PATH, 2),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=nobody", 1),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=nobody", 1),
        ("GET", "/socket.io/?EIO=4&transport=websocket", 3),
        ("PUT", "/socket.io/?EIO=4&transport=polling&sid=nobody", 3),
    ] {
        let reply = Call::new(method, path).text("").to(&node).await;
        assert_eq!(
            (reply.status, &reply.json()["code"]),
            (400, &json!(code)),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn pages_of_allowed_origins_may_poll() {
    let origin = "https://chat.example.org";
    let node = Node::with(|config| config.server.allowed_origins = vec![origin.to_owned()]).await;
    let open = Call::new("GET", PATH).with("Origin", origin).to(&node).await;
    assert_eq!(
        (open.status, open.header("access-control-allow-origin")),
        (200, origin)
    );
    let elsewhere = Call::new("GET", PATH)
        .with("Origin", "https://elsewhere.example")
        .to(&node)
        .await;
    assert_eq!(elsewhere.status, 403);
    let preflight = Call::new("OPTIONS", PATH)
        .with("Origin", origin)
        .with("Access-Control-Request-Method", "POST")
        .to(&node)
        .await;
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-origin")),
        (200, origin)
    );
    let refused = Call::new("GET", &format!("{PATH}&sid=nobody"))
        .with("Origin", origin)
        .to(&node)
        .await;
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (400, origin)
    );
}

#[tokio::test]
async fn second_poll_at_once_ends_the_connection() {
    let node = Node::start().await;
    let bob = PollingClient::of(node.addr(), "bob").await;
    let replies = [bob.get(), bob.get()];
    let mut replies = futures::future::join_all(replies).await;
    replies.sort_by_key(|reply| reply.status);
    // The first one is refused, too, if the connection has ended before it begins to wait.
    assert!(
        replies[0].status == 400 || replies[0].text.ends_with('1'),
        "{replies:?}"
    );
    assert_eq!(replies[1].status, 400);
    assert_eq!(bob.get().await.status, 400);
}

#[tokio::test]
async fn cancelled_poll_ends_the_connection_and_the_client_recovers() {
    let node = Node::start().await;
    let mut bob = PollingClient::open(&[node.addr()]).await;
    let ready = bob.connect(json!({"token": "dev:bob"})).await;
    eventually("a poll is lost", async || {
        // The poll may not have arrived yet when it is cancelled.
        tokio::select! {
            _ = bob.get() => {}
            _ = bob.try_post("6") => {}
        }
        node.figure(r#"rookery_gateway_connections{gateway="socketio"}"#)
            .await
            == 0
    })
    .await;
    assert_eq!(bob.get().await.status, 400);
    let mut again = SocketIoClient::open(node.addr()).await;
    let offset = format!("{}:{}", ready["sid"].as_str().unwrap(), ready["n"]);
    let auth = json!({"token": "dev:bob", "pid": bob.pid, "offset": offset});
    assert_eq!(again.connect(auth).await["resumed"], json!(true));
}

#[tokio::test]
async fn malformed_payload_ends_the_connection() {
    let node = Node::start().await;
    for payload in ["abc", "", "4abc", "42[\"x\"", "2", "4a\x1e", "b***", "bAQID"] {
        let bob = PollingClient::of(node.addr(), "bob").await;
        let reply = bob.try_post(payload).await;
        assert_eq!(reply.status, 400, "{payload}");
        let last = bob.get().await;
        assert!(last.status == 400 || last.text.ends_with('1'), "{last:?}");
        assert_eq!(bob.get().await.status, 400, "{payload}");
    }
}

#[tokio::test]
async fn payload_is_bounded_and_text() {
    let node = Node::start().await;
    let bob = PollingClient::of(node.addr(), "bob").await;
    let large = format!("4{}", "x".repeat(70_000));
    assert_eq!(bob.try_post(&large).await.status, 413);
    let binary = Call::new("POST", &bob.path)
        .with("Content-Type", "application/octet-stream")
        .text("3")
        .to(&node)
        .await;
    assert_eq!(binary.status, 400);
    let fits = json!(["send", {"to": "alice", "cid": "k", "b": {"text": "x".repeat(40_000)}}]);
    let mut bob = bob;
    bob.post(&format!("427{fits}")).await;
    assert_eq!(
        bob.response(7).await["code"],
        "too_large",
        "of the chat, not of the engine"
    );
}

#[tokio::test]
async fn close_packet_ends_the_poll_and_the_connection() {
    let node = Node::start().await;
    let bob = PollingClient::of(node.addr(), "bob").await;
    let (poll, ()) = tokio::join!(bob.get(), bob.post("1"));
    assert_eq!((poll.status, &*poll.text), (200, "6"));
    assert_eq!(bob.get().await.status, 400);
}

#[tokio::test]
async fn nothing_behind_a_close_packet_is_executed() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let bob = PollingClient::of(node.addr(), "bob").await;
    let payload = [&*send(1, &c, "before"), "1", &*send(2, &c, "behind")].join("\x1e");
    bob.post(&payload).await;
    let mut alice = SocketIoClient::of(node.addr(), "alice").await;
    let cids = async |alice: &mut SocketIoClient| {
        let page = alice.ask("hist", json!({"c": c, "after": 0})).await;
        let events = page["events"].as_array().unwrap().clone();
        let cids = events.iter().filter_map(|event| event["cid"].as_str());
        cids.map(str::to_owned).collect::<Vec<String>>()
    };
    eventually("the packet before it is executed", async || {
        cids(&mut alice).await.contains(&"before".to_owned())
    })
    .await;
    // The packets of one payload are committed in their order, before what is sent now.
    let ack = alice.ask("send", json!({"c": c, "cid": "later", "b": {}})).await;
    assert_eq!(ack["t"], "ack");
    let cids = cids(&mut alice).await;
    assert!(!cids.contains(&"behind".to_owned()), "{cids:?}");
}

#[tokio::test]
async fn refused_connect_is_answered_by_the_poll() {
    let node = Node::start().await;
    let mut refused = PollingClient::open(&[node.addr()]).await;
    refused.post(r#"40{"token":"nonsense"}"#).await;
    let refusal = refused.packet().await;
    assert!(
        refusal.starts_with(r#"44{"message":"unauthenticated","data":{"#),
        "{refusal}"
    );
    let last = refused.get().await;
    assert!(last.status == 400 || last.text == "1", "{last:?}");
}

#[tokio::test]
async fn client_that_stops_to_poll_is_ended_and_recovers() {
    let node = Node::with(|config| {
        config.tuning.ping_interval = Some(HumanDuration::secs(1));
        config.session.idle_timeout = HumanDuration::secs(2);
    })
    .await;
    let mut bob = PollingClient::open(&[node.addr()]).await;
    let ready = bob.connect(json!({"token": "dev:bob"})).await;
    node.figure_is(r#"rookery_gateway_connections{gateway="socketio"}"#, 0)
        .await;
    assert_eq!(bob.get().await.status, 400);
    let mut again = SocketIoClient::open(node.addr()).await;
    let offset = format!("{}:{}", ready["sid"].as_str().unwrap(), ready["n"]);
    let auth = json!({"token": "dev:bob", "pid": bob.pid, "offset": offset});
    assert_eq!(again.connect(auth).await["resumed"], json!(true));
}

#[tokio::test]
async fn client_that_posts_and_never_polls_is_ended() {
    let node = Node::with(|config| {
        config.tuning.ping_interval = Some(HumanDuration::secs(1));
        config.session.idle_timeout = HumanDuration::secs(2);
        config.tuning.control_frames_per_second = 1_000_000;
        config.limits.outbound_queue_size = HumanSize::kib(16);
    })
    .await;
    let bob = PollingClient::of(node.addr(), "bob").await;
    // The refusals fill the queue, so the node reads on only behind a poll.
    let packets = vec![format!("40/{},", "x".repeat(200)); 200].join("\x1e");
    bob.try_post(&packets).await;
    node.figure_is(r#"rookery_gateway_connections{gateway="socketio"}"#, 0)
        .await;
    assert_eq!(bob.get().await.status, 400);
}

#[tokio::test]
async fn websocket_replaces_the_polls_without_loss() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let bob = PollingClient::of(node.addr(), "bob").await;
    let (poll, mut socket) = tokio::join!(bob.get(), async {
        let mut socket = bob.probe().await;
        assert_eq!(socket.text().await, "3probe");
        socket
    });
    // Events may come before the empty answer, in any number of polls.
    let mut received = vec![poll.text];
    while received.last().unwrap() != "6" {
        received.push(bob.get().await.text);
    }
    let mut alice = SocketIoClient::of(node.addr(), "alice").await;
    let ack = alice
        .ask("send", json!({"c": c, "cid": "between", "b": {}}))
        .await;
    socket.send("5").await;
    loop {
        let packet = socket.text().await;
        if packet == "2" {
            socket.send("3").await;
        }
        if let Some(event) = packet.strip_prefix("42") {
            let event: Value = serde_json::from_str(event).unwrap();
            if event[0] == "msg" {
                assert_eq!(event[1]["s"], ack["s"]);
                break;
            }
        }
    }
    socket.send(&send(9, &c, "over the socket")).await;
    while !socket.text().await.starts_with(r#"439[{"t":"ack","#) {}
    assert_eq!(bob.get().await.status, 400, "HTTP is over");
    assert_eq!(bob.try_post("6").await.status, 400, "HTTP is over");
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", bob.sid);
    let mut second = Client::upgrade_at(node.addr(), &path, "", None).await;
    assert!(matches!(second.recv().await, Incoming::Close(..)));
    socket.send("41").await;
    // Events of the conversation may come before.
    while !matches!(socket.recv().await, Incoming::Close(..)) {}
}

#[tokio::test]
async fn polls_go_on_after_an_upgrade_that_ends_early() {
    let node = Node::start().await;
    let mut bob = PollingClient::of(node.addr(), "bob").await;
    let mut socket = bob.probe().await;
    assert_eq!(socket.text().await, "3probe");
    socket.raw(&masked(8, true, b"")).await;
    bob.post(r#"421["hb",{}]"#).await;
    assert_eq!(bob.response(1).await["t"], "hb");
    // And another attempt.
    let mut socket = bob.probe().await;
    while socket.recv().await != Incoming::Text("3probe".to_owned()) {
        socket = bob.probe().await;
    }
}

/// A client that has the answer to its probe does not poll on when it loses the WebSocket.
#[tokio::test]
async fn lost_websocket_during_an_upgrade_ends_the_last_poll() {
    let node = Node::start().await;
    let mut bob = PollingClient::open(&[node.addr()]).await;
    let ready = bob.connect(json!({"token": "dev:bob"})).await;
    let mut socket = bob.probe().await;
    assert_eq!(socket.text().await, "3probe");
    drop(socket);
    let mut last = bob.get().await;
    // The loss may be noticed behind the poll, or behind its empty answer.
    while last.text == "6" {
        last = bob.get().await;
    }
    assert!(last.status == 400 || last.text == "1", "{last:?}");
    let mut again = SocketIoClient::open(node.addr()).await;
    let offset = format!("{}:{}", ready["sid"].as_str().unwrap(), ready["n"]);
    let auth = json!({"token": "dev:bob", "pid": bob.pid, "offset": offset});
    assert_eq!(again.connect(auth).await["resumed"], json!(true));
}

#[tokio::test]
async fn lost_websocket_after_an_upgrade_leaves_a_session_to_recover() {
    let node = Node::start().await;
    let mut bob = PollingClient::open(&[node.addr()]).await;
    let ready = bob.connect(json!({"token": "dev:bob"})).await;
    let mut socket = bob.probe().await;
    assert_eq!(socket.text().await, "3probe");
    socket.send("5").await;
    socket.send(r#"421["hb",{}]"#).await;
    while !socket.text().await.starts_with("431[") {}
    drop(socket);
    node.figure_is(r#"rookery_gateway_connections{gateway="socketio"}"#, 0)
        .await;
    let mut again = SocketIoClient::open(node.addr()).await;
    let offset = format!("{}:{}", ready["sid"].as_str().unwrap(), ready["n"]);
    let auth = json!({"token": "dev:bob", "pid": bob.pid, "offset": offset});
    assert_eq!(again.connect(auth).await["resumed"], json!(true));
}
