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
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
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
                Some((status, answer)) if answer["temp"] != true => return (status, answer),
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
