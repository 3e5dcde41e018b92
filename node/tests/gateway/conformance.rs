//! RFC 6455 at the echo endpoint, whose messages pass the frame layer of every WebSocket.

use futures::future::join_all;

use crate::support::{Client, Incoming, Node, TEXT, frame, masked};

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const MASK: Option<[u8; 4]> = Some([9, 8, 7, 6]);

async fn echo(node: &Node) -> Client {
    let client = Client::upgrade_at(node.addr(), "/v1/echo", "", None).await;
    assert!(client.head.starts_with("HTTP/1.1 101"), "{}", client.head);
    client
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

/// Sends the bytes of each case on a connection of its own, and expects these frames.
async fn exchange(node: &Node, cases: Vec<(Vec<u8>, Vec<Incoming>)>) {
    join_all(cases.into_iter().map(async |(bytes, expected)| {
        let mut client = echo(node).await;
        client.raw(&bytes).await;
        for expected in expected {
            assert_eq!(
                client.recv().await,
                expected,
                "{:02x?}",
                &bytes[..bytes.len().min(40)]
            );
        }
    }))
    .await;
}

/// Like [`exchange`] with only a close frame of this code, and the end of the connection, behind an echo.
async fn is_closed(node: &Node, cases: Vec<(Vec<u8>, u16)>) {
    let cases = cases.into_iter().map(|(bytes, code)| {
        let bytes = [masked(TEXT, true, b"before"), bytes].concat();
        let closed = Incoming::Close(code, String::new());
        (bytes, vec![text("before"), closed, Incoming::End])
    });
    exchange(node, cases.collect()).await;
}

#[tokio::test]
async fn messages_of_every_header_length_are_echoed() {
    let node = Node::start().await;
    let lengths = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1 << 20];
    let cases = lengths.into_iter().flat_map(|length| {
        let binary: Vec<u8> = (0..length).map(|i: usize| (i * 7) as u8).collect();
        let ascii = "*".repeat(length);
        [
            (masked(TEXT, true, ascii.as_bytes()), vec![text(&ascii)]),
            (masked(BINARY, true, &binary), vec![Incoming::Binary(binary)]),
        ]
    });
    exchange(&node, cases.collect()).await;
}

#[tokio::test]
async fn fragments_of_any_size_make_one_message() {
    let node = Node::start().await;
    let long = "0123456789abcdef".repeat(16_384);
    let mut cases = Vec::new();
    for (opcode, size) in [(TEXT, 1_300), (BINARY, 1_024), (TEXT, 100_000)] {
        let pieces: Vec<&[u8]> = long.as_bytes().chunks(size).collect();
        let frames = pieces.iter().enumerate().map(|(i, piece)| {
            let opcode = if i == 0 { opcode } else { CONTINUATION };
            masked(opcode, i + 1 == pieces.len(), piece)
        });
        let whole = match opcode {
            TEXT => text(&long),
            _ => Incoming::Binary(long.clone().into_bytes()),
        };
        cases.push((frames.flatten().collect(), vec![whole]));
    }
    let with_controls = [
        masked(TEXT, false, b"a"),
        masked(PING, true, b"one"),
        masked(CONTINUATION, false, b""),
        masked(PONG, true, b"unasked"),
        masked(CONTINUATION, false, b"b"),
        masked(PING, true, b"two"),
        masked(CONTINUATION, true, b""),
        masked(BINARY, false, b""),
        masked(CONTINUATION, true, b""),
    ];
    cases.push((
        with_controls.concat(),
        vec![
            Incoming::Pong(b"one".to_vec()),
            Incoming::Pong(b"two".to_vec()),
            text("ab"),
            Incoming::Binary(Vec::new()),
        ],
    ));
    exchange(&node, cases).await;
}

#[tokio::test]
async fn every_ping_of_a_few_is_answered_with_its_payload() {
    let node = Node::start().await;
    let mut client = echo(&node).await;
    let payloads: Vec<Vec<u8>> = (0..10).map(|i| vec![i; usize::from(i) * 13]).collect();
    let pings: Vec<u8> = payloads
        .iter()
        .flat_map(|payload| masked(PING, true, payload))
        .collect();
    client.raw(&pings).await;
    for payload in payloads {
        assert_eq!(client.recv().await, Incoming::Pong(payload));
    }
    for byte in masked(PING, true, &[0xfe; 125]) {
        client.raw(&[byte]).await;
    }
    assert_eq!(client.recv().await, Incoming::Pong(vec![0xfe; 125]));
}

#[tokio::test]
async fn reserved_bits_and_opcodes_close_with_1002() {
    let node = Node::start().await;
    let opcodes = (3..8)
        .chain(11..16)
        .map(|opcode| (frame(0x80 | opcode, MASK, b"x"), 1002));
    let bits = (1..8).flat_map(|rsv: u8| {
        [1, 2, 8, 9, 10].map(|opcode| (frame(0x80 | rsv << 4 | opcode, MASK, b"xx"), 1002))
    });
    is_closed(&node, opcodes.chain(bits).collect()).await;
}

#[tokio::test]
async fn misplaced_and_oversized_frames_close_with_1002() {
    let node = Node::start().await;
    let long = |opcode| frame(0x80 | opcode, MASK, &[0; 126]);
    let cases = [
        masked(CONTINUATION, true, b"x"),
        masked(CONTINUATION, false, b"x"),
        [masked(TEXT, false, b"x"), masked(TEXT, true, b"x")].concat(),
        [masked(TEXT, false, b"x"), masked(BINARY, true, b"x")].concat(),
        masked(PING, false, b"x"),
        masked(PONG, false, b"x"),
        masked(CLOSE, false, b""),
        long(PING),
        long(PONG),
        long(CLOSE),
        frame(0x81, None, b"x"),
        vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ];
    let cases = cases.into_iter().map(|bytes| (bytes, 1002));
    is_closed(&node, cases.collect()).await;
}

