//! The event stream: the same session, for a client that only listens.

use jsonwebtoken::{EncodingKey, Header, encode};
use node::testkit::session::say;
use node::testkit::{Client, Config, HumanDuration, HumanSize, Node, PATIENCE, Stream, eventually, unix_ms};
use serde_json::json;

#[tokio::test]
async fn it_begins_with_ready_and_goes_on_behind_the_last_event() {
    let node = Node::with(|config| config.tuning.delivered_interval = HumanDuration::millis(60_000)).await;
    let mut alice = node.client("alice").await;
    let mut bob = Stream::of(node.addr(), "bob", None).await;
    let head = bob.head.to_lowercase();
    for line in ["content-type: text/event-stream", "cache-control: no-store"] {
        assert!(head.contains(line), "{head}");
    }
    let ready = bob.expect("ready").await;
    let sid = ready.data["sid"].as_str().unwrap().to_owned();
    assert_eq!(ready.id, format!("{sid}:0"));
    assert_eq!(
        (&ready.data["t"], &ready.data["resumed"], &ready.data["user"]),
        (&json!("ready"), &json!(false), &json!("bob"))
    );
    say(&mut alice, "bob", "hello\"\\ \u{2028}").await;
    let conv = bob.expect("conv").await;
    assert_eq!((conv.id, &conv.data["n"]), (format!("{sid}:1"), &json!(1)));
    let hello = bob.expect("msg").await;
    assert_eq!(hello.data["b"]["text"], "hello\"\\ \u{2028}");
    drop(bob);
    say(&mut alice, "bob", "a").await;

    let mut bob = Stream::of(node.addr(), "bob", Some(&hello.id)).await;
    let ready = bob.expect("ready").await;
    assert_eq!(
        (&ready.data["resumed"], &ready.data["n"]),
        (&json!(true), &json!(2))
    );
    let new = ready.data["sid"].as_str().unwrap().to_owned();
    assert_ne!(new, sid);
    assert_eq!(ready.id, format!("{new}:2"));
    let message = bob.expect("msg").await;
    assert_eq!(
        (message.id, &message.data["cid"]),
        (format!("{new}:3"), &json!("a"))
    );
    // The old name is as good while nobody has used the new one, and a lost stream costs nothing.
    let mut again = Stream::of(node.addr(), "bob", Some(&format!("{sid}:2"))).await;
    assert_eq!(again.expect("ready").await.data["resumed"], true);
    assert_eq!(again.expect("msg").await.data["cid"], "a");
    for (last, why) in [(format!("{sid}:9"), "gap"), ("nonsense".to_owned(), "unknown")] {
        let mut other = Stream::of(node.addr(), "bob", Some(&last)).await;
        let ready = other.expect("ready").await;
        assert_eq!(
            (&ready.data["resumed"], &ready.data["why"]),
            (&json!(false), &json!(why))
        );
    }
    node.stop().await;
}

#[tokio::test]
async fn a_session_goes_from_one_transport_to_the_other() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let mut bob = Stream::of(node.addr(), "bob", None).await;
    let sid = bob.expect("ready").await.data["sid"].as_str().unwrap().to_owned();
    say(&mut alice, "bob", "a").await;
    bob.expect("conv").await;
    let headers = format!("Authorization: Bearer dev:bob\r\nX-Device: phone\r\nX-Resume: {sid}:1\r\n");
    let mut bob = Client::upgrade(node.addr(), &headers, None).await;
    let ready = bob.expect("ready").await;
    assert_eq!(ready["resumed"], true);
    assert_eq!(bob.expect("msg").await["n"], 2);
    node.stop().await;
}

