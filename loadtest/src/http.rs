//! Minimal HTTP client for requests of the harness (readiness, ownership, metrics, polls), with one connection each.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reason for a missing body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The node did not answer; another one may.
    #[error("{0}: {1}")]
    Unreachable(String, std::io::Error),
    /// The node answered with a status other than 200.
    #[error("{0}{1} answered {2}")]
    Status(String, String, u16),
}

/// Returns the body of `http://{node}{path}`.
pub(crate) async fn get(node: &str, path: &str) -> Result<String, Error> {
    let answer = ask(node, path, None).await;
    let answer = answer.map_err(|error| Error::Unreachable(node.to_owned(), error))?;
    match parse(&answer) {
        Some((200, body)) => Ok(body),
        Some((status, _)) => Err(Error::Status(node.to_owned(), path.to_owned(), status)),
        None => Err(Error::Unreachable(
            node.to_owned(),
            std::io::ErrorKind::InvalidData.into(),
        )),
    }
}

/// Returns status and body of `http://{node}{path}` for the user of `token`; `None` without a response.
pub(crate) async fn get_as(node: &str, path: &str, token: &str) -> Option<(u16, String)> {
    parse(&ask(node, path, Some(token)).await.ok()?)
}

async fn ask(node: &str, path: &str, token: Option<&str>) -> std::io::Result<Vec<u8>> {
    let bearer = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = async {
        let stream = TcpStream::connect(node).await?;
        exchange(
            stream,
            &format!("GET {path} HTTP/1.1\r\nHost: {node}\r\n{bearer}"),
            "",
        )
        .await
    };
    // A stopped node accepts connections and never answers.
    let answer = tokio::time::timeout(Duration::from_secs(3), request).await;
    answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Sends a request over its own connection, and returns status and body. `node`: host:port.
pub(crate) async fn request(
    stream: TcpStream,
    node: &str,
    (method, path): (&str, &str),
    body: &str,
) -> std::io::Result<(u16, String)> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {node}\r\nContent-Type: text/plain; charset=UTF-8\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    let answer = exchange(stream, &head, body).await?;
    parse(&answer).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// Returns the response to a request with this head, without the empty line, and body.
async fn exchange(mut stream: TcpStream, head: &str, body: &str) -> std::io::Result<Vec<u8>> {
    let request = format!("{head}Connection: close\r\nAccept: */*\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    // `Connection: close` makes the end of the stream the end of the response.
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Splits a response into status and body.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &answer[end + 4..];
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { dechunk(body)? } else { body.to_vec() };
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 2 + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_chunked_bodies_are_read() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(parse(whole), Some((200, "hi".to_owned())));
        let chunked = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), Some((503, "abc0123456789".to_owned())));
        assert_eq!(
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
            None
        );
    }
}
