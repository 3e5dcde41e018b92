//! ActionCable in raw frames, with the cases of AnyCable's own tests (anycable/anyt): welcome, pings, subscriptions,
//! actions, streams, and the ends of a connection.

use serde_json::{Value, json};

use node::testkit::cable::{BASE, Cable, EXTENDED, INBOX, chat};
use node::testkit::{Client, Incoming, Node};

/// Makes a group of Alice's with these members.
async fn group(node: &Node, members: &[&str]) -> String {
    let mut alice = node.client("alice").await;
    let create = json!({"t": "create", "id": 1, "cid": "make", "kind": "group", "members": members});
    let made = alice.ask(1, &create.to_string()).await;
    made["c"].as_str().unwrap().to_owned()
}

/// Sends a message from Alice's native client, and returns its place.
async fn say(alice: &mut Client, c: &str, cid: &str) -> Value {
    let send = json!({"t": "send", "id": 2, "c": c, "cid": cid, "b": {"text": cid}});
    alice.ask(2, &send.to_string()).await["s"].clone()
}

#[tokio::test]
async fn pings_follow_the_welcome_with_timestamps() {
    let node = Node::start().await;
    let mut cable = Cable::open(node.addr(), BASE, "anycable-token.dev.alice", "").await;
    assert_eq!(cable.client.json().await, json!({"type": "welcome"}));
    let mut last = 0;
    for _ in 0..2 {
        let ping = cable.client.json().await;
        assert_eq!(ping["type"], "ping");
        let stamp = ping["message"].as_u64().unwrap();
        assert!(stamp > last, "{stamp} after {last}");
        last = stamp;
    }
}

#[tokio::test]
async fn token_comes_in_a_header_too() {
    let node = Node::start().await;
    for headers in ["Authorization: Bearer dev:alice\r\n", "X-JID: dev:alice\r\n"] {
        let headers = format!("Sec-WebSocket-Protocol: {BASE}\r\n{headers}");
        let mut client = Client::upgrade_at(node.addr(), "/cable", &headers, None).await;
        assert_eq!(client.json().await["type"], "welcome");
    }
}

#[tokio::test]
async fn client_without_a_valid_token_learns_it_from_a_frame() {
    let node = Node::start().await;
    for (token, query) in [
        ("anycable-token.nonsense", ""),
        ("actioncable-unsupported", ""),
        ("actioncable-unsupported", "?jid=dev:alice"),
    ] {
        let mut cable = Cable::open(node.addr(), BASE, token, query).await;
        cable.command("subscribe", INBOX, json!({})).await;
        let refusal = json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false});
        assert_eq!(cable.client.json().await, refusal);
        assert_eq!(cable.client.closed().await.0, 4401);
    }
    let node = Node::with(|config| config.cable.token_in_url = true).await;
    let mut cable = Cable::open(node.addr(), BASE, "actioncable-unsupported", "?jid=dev:alice").await;
    assert_eq!(cable.client.json().await["type"], "welcome");
}

#[tokio::test]
async fn gateway_is_absent_without_a_path_and_at_its_own_one() {
    let headers = format!("Sec-WebSocket-Protocol: {BASE}, anycable-token.dev.alice\r\n");
    let node = Node::with(|config| config.cable.path = String::new()).await;
    let absent = Client::upgrade_at(node.addr(), "/cable", &headers, None).await;
    assert!(absent.head.starts_with("HTTP/1.1 404"), "{}", absent.head);
    let node = Node::with(|config| config.cable.path = "/live/cable".to_owned()).await;
    let mut moved = Client::upgrade_at(node.addr(), "/live/cable", &headers, None).await;
    assert_eq!(moved.json().await["type"], "welcome");
}

#[tokio::test]
async fn client_of_another_protocol_is_refused() {
    let node = Node::start().await;
    for offer in ["", "Sec-WebSocket-Protocol: soap\r\n"] {
        let headers = format!("{offer}Authorization: Bearer dev:alice\r\n");
        let refused = Client::upgrade_at(node.addr(), "/cable", &headers, None).await;
        assert!(refused.head.starts_with("HTTP/1.1 400"), "{}", refused.head);
    }
}

#[tokio::test]
async fn members_are_confirmed_and_others_rejected() {
    let node = Node::start().await;
    let c = group(&node, &["bob"]).await;
    let mut bob = Cable::of(node.addr(), BASE, "bob").await;
    let mut dave = Cable::of(node.addr(), BASE, "dave").await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    let with_parameter = json!({"channel": "RoomChannel", "room_id": c, "tab": 2}).to_string();
    assert_eq!(bob.subscribe(&with_parameter).await, "confirm_subscription");
    for identifier in [
        &*chat(&c),
        &chat("g_none"),
        r#"{"channel":"NewsChannel"}"#,
        "nonsense",
    ] {
        assert_eq!(
            dave.subscribe(identifier).await,
            "reject_subscription",
            "{identifier}"
        );
    }
    assert_eq!(dave.subscribe(INBOX).await, "confirm_subscription");
}

