//! What is kept of conversations and what is told of them outside: one thing, whichever node is asked and owns them.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use node::testkit::{
    ProcessCluster, ReceivingClient, TestTransport, WEBHOOK_SECRET, WebhookReceiver, ask, chunks, eventually,
    get,
};

/// Messages that are kept of each conversation.
const RETAINED: u64 = 5;
const KINDS: [&str; 3] = ["direct", "group", "channel"];

/// Alice says something, under a key of its own. Returns its place.
async fn says(addr: SocketAddr, c: &str, key: &str) -> u64 {
    let path = format!("/v1/conversations/{c}/messages");
    let (status, ack) = ask(addr, "alice", ("POST", &path, key), json!({"b":{"text":key}})).await;
    assert!(status < 300, "{ack}");
    ack["s"].as_u64().unwrap()
}

/// A conversation of each kind, of alice and bob.
async fn one_of_each(cluster: &ProcessCluster) -> Vec<String> {
    let mut convs = Vec::new();
    for (at, kind) in KINDS.iter().enumerate() {
        let key = format!("make-{kind}");
        let make = ("POST", "/v1/conversations", key.as_str());
        let (_, made) = ask(
            cluster.addr(at),
            "alice",
            make,
            json!({"kind":kind,"members":["bob"]}),
        )
        .await;
        convs.push(made["c"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned());
    }
    convs
}

/// What a node tells bob of a conversation: the events by pages and as lines, the messages, what is unread, and what
/// `sync` says to one who has the first three.
async fn conversation_view(addr: SocketAddr, c: &str) -> Value {
    let of = format!("/v1/conversations/{c}");
    let list = get(addr, "bob", "/v1/conversations?limit=100").await;
    let row = list["items"].as_array().unwrap().iter().find(|row| row["c"] == c);
    let have = json!({ "have": [[c, 3]] });
    let (_, delta) = ask(addr, "bob", ("POST", "/v1/sync", ""), have).await;
    let delta = delta["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["c"] == c);
    json!({
        "events": get(addr, "bob", &format!("{of}/events?after=3&limit=100")).await,
        "messages": get(addr, "bob", &format!("{of}/messages?limit=100")).await,
        "lines": lines(addr, &format!("{of}/export?from=3")).await,
        "row": row,
        "delta": delta,
    })
}

/// An export, line by line.
async fn lines(addr: SocketAddr, path: &str) -> Value {
    let text = chunks(addr, "bob", path).await;
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    json!(lines)
}

fn seqs(events: &Value) -> Vec<u64> {
    let events = events.as_array().unwrap_or_else(|| panic!("{events}"));
    events.iter().filter_map(|event| event["s"].as_u64()).collect()
}

#[tokio::test]
async fn retention_and_webhooks_agree_on_all_nodes_and_outlive_owners() {
    let mut receiver = WebhookReceiver::answering(503).await;
    let most = RETAINED.to_string();
    let mut cluster = ProcessCluster::with(&[
        ("retention.direct_max_messages", &most),
        ("retention.group_max_messages", &most),
        ("retention.channel_max_messages", &most),
        ("retention.interval", "50ms"),
        ("webhook.url", &receiver.url.clone()),
        ("webhook.secret", WEBHOOK_SECRET),
        ("tuning.webhook_attempts", "1"),
        ("tuning.webhook_retry", "100ms"),
    ])
    .await;
    let convs = one_of_each(&cluster).await;
    let group = convs[1].as_str();
    let (owner, [second, third]) = cluster.owner(group).await;
    let mut bob = ReceivingClient::new("bob", TestTransport::Socket, cluster.addr(second), group).await;

    // Of more messages the oldest go, and every node tells the same of it. Who listens has had all of them.
    for n in 0..12 {
        for (at, c) in convs.iter().enumerate() {
            says(cluster.addr((at + n) % 3), c, &format!("m{n:02}")).await;
        }
    }
    let check_retained = async |cluster: &ProcessCluster, nodes: &[usize], c: &str, last: u64| {
        let floor = last + 1 - RETAINED;
        for at in nodes {
            let what = format!("node {at} keeps the same of {c}");
            let view = eventually(&what, async || {
                let view = conversation_view(cluster.addr(*at), c).await;
                let whole = view["row"]["stale"] != true && view["row"]["unread"] == RETAINED;
                (whole && seqs(&view["events"]["events"]) == (floor..=last).collect::<Vec<_>>())
                    .then_some(view)
            })
            .await;
            let gap = json!({"t":"gap","c":c,"from":3,"to":floor - 1});
            assert_eq!(view["lines"][0], gap, "an export says what is gone");
            assert_eq!(seqs(&view["lines"]), (floor..=last).collect::<Vec<_>>());
            assert_eq!(
                seqs(&view["messages"]["items"]),
                (floor..=last).collect::<Vec<_>>()
            );
            assert_eq!(seqs(&view["delta"]["events"]), (floor..=last).collect::<Vec<_>>());
            assert_eq!(
                (&view["events"]["gap"], &view["delta"]["gap"]),
                (&json!(true), &json!(true))
            );
        }
    };
    for c in &convs {
        check_retained(&cluster, &[0, 1, 2], c, 14).await;
    }
    bob.receives(14).await;
    assert_eq!(bob.keys().len(), 12, "each, whatever is kept");

    // Bob listens, alice speaks: nobody is away. Carol comes and goes, and is: the service is told, as soon as it can be.
    let (_, _) = ask(
        cluster.addr(third),
        "alice",
        (
            "PUT",
            &format!("/v1/conversations/{group}/members/carol"),
            "carol",
        ),
        Value::Null,
    )
    .await;
    let s = says(cluster.addr(third), group, "for carol").await;
    let (id, _) = eventually("the service is asked for carol", async || {
        let (id, post) = receiver.next().await;
        (post["message"]["s"] == s).then_some((id, post))
    })
    .await;

    // The owner dies. The next one lets go as it did, and tells what it could not.
    cluster.kill(owner);
    receiver.status.store(204, Ordering::Relaxed);
    let (again, post) = eventually("the service is told of carol", async || {
        let (id, post) = receiver.next().await;
        (post["message"]["s"] == s).then_some((id, post))
    })
    .await;
    assert_eq!(again, id, "a repeat is known by its id");
    assert_eq!(
        post["offline"],
        json!([{"u":"carol","muted":false,"mentioned":false}]),
        "{post}"
    );
    let archive = format!("/v1/conversations/{group}/hooks/archive");
    let (status, ack) = ask(
        cluster.addr(third),
        "alice",
        ("PUT", &archive, "archive"),
        Value::Null,
    )
    .await;
    assert_eq!(status, 200, "{ack}");
    for n in 0..7 {
        says(cluster.addr(third), group, &format!("l{n}")).await;
    }
    let last = says(cluster.addr(second), group, "last").await;
    check_retained(&cluster, &[second, third], group, last).await;
    let (_, post) = eventually("the service is told under its name", async || {
        let (id, post) = receiver.next().await;
        (post["message"]["s"] == last).then_some((id, post))
    })
    .await;
    assert_eq!(post["hooks"], json!(["archive"]), "{post}");
    bob.receives(last).await;

    // All die, and are told to keep by age. Everything goes, also of conversations in which nothing happens; only the last
    // place is kept, without its words, and the numbers go on.
    for at in [second, third] {
        cluster.kill(at);
    }
    for kind in KINDS {
        let (messages, age) = (
            format!("retention.{kind}_max_messages"),
            format!("retention.{kind}_max_age"),
        );
        cluster.set(&[(&messages, "0"), (&age, "500ms")]);
    }
    cluster.restart().await;
    for (c, last) in [(&convs[0], 14), (&convs[1], last), (&convs[2], 14)] {
        for at in 0..3 {
            eventually("everything is too old", async || {
                let view = conversation_view(cluster.addr(at), c).await;
                let [event] = &view["events"]["events"].as_array()?[..] else {
                    return None;
                };
                let summary = (&event["s"], &event["deleted"], &event["b"]);
                let silent = summary == (&json!(last), &json!(true), &json!({}));
                (silent && view["row"]["unread"] == 0).then_some(())
            })
            .await;
        }
        assert_eq!(says(cluster.addr(0), c, "new").await, last + 1);
    }
    cluster.end();
}
