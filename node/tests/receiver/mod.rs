//! A service that nodes post to, as a real server of HTTP, which checks every signature.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::PATIENCE;

/// The key that posts are signed with.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that answers with the same status until it is told another one.
pub(crate) struct Receiver {
    /// What the node is told to post to.
    pub(crate) url: String,
    /// How it answers.
    pub(crate) status: Arc<AtomicU16>,
    requests: mpsc::UnboundedReceiver<(String, Value)>,
}

// === impl Receiver ===

impl Receiver {
    /// Begins.
    pub(crate) async fn answering(status: u16) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/push", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(status));
        let answers = status.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (sender, answers) = (sender.clone(), answers.clone());
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let (head, body) = loop {
                        if stream.read_buf(&mut request).await.unwrap() == 0 {
                            return;
                        }
                        let text = String::from_utf8(request.clone()).unwrap();
                        if let Some((head, body)) = text.split_once("\r\n\r\n")
                            && let Ok(body) = serde_json::from_str::<Value>(body)
                        {
                            verify(head, text.split_once("\r\n\r\n").unwrap().1);
                            break (head.to_owned(), body);
                        }
                    };
                    let status = answers.load(Ordering::Relaxed);
                    // Whoever doesn't listen any more has seen enough.
                    let _over = sender.send((header(&head, "webhook-id").to_owned(), body));
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        Receiver {
            url,
            status,
            requests,
        }
    }

    /// The next post that comes: its id and its body.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(PATIENCE, self.requests.recv())
            .await
            .expect("a post")
            .unwrap()
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value)
}

/// Checks the signature as the standard describes it.
fn verify(head: &str, body: &str) {
    let (id, timestamp) = (header(head, "webhook-id"), header(head, "webhook-timestamp"));
    let key = BASE64_NOPAD.decode(&SECRET.as_bytes()["whsec_".len()..]).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let expected = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    assert_eq!(header(head, "webhook-signature"), expected);
}
