//! HTTP client over bare sockets: one connection per request, and any bytes as a request.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Node, within};

/// Request that is being built.
pub struct Call {
    head: String,
    body: Vec<u8>,
}

/// Response of a server.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub text: String,
}

// === impl Call ===

impl Call {
    /// Begins a request without credentials.
    pub fn new(method: &str, path: &str) -> Call {
        Call::persistent(method, path).with("Connection", "close")
    }

    /// Begins a request that does not ask the server to close the connection.
    pub fn persistent(method: &str, path: &str) -> Call {
        Call {
            head: format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"),
            body: Vec::new(),
        }
    }

    /// Adds the development token of a user.
    pub fn by(self, user: &str) -> Call {
        self.bearer(&format!("dev:{user}"))
    }

    /// Adds a bearer token.
    pub fn bearer(self, token: &str) -> Call {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    /// Adds an idempotency key.
    pub fn key(self, cid: &str) -> Call {
        self.with("Idempotency-Key", cid)
    }

    /// Adds a header line.
    pub fn with(self, name: &str, value: &str) -> Call {
        self.lines(&format!("{name}: {value}\r\n"))
    }

    /// Adds header lines, each with its line break.
    pub fn lines(mut self, lines: &str) -> Call {
        self.head.push_str(lines);
        self
    }

    /// Adds a JSON body.
    pub fn json(self, body: &Value) -> Call {
        self.with("Content-Type", "application/json")
            .text(&body.to_string())
    }

    /// Adds a body of any text.
    pub fn text(mut self, body: &str) -> Call {
        self.body = body.as_bytes().to_vec();
        let length = body.len().to_string();
        self.with("Content-Length", &length)
    }

    /// Sends the request to an address. `None`: the connection failed or ended without a response.
    pub async fn send(self, addr: SocketAddr) -> Option<Reply> {
        let request = [self.head.as_bytes(), b"\r\n", &self.body].concat();
        round_trip(addr, &request).await
    }

    /// Sends the request to a node, which has to respond.
    pub async fn to(self, node: &Node) -> Reply {
        let reply = within("the server responds", self.send(node.addr())).await;
        reply.expect("a response")
    }
}

/// Sends bytes over a connection of their own, and reads until the server closes it.
pub async fn round_trip(addr: SocketAddr, request: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(addr).await.ok()?;
    // A server that has refused already may not read the rest, but its response is there.
    let _refused = stream.write_all(request).await;
    let mut text = String::new();
    // The connection may be reset behind the response to a request that the server has not read.
    let _reset = stream.read_to_string(&mut text).await;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Reply {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_owned(),
        text: body.to_owned(),
    })
}

/// Returns the value of a node's metric, 0 if it is missing; `name` with labels as they are printed.
pub async fn figure(addr: SocketAddr, name: &str) -> u64 {
    let reply = within("the metrics are read", Call::new("GET", "/metrics").send(addr)).await;
    let reply = reply.expect("a response");
    assert_eq!(reply.status, 200, "{reply:?}");
    let line = reply
        .text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

// === impl Reply ===

impl Reply {
    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Returns the value of a header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }

    /// Returns the text of a successful response that comes in chunks.
    #[track_caller]
    pub fn chunks(&self) -> String {
        assert!(
            self.status == 200 && self.header("Transfer-Encoding") == "chunked",
            "{}",
            self.head
        );
        let (mut rest, mut text) = (self.text.as_str(), String::new());
        loop {
            let (size, chunk) = rest.split_once("\r\n").expect("the size of a chunk");
            let size = usize::from_str_radix(size, 16).unwrap();
            text.push_str(&chunk[..size]);
            if size == 0 {
                return text;
            }
            rest = &chunk[size + 2..];
        }
    }

    /// Checks the status and returns the body as JSON.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Checks that the body is a problem with this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> Value {
        let body = self.is(status);
        assert_eq!(
            self.header("Content-Type"),
            "application/problem+json",
            "{self:?}"
        );
        assert_eq!(
            (&body["status"], &body["code"]),
            (&status.into(), &code.into()),
            "{body}"
        );
        for field in ["type", "title", "detail"] {
            assert!(
                body[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field} in {body}"
            );
        }
        body
    }
}

// === requests of a patient client ===

/// Sends a request with further header lines, each with its line break. `None`: no node responded.
pub async fn exchange(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let call = Call::new(method, path).lines(headers);
    let call = match body {
        Value::Null => call.text(""),
        body => call.json(body),
    };
    let reply = call.send(addr).await?;
    Some((
        reply.status,
        serde_json::from_str(&reply.text).unwrap_or(Value::Null),
    ))
}

/// Tests a refusal for the permission to retry.
pub fn temporary(answer: &Value) -> bool {
    answer["retry_ms"].is_u64() || answer["temp"] == true
}

/// Sends a request as this user, under a key unless that is empty, and retries it while the refusal is temporary.
pub async fn ask(
    addr: SocketAddr,
    user: &str,
    (method, path, key): (&str, &str, &str),
    body: Value,
) -> (u16, Value) {
    let mut headers = format!("Authorization: Bearer dev:{user}\r\n");
    if !key.is_empty() {
        headers.push_str(&format!("Idempotency-Key: {key}\r\n"));
    }
    let asking = async {
        loop {
            let answered = exchange(addr, method, path, &headers, &body).await;
            let pause = match answered {
                Some((status, answer)) if !temporary(&answer) => return (status, answer),
                Some((_, refusal)) => refusal["retry_ms"].as_u64().unwrap_or(50).min(200),
                None => 20,
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    };
    within(&format!("{method} {path} is answered"), asking).await
}

/// Returns the body of a `GET` by this user.
pub async fn get(addr: SocketAddr, user: &str, path: &str) -> Value {
    let (status, answer) = ask(addr, user, ("GET", path, ""), Value::Null).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// Returns a text that comes in chunks, for this user.
pub async fn chunks(addr: SocketAddr, user: &str, path: &str) -> String {
    let reply = Call::new("GET", path).by(user).send(addr).await;
    reply.unwrap_or_else(|| panic!("{path} is answered")).chunks()
}

/// Creates a group and returns its id.
pub async fn group(node: &Node, owner: &str, members: &[&str]) -> String {
    let body = serde_json::json!({ "kind": "group", "members": members, "title": "Lunch" });
    let reply = Call::new("POST", "/v1/conversations")
        .by(owner)
        .key("group")
        .json(&body)
        .to(node)
        .await;
    reply.is(201)["c"].as_str().unwrap().to_owned()
}
