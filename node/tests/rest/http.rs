//! An HTTP client over a bare socket: it sends whatever it is told to.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Node, PATIENCE};

/// A request to be sent.
pub(crate) struct Call {
    head: String,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

// === impl Call ===

impl Call {
    /// A request without a user.
    pub(crate) fn new(method: &str, path: &str) -> Call {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        Call {
            head,
            body: Vec::new(),
        }
    }

    /// With the user's token.
    pub(crate) fn by(self, user: &str) -> Call {
        self.with("Authorization", &format!("Bearer dev:{user}"))
    }

    /// With an idempotency key.
    pub(crate) fn key(self, cid: &str) -> Call {
        self.with("Idempotency-Key", cid)
    }

    /// With a header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Call {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// With a JSON body.
    pub(crate) fn json(self, body: &Value) -> Call {
        self.with("Content-Type", "application/json")
            .text(&body.to_string())
    }

    /// With any body.
    pub(crate) fn text(mut self, body: &str) -> Call {
        self.body = body.as_bytes().to_vec();
        let length = body.len().to_string();
        self.with("Content-Length", &length)
    }

    /// Sends it.
    pub(crate) async fn to(self, node: &Node) -> Reply {
        let exchange = async {
            let mut stream = TcpStream::connect(node.addr()).await.unwrap();
            let request = [self.head.as_bytes(), b"\r\n", &self.body].concat();
            // A server that has already refused may not read the rest.
            let _refused = stream.write_all(&request).await;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let text = tokio::time::timeout(PATIENCE, exchange)
            .await
            .expect("the server answers");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            text: body.to_owned(),
        }
    }
}

// === impl Reply ===

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The value of a header, empty if it isn't there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }

    /// Checks the status and returns the body as JSON.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Checks that it is a problem with this status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
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

/// Makes a group and returns its id.
pub(crate) async fn group(node: &Node, owner: &str, members: &[&str]) -> String {
    let body = serde_json::json!({ "kind": "group", "members": members, "title": "Lunch" });
    let reply = Call::new("POST", "/v1/conversations")
        .by(owner)
        .key("group")
        .json(&body)
        .to(node)
        .await;
    reply.is(201)["c"].as_str().unwrap().to_owned()
}
