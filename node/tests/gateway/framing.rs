//! WebSocket framing: what RFC 6455 asks of a server, and the limits before buffering.

use futures::future::join_all;

use node::testkit::{Client, HumanSize, Incoming, Node, TEXT, frame, masked};

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

async fn hello(node: &Node) -> Client {
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    client
}

#[tokio::test]
async fn fragments_make_one_message_with_pings_answered_in_between() {
    let node = Node::start().await;
    let mut client = node.client("alice").await;
    client.raw(&masked(TEXT, false, br#"{"t":"hb","#)).await;
    client.raw(&masked(PING, true, b"are you there")).await;
    assert_eq!(client.recv().await, Incoming::Pong(b"are you there".to_vec()));
    client.raw(&masked(CONTINUATION, false, b"")).await;
    client.raw(&masked(CONTINUATION, true, br#""id":5}"#)).await;
    assert_eq!(client.answer(5).await["t"], "hb");
}

#[tokio::test]
async fn a_message_may_come_byte_by_byte_or_many_in_one_piece() {
    let node = Node::start().await;
    let mut client = node.client("alice").await;
    for byte in masked(TEXT, true, br#"{"t":"hb","id":5}"#) {
        client.raw(&[byte]).await;
    }
    assert_eq!(client.answer(5).await["t"], "hb");
    let many: Vec<u8> = (0..100)
        .flat_map(|id| masked(TEXT, true, format!(r#"{{"t":"hb","id":{id}}}"#).as_bytes()))
        .collect();
    client.raw(&many).await;
    for id in 0..100 {
        assert_eq!(client.json().await["id"], id);
    }
}

#[tokio::test]
async fn broken_framing_ends_with_its_standard_code() {
    let node = Node::start().await;
    let mask = Some([1, 2, 3, 4]);
    let long_ping = [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat();
    let cases = [
        (frame(0x81, None, b"{}"), 1002, "not masked"),
        (frame(0xc1, mask, b"{}"), 1002, "rsv1"),
        (frame(0xa1, mask, b"{}"), 1002, "rsv2"),
        (frame(0x91, mask, b"{}"), 1002, "rsv3"),
        (frame(0x83, mask, b"{}"), 1002, "unknown opcode"),
        (frame(0x8b, mask, b"{}"), 1002, "unknown control opcode"),
        (
            masked(CONTINUATION, true, b"{}"),
            1002,
            "a continuation frame without a message",
        ),
        (masked(PING, false, b""), 1002, "fragmented ping"),
        (long_ping, 1002, "long ping"),
        (
            [masked(TEXT, false, b"{"), masked(TEXT, true, b"}")].concat(),
            1002,
            "a text within a text",
        ),
        (masked(CLOSE, true, &[3]), 1002, "half a close code"),
        (
            masked(CLOSE, true, &1005u16.to_be_bytes()),
            1002,
            "a close code that nobody may send",
        ),
        (masked(BINARY, true, b"{}"), 1003, "binary"),
        (masked(TEXT, true, &[b'"', 0xff, b'"']), 1007, "not utf-8"),
        (
            [masked(TEXT, false, &[0xc3]), masked(CONTINUATION, true, b"(")].concat(),
            1007,
            "not utf-8 across fragments",
        ),
    ];
    // At once: each connection is held for a while, should its client have more to say.
    join_all(cases.into_iter().map(async |(bytes, code, why)| {
        let mut client = hello(&node).await;
        client.raw(&bytes).await;
        assert_eq!(client.closed().await.0, code, "{why}");
        assert_eq!(client.recv().await, Incoming::End, "{why}");
    }))
    .await;
}

#[tokio::test]
async fn what_is_too_long_is_refused_by_its_header_alone() {
    let node = Node::with(|config| config.tuning.frame_size = HumanSize::kib(32)).await;
    for header in [
        &[0x81, 0xfe, 0x80, 0x01][..],
        &[0x81, 0xff, 0, 0, 0, 0, 0xff, 0, 0, 0],
    ] {
        let mut client = node.client("alice").await;
        client.raw(header).await;
        assert_eq!(client.closed().await.0, 1009);
    }
    let mut client = node.client("alice").await;
    client.raw(&masked(TEXT, false, &[b' '; 30_000])).await;
    client.raw(&[0x80, 0xfe, 0x0a, 0xd1]).await;
    assert_eq!(client.closed().await.0, 1009, "fragments count together");

    let mut client = node.client("alice").await;
    let mut largest = vec![b' '; 32_768];
    largest[..17].copy_from_slice(br#"{"t":"hb","id":5}"#);
    client.raw(&masked(TEXT, true, &largest)).await;
    assert_eq!(client.answer(5).await["t"], "hb");
}

#[tokio::test]
async fn a_close_frame_comes_back_and_the_connection_ends() {
    let node = Node::start().await;
    let cases = [(&[3, 0xe8][..], 1000), (&[0x0f, 0xa0, b'x'], 4000), (&[], 1005)];
    join_all(cases.into_iter().map(async |(payload, code)| {
        let mut client = hello(&node).await;
        client.raw(&masked(CLOSE, true, payload)).await;
        assert_eq!(client.recv().await, Incoming::Close(code, String::new()));
        assert_eq!(client.recv().await, Incoming::End);
    }))
    .await;
}

#[tokio::test]
async fn a_flood_of_pings_or_of_empty_fragments_is_ended() {
    let node = Node::with(|config| config.tuning.control_frames_per_second = 10).await;
    let begun = masked(TEXT, false, b"{");
    for (first, more) in [
        (Vec::new(), masked(PING, true, b"x")),
        (Vec::new(), masked(PONG, true, b"")),
        (begun, masked(CONTINUATION, false, b"")),
    ] {
        let mut client = hello(&node).await;
        client.raw(&[first, more.repeat(2_000)].concat()).await;
        assert_eq!(client.closed().await.0, 4208);
    }
}
