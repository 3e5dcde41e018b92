//! The little HTTP that a local cluster needs to see whether its nodes are ready.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer: status and body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// `GET path` of a node; `None` while it doesn't answer.
pub(super) async fn get(http: &str, path: &str) -> Option<Answer> {
    tokio::time::timeout(Duration::from_secs(2), request(http, path))
        .await
        .ok()?
        .ok()
}

async fn request(http: &str, path: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(http).await?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let broken = || std::io::Error::other("not an HTTP answer");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(broken)?;
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}