#[tokio::test]
async fn an_idle_stream_gets_keepalives_and_a_lost_one_is_detected() {
    let node = Node::with(|config| {
        config.tuning.comment_interval = HumanDuration::millis(50);
        config.tuning.ping_interval = Some(HumanDuration::millis(50));
        config.session.idle_timeout = HumanDuration::millis(150);
    })
    .await;
    let mut alice = Stream::of(node.addr(), "alice", None).await;
    alice.expect("ready").await;
    let mut bob = Stream::of(node.addr(), "bob", None).await;
    bob.expect("ready").await;
    node.figure_reaches("rookery_sessions", 2).await;
    drop(bob);
    eventually("the loss is noticed", async || {
        node.figure("rookery_sessions").await <= 1
    })
    .await;
    node.figure_reaches("rookery_sessions_detached", 1).await;
    // Listening on is no silence, however long.
    alice.comments_reach(6).await;
    let mut sender = Client::connect(node.addr()).await;
    sender.expect("hello").await;
    sender.send(r#"{"t":"auth","id":0,"token":"dev:carol"}"#).await;
    sender.expect("ready").await;
    say(&mut sender, "alice", "a").await;
    alice.expect("conv").await;
    alice.expect("msg").await;
    node.stop().await;
}

#[tokio::test]
async fn unauthenticated_and_bad_requests_get_no_stream() {
    let node =
        Node::with(|config| config.server.allowed_origins = vec!["https://chat.example.org".to_owned()])
            .await;
    let bearer = "Authorization: Bearer dev:bob\r\n";
    let long = format!("?device={}", "d".repeat(65));
    for (query, headers, status) in [
        ("", "", "401"),
        ("?token=dev:bob", "", "401"),
        ("", "Authorization: Bearer nonsense\r\n", "401"),
        (
            "",
            "Authorization: Bearer dev:bob\r\nOrigin: https://evil.example\r\n",
            "403",
        ),
        (long.as_str(), bearer, "400"),
    ] {
        let stream = Stream::open(node.addr(), query, headers, None).await;
        assert!(
            stream.head.starts_with(&format!("HTTP/1.1 {status}")),
            "{headers}{query}: {}",
            stream.head
        );
        assert!(
            stream.head.contains("application/problem+json"),
            "{}",
            stream.head
        );
    }
    node.stop().await;
}

#[tokio::test]
async fn a_stop_ends_the_stream_with_a_time_to_come_back() {
    let node = Node::start().await;
    let mut bob = Stream::of(node.addr(), "bob", None).await;
    bob.expect("ready").await;
    let stop = tokio::spawn(node.stop());
    let bye = bob.expect("bye").await;
    assert_eq!(bye.data["code"], 4012);
    let close = bob.expect("close").await;
    assert_eq!(
        (&close.data["code"], close.id.as_str()),
        (&json!(4012), ""),
        "{close:?}"
    );
    assert_eq!(bob.next().await, None);
    assert_eq!(json!(bob.retry), bye.data["retry_ms"]);
    stop.await.unwrap();
}

#[tokio::test]
async fn the_stream_ends_with_the_token() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let node = Node::with(|config| {
        config.auth.dev_tokens = false;
        config.auth.secret.0 = SECRET.to_owned();
        config.tuning.token_leeway = HumanDuration::secs(0);
    })
    .await;
    let claims = json!({"sub":"bob","exp":unix_ms() / 1_000 + 2});
    let token = encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()).unwrap(),
    )
    .unwrap();
    let headers = format!("Authorization: Bearer {token}\r\n");
    let mut bob = Stream::open(node.addr(), "", &headers, None).await;
    bob.expect("ready").await;
    assert_eq!(bob.expect("bye").await.data["code"], 4201);
    bob.expect("close").await;
    assert_eq!(bob.next().await, None);
    node.stop().await;
}

fn small(config: &mut Config) {
    config.limits.sends_per_second = 100_000;
    config.tuning.sends_burst = Some(100_000);
    config.limits.outbound_queue_size = HumanSize::kib(32);
    config.tuning.unsent_size = HumanSize::kib(4);
}

#[tokio::test]
async fn a_stream_never_read_is_ended_and_misses_nothing_retained() {
    let node = Node::with(small).await;
    let mut alice = node.client("alice").await;
    let headers = "Authorization: Bearer dev:bob\r\n";
    let mut bob = Stream::open(node.addr(), "?device=phone", headers, Some(8_192)).await;
    bob.expect("ready").await;
    let body = "x".repeat(4_000);
    let ended = async {
        for i in 0.. {
            let send = json!({"t":"send","id":i,"to":"bob","cid":format!("{i}"),"b":{"x":body},"echo":false});
            assert_eq!(alice.ask(i, &send.to_string()).await["t"], "ack");
            if i % 16 == 0 && node.figure("rookery_sessions_closed_total{code=\"4010\"}").await > 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it is ended");
    eventually("the session has no client any more", async || {
        node.figure("rookery_sessions").await <= 1
    })
    .await;
    node.stop().await;
}