#[tokio::test]
async fn utf8_is_checked_over_the_boundaries_of_fragments() {
    let node = Node::start().await;
    let octets = |bytes: &[u8]| -> Vec<u8> {
        let frames = bytes.iter().enumerate().map(|(i, byte)| {
            let opcode = if i == 0 { TEXT } else { CONTINUATION };
            masked(opcode, i + 1 == bytes.len(), &[*byte])
        });
        frames.flatten().collect()
    };
    let valid = [
        "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
        "\u{0}",
        "\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}",
    ];
    let echoed = valid.map(|valid| (octets(valid.as_bytes()), vec![text(valid)]));
    exchange(&node, echoed.into()).await;

    let invalid: [&[u8]; 12] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xce",
        b"a\xe1\xbd",
        b"\x80",
        b"\xc0\x80",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfe",
        b"\xff",
    ];
    let whole = invalid.map(|bytes| (masked(TEXT, true, bytes), 1007));
    let pieces = invalid.map(|bytes| (octets(bytes), 1007));
    is_closed(&node, whole.into_iter().chain(pieces).collect()).await;
    // At the first bad fragment, although the message goes on.
    let open = [
        masked(TEXT, false, b"ok"),
        masked(CONTINUATION, false, b"\xf4\x90"),
    ]
    .concat();
    is_closed(&node, vec![(open, 1007)]).await;
    // Binary messages are no text.
    exchange(
        &node,
        vec![
            (octets(b"x"), vec![text("x")]),
            (
                masked(BINARY, true, b"\xff"),
                vec![Incoming::Binary(b"\xff".to_vec())],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn close_frames_are_answered_by_their_code_or_refused() {
    let node = Node::start().await;
    let close = |code: u16, reason: &[u8]| masked(CLOSE, true, &[&code.to_be_bytes(), reason].concat());
    let permitted = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ];
    let permitted = permitted.into_iter().map(|code| (close(code, b"reason"), code));
    let refused = [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ];
    let refused = refused.into_iter().map(|code| (close(code, b""), 1002));
    let others = [
        (masked(CLOSE, true, b""), 1005),
        (masked(CLOSE, true, b"\x03"), 1002),
        (close(1000, &[b'x'; 123]), 1000),
        (close(1000, b"\xce\xba\xed\xa0\x80"), 1007),
        // Nothing behind the close frame is handled.
        (
            [
                close(1000, b""),
                masked(TEXT, true, b"late"),
                masked(PING, true, b""),
            ]
            .concat(),
            1000,
        ),
        ([masked(TEXT, false, b"begun"), close(1001, b"")].concat(), 1001),
    ];
    is_closed(&node, permitted.chain(refused).chain(others).collect()).await;
}

#[tokio::test]
async fn messages_over_the_limit_close_with_1009() {
    let node = Node::start().await;
    let over = vec![0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0];
    is_closed(&node, vec![(over, 1009)]).await;
}

#[tokio::test]
async fn sender_that_reads_nothing_is_slowed_and_gets_all_later() {
    let node = Node::start().await;
    let mut client = echo(&node).await;
    // More than the outbound queue and the buffers of the kernel hold together with the echo of the first ones.
    let message = masked(BINARY, true, &[7; 60_000]);
    client.raw(&message.repeat(40)).await;
    for _ in 0..40 {
        assert_eq!(client.recv().await, Incoming::Binary(vec![7; 60_000]));
    }
}

#[tokio::test]
async fn echo_needs_a_node_with_development_tokens() {
    let node = Node::with(|config| {
        config.auth.dev_tokens = false;
        config.auth.secret = node::config::SecretString("0123456789abcdef0123456789abcdef".to_owned());
    })
    .await;
    let refused = Client::upgrade_at(node.addr(), "/v1/echo", "", None).await;
    assert!(refused.head.starts_with("HTTP/1.1 404"), "{}", refused.head);
}

#[tokio::test]
async fn byte_stream_is_spoken_over_binary_messages() {
    let node = Node::start().await;
    let refused = Client::upgrade_at(node.addr(), "/v1/echo/lines", "", None).await;
    assert!(refused.head.starts_with("HTTP/1.1 400"), "{}", refused.head);
    let offer = "Sec-WebSocket-Protocol: soap, lines\r\n";
    let mut client = Client::upgrade_at(node.addr(), "/v1/echo/lines", offer, None).await;
    let confirmed = "sec-websocket-protocol: lines\r\n";
    assert!(client.head.to_lowercase().contains(confirmed), "{}", client.head);
    // A packet may span messages, and a message may contain several.
    for part in ["one", " li", "ne\ntwo\nthr", "ee\nquit\n"] {
        client.raw(&masked(BINARY, true, part.as_bytes())).await;
    }
    let (received, code) = binary_until_close(&mut client).await;
    assert_eq!((received.as_str(), code), ("one line\ntwo\nthree\nbye\n", 1000));

    let mut client = Client::upgrade_at(node.addr(), "/v1/echo/lines", offer, None).await;
    client.send("text\n").await;
    assert_eq!(binary_until_close(&mut client).await, ("bye\n".to_owned(), 1003));
}

/// The byte stream in the binary messages up to the close frame, and its code.
async fn binary_until_close(client: &mut Client) -> (String, u16) {
    let mut received = Vec::new();
    loop {
        match client.recv().await {
            Incoming::Binary(bytes) => received.extend(bytes),
            Incoming::Close(code, _) => return (String::from_utf8(received).unwrap(), code),
            other => panic!("{other:?}"),
        }
    }
}