#[tokio::test]
async fn every_subscriber_receives_an_event_once_per_identifier() {
    let node = Node::start().await;
    let c = group(&node, &["bob", "carol"]).await;
    let mut bob = Cable::of(node.addr(), BASE, "bob").await;
    let mut carol = Cable::of(node.addr(), EXTENDED, "carol").await;
    let second = json!({"channel": "ChatChannel", "c": c, "tab": 2}).to_string();
    for _ in 0..2 {
        // The client repeats the command; it is one subscription with one confirmation.
        bob.command("subscribe", &chat(&c), json!({})).await;
    }
    assert_eq!(bob.next().await["type"], "confirm_subscription");
    assert_eq!(bob.subscribe(&second).await, "confirm_subscription");
    assert_eq!(carol.subscribe(&chat(&c)).await, "confirm_subscription");
    let mut alice = node.client("alice").await;
    let s = say(&mut alice, &c, "first").await;
    for identifier in [&chat(&c), &second] {
        let frame = bob.message("msg").await;
        assert_eq!(
            (&frame["identifier"], &frame["message"]["s"]),
            (&json!(identifier), &s)
        );
        assert_eq!(frame["offset"], Value::Null);
    }
    let frame = carol.message("msg").await;
    assert_eq!(
        (&frame["stream_id"], &frame["epoch"], &frame["offset"]),
        (&json!(c), &json!("1"), &s)
    );

    bob.command("unsubscribe", &chat(&c), json!({})).await;
    bob.is_silent(INBOX).await;
    say(&mut alice, &c, "second").await;
    assert_eq!(bob.message("msg").await["identifier"], json!(second));
    bob.is_silent(INBOX).await;
}

#[tokio::test]
async fn actions_are_commands_and_their_answers_come_back() {
    let node = Node::start().await;
    let c = group(&node, &["bob"]).await;
    let mut bob = Cable::of(node.addr(), BASE, "bob").await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    let ack = bob
        .perform(
            &chat(&c),
            json!({"action": "send", "cid": "k1", "b": {"text": "hi"}}),
        )
        .await;
    assert_eq!((&ack["t"], &ack["cid"]), (&json!("ack"), &json!("k1")));
    let again = bob
        .perform(
            &chat(&c),
            json!({"action": "send", "cid": "k1", "b": {"text": "hi"}}),
        )
        .await;
    assert_eq!((&again["s"], &again["dup"]), (&ack["s"], &json!(true)));
    let spoken = bob
        .perform(&chat(&c), json!({"action": "speak", "cid": "k2", "text": "ho"}))
        .await;
    let page = bob
        .perform(&chat(&c), json!({"action": "hist", "after": ack["s"]}))
        .await;
    assert_eq!(page["events"][0]["s"], spoken["s"]);
    assert_eq!(page["events"][0]["b"], json!({"text": "ho"}));
    let without_cid = bob
        .perform(&chat(&c), json!({"action": "speak", "text": "ho"}))
        .await;
    assert_eq!(
        (&without_cid["t"], &without_cid["code"]),
        (&json!("err"), &json!("bad_request"))
    );
    let unknown = bob.perform(&chat(&c), json!({"action": "dance"})).await;
    assert_eq!(unknown["code"], "bad_request");
    let inbox = bob.perform(INBOX, json!({"action": "list"})).await;
    assert_eq!(inbox["items"][0]["c"], json!(c));
}

#[tokio::test]
async fn non_member_is_refused_with_the_code_of_the_protocol() {
    let node = Node::start().await;
    let c = group(&node, &["bob"]).await;
    let mut dave = Cable::of(node.addr(), BASE, "dave").await;
    for data in [
        json!({"action": "send", "cid": "k1", "b": {}}),
        json!({"action": "hist"}),
    ] {
        let refusal = dave.perform(&chat(&c), data).await;
        assert_eq!(
            (&refusal["t"], &refusal["code"]),
            (&json!("err"), &json!("not_member"))
        );
    }
}

