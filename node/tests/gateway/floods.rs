//! Everything that is received is counted somewhere: frames that ask for nothing, and what comes before a client is known.

use node::testkit::{Client, HumanDuration, Incoming, Node, PATIENCE, TEXT, masked};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONTINUATION: u8 = 0;
const MOMENT: std::time::Duration = std::time::Duration::from_millis(50);

async fn hello(node: &Node) -> Client {
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    client
}

/// A flood from a client that is not known and from one that is: both are closed.
async fn is_ended(node: &Node, first: &[u8], more: &[u8]) {
    for known in [false, true] {
        let mut client = if known {
            node.client("alice").await
        } else {
            hello(node).await
        };
        client.raw(&[first, &more.repeat(4_000)].concat()).await;
        assert_eq!(client.closed().await.0, 4208, "known: {known}");
    }
}

#[tokio::test]
async fn a_flood_of_frames_that_ask_for_nothing_is_ended() {
    let node = Node::with(|config| config.tuning.control_frames_per_second = 10).await;
    is_ended(&node, b"", &masked(TEXT, true, br#"{"t":"later"}"#)).await;
}

#[tokio::test]
async fn a_flood_of_fragments_is_ended_before_the_message_does() {
    let node = Node::with(|config| config.tuning.control_frames_per_second = 10).await;
    let first = masked(TEXT, false, b"{");
    is_ended(&node, &first, &masked(CONTINUATION, false, b" ")).await;
}

#[tokio::test]
async fn what_asks_for_nothing_costs_by_its_size() {
    let node = Node::with(|config| config.tuning.control_frames_per_second = 10).await;
    let mut client = node.client("alice").await;
    let large = format!(r#"{{"t":"later","x":"{}"}}"#, "x".repeat(60_000));
    client.raw(&masked(TEXT, true, large.as_bytes()).repeat(20)).await;
    assert_eq!(client.closed().await.0, 4208);
}

#[tokio::test]
async fn endless_heartbeats_and_typing_are_slowed_down_then_ended() {
    let node = Node::with(|config| {
        (config.limits.sends_per_second, config.tuning.sends_burst) = (2, Some(60));
        (config.limits.queries_per_second, config.tuning.queries_burst) = (2, Some(200));
        config.tuning.abuse_window = HumanDuration::millis(500);
    })
    .await;
    for text in [r#"{"t":"hb"}"#, r#"{"t":"typing","c":"g_1","on":true}"#] {
        let mut client = node.client("alice").await;
        let many = masked(TEXT, true, text.as_bytes()).repeat(50);
        let ended = async {
            loop {
                client.raw(&many).await;
                loop {
                    match tokio::time::timeout(MOMENT, client.recv()).await {
                        Ok(Incoming::Close(code, _)) => return code,
                        Ok(_) => {}
                        // Nothing more for now.
                        Err(_) => break,
                    }
                }
            }
        };
        let code = tokio::time::timeout(PATIENCE, ended).await;
        assert_eq!(code.expect("it is ended"), 4208, "{text}");
    }
}

#[tokio::test]
async fn a_client_that_is_not_known_says_little_and_in_small_frames() {
    let node = Node::start().await;
    let mut client = hello(&node).await;
    client
        .raw(&masked(TEXT, true, br#"{"t":"hb","id":1}"#).repeat(100))
        .await;
    assert_eq!(client.closed().await.0, 4208);

    let mut client = hello(&node).await;
    client.raw(&[0x81, 0xfe, 0x80, 0x00]).await;
    assert_eq!(client.closed().await.0, 1009, "32 KiB, which is permitted later");

    // What follows `auth` at once is a known client's, as large as any.
    let mut client = hello(&node).await;
    let body = "x".repeat(16_000);
    let pad = " ".repeat(40_000);
    let send = format!(r#"{{"t":"send","id":2,"to":"bob","cid":"1","b":{{"x":"{body}"}}}}{pad}"#);
    let auth = br#"{"t":"auth","id":1,"token":"dev:alice"}"#;
    let both = [masked(TEXT, true, auth), masked(TEXT, true, send.as_bytes())];
    client.raw(&both.concat()).await;
    assert_eq!(client.answer(1).await["t"], "ready");
    assert_eq!(client.answer(2).await["t"], "ack");
}

#[tokio::test]
async fn unauthenticated_sessions_are_limited_per_client_address() {
    let node = Node::with(|config| {
        config.server.unauthenticated_per_address = 8;
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let unknown = async |from: &str| {
        let client = Client::upgrade(node.addr(), &format!("X-Forwarded-For: {from}\r\n"), None).await;
        let status = client.head.split(' ').nth(1).unwrap().to_owned();
        (client, status)
    };
    let mut clients = Vec::new();
    for _ in 0..8 {
        let (client, status) = unknown("192.0.2.1").await;
        assert_eq!(status, "101");
        clients.push(client);
    }
    let (refused, status) = unknown("192.0.2.1").await;
    assert_eq!(status, "503");
    assert!(
        refused.head.to_lowercase().contains("retry-after: "),
        "{}",
        refused.head
    );
    assert_eq!(unknown("192.0.2.2").await.1, "101", "another address");
    // Whoever says who it is counts no more.
    clients[0].expect("hello").await;
    clients[0]
        .send(r#"{"t":"auth","id":0,"token":"dev:alice"}"#)
        .await;
    clients[0].expect("ready").await;
    let (_ninth, status) = unknown("192.0.2.1").await;
    assert_eq!(status, "101");
    // A network of IPv6 is one address, and who brings a token is none of theirs.
    let mut clients = Vec::new();
    for i in 0..8 {
        let (client, status) = unknown(&format!("2001:db8::{i}")).await;
        assert_eq!(status, "101");
        clients.push(client);
    }
    assert_eq!(unknown("2001:db8::ffff").await.1, "503");
    let bearer = "X-Forwarded-For: 2001:db8::ffff\r\nAuthorization: Bearer dev:bob\r\n";
    let known = Client::upgrade(node.addr(), bearer, None).await;
    assert!(known.head.starts_with("HTTP/1.1 101"), "{}", known.head);
    node.figure_reaches("rookery_unauthenticated_refused_total", 2)
        .await;
}

#[tokio::test]
async fn one_who_is_not_known_is_read_no_further_than_a_request_needs() {
    let node = Node::start().await;
    let pad = "x".repeat(100_000);
    // A head without end.
    let mut stream = tokio::net::TcpStream::connect(node.addr()).await.unwrap();
    let _cut = stream
        .write_all(format!("GET / HTTP/1.1\r\nX: {pad}").as_bytes())
        .await;
    let mut text = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text));
    let _reset = ended.await.expect("it is ended");
    // A body that only a known client may send, with no token or with a bad one.
    let body = format!(r#"{{"to":"{}"}}"#, &pad[..30_000]);
    let json = "Content-Type: application/json\r\n";
    // The id of an engine connection has a meaning at the path of the engine alone.
    for path in ["/v1/auth/otp", "/v1/auth/otp?EIO=4&transport=polling&sid=1-ab"] {
        let (status, _) = node.post(path, json, &body).await;
        assert_eq!(status, 413, "{path}");
    }
    let bad = format!("{json}Authorization: Bearer nonsense\r\n");
    assert_eq!(node.post("/v1/sync", &bad, &body).await.0, 401);
    // One that is known may send as much as ever.
    let large = format!(r#"{{"b":{{"x":"{}"}}}}"#, &pad[..16_000]);
    let good = format!("{json}Authorization: Bearer dev:alice\r\nIdempotency-Key: x\r\n");
    let padded = format!("{large}{}", " ".repeat(40_000));
    assert_eq!(node.post("/v1/users/bob/messages", &good, &padded).await.0, 201);
}
