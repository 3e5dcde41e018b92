//! Socket.IO over a WebSocket in raw packets: CONNECT, events as commands, acknowledgements, recovery, and the ends of a
//! connection.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use node::testkit::{Client, HumanDuration, Node, SocketIoClient, eventually, get, group, masked};

/// Sends a message and returns its place.
async fn say(client: &mut SocketIoClient, c: &str, cid: &str) -> Value {
    let ack = client
        .ask("send", json!({"c": c, "cid": cid, "b": {"text": cid}}))
        .await;
    assert_eq!((&ack["t"], &ack["cid"]), (&json!("ack"), &json!(cid)), "{ack}");
    ack["s"].clone()
}

#[tokio::test]
async fn handshake_has_the_five_fields_of_the_engine() {
    let node = Node::start().await;
    let socket = SocketIoClient::open(node.addr()).await;
    let mut open = socket.open.clone();
    let sid = open["sid"].take();
    assert!(sid.as_str().unwrap().len() >= 34, "{sid}");
    let expected = json!({
        "sid": null, "upgrades": [], "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 65_536,
    });
    assert_eq!(open, expected);
}

#[tokio::test]
async fn connect_opens_the_session_of_its_token() {
    let node = Node::start().await;
    let mut socket = SocketIoClient::open(node.addr()).await;
    let ready = socket
        .connect(json!({"token": "dev:alice", "device": "phone"}))
        .await;
    assert_eq!(
        (&ready["t"], &ready["user"], &ready["resumed"]),
        (&json!("ready"), &json!("alice"), &json!(false))
    );
    assert_eq!(socket.offset, format!("{}:0", ready["sid"].as_str().unwrap()));
    node.figure_is(r#"rookery_gateway_connections{gateway="socketio"}"#, 1)
        .await;
}

#[tokio::test]
async fn refused_connect_has_the_code_of_the_protocol() {
    let node = Node::start().await;
    for auth in [json!({"token": "nonsense"}), json!({})] {
        let mut socket = SocketIoClient::open(node.addr()).await;
        let refusal = socket.refused(auth).await;
        assert_eq!(
            (&refusal["message"], &refusal["data"]["http"]),
            (&json!("unauthenticated"), &json!(401))
        );
        assert_eq!(socket.last_packets().await, (vec![], 4401));
    }
    let mut socket = SocketIoClient::open(node.addr()).await;
    let refusal = socket.refused(json!({"token": 7})).await;
    assert_eq!(refusal["message"], "bad_request");
    socket.connect(json!({"token": "dev:alice"})).await;
}

#[tokio::test]
async fn only_the_main_namespace_exists() {
    let node = Node::start().await;
    let mut socket = SocketIoClient::open(node.addr()).await;
    socket.client.send(r#"40/admin,{"token":"dev:alice"}"#).await;
    assert_eq!(
        socket.packet().await,
        r#"44/admin,{"message":"Invalid namespace"}"#
    );
    socket.connect(json!({"token": "dev:alice"})).await;
}

#[tokio::test]
async fn client_that_never_connects_is_closed() {
    let node = Node::with(|config| config.tuning.auth_timeout = HumanDuration::millis(300)).await;
    let mut socket = SocketIoClient::open(node.addr()).await;
    assert_eq!(socket.last_packets().await, (vec![], 4210));
}

#[tokio::test]
async fn events_are_commands_and_acks_their_responses() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    let s = say(&mut bob, &c, "k1").await;
    let again = bob
        .ask("message", json!({"c": c, "cid": "k1", "b": {"text": "k1"}}))
        .await;
    assert_eq!((&again["s"], &again["dup"]), (&s, &json!(true)));
    let listed = eventually("the conversation is listed", async || {
        let threads = bob.ask("list", json!({})).await;
        assert_eq!(threads["t"], "inbox");
        threads["items"][0]["c"].as_str().map(str::to_owned)
    });
    assert_eq!(listed.await, c);
    let page = bob.ask("hist", json!({"c": c, "after": 0})).await;
    assert_eq!(page["events"].as_array().unwrap().last().unwrap()["s"], s);
    let mut dave = SocketIoClient::of(node.addr(), "dave").await;
    let refusal = dave.ask("send", json!({"c": c, "cid": "k", "b": {}})).await;
    assert_eq!(
        (&refusal["t"], &refusal["code"]),
        (&json!("err"), &json!("not_member"))
    );
}

#[tokio::test]
async fn without_an_ack_only_errors_come_back() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    let mut expected: BTreeSet<&str> = ["bad_request", "not_member"].into();
    let send = |c: &str, cid: &str| json!({"c": c, "cid": cid, "b": {"text": cid}});
    bob.emit("send", send(&c, "k1")).await;
    bob.emit("dance", json!({})).await;
    bob.emit("send", send("g_none", "k2")).await;
    bob.emit("list", json!({})).await;
    bob.emit("read", json!({"c": c, "s": 1})).await;
    // Responses about one conversation come in their order: one to k1 would come before that to k3.
    for (ack, event) in [
        (1, json!(["send", send(&c, "k3")])),
        (2, json!(["list", {}])),
        (3, json!(["read", {"c": c, "s": 1}])),
    ] {
        bob.client.send(&format!("42{ack}{event}")).await;
    }
    let mut acks: BTreeSet<&str> = ["431[", "432[", "433["].into();
    let mut echoed: BTreeSet<String> = BTreeSet::new();
    while !(expected.is_empty() && acks.is_empty() && echoed.len() == 2) {
        let packet = bob.packet().await;
        let Some(event) = packet.strip_prefix("42") else {
            let is_awaited = |ack: &&&str| packet.starts_with(**ack);
            let ack = acks.iter().find(is_awaited).copied();
            assert!(acks.remove(ack.unwrap_or_default()), "{packet}");
            continue;
        };
        let event: Value = serde_json::from_str(event).unwrap();
        match event[0].as_str().unwrap() {
            "err" => {
                assert_eq!(event[1]["id"], Value::Null, "{packet}");
                assert!(expected.remove(event[1]["code"].as_str().unwrap()), "{packet}");
            }
            // The commands were executed.
            "msg" => assert!(
                echoed.insert(event[1]["cid"].as_str().unwrap().to_owned()),
                "{packet}"
            ),
            name => assert!(!["ack", "ok", "inbox"].contains(&name), "{packet}"),
        }
    }
    assert_eq!(echoed, ["k1", "k3"].map(str::to_owned).into());
}

