//! Client of the event stream (SSE) over a bare socket.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// Event stream that is being read.
pub struct Stream {
    socket: TcpStream,
    /// Bytes as they arrived, in chunks.
    raw: Vec<u8>,
    /// Text of the stream that is not consumed yet.
    text: String,
    over: bool,
    pub head: String,
    /// Number of comments so far.
    pub comments: usize,
    /// Last reconnection time that the server set.
    pub retry: Option<u64>,
}

/// Event of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Empty if the event has no `id`.
    pub id: String,
    pub name: String,
    pub data: Value,
}

// === impl Stream ===

impl Stream {
    /// Requests the events of a user with further header lines, and with a receive buffer of this size if one is given.
    pub async fn open(addr: SocketAddr, query: &str, headers: &str, receive_buffer: Option<u32>) -> Stream {
        Stream::request(addr, &format!("/v1/events{query}"), headers, receive_buffer).await
    }

    /// Requests the events of a path.
    pub async fn request(addr: SocketAddr, path: &str, headers: &str, receive_buffer: Option<u32>) -> Stream {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let connected = within("the stream's connection is accepted", socket.connect(addr)).await;
        let mut socket = connected.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut stream = Stream {
            socket,
            raw: Vec::new(),
            text: String::new(),
            over: false,
            head: String::new(),
            comments: 0,
            retry: None,
        };
        let end = loop {
            if let Some(at) = stream.raw.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let more = within("the head of a response comes", stream.more()).await;
            assert!(more, "the head of a response");
        };
        stream.head = String::from_utf8(stream.raw.drain(..end).collect()).unwrap();
        // Chunks may arrive together with the head.
        stream.unpack();
        stream
    }

    /// Opens the stream of a user's device behind the last event that it has.
    pub async fn of(addr: SocketAddr, user: &str, last: Option<&str>) -> Stream {
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let headers = format!("Authorization: Bearer dev:{user}\r\n{last}");
        let stream = Stream::open(addr, "?device=phone", &headers, None).await;
        assert!(stream.head.starts_with("HTTP/1.1 200"), "{}", stream.head);
        stream
    }

    /// Returns the next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Entry> {
        within("the stream continues or ends", self.next_now()).await
    }

    /// Waits for this number of comments, without an event between them.
    pub async fn comments_reach(&mut self, least: usize) {
        let waiting = async {
            while self.comments < least {
                assert!(self.more().await, "the stream continues");
                self.unpack();
                while let Some((block, rest)) = self.text.split_once("\n\n") {
                    let (block, rest) = (block.to_owned(), rest.to_owned());
                    self.text = rest;
                    assert_eq!(self.block(&block), None);
                }
            }
        };
        within("comments come", waiting).await;
    }

    /// Returns the next event, which must have this name.
    pub async fn expect(&mut self, name: &str) -> Entry {
        let entry = self.next().await.expect("the stream continues");
        assert_eq!(entry.name, name, "{entry:?}");
        entry
    }

    async fn next_now(&mut self) -> Option<Entry> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(entry) = self.block(&block) {
                    return Some(entry);
                }
            }
            if self.over || !self.more().await {
                assert!(self.text.is_empty(), "cut off: {}", self.text);
                return None;
            }
            self.unpack();
        }
    }

    fn block(&mut self, block: &str) -> Option<Entry> {
        let (mut id, mut name, mut data) = (String::new(), String::new(), None);
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments += 1,
                "id" => id = value.to_owned(),
                "event" => name = value.to_owned(),
                "retry" => self.retry = Some(value.parse().unwrap()),
                "data" => {
                    assert!(data.is_none(), "one line of data: {block}");
                    data = Some(serde_json::from_str(value).unwrap());
                }
                other => panic!("{other} in {block}"),
            }
        }
        data.map(|data| Entry { id, name, data })
    }

    /// Moves the text of complete chunks to `text`.
    fn unpack(&mut self) {
        loop {
            let Some(end) = self.raw.windows(2).position(|window| window == b"\r\n") else {
                return;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&self.raw[..end]).unwrap(), 16).unwrap();
            let (start, stop) = (end + 2, end + 2 + size);
            if self.raw.len() < stop + 2 {
                return;
            }
            self.text
                .push_str(std::str::from_utf8(&self.raw[start..stop]).unwrap());
            self.raw.drain(..stop + 2);
            self.over |= size == 0;
        }
    }

    async fn more(&mut self) -> bool {
        // Into the heap: a buffer on the stack would be a part of every future that receives.
        matches!(self.socket.read_buf(&mut self.raw).await, Ok(read) if read > 0)
    }
}
