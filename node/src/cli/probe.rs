//! Minimal HTTP client for checking the nodes of a local cluster.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Response with status and body.
pub(super) struct ProbeResult {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Sends `GET path` to a node. Returns `None` if there is no valid response within two seconds.
pub(super) async fn get(http: &str, path: &str) -> Option<ProbeResult> {
    tokio::time::timeout(Duration::from_secs(2), request(http, path))
        .await
        .ok()?
        .ok()
}

async fn request(http: &str, path: &str) -> std::io::Result<ProbeResult> {
    let mut stream = TcpStream::connect(http).await?;
    // The end of the connection delimits the response, so no length has to be parsed.
    let head = format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let broken = || std::io::Error::other("not an HTTP response");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(broken)?;
    Ok(ProbeResult {
        status,
        body: body.to_owned(),
    })
}
