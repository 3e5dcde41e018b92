//! Who is there, who types, and which of two copies of an app stays.

use node::testkit::{Client, Config, HumanDuration, Incoming, Node, PATIENCE, Stream};
use serde_json::{Value, json};

const ALICE: &str = "Authorization: Bearer dev:alice\r\n";

fn quick(config: &mut Config) {
    config.presence.offline_grace = HumanDuration::millis(300);
    config.tuning.presence_interval = HumanDuration::millis(10);
}

/// A client of a device, its `hello` already read, and the answer to its `auth`.
async fn device(node: &Node, user: &str, device: &str, instance: &str) -> (Client, Value) {
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    let auth =
        format!(r#"{{"t":"auth","id":0,"token":"dev:{user}","device":"{device}","instance":"{instance}"}}"#);
    let answer = client.ask(0, &auth).await;
    (client, answer)
}

/// The next presence event of this user.
async fn presence(client: &mut Client, user: &str) -> Value {
    loop {
        let event = client.expect("presence").await;
        if event["u"] == user {
            return event;
        }
    }
}

/// Whether the client is alive; what comes before the answer is returned.
async fn until_hb(client: &mut Client) -> Vec<Value> {
    client.send(r#"{"t":"hb","id":99}"#).await;
    let mut before = Vec::new();
    loop {
        let message = client.json().await;
        if message["t"] == "hb" {
            return before;
        }
        before.push(message);
    }
}

#[tokio::test]
async fn a_watch_gets_the_present_state_and_then_changes() {
    let node = Node::with(quick).await;
    let mut bob = node.client("bob").await;
    let alice = node.client("alice").await;
    bob.send(r#"{"t":"watch","id":1,"users":["alice","nobody"]}"#)
        .await;
    assert_eq!(bob.json().await, json!({ "t": "ok", "id": 1 }));
    let mut updates = [bob.expect("presence").await, bob.expect("presence").await];
    updates.sort_by_key(|event| event["u"].to_string());
    let updates: Vec<_> = updates
        .iter()
        .map(|event| (&event["u"], &event["state"]))
        .collect();
    assert_eq!(
        updates,
        [
            (&json!("alice"), &json!("online")),
            (&json!("nobody"), &json!("offline"))
        ]
    );

    // A second device changes nothing, and the first one's leaving neither.
    let second = node.client("alice").await;
    drop(alice);
    drop(second);
    let gone = presence(&mut bob, "alice").await;
    assert_eq!(gone["state"], "offline");
    assert!(gone["seen"].as_u64().unwrap() > 1_600_000_000_000, "{gone}");
    let _alice = node.client("alice").await;
    assert_eq!(presence(&mut bob, "alice").await["state"], "online");

    assert_eq!(
        bob.ask(2, r#"{"t":"unwatch","id":2,"users":["alice"]}"#).await["t"],
        "ok"
    );
    let again = r#"{"t":"watch","id":3,"users":["nobody"]}"#;
    assert_eq!(bob.ask(3, again).await["t"], "ok");
    assert_eq!(
        presence(&mut bob, "nobody").await["state"],
        "offline",
        "asked again, told again"
    );
    node.stop().await;
}

#[tokio::test]
async fn a_watch_of_five_hundred_users_shows_every_one_of_them() {
    let node = Node::with(quick).await;
    let mut bob = node.client("bob").await;
    let users: Vec<String> = (0..500).map(|i| format!("user{i:03}")).collect();
    let watch = json!({ "t": "watch", "id": 1, "users": users });
    assert_eq!(bob.ask(1, &watch.to_string()).await["t"], "ok");
    let mut updates: Vec<String> = Vec::new();
    while updates.len() < 500 {
        let event = bob.expect("presence").await;
        updates.push(event["u"].as_str().unwrap().to_owned());
    }
    updates.sort();
    assert_eq!(updates, users);
    let refused = bob.ask(2, r#"{"t":"watch","id":2,"users":["one.more"]}"#).await;
    assert_eq!(refused["code"], "conflict");
    node.stop().await;
}

#[tokio::test]
async fn one_who_is_blocked_sees_the_blocker_leave() {
    let node = Node::with(quick).await;
    let mut alice = node.client("alice").await;
    let mut bob = node.client("bob").await;
    bob.ask(1, r#"{"t":"watch","id":1,"users":["alice"]}"#).await;
    assert_eq!(presence(&mut bob, "alice").await["state"], "online");
    alice.ask(1, r#"{"t":"block","id":1,"who":"bob"}"#).await;
    let offline = presence(&mut bob, "alice").await;
    assert_eq!(offline["state"], "offline");
    // Nor does he see her come, on any session.
    let mut other = node.client("bob").await;
    other.ask(1, r#"{"t":"watch","id":1,"users":["alice"]}"#).await;
    assert_eq!(presence(&mut other, "alice").await["state"], "offline");
    alice.ask(2, r#"{"t":"unblock","id":2,"who":"bob"}"#).await;
    assert_eq!(presence(&mut bob, "alice").await["state"], "online");
    node.stop().await;
}

#[tokio::test]
async fn the_same_instance_replaces_its_connection_without_events() {
    let node = Node::start().await;
    let (mut old, ready) = device(&node, "alice", "phone", "x").await;
    assert_eq!(ready["t"], "ready");
    let (mut new, ready) = device(&node, "alice", "phone", "x").await;
    assert_eq!(ready["t"], "ready");
    assert_eq!(
        old.recv().await,
        Incoming::Close(1000, String::new()),
        "no bye before it"
    );
    assert_eq!(new.ask(1, r#"{"t":"hb","id":1}"#).await["t"], "hb");
    node.stop().await;
}

#[tokio::test]
async fn another_instance_displaces_the_old_one_until_they_fight() {
    let node = Node::start().await;
    let (mut holder, _) = device(&node, "alice", "phone", "0").await;
    let (mut laptop, _) = device(&node, "alice", "laptop", "0").await;
    for instance in ["1", "2", "3"] {
        let (next, ready) = device(&node, "alice", "phone", instance).await;
        assert_eq!(ready["t"], "ready");
        assert_eq!(holder.closed().await.0, 4409);
        holder = next;
    }
    let (mut fourth, refused) = device(&node, "alice", "phone", "4").await;
    assert_eq!(
        (&refused["t"], &refused["code"]),
        (&json!("err"), &json!("conflict"))
    );
    assert_eq!(fourth.closed().await.0, 4409);
    assert_eq!(
        holder.ask(1, r#"{"t":"hb","id":1}"#).await["t"],
        "hb",
        "the third stays"
    );
    assert_eq!(laptop.ask(1, r#"{"t":"hb","id":1}"#).await["t"], "hb");
    node.stop().await;
}

#[tokio::test]
async fn unnamed_instances_do_not_displace_each_other_for_ever() {
    let node = Node::start().await;
    let connect = async || {
        let mut client = Client::connect(node.addr()).await;
        client.expect("hello").await;
        client
            .send(r#"{"t":"auth","id":0,"token":"dev:alice","device":"phone"}"#)
            .await;
        let answer = client.answer(0).await;
        (client, answer)
    };
    // Each takes the device from the other, as two copies of an app do that come back whenever they lose it.
    let (mut holder, _) = connect().await;
    let mut rounds = 0;
    let refused = loop {
        let (mut next, answer) = connect().await;
        if answer["t"] == "err" {
            assert_eq!(next.closed().await.0, 4409);
            break answer;
        }
        assert_eq!(holder.recv().await, Incoming::Close(1000, String::new()));
        holder = next;
        rounds += 1;
        assert!(rounds < 20, "they displace each other for ever");
    };
    assert_eq!(refused["code"], "conflict");
    assert_eq!(
        holder.ask(1, r#"{"t":"hb","id":1}"#).await["t"],
        "hb",
        "one stays"
    );

    // One that comes back after it was gone displaces nobody, however often.
    drop(holder);
    for _ in 0..10 {
        node.figure_is("rookery_sessions", 0).await;
        let (client, answer) = connect().await;
        assert_eq!(answer["t"], "ready", "{answer}");
        drop(client);
    }
    node.stop().await;
}

#[tokio::test]
async fn every_end_of_a_stream_says_when_to_come_back() {
    let node = Node::with(|config| config.limits.sessions_per_user = 2).await;
    let stream = async |query: &str| Stream::open(node.addr(), query, ALICE, None).await;
    let first = stream("?device=phone&instance=x").await;
    let second = stream("?device=phone&instance=x").await;
    let third = stream("?device=phone&instance=y").await;
    let other = stream("?device=tablet&instance=y").await;
    // One too many.
    let fourth = stream("?device=watch&instance=y").await;
    for (mut ended, code) in [(first, 1000), (second, 4409), (fourth, 4429)] {
        let last = async {
            let mut last = None;
            while let Some(entry) = ended.next().await {
                last = Some(entry);
            }
            last.expect("it says something")
        };
        let last = last.await;
        assert_eq!((last.name.as_str(), &last.data["code"]), ("close", &json!(code)));
        let retry = ended.retry.expect("a time to come back");
        assert_eq!(last.data["retry_ms"], json!(retry), "{code}");
        if code >= 4400 {
            assert!(retry >= 3_600_000, "not by itself: {retry}");
        }
    }
    drop((third, other));
    node.stop().await;
}

#[tokio::test]
async fn a_stream_gives_way_to_its_device_as_a_socket_does() {
    let node = Node::start().await;
    let stream = async |instance: &str| {
        let query = format!("?device=phone&instance={instance}");
        let mut stream = Stream::open(node.addr(), &query, ALICE, None).await;
        assert_eq!(stream.expect("ready").await.data["resumed"], false);
        stream
    };
    let closed = async |mut stream: Stream, code: u16| {
        assert_eq!(stream.expect("close").await.data["code"], code);
        assert_eq!(stream.next().await, None);
    };
    let first = stream("x").await;
    let (mut socket, ready) = device(&node, "alice", "phone", "x").await;
    assert_eq!(ready["t"], "ready");
    closed(first, 1000).await;
    let second = stream("x").await;
    assert_eq!(socket.recv().await, Incoming::Close(1000, String::new()));
    let third = stream("y").await;
    closed(second, 4409).await;
    let (_socket, ready) = device(&node, "alice", "phone", "z").await;
    assert_eq!(ready["t"], "ready");
    closed(third, 4409).await;
    node.stop().await;
}

#[tokio::test]
async fn poll_yields_to_its_device_and_ends_for_another_instance() {
    let node = Node::start().await;
    let poll = async |query: &str| {
        let path = format!("/v1/poll?device=phone&instance=x&{query}");
        let (status, body) = node.request(&path, ALICE).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let sid = poll("").await["sid"].as_str().unwrap().to_owned();
    let waiting = format!("sid={sid}&after=0&wait=60");
    // The same instance connects: the poll is answered, with nothing, and may go on.
    let comes = async {
        node.figure_reaches("rookery_sessions", 1).await;
        device(&node, "alice", "phone", "x").await
    };
    let (nothing, (mut socket, ready)) = tokio::join!(poll(&waiting), comes);
    assert_eq!(ready["t"], "ready");
    assert_eq!(
        (&nothing["resumed"], &nothing["events"]),
        (&json!(true), &json!([]))
    );
    let again = poll(&format!("sid={sid}&after=0&wait=0")).await;
    assert_eq!((&again["resumed"], &again["sid"]), (&json!(true), &json!(sid)));
    assert_eq!(socket.recv().await, Incoming::Close(1000, String::new()));
    // Another instance ends it for good.
    let (mut other, ready) = device(&node, "alice", "phone", "y").await;
    assert_eq!(ready["t"], "ready");
    let ended = async {
        loop {
            let answer = poll(&format!("sid={sid}&after=0&wait=0")).await;
            if answer["resumed"] == false {
                return answer;
            }
        }
    };
    let anew = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    assert_eq!(
        (&anew["resumed"], &anew["why"]),
        (&json!(false), &json!("unknown"))
    );
    assert_eq!(other.closed().await.0, 4409, "the newest instance has the device");
    node.stop().await;
}

#[tokio::test]
async fn commands_behind_an_auth_wait_for_the_session() {
    let node = Node::start().await;
    let mut client = Client::connect(node.addr()).await;
    client.send(r#"{"t":"auth","id":1,"token":"dev:alice"}"#).await;
    client.send(r#"{"t":"list","id":2}"#).await;
    assert_eq!(client.json().await["t"], "hello");
    assert_eq!(client.json().await["t"], "ready");
    assert_eq!(client.json().await["t"], "inbox");
    node.stop().await;
}

#[tokio::test]
async fn a_session_too_many_is_refused() {
    let node = Node::with(|config| config.limits.sessions_per_user = 2).await;
    let _first = node.client("alice").await;
    let second = node.client("alice").await;
    let (mut third, refused) = device(&node, "alice", "phone", "x").await;
    assert_eq!(refused["code"], "conflict");
    assert_eq!(third.closed().await.0, 4429);
    node.client("bob").await;
    drop(second);
    let room = async { while device(&node, "alice", "phone", "x").await.1["t"] != "ready" {} };
    tokio::time::timeout(PATIENCE, room).await.expect("room again");
    node.stop().await;
}

#[tokio::test]
async fn typing_reaches_the_others_and_not_oneself() {
    let node = Node::start().await;
    let (mut alice, mut tablet) = (node.client("alice").await, node.client("alice").await);
    let (mut bob, mut carol) = (node.client("bob").await, node.client("carol").await);
    let make = r#"{"t":"create","id":1,"kind":"group","cid":"m","members":["bob"]}"#;
    let c = alice.ask(1, make).await["c"].as_str().unwrap().to_owned();
    for client in [&mut bob, &mut tablet] {
        client.expect("conv").await;
    }
    // Far more than is passed on; a stranger's is not passed on at all.
    carol
        .send(&format!(r#"{{"t":"typing","c":"{c}","on":true}}"#))
        .await;
    for _ in 0..20 {
        alice
            .send(&format!(r#"{{"t":"typing","c":"{c}","on":true}}"#))
            .await;
    }
    let typing = bob.expect("typing").await;
    assert_eq!(
        (&typing["c"], &typing["u"], &typing["on"]),
        (&json!(c), &json!("alice"), &json!(true))
    );
    until_hb(&mut carol).await;
    let send = format!(r#"{{"t":"send","id":2,"c":"{c}","cid":"1","b":{{}}}}"#);
    alice.ask(2, &send).await;
    let mut after = Vec::new();
    while after.last() != Some(&json!("msg")) {
        after.push(bob.json().await["t"].clone());
    }
    assert!(
        !after.contains(&json!("typing")),
        "once in three seconds: {after:?}"
    );
    for client in [&mut tablet, &mut alice] {
        let mut seen = Vec::new();
        while seen.last() != Some(&json!("msg")) {
            seen.push(client.json().await["t"].clone());
        }
        assert!(!seen.contains(&json!("typing")), "{seen:?}");
    }
    node.stop().await;
}

#[tokio::test]
async fn typing_reaches_no_large_conversation_and_no_former_member() {
    let node = Node::with(|config| config.tuning.typing_members = 2).await;
    let (mut alice, mut bob) = (node.client("alice").await, node.client("bob").await);
    let make = r#"{"t":"create","id":1,"kind":"group","cid":"m","members":["bob","carol"]}"#;
    let c = alice.ask(1, make).await["c"].as_str().unwrap().to_owned();
    bob.expect("conv").await;
    let typing = format!(r#"{{"t":"typing","c":"{c}","on":true}}"#);
    bob.send(&typing).await;
    node.figure_reaches("rookery_presence_typing_dropped_total", 1)
        .await;
    assert_eq!(node.figure("rookery_presence_typing_total").await, 0);
    // Two are left, and then it is shown.
    let kick = format!(r#"{{"t":"kick","id":2,"c":"{c}","cid":"k","who":"carol"}}"#);
    assert_eq!(alice.ask(2, &kick).await["t"], "ack");
    alice.send(&typing).await;
    assert_eq!(bob.expect("typing").await["u"], "alice");
    let kick = format!(r#"{{"t":"kick","id":3,"c":"{c}","cid":"l","who":"bob"}}"#);
    assert_eq!(alice.ask(3, &kick).await["t"], "ack");
    let mut second = node.client("alice").await;
    second
        .ask(1, &format!(r#"{{"t":"open","id":1,"c":"{c}"}}"#))
        .await;
    // The user's own notice again, from another device, would be no news: the end of it is.
    second.send(&typing.replace("true", "false")).await;
    node.figure_reaches("rookery_presence_typing_total", 2).await;
    let rest = until_hb(&mut bob).await;
    assert!(rest.iter().all(|event| event["t"] != "typing"), "{rest:?}");
    node.stop().await;
}

#[tokio::test]
async fn what_was_read_and_what_is_muted_shows_on_ones_other_devices() {
    let node = Node::start().await;
    let (mut phone, mut laptop) = (node.client("alice").await, node.client("alice").await);
    let make = r#"{"t":"create","id":1,"kind":"group","cid":"m","members":["bob"]}"#;
    let c = phone.ask(1, make).await["c"].as_str().unwrap().to_owned();
    laptop.expect("conv").await;
    let mut bob = node.client("bob").await;
    let send = format!(r#"{{"t":"send","id":1,"c":"{c}","cid":"1","b":{{}}}}"#);
    let s = bob.ask(1, &send).await["s"].clone();
    laptop.expect("msg").await;
    phone
        .ask(2, &format!(r#"{{"t":"read","id":2,"c":"{c}","s":{s}}}"#))
        .await;
    let read = async {
        loop {
            let receipt = laptop.expect("receipt").await;
            if receipt["u"] == "alice" && receipt["read"] == s {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the receipt of one's own reading");
    let mute = format!(r#"{{"t":"set","id":3,"c":"{c}","cid":"q","muted":true,"pinned":true}}"#);
    assert_eq!(phone.ask(3, &mute).await["t"], "ack");
    let conv = laptop.expect("conv").await;
    assert_eq!(
        (&conv["muted"], &conv["pinned"], &conv["c"]),
        (&json!(true), &json!(true), &json!(c))
    );
    node.stop().await;
}
