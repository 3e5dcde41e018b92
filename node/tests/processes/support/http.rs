//! REST as a patient client uses it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// Sends a request, with further header lines. `None`: nobody answered.
pub(crate) async fn exchange(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let (status, _, body) = request(addr, method, path, headers, body).await?;
    Some((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
}

/// The same, with the status, the head and the text of the answer.
async fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &Value,
) -> Option<(u16, String, String)> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}");
    if !body.is_empty() {
        request.push_str("Content-Type: application/json\r\n");
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut stream = TcpStream::connect(addr).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head.to_owned(), body.to_owned()))
}

/// Whether a refusal says that it is worth another try.
pub(crate) fn temporary(answer: &Value) -> bool {
    answer["retry_ms"].is_u64() || answer["temp"] == true
}

/// Asks as this user, under a key if there is one; again, as long as the refusal is temporary.
pub(crate) async fn ask(
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
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("{method} {path} is answered"))
}

/// What is there for this user.
pub(crate) async fn get(addr: SocketAddr, user: &str, path: &str) -> Value {
    let (status, answer) = ask(addr, user, ("GET", path, ""), Value::Null).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// A text that comes in chunks, for this user.
pub(crate) async fn chunks(addr: SocketAddr, user: &str, path: &str) -> String {
    let bearer = format!("Authorization: Bearer dev:{user}\r\n");
    let asked = request(addr, "GET", path, &bearer, &Value::Null).await;
    let (status, head, body) = asked.unwrap_or_else(|| panic!("{path} is answered"));
    assert!(
        status == 200 && head.to_lowercase().contains("transfer-encoding: chunked"),
        "{path}: {head}"
    );
    let (mut rest, mut text) = (body.as_str(), String::new());
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
