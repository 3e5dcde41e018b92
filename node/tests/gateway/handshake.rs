//! The upgrade request: who may come in, and what those who may not are told.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use node::testkit::{Client, Node, PATIENCE};

#[tokio::test]
async fn the_subprotocol_is_confirmed_and_json_is_spoken_without_one() {
    let node = Node::start().await;
    let mut offered = Client::connect(node.addr()).await;
    assert!(
        offered
            .head
            .to_lowercase()
            .contains("sec-websocket-protocol: chat.v1.json\r\n"),
        "{}",
        offered.head
    );
    assert_eq!(offered.json().await["t"], "hello");

    let mut plain = Client::upgrade(node.addr(), "", None).await;
    assert!(plain.head.starts_with("HTTP/1.1 101"), "{}", plain.head);
    assert!(
        !plain.head.to_lowercase().contains("sec-websocket-protocol"),
        "{}",
        plain.head
    );
    assert_eq!(plain.json().await["t"], "hello");

    let several = "Sec-WebSocket-Protocol: soap, chat.v1.json\r\n";
    assert!(
        Client::upgrade(node.addr(), several, None)
            .await
            .head
            .starts_with("HTTP/1.1 101")
    );
    let unknown = Client::upgrade(node.addr(), "Sec-WebSocket-Protocol: soap\r\n", None).await;
    assert!(unknown.head.starts_with("HTTP/1.1 400"), "{}", unknown.head);
}

#[tokio::test]
async fn a_request_without_upgrade_gets_an_explanation() {
    let node = Node::start().await;
    let (status, body) = node.get("/v1/ws").await;
    assert_eq!(status, 426);
    assert!(body.contains("WebSocket"), "{body}");
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_gets_no_session() {
    let node =
        Node::with(|config| config.server.allowed_origins = vec!["https://chat.example.org".to_owned()])
            .await;
    let foreign = Client::upgrade(node.addr(), "Origin: https://evil.example\r\n", None).await;
    assert!(foreign.head.starts_with("HTTP/1.1 403"), "{}", foreign.head);
    let ours = Client::upgrade(node.addr(), "Origin: https://chat.example.org\r\n", None).await;
    assert!(ours.head.starts_with("HTTP/1.1 101"), "{}", ours.head);
}

#[tokio::test]
async fn a_token_in_the_header_makes_the_auth_frame_needless() {
    let node = Node::start().await;
    let mut client = Client::upgrade(node.addr(), "Authorization: Bearer dev:alice\r\n", None).await;
    assert_eq!(client.json().await["t"], "hello");
    let ready = client.json().await;
    assert_eq!((&ready["t"], &ready["user"]), (&"ready".into(), &"alice".into()));
    assert!(ready.get("id").is_none(), "{ready}");
    assert_eq!(client.ask(1, r#"{"t":"hb","id":1}"#).await["t"], "hb");
}

#[tokio::test]
async fn a_bad_token_in_the_header_is_refused_before_the_upgrade() {
    let node = Node::start().await;
    for header in [
        "Bearer nonsense",
        "Basic YWxpY2U6eA==",
        "Bearer dev:not%20a%20user",
        "Bearer",
    ] {
        let refused = Client::upgrade(node.addr(), &format!("Authorization: {header}\r\n"), None).await;
        assert!(
            refused.head.starts_with("HTTP/1.1 401"),
            "{header}: {}",
            refused.head
        );
        assert!(
            refused.head.contains("application/problem+json"),
            "{}",
            refused.head
        );
    }
}

#[tokio::test]
async fn a_token_in_the_address_is_not_looked_at() {
    let node = Node::start().await;
    let (status, _) = node.get("/v1/ws?token=dev:alice").await;
    assert_eq!(status, 426);
}

/// Everything that answers these bytes, until the server closes the connection or something follows the head.
async fn answered(node: &Node, bytes: &str, until: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(node.addr()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&text).contains(until) {
            let read = stream.read_buf(&mut text).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&text));
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap_or_else(|_| panic!("{until} comes"));
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_and_no_upgrade() {
    let node = Node::start().await;
    let get = |path: &str| format!("GET {path} HTTP/1.0\r\nAuthorization: Bearer dev:alice\r\n");
    let stream = answered(&node, &format!("{}\r\n", get("/v1/events")), "\"sid\"").await;
    let (head, body) = stream.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("chunked"), "{head}");
    assert!(body.starts_with("id: "), "no sizes of chunks: {body}");

    let upgrade = format!(
        "{}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        get("/v1/ws")
    );
    let refused = answered(&node, &upgrade, "}").await;
    assert!(refused.contains(" 426 "), "{refused}");
    assert!(refused.contains("HTTP/1.1"), "it says what is needed: {refused}");

    // What has a length is answered as ever.
    let (status, body) = node.exchange("GET /livez HTTP/1.0\r\n\r\n").await;
    assert_eq!((status, body.as_str()), (200, r#"{"status":"ok"}"#));
    node.stop().await;
}
