//! Posts to a receiver that is a small HTTP server.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

mod secure;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Answers each request with the next of `statuses` (0: no response), and reports the requests.
async fn receiver(statuses: &'static [u16]) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/codes?for=sms", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                assert!(
                    stream.read_buf(&mut request).await.unwrap() > 0,
                    "a whole request"
                );
            }
            sender.send(String::from_utf8(request).unwrap()).unwrap();
            if *status == 0 {
                tokio::spawn(async move {
                    let mut rest = Vec::new();
                    let _cut = stream.read_to_end(&mut rest).await;
                });
                continue;
            }
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, requests)
}

fn hook(url: &str, timeout_ms: u64, concurrent: usize) -> Webhook {
    Webhook::open(settings(url, timeout_ms, concurrent), Metrics::default()).unwrap()
}

fn settings(url: &str, timeout_ms: u64, concurrent: usize) -> Settings {
    Settings {
        name: "test",
        url: url.to_owned(),
        ca_file: String::new(),
        secret: SECRET.to_owned(),
        timeout: Duration::from_millis(timeout_ms),
        attempts: 3,
        concurrent,
        clock: ClusterClock::system(),
    }
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let mut lines = request.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(known, _)| *known == name)
        .map_or("", |(_, value)| value)
}

#[tokio::test]
async fn a_post_arrives_signed_and_can_be_verified() {
    let (url, mut requests) = receiver(&[204]).await;
    let posted = hook(&url, 30_000, 1)
        .post("m1", Bytes::from_static(b"{\"a\":1}"))
        .await;
    assert_eq!(posted, Ok(()));
    let request = requests.recv().await.unwrap();
    assert!(
        request.starts_with("POST /codes?for=sms HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    assert_eq!(header(&request, "content-type"), "application/json");
    assert_eq!(header(&request, "webhook-id"), "m1");
    let timestamp: u64 = header(&request, "webhook-timestamp").parse().unwrap();
    let expected = SigningSecret::parse(SECRET)
        .unwrap()
        .sign("m1", timestamp, b"{\"a\":1}");
    assert_eq!(header(&request, "webhook-signature"), expected.signature);
}

#[tokio::test]
async fn failed_webhook_post_is_retried_with_the_same_id() {
    let (url, mut requests) = receiver(&[503, 0, 200]).await;
    assert_eq!(
        hook(&url, 500, 1).post("m1", Bytes::from_static(b"{}")).await,
        Ok(())
    );
    for _ in 0..3 {
        assert_eq!(header(&requests.recv().await.unwrap(), "webhook-id"), "m1");
    }
}

#[tokio::test]
async fn a_refusal_is_final_and_a_dead_receiver_is_given_up() {
    let (url, mut requests) = receiver(&[401]).await;
    let posted = hook(&url, 30_000, 1).post("m1", Bytes::from_static(b"{}")).await;
    assert_eq!(posted, Err(WebhookError::Refused(401)));
    requests.recv().await.unwrap();
    assert_eq!(requests.recv().await, None, "asked once");
    let (url, mut requests) = receiver(&[500, 500, 500]).await;
    let posted = hook(&url, 30_000, 1).post("m1", Bytes::from_static(b"{}")).await;
    assert_eq!(
        posted,
        Err(WebhookError::Unreachable("the receiver answered 500".to_owned()))
    );
    for _ in 0..3 {
        requests.recv().await.unwrap();
    }
    let posted = hook("http://127.0.0.1:1/", 30_000, 1)
        .post("m1", Bytes::from_static(b"{}"))
        .await;
    assert!(matches!(posted, Err(WebhookError::Unreachable(_))), "{posted:?}");
}

#[tokio::test]
async fn more_than_may_be_under_way_is_refused_at_once() {
    let (url, mut requests) = receiver(&[0]).await;
    let hook = hook(&url, 60_000, 1);
    let first = tokio::spawn({
        let hook = hook.clone();
        async move { hook.post("m1", Bytes::from_static(b"{}")).await }
    });
    requests.recv().await.unwrap();
    assert_eq!(
        hook.post("m2", Bytes::from_static(b"{}")).await,
        Err(WebhookError::Busy)
    );
    first.abort();
}
