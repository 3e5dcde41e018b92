//! One node's wall clock is wrong, by ten days or by more every second, while people talk and old messages go by age.

use serde_json::{Value, json};

use node::testkit::{ProcessCluster, SendingClient, ask, eventually, exchange, get, unix_ms};

const TEN_DAYS_MS: i64 = 10 * 24 * 3600 * 1000;
/// No message is as old as this, and none is kept for longer.
const A_DAY: &str = "1day";
/// Of what a message's time may differ from the time at which the test looks, on a busy machine.
const SLACK_MS: i64 = 120_000;

fn now_ms() -> i64 {
    unix_ms() as i64
}

/// Every message of a conversation, the oldest first, with its time.
async fn messages(cluster: &ProcessCluster, at: usize, c: &str) -> Vec<(String, i64)> {
    let (mut found, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/conversations/{c}/events?limit=50{before}");
        let page = get(cluster.addr(at), "alice", &path).await;
        let events = page["events"].as_array().unwrap_or_else(|| panic!("{page}"));
        for event in events.iter().rev() {
            before = format!("&before={}", event["s"]);
            if event["t"] == "msg" {
                let (cid, ts) = (event["cid"].as_str().unwrap(), event["ts"].as_i64().unwrap());
                found.push((cid.to_owned(), ts));
            }
        }
        if page["more"] != true {
            found.reverse();
            return found;
        }
    }
}

/// Whether a node owns anything, as another one sees it.
async fn owns(cluster: &ProcessCluster, at: usize) -> Option<bool> {
    let other = cluster.addr((at + 1) % 3);
    let (_, status) = exchange(other, "GET", "/v1/cluster", "", &Value::Null).await?;
    let shards = status["shards"].as_array()?;
    Some(shards.iter().any(|shard| shard["owner"] == cluster.id(at)))
}

/// Waits until a node says that its clock is wrong, and owns nothing.
async fn steps_aside(cluster: &ProcessCluster, at: usize) {
    eventually("the node with the wrong clock says so", async || {
        let (status, answer) = exchange(cluster.addr(at), "GET", "/readyz", "", &Value::Null).await?;
        let reason = answer["reason"].as_str()?;
        (status == 503 && reason.contains("the clock is")).then_some(())
    })
    .await;
    eventually("it owns nothing", async || {
        (!owns(cluster, at).await?).then_some(())
    })
    .await;
    let (_, status) = exchange(cluster.addr(at), "GET", "/v1/cluster", "", &Value::Null)
        .await
        .unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    let wrong: Vec<_> = nodes
        .iter()
        .filter(|node| node["clock_wrong"] == true)
        .map(|node| &node["id"])
        .collect();
    assert_eq!(wrong, [&json!(cluster.id(at))], "{status}");
}

#[tokio::test]
async fn one_wrong_clock_loses_no_message_and_sets_no_log_time() {
    let settings = [("retention.group_max_age", A_DAY), ("retention.interval", "50ms")];
    let cluster = ProcessCluster::with(&settings).await;
    let mut groups = Vec::new();
    for n in 0..8 {
        let (key, body) = (format!("make{n}"), json!({"kind":"group","members":["bob"]}));
        let (_, made) = ask(
            cluster.addr(0),
            "alice",
            ("POST", "/v1/conversations", &key),
            body,
        )
        .await;
        groups.push(made["c"].as_str().unwrap().to_owned());
    }
    for c in &groups {
        for n in 0..5 {
            let (path, key) = (format!("/v1/conversations/{c}/messages"), format!("first{n}"));
            let body = json!({"b":{"text":"x"}});
            ask(cluster.addr(0), "alice", ("POST", &path, &key), body).await;
        }
    }
    let (victim, others) = cluster.owner(&groups[0]).await;
    // One talks by way of the node whose clock will be wrong, one by another.
    let alice = SendingClient::start(cluster.addr(victim), "alice", &groups[0], "a");
    let bob = SendingClient::start(cluster.addr(others[0]), "bob", &groups[1], "b");
    for (ahead_ms, drift) in [(TEN_DAYS_MS, 0.0), (-TEN_DAYS_MS, 0.0), (0, 3_000.0)] {
        alice.says(20).await;
        bob.says(20).await;
        cluster.set_clock(victim, ahead_ms, drift);
        // Meanwhile the others serve: nothing waits for the one that is wrong.
        alice.says(20).await;
        steps_aside(&cluster, victim).await;
        alice.says(50).await;
        bob.says(50).await;
        assert_eq!(owns(&cluster, victim).await, Some(false));
        cluster.set_clock(victim, 0, 0.0);
        cluster.whole().await;
    }
    alice.says(20).await;
    let (alice, bob) = (alice.stop().await, bob.stop().await);
    for at in [victim, others[0], others[1]] {
        for (c, sent) in [(&groups[0], &alice), (&groups[1], &bob)] {
            let found = messages(&cluster, at, c).await;
            let cids: Vec<_> = found.iter().map(|(cid, _)| cid.as_str()).collect();
            let first = (0..5).map(|n| format!("first{n}")).collect::<Vec<_>>();
            let expected = first.iter().chain(sent.iter().map(|(cid, _)| cid));
            assert_eq!(cids, expected.map(String::as_str).collect::<Vec<_>>());
            let times: Vec<_> = found.iter().map(|(_, ts)| *ts).collect();
            assert!(times.is_sorted(), "time never falls");
            let latest = now_ms() + 10_000;
            assert!(
                times
                    .iter()
                    .all(|ts| *ts <= latest && *ts > latest - 10 * SLACK_MS),
                "{times:?}"
            );
        }
        for c in &groups[2..] {
            assert_eq!(
                messages(&cluster, at, c).await.len(),
                5,
                "a quiet conversation keeps all"
            );
        }
    }
    cluster.end();
}