#[tokio::test]
async fn direct_conversation_begins_with_its_first_message() {
    let node = Node::start().await;
    let to = |user: &str| json!({"channel": "ChatChannel", "to": user}).to_string();
    let mut alice = Cable::of(node.addr(), BASE, "alice").await;
    let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
    assert_eq!(alice.subscribe(&to("bob")).await, "confirm_subscription");
    assert_eq!(bob.subscribe(&to("alice")).await, "confirm_subscription");
    let ack = alice
        .perform(&to("bob"), json!({"action": "speak", "cid": "k1", "text": "hi"}))
        .await;
    let arrived = bob.message("msg").await;
    assert_eq!(
        (&arrived["identifier"], &arrived["message"]["s"]),
        (&json!(to("alice")), &ack["s"])
    );
    bob.perform(
        &to("alice"),
        json!({"action": "speak", "cid": "k2", "text": "ho"}),
    )
    .await;
    loop {
        let event = alice.message("msg").await;
        if event["message"]["u"] == "bob" {
            break;
        }
    }
}

#[tokio::test]
async fn typing_and_whispers_reach_the_other_members() {
    let node = Node::start().await;
    let c = group(&node, &["bob", "carol"]).await;
    let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
    let mut carol = Cable::of(node.addr(), BASE, "carol").await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    assert_eq!(carol.subscribe(&chat(&c)).await, "confirm_subscription");
    bob.command("whisper", &chat(&c), json!({"data": {"event": "typing"}}))
        .await;
    let typing = carol.message("typing").await["message"].clone();
    assert_eq!((&typing["u"], &typing["on"]), (&json!("bob"), &json!(true)));
    carol
        .command(
            "message",
            &chat(&c),
            json!({"data": r#"{"action":"typing","on":true}"#}),
        )
        .await;
    assert_eq!(bob.message("typing").await["message"]["u"], "carol");
}

#[tokio::test]
async fn removal_is_the_last_event_and_then_the_rejection() {
    let node = Node::start().await;
    let c = group(&node, &["bob"]).await;
    let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    let mut alice = node.client("alice").await;
    let kick = json!({"t": "kick", "id": 3, "c": c, "cid": "out", "who": "bob"});
    assert_eq!(alice.ask(3, &kick.to_string()).await["t"], "ack");
    say(&mut alice, &c, "among us").await;
    let removal = bob.message("member").await;
    assert_eq!(
        (&removal["message"]["who"], &removal["message"]["why"]),
        (&json!("bob"), &json!("kick"))
    );
    let rejection = json!({"type": "reject_subscription", "identifier": chat(&c)});
    assert_eq!(bob.next().await, rejection);
    bob.is_silent(INBOX).await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "reject_subscription");
}

#[tokio::test]
async fn events_without_a_subscription_are_not_sent_and_not_delivered() {
    let node = Node::start().await;
    let c = group(&node, &["bob"]).await;
    let mut bob = Cable::of(node.addr(), BASE, "bob").await;
    let mut alice = node.client("alice").await;
    let s = say(&mut alice, &c, "first").await;
    bob.is_silent(INBOX).await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    let next = say(&mut alice, &c, "second").await;
    assert_eq!(bob.message("msg").await["message"]["s"], next);
    // The pong that answers the server's ping confirms what was sent.
    loop {
        match bob.client.recv().await {
            Incoming::Ping(payload) => {
                bob.client.raw(&node::testkit::masked(10, true, &payload)).await;
            }
            Incoming::Text(_) => {}
            other => panic!("{other:?}"),
        }
        let members = json!({"t": "members", "id": 4, "c": c}).to_string();
        let members = alice.ask(4, &members).await;
        let bob = members["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|member| member["u"] == "bob");
        let delivered = bob.unwrap()["delivered"].as_u64().unwrap();
        assert_ne!(json!(delivered), s, "not the event without a subscription");
        if json!(delivered) == next {
            break;
        }
    }
}

#[tokio::test]
async fn stopped_node_sends_its_clients_elsewhere() {
    let node = Node::start().await;
    let mut bob = Cable::of(node.addr(), BASE, "bob").await;
    let stopping = tokio::spawn(async move { node.stop().await });
    let farewell = json!({"type": "disconnect", "reason": "server_restart", "reconnect": true});
    assert_eq!(bob.next().await, farewell);
    assert_eq!(bob.client.closed().await.0, 4012);
    stopping.await.unwrap();
}

#[tokio::test]
async fn displaced_client_is_disconnected_for_good() {
    let node = Node::start().await;
    let token = "anycable-token.dev.bob";
    let mut first = Cable::open(node.addr(), BASE, token, "?device=phone&instance=a").await;
    assert_eq!(first.next().await["type"], "welcome");
    let mut second = Cable::open(node.addr(), BASE, token, "?device=phone&instance=b").await;
    assert_eq!(second.next().await["type"], "welcome");
    let farewell = json!({"type": "disconnect", "reason": "remote", "reconnect": false});
    assert_eq!(first.next().await, farewell);
    assert_eq!(first.client.closed().await.0, 4409);
}
