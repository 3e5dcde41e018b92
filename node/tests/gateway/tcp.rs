//! A listener for raw TCP, seen through the line echo.

use node::testkit::{Config, HumanDuration, Node, PATIENCE, StreamProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn with_line_echo(config: &mut Config) {
    config.tuning.line_echo_listen = "127.0.0.1:0".to_owned();
}

async fn connect(node: &Node) -> TcpStream {
    let addr = node.running.protocol_addr(StreamProtocol::LineEcho).unwrap();
    TcpStream::connect(addr).await.unwrap()
}

/// Sends a line and returns the response; it is empty on a connection that was closed.
async fn line(stream: &mut TcpStream, line: &str) -> String {
    // An error is a connection that was closed, and shows as an empty answer.
    let _closed = stream.write_all(line.as_bytes()).await;
    let mut answer = vec![0; line.len()];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer));
    match read.await.expect("the server answers or closes") {
        Ok(_) => String::from_utf8(answer).unwrap(),
        Err(_) => String::new(),
    }
}

/// Everything until the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest));
    // A reset is an end too.
    let _reset = read.await.expect("the connection ends");
    String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn lines_are_echoed_until_either_side_ends() {
    let node = Node::with(with_line_echo).await;
    let mut stream = connect(&node).await;
    assert_eq!(line(&mut stream, "one\n").await, "one\n");
    stream.write_all(b"tw").await.unwrap();
    assert_eq!(
        line(&mut stream, "o\nthree\n").await,
        "two\nthree"[..8].to_owned()
    );
    stream.write_all(b"quit\n").await.unwrap();
    assert_eq!(rest(&mut stream).await, "e\nbye\n");

    let mut stream = connect(&node).await;
    stream.write_all(&[b'x'; 2_000]).await.unwrap();
    assert_eq!(rest(&mut stream).await, "bye\n", "a line that is too long");

    let mut stream = connect(&node).await;
    assert_eq!(line(&mut stream, "one\n").await, "one\n");
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, "bye\n", "the client has ended its half");
    node.stop().await;
}

#[tokio::test]
async fn connection_that_is_not_identified_in_time_is_cut() {
    let node = Node::with(|config| {
        with_line_echo(config);
        config.tuning.auth_timeout = HumanDuration::millis(300);
    })
    .await;
    let mut identified = connect(&node).await;
    assert_eq!(line(&mut identified, "one\n").await, "one\n");
    let (mut silent, mut slow) = (connect(&node).await, connect(&node).await);
    slow.write_all(b"half a line").await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut slow).await, "");
    assert_eq!(line(&mut identified, "two\n").await, "two\n");
    node.stop().await;
}

#[tokio::test]
async fn tcp_and_http_clients_share_the_permits() {
    let node = Node::with(|config| {
        with_line_echo(config);
        config.server.max_connections = 1;
    })
    .await;
    let mut first = connect(&node).await;
    assert_eq!(line(&mut first, "one\n").await, "one\n");
    let mut second = connect(&node).await;
    assert_eq!(line(&mut second, "two\n").await, "", "there is no permit");
    let bearer = "Authorization: Bearer dev:alice\r\n";
    assert_eq!(node.request("/v1/me/blocks", bearer).await.0, 503);
    drop(first);
    let freed = async {
        loop {
            let mut next = connect(&node).await;
            if line(&mut next, "three\n").await == "three\n" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, freed)
        .await
        .expect("the permit is released");
    node.stop().await;
}

#[tokio::test]
async fn unidentified_tcp_connections_are_limited_per_address() {
    let node = Node::with(|config| {
        with_line_echo(config);
        config.server.unauthenticated_per_address = 2;
        config.server.threads = 1;
    })
    .await;
    let before = node.figure("rookery_bytes_in_total").await;
    let mut waiting = Vec::new();
    for i in 1..=2 {
        let mut stream = connect(&node).await;
        stream.write_all(b"half").await.unwrap();
        waiting.push(stream);
        node.figure_reaches("rookery_bytes_in_total", before + 4 * i)
            .await;
    }
    let third = async {
        loop {
            let mut third = connect(&node).await;
            if line(&mut third, "x\n").await.is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, third)
        .await
        .expect("a third is refused");
    // Identified clients do not count.
    assert_eq!(
        line(&mut waiting[0], " a line\n").await,
        "half a line\n"[..8].to_owned()
    );
    let mut third = connect(&node).await;
    assert_eq!(line(&mut third, "x\n").await, "x\n");
    node.stop().await;
}

#[tokio::test]
async fn sender_that_reads_nothing_is_slowed_by_tcp() {
    let node = Node::with(with_line_echo).await;
    let stream = connect(&node).await;
    let (mut reader, mut writer) = stream.into_split();
    let text = "a line of some length, to be echoed\n".repeat(100_000);
    let sent = text.clone();
    let writing = tokio::spawn(async move { writer.write_all(sent.as_bytes()).await.map(|()| writer) });
    let mut echoed = vec![0; text.len()];
    let read = tokio::time::timeout(PATIENCE, reader.read_exact(&mut echoed));
    read.await.expect("everything is echoed").unwrap();
    assert!(echoed == text.as_bytes());
    writing.await.unwrap().unwrap();
    node.stop().await;
}

#[tokio::test]
async fn stop_of_the_node_ends_unidentified_tcp_connections() {
    let node = Node::with(with_line_echo).await;
    let mut streams = Vec::new();
    for first in ["", "half a line"] {
        let mut stream = connect(&node).await;
        stream.write_all(first.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    let (_dir, ()) = tokio::join!(node.stop(), async {
        for stream in &mut streams {
            assert_eq!(rest(stream).await, "");
        }
    });
}
