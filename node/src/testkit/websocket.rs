//! WebSocket client over a bare socket, which can also break the rules of the protocol.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::{TEXT, masked, within};

/// Time after which a write that waits shows a server that may have stopped to read.
const STALL: Duration = Duration::from_secs(1);

/// Open WebSocket, or a refused upgrade.
pub struct Client {
    stream: Box<dyn ByteStream>,
    buffer: Vec<u8>,
    /// The head of the response to the upgrade.
    pub head: String,
}

/// Connection to a server, by TCP or by TLS.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Frame from the server, or the end of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason of a close frame.
    Close(u16, String),
    End,
}

// === impl Client ===

impl Client {
    /// Opens a WebSocket, which the server has to accept.
    pub async fn connect(addr: SocketAddr) -> Client {
        let client = Client::upgrade(addr, "Sec-WebSocket-Protocol: chat.v1.json\r\n", None).await;
        assert!(client.head.starts_with("HTTP/1.1 101"), "{}", client.head);
        client
    }

    /// Requests an upgrade with further header lines, and with a receive buffer of this size if one is given.
    pub async fn upgrade(addr: SocketAddr, headers: &str, receive_buffer: Option<u32>) -> Client {
        Client::upgrade_at(addr, "/v1/ws", headers, receive_buffer).await
    }

    /// Requests an upgrade at a path.
    pub async fn upgrade_at(
        addr: SocketAddr,
        path: &str,
        headers: &str,
        receive_buffer: Option<u32>,
    ) -> Client {
        let upgrade = Client::try_upgrade_at(addr, path, headers, receive_buffer);
        let client = within("an upgrade is answered", upgrade).await;
        client.expect("the head of a response")
    }

    /// Requests an upgrade. `None`: the connection failed or ended without a response.
    pub async fn try_upgrade(addr: SocketAddr, headers: &str, receive_buffer: Option<u32>) -> Option<Client> {
        Client::try_upgrade_at(addr, "/v1/ws", headers, receive_buffer).await
    }

    async fn try_upgrade_at(
        addr: SocketAddr,
        path: &str,
        headers: &str,
        receive_buffer: Option<u32>,
    ) -> Option<Client> {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(addr).await.ok()?;
        Client::upgrade_over(Box::new(stream), path, headers).await
    }

    /// Opens a WebSocket over a connection, which the server has to accept.
    pub async fn over(stream: impl ByteStream + 'static) -> Client {
        let headers = "Sec-WebSocket-Protocol: chat.v1.json\r\n";
        let upgrade = Client::upgrade_over(Box::new(stream), "/v1/ws", headers);
        let client = within("an upgrade is answered", upgrade).await;
        let client = client.expect("the head of a response");
        assert!(client.head.starts_with("HTTP/1.1 101"), "{}", client.head);
        client
    }

    async fn upgrade_over(mut stream: Box<dyn ByteStream>, path: &str, headers: &str) -> Option<Client> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        let mut client = Client {
            stream,
            buffer: Vec::new(),
            head: String::new(),
        };
        let end = loop {
            if let Some(at) = client.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !client.more().await {
                return None;
            }
        };
        client.head = String::from_utf8(client.buffer.drain(..end).collect()).unwrap();
        Some(client)
    }

    pub async fn send(&mut self, text: &str) {
        self.raw(&masked(TEXT, true, text.as_bytes())).await;
    }

    /// Sends bytes unchanged. A connection that the server has closed is no error here.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
        let _closed = self.stream.flush().await;
    }

    /// Sends bytes until the server takes none for a while, and returns how many it has taken. Nothing else may be sent
    /// before the rest.
    pub async fn offer(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let write = self.stream.write(&bytes[taken..]);
            match tokio::time::timeout(STALL, write).await {
                Ok(written) => taken += written.expect("the server keeps the connection"),
                Err(_) => break,
            }
        }
        taken
    }

    /// Returns the next frame.
    pub async fn recv(&mut self) -> Incoming {
        within("the server sends something", self.recv_now()).await
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

    /// Returns the next text message, and answers pings before it.
    pub async fn text(&mut self) -> String {
        // One deadline for the whole wait: pings go on for as long as the connection, whatever is missing.
        within("a text comes", self.text_now()).await
    }

    async fn text_now(&mut self) -> String {
        loop {
            match self.recv_now().await {
                Incoming::Text(text) => return text,
                Incoming::Ping(payload) => self.raw(&masked(10, true, &payload)).await,
                other => panic!("expected a text, got {other:?}"),
            }
        }
    }

    /// Returns the next text message as JSON.
    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Returns the next message with this `t`, and skips the others.
    pub async fn expect(&mut self, t: &str) -> Value {
        let found = self.find(|message| message["t"] == t);
        within(&format!("a {t} comes"), found).await
    }

    /// Returns the response to the request with this `id`, and skips all other messages.
    pub async fn answer(&mut self, id: i64) -> Value {
        let found = self.find(|message| message["id"] == id);
        within(&format!("{id} is answered"), found).await
    }

    /// Returns the responses to the requests with these ids, in any order, and skips all other messages.
    pub async fn answers(&mut self, ids: Range<i64>) -> BTreeMap<i64, Value> {
        let mut answers = BTreeMap::new();
        while answers.len() < ids.clone().count() {
            let next = self.find(|message| message["id"].as_i64().is_some_and(|id| ids.contains(&id)));
            let answer = within(
                &format!("all of {ids:?} are answered, {} were", answers.len()),
                next,
            )
            .await;
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

    /// Sends a request and returns its response.
    pub async fn ask(&mut self, id: i64, text: &str) -> Value {
        self.send(text).await;
        self.answer(id).await
    }

    /// Returns code and reason of the close frame, and skips texts and pings before it.
    pub async fn closed(&mut self) -> (u16, String) {
        let closed = async {
            loop {
                match self.recv_now().await {
                    Incoming::Close(code, reason) => return (code, reason),
                    Incoming::End => panic!("the connection ended without a close frame"),
                    _ => {}
                }
            }
        };
        within("the connection is closed", closed).await
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
        // Into the heap: a buffer on the stack would be a part of every future that receives.
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(read) if read > 0)
    }
}
