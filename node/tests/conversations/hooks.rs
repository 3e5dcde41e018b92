//! The hook, when its receiver is down and when the owner that was to tell it dies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use node::shard::{Settings, WebhookTarget};
use node::state_machine::ConversationOp;
use node::webhook::{self, Webhook};
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::test_cluster::{TestCluster, eventually};

/// What a receiver was told, by the ids of the posts.
type Delivered = Arc<Mutex<BTreeSet<String>>>;

/// A receiver that answers with `status`.
async fn receiver(status: Arc<AtomicU16>) -> (String, Delivered) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let delivered = Delivered::default();
    let sink = delivered.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let text = String::from_utf8(request).unwrap();
            let status = status.load(Ordering::Relaxed);
            if let (204, Some(id)) = (
                status,
                text.lines().find_map(|line| line.strip_prefix("webhook-id: ")),
            ) {
                sink.lock().insert(id.to_owned());
            }
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            let _gone = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, delivered)
}

fn webhook_settings(url: &str, backlog: u64) -> impl Fn(&mut Settings) + use<> {
    webhook_settings_of(url, backlog, 256)
}

/// In conversations of more members nobody is told who is away.
fn webhook_settings_of(url: &str, backlog: u64, members: u64) -> impl Fn(&mut Settings) + use<> {
    let settings = webhook::Settings {
        name: "messages",
        url: url.to_owned(),
        ca_file: String::new(),
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
        timeout: Duration::from_secs(30),
        attempts: 1,
        concurrent: 64,
        clock: cluster::ClusterClock::system(),
    };
    let webhook = Webhook::open(settings, webhook::Metrics::default()).unwrap();
    move |settings| {
        settings.webhook = Some(WebhookTarget {
            webhook: webhook.clone(),
            members,
            backlog,
            retry: Duration::from_millis(20),
        });
    }
}

fn dropped(cluster: &TestCluster) -> u64 {
    let of = |node: &crate::test_cluster::Node| {
        let (mut registry, mut text) = (Registry::default(), String::new());
        node.service.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("webhook_dropped_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    cluster.nodes.iter().map(of).sum()
}

#[actix::test]
async fn the_next_owner_delivers_what_a_dead_one_did_not() {
    let status = Arc::new(AtomicU16::new(503));
    let (url, posts) = receiver(status.clone()).await;
    let mut cluster = TestCluster::with(3, webhook_settings(&url, 1_000)).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let (owner, others) = cluster.owner_and_others(&conv);
    for n in 0..20 {
        cluster
            .node(others[0])
            .send_until_acked("alice", &conv, &format!("m{n:02}"))
            .await;
    }
    cluster.crash(owner).await;
    status.store(204, Ordering::Relaxed);
    eventually("every message is told", async || posts.lock().len() == 20).await;
    assert_eq!(dropped(&cluster), 0);
    cluster.stop().await;
}

#[actix::test]
async fn a_webhook_gets_every_message_across_an_owner_change() {
    let status = Arc::new(AtomicU16::new(503));
    let (url, posts) = receiver(status.clone()).await;
    // The conversation is too large for those who are away: it's the hook of its own that counts.
    let mut cluster = TestCluster::with(3, webhook_settings_of(&url, 1_000, 2)).await;
    let conv = cluster.nodes[0].group("alice", &["bob", "carol"]).await;
    let (owner, others) = cluster.owner_and_others(&conv);
    for n in 0..5 {
        let text = format!("before{n}");
        cluster
            .node(others[0])
            .send_until_acked("alice", &conv, &text)
            .await;
    }
    let hook = ConversationOp::Hook {
        name: "ci".into(),
        on: true,
    };
    let registered = cluster
        .node(others[0])
        .command("alice", &conv, "hook", hook)
        .await;
    registered.expect("the hook is registered");
    for n in 0..10 {
        let text = format!("old{n}");
        cluster
            .node(others[0])
            .send_until_acked("alice", &conv, &text)
            .await;
    }
    cluster.crash(owner).await;
    for n in 0..10 {
        let text = format!("new{n}");
        cluster
            .node(others[1])
            .send_until_acked("alice", &conv, &text)
            .await;
    }
    assert_eq!(posts.lock().len(), 0, "nothing was taken so far");
    status.store(204, Ordering::Relaxed);
    eventually("every message since is told", async || posts.lock().len() == 20).await;
    cluster.stop().await;
    assert_eq!(posts.lock().len(), 20, "and none of before");
}

#[actix::test]
async fn webhook_backlog_drops_the_oldest_and_delays_no_send() {
    let status = Arc::new(AtomicU16::new(503));
    let (url, posts) = receiver(status.clone()).await;
    let cluster = TestCluster::with(1, webhook_settings(&url, 5)).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    for n in 0..30 {
        cluster.nodes[0]
            .send("alice", &conv, &format!("m{n:02}"))
            .await
            .unwrap();
    }
    eventually("the oldest are given up", async || dropped(&cluster) == 25).await;
    status.store(204, Ordering::Relaxed);
    eventually("the others are told", async || posts.lock().len() == 5).await;
    cluster.stop().await;
}
