//! HTTP server that receives webhooks and verifies every signature.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::within;

/// Key of the signatures.
pub const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Receiver that answers every post with the status of `status`.
pub struct WebhookReceiver {
    pub url: String,
    pub status: Arc<AtomicU16>,
    /// Ids of the posts that were answered with a 2xx.
    pub accepted: Arc<Mutex<BTreeSet<String>>>,
    posts: mpsc::UnboundedReceiver<(String, Value)>,
}

// === impl WebhookReceiver ===

impl WebhookReceiver {
    /// Listens on a free port.
    pub async fn answering(status: u16) -> WebhookReceiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/push", listener.local_addr().unwrap());
        let (sender, posts) = mpsc::unbounded_channel();
        let receiver = WebhookReceiver {
            url,
            status: Arc::new(AtomicU16::new(status)),
            accepted: Arc::default(),
            posts,
        };
        let (status, accepted) = (receiver.status.clone(), receiver.accepted.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (sender, status, accepted) = (sender.clone(), status.clone(), accepted.clone());
                tokio::spawn(async move {
                    let Some((id, body)) = receive(&mut stream).await else {
                        return;
                    };
                    let status = status.load(Ordering::Relaxed);
                    if (200..300).contains(&status) {
                        accepted.lock().insert(id.clone());
                    }
                    // A test that reads no further posts has dropped the other end.
                    let _over = sender.send((id, body));
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    let _gone = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        receiver
    }

    /// Waits for the next post, and returns its id and its body.
    pub async fn next(&mut self) -> (String, Value) {
        within("a post arrives", self.posts.recv()).await.unwrap()
    }
}

/// Reads one post and verifies its signature. `None`: the sender closed the connection before.
async fn receive(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return None;
        }
        if let Ok(text) = std::str::from_utf8(&request)
            && let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(json) = serde_json::from_str(body)
        {
            verify(head, body);
            return Some((header(head, "webhook-id").to_owned(), json));
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value)
}

/// Verifies the signature as the standard describes it.
fn verify(head: &str, body: &str) {
    let (id, timestamp) = (header(head, "webhook-id"), header(head, "webhook-timestamp"));
    let key = BASE64_NOPAD
        .decode(&WEBHOOK_SECRET.as_bytes()["whsec_".len()..])
        .unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let expected = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    assert_eq!(header(head, "webhook-signature"), expected);
}
