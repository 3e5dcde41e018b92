//! The hook, when its receiver is down and when the owner that was to tell it dies.

use std::sync::atomic::Ordering;
use std::time::Duration;

use node::testkit::{
    ConversationOp, ServiceCluster, ServiceNode, Settings, WEBHOOK_SECRET, Webhook, WebhookMetrics,
    WebhookReceiver, WebhookSettings, WebhookTarget, eventually,
};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

fn webhook_settings(url: &str, backlog: u64) -> impl Fn(&mut Settings) + use<> {
    webhook_settings_of(url, backlog, 256)
}

/// In conversations of more members nobody is told who is away.
fn webhook_settings_of(url: &str, backlog: u64, members: u64) -> impl Fn(&mut Settings) + use<> {
    let settings = WebhookSettings {
        name: "messages",
        url: url.to_owned(),
        ca_file: String::new(),
        secret: WEBHOOK_SECRET.to_owned(),
        timeout: Duration::from_secs(30),
        attempts: 1,
        concurrent: 64,
        clock: cluster::ClusterClock::system(),
    };
    let webhook = Webhook::open(settings, WebhookMetrics::default()).unwrap();
    move |settings| {
        settings.webhook = Some(WebhookTarget {
            webhook: webhook.clone(),
            members,
            backlog,
            retry: Duration::from_millis(20),
        });
    }
}

fn dropped(cluster: &ServiceCluster) -> u64 {
    let of = |node: &ServiceNode| {
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
    let receiver = WebhookReceiver::answering(503).await;
    let mut cluster = ServiceCluster::with(3, webhook_settings(&receiver.url, 1_000)).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let (owner, others) = cluster.owner_and_others(&conv);
    for n in 0..20 {
        cluster
            .node(others[0])
            .send_until_acked("alice", &conv, &format!("m{n:02}"))
            .await;
    }
    cluster.crash(owner).await;
    receiver.status.store(204, Ordering::Relaxed);
    eventually("every message is told", async || {
        receiver.accepted.lock().len() == 20
    })
    .await;
    assert_eq!(dropped(&cluster), 0);
    cluster.stop().await;
}

#[actix::test]
async fn a_webhook_gets_every_message_across_an_owner_change() {
    let receiver = WebhookReceiver::answering(503).await;
    // The conversation is too large for those who are away: it's the hook of its own that counts.
    let mut cluster = ServiceCluster::with(3, webhook_settings_of(&receiver.url, 1_000, 2)).await;
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
    assert_eq!(receiver.accepted.lock().len(), 0, "nothing was taken so far");
    receiver.status.store(204, Ordering::Relaxed);
    eventually("every message since is told", async || {
        receiver.accepted.lock().len() == 20
    })
    .await;
    cluster.stop().await;
    assert_eq!(receiver.accepted.lock().len(), 20, "and none of before");
}

#[actix::test]
async fn webhook_backlog_drops_the_oldest_and_delays_no_send() {
    let receiver = WebhookReceiver::answering(503).await;
    let cluster = ServiceCluster::with(1, webhook_settings(&receiver.url, 5)).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    for n in 0..30 {
        cluster.nodes[0]
            .send("alice", &conv, &format!("m{n:02}"))
            .await
            .unwrap();
    }
    eventually("the oldest are given up", async || dropped(&cluster) == 25).await;
    receiver.status.store(204, Ordering::Relaxed);
    eventually("the others are told", async || {
        receiver.accepted.lock().len() == 5
    })
    .await;
    cluster.stop().await;
}
