//! Requests that two readers understand differently, or that are no requests: nobody gets a second answer, a file, or a
//! method that was not permitted.

use std::net::SocketAddr;

use node::testkit::{Call, Node, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes and no end, and reads until the server closes the connection or has answered `PROBE`.
async fn answers(addr: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // A server that has refused already may not read the rest.
    let _refused = stream.write_all(bytes).await;
    let _ended = stream.shutdown().await;
    let mut text = Vec::new();
    let reading = within("the connection ends", stream.read_to_end(&mut text));
    let _reset = reading.await;
    let text = String::from_utf8_lossy(&text).into_owned();
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads
        .map(|head| head.get(..3).and_then(|status| status.parse().ok()).unwrap_or(0))
        .collect()
}

/// A request that only a reader who takes the body for shorter than it is sees.
const SMUGGLED: &str = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn request_inside_of_a_body_is_never_answered() {
    let node = Node::start().await;
    let chunked = format!("0\r\n\r\n{SMUGGLED}");
    let hidden = SMUGGLED.len();
    for (lines, body) in [
        (
            format!(
                "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
                chunked.len()
            ),
            chunked.as_str(),
        ),
        (
            format!(
                "Transfer-Encoding: chunked\r\nContent-Length: {}\r\n",
                chunked.len()
            ),
            chunked.as_str(),
        ),
        (
            format!("Content-Length: 0\r\nContent-Length: {hidden}\r\n"),
            SMUGGLED,
        ),
        (
            format!("Content-Length: {hidden}\r\nContent-Length: 0\r\n"),
            SMUGGLED,
        ),
        (format!("Content-Length: 0, {hidden}\r\n"), SMUGGLED),
        (format!("Content-Length: +{hidden}\r\n"), SMUGGLED),
        (format!("Content-Length: 0x{hidden:x}\r\n"), SMUGGLED),
        ("Content-Length: -1\r\n".to_owned(), SMUGGLED),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), chunked.as_str()),
        (
            "Transfer-Encoding: chunked, identity\r\n".to_owned(),
            chunked.as_str(),
        ),
        (
            format!(
                "Transfer-Encoding : chunked\r\nContent-Length: {}\r\n",
                chunked.len()
            ),
            chunked.as_str(),
        ),
        (format!("Content-Length : {hidden}\r\n"), SMUGGLED),
    ] {
        let head = format!(
            "POST /v1/sync HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer dev:alice\r\nContent-Type: application/json\r\n{lines}\r\n"
        );
        let statuses = answers(node.addr(), format!("{head}{body}").as_bytes()).await;
        assert!(statuses.len() <= 1, "{lines:?}: {statuses:?}");
        assert!(
            statuses.iter().all(|status| (400..500).contains(status)),
            "{lines:?}: {statuses:?}"
        );
    }
    Call::new("GET", "/livez").to(&node).await.is(200);
    node.stop().await;
}

#[tokio::test]
async fn malformed_and_endless_heads_are_refused() {
    let node = Node::start().await;
    let head = |lines: &str| format!("GET /v1/conversations HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
    let many: String = (0..1_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    for (what, bytes) in [
        (
            "a long header",
            head(&format!("X-Long: {}\r\n", "x".repeat(200_000))),
        ),
        ("a thousand headers", head(&many)),
        ("a NUL", head("X-Nul: a\0b\r\n")),
        ("a bare carriage return", head("X-Cr: a\rb\r\n")),
        (
            "a continued line",
            head("X-Folded: a\r\n  Authorization: Bearer dev:alice\r\n"),
        ),
        ("no name", head(": a\r\n")),
        (
            "a long path",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200_000)).into_bytes(),
        ),
        ("an old version", b"GET /livez\r\n\r\n".to_vec()),
        ("a newer version", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (
            "no request",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
    ] {
        let statuses = answers(node.addr(), &bytes).await;
        let is_refused = statuses
            .iter()
            .all(|status| (400..500).contains(status) || *status == 505);
        assert!(statuses.len() <= 1 && is_refused, "{what}: {statuses:?}");
    }
    Call::new("GET", "/livez").to(&node).await.is(200);
    node.stop().await;
}

#[tokio::test]
async fn no_path_leads_elsewhere_and_no_header_changes_the_method() {
    let node = Node::start().await;
    for path in [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/../metrics/../../etc/passwd",
        "/v1%2fconversations",
        "/v1/conversations/..%2f..%2fcluster",
        "//v1//conversations",
        "/v1/conversations/%00",
        "/console/../v1/admin/keys",
        "/v1/conversations/g_1%0d%0aX-Injected:%201",
    ] {
        let reply = Call::new("GET", path).by("alice").to(&node).await;
        assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
        assert!(
            !reply.text.contains("root:") && reply.header("X-Injected").is_empty(),
            "{path}: {reply:?}"
        );
    }
    for method in ["TRACE", "CONNECT", "PROPFIND", "get"] {
        let reply = Call::new(method, "/v1/conversations").by("alice").to(&node).await;
        assert!((400..502).contains(&reply.status), "{method}: {reply:?}");
        assert!(
            !reply.text.contains("dev:alice"),
            "{method} repeats the request: {reply:?}"
        );
    }
    // Read as what it is, and not as the deletion that the header names.
    let listed = Call::new("GET", "/v1/conversations")
        .by("alice")
        .with("X-HTTP-Method-Override", "DELETE");
    listed.to(&node).await.is(200);
    node.stop().await;
}
