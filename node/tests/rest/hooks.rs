//! A service that is told of messages for those who are away, as a real server of HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, Mac};
use node::config::{Config, Millis, Secret};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::http::{Call, group};
use crate::support::{Node, PATIENCE};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that answers with the same status until it is told another one.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    told: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Receiver {
    async fn answering(status: u16) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/push", listener.local_addr().unwrap());
        let (tell, told) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(status));
        let answers = status.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (tell, answers) = (tell.clone(), answers.clone());
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
                    let _over = tell.send((header(&head, "webhook-id").to_owned(), body));
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        Receiver { url, status, told }
    }

    async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(PATIENCE, self.told.recv())
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

fn told(url: &str) -> impl FnOnce(&mut Config) + use<> {
    let url = url.to_owned();
    move |config| {
        config.hooks.url = url;
        config.hooks.secret = Secret(SECRET.to_owned());
        config.hooks.attempts = 1;
        config.hooks.retry_ms = Millis(20);
        config.presence.hold_down_ms = Millis(100);
    }
}

async fn send(node: &Node, c: &str, by: &str, n: u64, mentions: &[&str]) -> u64 {
    let send = Call::new("POST", &format!("/v1/conversations/{c}/messages")).by(by);
    let body = json!({ "b": { "n": n }, "mentions": mentions });
    let ack = send.key(&n.to_string()).json(&body).to(node).await.is(201);
    ack["s"].as_u64().unwrap()
}

#[tokio::test]
async fn those_who_are_away_are_told_once_and_those_who_are_there_are_not() {
    let mut receiver = Receiver::answering(204).await;
    let node = Node::with(told(&receiver.url)).await;
    let c = group(&node, "alice", &["bob", "carol"]).await;
    let _carol = node.client("carol").await;
    let muted = Call::new("PATCH", &format!("/v1/conversations/{c}"))
        .by("bob")
        .key("mute");
    muted.json(&json!({ "muted": true })).to(&node).await.is(200);
    let s = send(&node, &c, "alice", 1, &["bob"]).await;
    let (id, post) = receiver.next().await;
    assert_eq!(
        (&post["type"], &post["id"], &post["c"]),
        (&json!("message"), &json!(id), &json!(c))
    );
    assert_eq!(
        (&post["kind"], &post["title"]),
        (&json!("group"), &json!("Lunch"))
    );
    assert_eq!(
        (&post["message"]["s"], &post["message"]["u"]),
        (&json!(s), &json!("alice"))
    );
    assert_eq!(
        post["offline"],
        json!([{ "u": "bob", "muted": true, "mentioned": true }])
    );
    // Bob comes: of the next message nobody has to be told.
    let _bob = node.client("bob").await;
    send(&node, &c, "alice", 2, &[]).await;
    send(&node, &c, "bob", 3, &[]).await;
    let (_, post) = receiver.next().await;
    assert_eq!(
        post["message"]["b"]["n"], 3,
        "alice, by REST only, has no live session"
    );
    node.stop().await;
}

#[tokio::test]
async fn a_receiver_that_was_down_is_told_later_under_the_same_id() {
    let mut receiver = Receiver::answering(503).await;
    let node = Node::with(told(&receiver.url)).await;
    let c = group(&node, "alice", &["bob"]).await;
    send(&node, &c, "alice", 1, &[]).await;
    let (first, _) = receiver.next().await;
    let (second, _) = receiver.next().await;
    assert_eq!(first, second, "a repeat is known by its id");
    receiver.status.store(204, Ordering::Relaxed);
    node.figure_reaches("rookery_conversation_hooks_told_total", 1)
        .await;
    node.stop().await;
}

#[tokio::test]
async fn a_conversation_that_asks_for_it_is_told_under_its_names() {
    let mut receiver = Receiver::answering(204).await;
    let node = Node::with(told(&receiver.url)).await;
    let c = group(&node, "alice", &["bob"]).await;
    let (_alice, _bob) = (node.client("alice").await, node.client("bob").await);
    let hook = |method: &str, by: &str, key: &str| {
        let path = format!("/v1/conversations/{c}/hooks/archive");
        Call::new(method, &path).by(by).key(key).to(&node)
    };
    hook("PUT", "bob", "k1").await.is_problem(403, "forbidden");
    hook("PUT", "alice", "k1").await.is(200);
    send(&node, &c, "alice", 1, &[]).await;
    let (_, post) = receiver.next().await;
    assert_eq!(
        (&post["hooks"], &post["offline"]),
        (&json!(["archive"]), &json!([]))
    );
    hook("DELETE", "alice", "k2").await.is(200);
    send(&node, &c, "alice", 2, &[]).await;
    hook("PUT", "alice", "k3").await.is(200);
    send(&node, &c, "alice", 3, &[]).await;
    let (_, post) = receiver.next().await;
    assert_eq!(post["message"]["b"]["n"], 3, "nobody wanted the second");
    node.stop().await;
}
