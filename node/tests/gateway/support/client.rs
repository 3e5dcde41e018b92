//! A WebSocket client over a bare socket: it sends whatever it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::PATIENCE;

/// Opcode of a text frame.
pub(crate) const TEXT: u8 = 1;

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The head of the response to the upgrade.
    pub(crate) head: String,
}

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame: its code and reason.
    Close(u16, String),
    /// The end of the connection.
    End,
}

// === impl Client ===

impl Client {
    /// Opens a WebSocket.
    pub(crate) async fn connect(addr: SocketAddr) -> Client {
        let client = Client::upgrade(addr, "Sec-WebSocket-Protocol: chat.v1.json\r\n", None).await;
        assert!(client.head.starts_with("HTTP/1.1 101"), "{}", client.head);
        client
    }

    /// Asks for an upgrade with further header lines; with a small receive buffer if given one.
    pub(crate) async fn upgrade(addr: SocketAddr, headers: &str, receive_buffer: Option<u32>) -> Client {
        Client::upgrade_at(addr, "/v1/ws", headers, receive_buffer).await
    }

    /// Asks for an upgrade at a path.
    pub(crate) async fn upgrade_at(
        addr: SocketAddr,
        path: &str,
        headers: &str,
        receive_buffer: Option<u32>,
    ) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut stream = socket.connect(addr).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut client = Client {
            stream,
            buffer: Vec::new(),
            head: String::new(),
        };
        let end = loop {
            if let Some(at) = client.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(client.more().await, "the head of a response");
        };
        client.head = String::from_utf8(client.buffer.drain(..end).collect()).unwrap();
        client
    }

    /// Sends a text message.
    pub(crate) async fn send(&mut self, text: &str) {
        self.raw(&masked(TEXT, true, text.as_bytes())).await;
    }

    /// Sends bytes as they are. A connection that the server has closed is no error here.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
    }

    /// The next thing the server sent.
    pub(crate) async fn recv(&mut self) -> Incoming {
        tokio::time::timeout(PATIENCE, self.recv_now())
            .await
            .expect("the server sends something")
    }

    async fn recv_now(&mut self) -> Incoming {
        loop {
            if let Some((opcode, payload)) = self.whole_frame() {
                return match opcode {
                    0x81 => Incoming::Text(String::from_utf8(payload).unwrap()),
                    0x82 => Incoming::Binary(payload),
                    0x88 if payload.is_empty() => Incoming::Close(1005, String::new()),
                    0x88 => {
                        let code = u16::from_be_bytes([payload[0], payload[1]]);
                        Incoming::Close(code, String::from_utf8(payload[2..].to_vec()).unwrap())
                    }
                    0x89 => Incoming::Ping(payload),
                    0x8a => Incoming::Pong(payload),
                    other => panic!("opcode {other:#x}"),
                };
            }
            if !self.more().await {
                return Incoming::End;
            }
        }
    }

    /// The next text message; pings are answered.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.recv().await {
                Incoming::Text(text) => return text,
                Incoming::Ping(payload) => self.raw(&masked(10, true, &payload)).await,
                other => panic!("expected a text, got {other:?}"),
            }
        }
    }

    /// The next text message as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The next message with this `t`; others are passed over.
    pub(crate) async fn expect(&mut self, t: &str) -> Value {
        let found = self.find(|message| message["t"] == t);
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("a {t} comes"))
    }

    /// The answer to the request with this `id`; everything else is passed over.
    pub(crate) async fn answer(&mut self, id: i64) -> Value {
        let found = self.find(|message| message["id"] == id);
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("{id} is answered"))
    }

    /// The answers to the requests with these ids, which come in any order; everything else is passed over.
    pub(crate) async fn answers(&mut self, ids: Range<i64>) -> BTreeMap<i64, Value> {
        let mut answers = BTreeMap::new();
        while answers.len() < ids.clone().count() {
            let next = self.find(|message| message["id"].as_i64().is_some_and(|id| ids.contains(&id)));
            let answer = tokio::time::timeout(PATIENCE, next)
                .await
                .unwrap_or_else(|_| panic!("all of {ids:?} are answered, {} were", answers.len()));
            answers.insert(answer["id"].as_i64().unwrap(), answer);
        }
        answers
    }

    async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.json().await;
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Sends a request and returns its answer.
    pub(crate) async fn ask(&mut self, id: i64, text: &str) -> Value {
        self.send(text).await;
        self.answer(id).await
    }

    /// The close frame; texts and pings before it are passed over.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.recv().await {
                Incoming::Close(code, reason) => return (code, reason),
                Incoming::End => panic!("the connection ended without a close frame"),
                _ => {}
            }
        }
    }

    fn whole_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let buffer = &self.buffer;
        let (start, length) = match *buffer.get(1)? {
            126 => (
                4,
                u64::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().unwrap())),
            ),
            127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().unwrap())),
            short => (2, u64::from(short)),
        };
        let end = start + usize::try_from(length).unwrap();
        let payload = buffer.get(start..end)?.to_vec();
        let opcode = buffer[0];
        self.buffer.drain(..end);
        Some((opcode, payload))
    }

    async fn more(&mut self) -> bool {
        let mut chunk = [0; 16_384];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&chunk[..read]);
                true
            }
        }
    }
}

/// A masked frame as a client must send it.
pub(crate) fn masked(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    frame(opcode | if last { 0x80 } else { 0 }, Some([1, 2, 3, 4]), payload)
}

/// Any frame.
pub(crate) fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(bit | u8::try_from(short).unwrap()),
        middle @ 126..=0xffff => {
            bytes.push(bit | 126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(bit | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| bytes.extend(mask)).unwrap_or_default();
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}