#[tokio::test]
async fn what_is_no_command_is_refused_and_the_connection_stays() {
    let node = Node::start().await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    for (ack, event) in [
        (1, r#"["dance",{}]"#),
        (2, r#"["send"]"#),
        (3, r#"["send","text"]"#),
        (4, r#"["send",{"c":"g_1","b":{}}]"#),
        (5, r#"["send",{},{}]"#),
    ] {
        bob.client.send(&format!("42{ack}{event}")).await;
        let refusal = bob.response(ack).await;
        assert_eq!(refusal["code"], "bad_request", "{event}");
    }
    bob.client
        .send(r#"451-6["send",{"_placeholder":true,"num":0}]"#)
        .await;
    bob.client.raw(&masked(2, true, b"\x00\xff")).await;
    assert_eq!(bob.response(6).await["code"], "bad_request");
    assert_eq!(bob.ask("hb", json!({})).await["t"], "hb");
}

#[tokio::test]
async fn events_of_all_transports_reach_each_other() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob", "carol"]).await;
    let mut alice = node.client("alice").await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    let mut carol = SocketIoClient::of(node.addr(), "carol").await;
    let send = json!({"t": "send", "id": 2, "c": c, "cid": "native", "b": {"text": "hi"}});
    let ack = alice.ask(2, &send.to_string()).await;
    let event = bob.event("msg").await;
    assert_eq!(
        (&event["s"], &event["b"], &event["u"]),
        (&ack["s"], &json!({"text": "hi"}), &json!("alice"))
    );
    assert_eq!(bob.offset.rsplit_once(':').unwrap().1, event["n"].to_string());
    let s = say(&mut bob, &c, "back").await;
    loop {
        let event = carol.event("msg").await;
        if event["cid"] == "back" {
            assert_eq!(event["s"], s);
            break;
        }
    }
    bob.emit("typing", json!({"c": c, "on": true})).await;
    assert_eq!(carol.event("typing").await["u"], "bob");
}

#[tokio::test]
async fn client_recovers_behind_its_offset() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut alice = SocketIoClient::of(node.addr(), "alice").await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    say(&mut alice, &c, "before").await;
    while bob.event("msg").await["cid"] != "before" {}
    let (pid, offset) = (bob.pid.clone(), bob.offset.clone());
    drop(bob);
    for cid in ["missed 1", "missed 2"] {
        say(&mut alice, &c, cid).await;
    }
    let mut bob = SocketIoClient::open(node.addr()).await;
    let ready = bob
        .connect(json!({"token": "dev:bob", "pid": pid, "offset": offset}))
        .await;
    assert_eq!((ready["resumed"].clone(), &bob.pid), (json!(true), &pid));
    for cid in ["missed 1", "missed 2"] {
        assert_eq!(bob.event("msg").await["cid"], cid, "in order, and nothing twice");
    }
    let mut other = SocketIoClient::open(node.addr()).await;
    let unknown = format!("1{}:3", "0".repeat(32));
    let ready = other
        .connect(json!({"token": "dev:bob", "pid": pid, "offset": unknown}))
        .await;
    assert_eq!(ready["resumed"], json!(false));
    assert_ne!(other.pid, pid, "what cannot be recovered has another id");
}

#[tokio::test]
async fn pong_moves_the_delivered_cursor() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    let mut alice = SocketIoClient::of(node.addr(), "alice").await;
    let s = say(&mut alice, &c, "first").await;
    while bob.event("msg").await["s"] != s {}
    // A ping follows the event.
    while bob.client.text().await != "2" {}
    bob.client.send("3").await;
    eventually("the cursor moves", async || {
        let members = get(node.addr(), "alice", &format!("/v1/conversations/{c}/members")).await;
        let items = members["items"].as_array().unwrap().clone();
        let bob = items.into_iter().find(|member| member["u"] == "bob").unwrap();
        bob["delivered"] == s
    })
    .await;
}

#[tokio::test]
async fn removal_is_the_last_event_of_a_conversation() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut alice = SocketIoClient::of(node.addr(), "alice").await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    assert_eq!(bob.ask("open", json!({"c": c})).await["t"], "conv");
    let kicked = alice
        .ask("kick", json!({"c": c, "cid": "out", "who": "bob"}))
        .await;
    assert_eq!(kicked["t"], "ack");
    say(&mut alice, &c, "among us").await;
    loop {
        let (name, event) = bob.any_event().await;
        assert_ne!(name, "msg", "{event}");
        if name == "member" && event["why"] == "kick" {
            break;
        }
    }
    let refusal = bob.ask("send", json!({"c": c, "cid": "k", "b": {}})).await;
    assert_eq!(refusal["code"], "not_member");
}

#[tokio::test]
async fn event_auth_renews_the_token_of_the_same_user() {
    let node = Node::start().await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    let renewed = bob.ask("auth", json!({"token": "dev:bob"})).await;
    assert_eq!(
        (&renewed["t"], &renewed["user"]),
        (&json!("ready"), &json!("bob"))
    );
    let refused = bob.ask("auth", json!({"token": "dev:carol"})).await;
    assert_eq!(refused["code"], "unauthenticated");
    let (packets, code) = bob.last_packets().await;
    assert_eq!(code, 4401);
    assert!(
        packets[0].starts_with(r#"42["bye",{"t":"bye","code":4401,"#),
        "{packets:?}"
    );
    assert_eq!(packets[1..], ["41"]);
}

#[tokio::test]
async fn displaced_client_receives_bye_and_stays_disconnected() {
    let node = Node::start().await;
    let auth = |instance: &str| json!({"token": "dev:bob", "device": "phone", "instance": instance});
    let mut first = SocketIoClient::open(node.addr()).await;
    first.connect(auth("a")).await;
    let mut second = SocketIoClient::open(node.addr()).await;
    second.connect(auth("b")).await;
    let (packets, code) = first.last_packets().await;
    assert_eq!(code, 4409);
    assert!(packets[0].contains(r#""code":4409"#), "{packets:?}");
    assert_eq!(packets[1..], ["41"]);
}

#[tokio::test]
async fn stopped_node_ends_the_transport_and_the_client_comes_back() {
    let node = Node::start().await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    let stopping = tokio::spawn(async move { node.stop().await });
    let (packets, code) = bob.last_packets().await;
    assert_eq!(code, 4012);
    assert!(
        packets[0].starts_with(r#"42["bye",{"n":1,"t":"bye","code":4012,"#),
        "{packets:?}"
    );
    assert_eq!(packets.len(), 1, "no end of the namespace");
    stopping.await.unwrap();
}

#[tokio::test]
async fn client_that_leaves_recovers_nothing() {
    let node = Node::start().await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    let auth = json!({"token": "dev:bob", "pid": bob.pid, "offset": bob.offset});
    bob.client.send("41").await;
    assert_eq!(bob.last_packets().await.0.len(), 0);
    let mut bob = SocketIoClient::open(node.addr()).await;
    assert_eq!(bob.connect(auth).await["resumed"], json!(false));
}

#[tokio::test]
async fn gateway_is_absent_without_a_path_and_at_its_own_one() {
    let path = |path: &str| format!("{path}?EIO=4&transport=websocket");
    let node = Node::with(|config| config.socketio.path = String::new()).await;
    let absent = Client::upgrade_at(node.addr(), &path("/socket.io/"), "", None).await;
    assert!(absent.head.starts_with("HTTP/1.1 404"), "{}", absent.head);
    let node = Node::with(|config| config.socketio.path = "/live".to_owned()).await;
    for at in ["/live", "/live/"] {
        let mut moved = Client::upgrade_at(node.addr(), &path(at), "", None).await;
        assert!(moved.text().await.starts_with('0'));
    }
}
