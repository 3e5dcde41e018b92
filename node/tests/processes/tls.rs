//! A cluster changes from connections without TLS to such with it, node by node, while people write.

use std::collections::BTreeMap;

use node::testkit::{ProcessCluster, SendingClient, TestCertificates, figure, get};
use serde_json::{Value, json};

/// Secret of the nodes, before and after.
const SECRET: &str = "what-the-nodes-of-this-test-share";

/// Restarts each node with further settings, one after the other, while every sender goes on.
async fn restart_each(
    cluster: &mut ProcessCluster,
    senders: &[SendingClient],
    settings: impl Fn(u64) -> Vec<(&'static str, String)>,
) {
    for at in 0..3 {
        let settings = settings(cluster.id(at));
        let settings: Vec<_> = settings
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let mut process = cluster.terminate(at);
        let ended = tokio::task::spawn_blocking(move || process.0.wait().unwrap()).await;
        assert!(ended.unwrap().success(), "an orderly stop is no failure");
        cluster.set_at(at, &settings);
        cluster.restart().await;
        for sender in senders {
            sender.says(5).await;
        }
    }
}

/// Returns the position of each message by its key, from the log of a conversation.
async fn history(cluster: &ProcessCluster, c: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut after = 0;
    loop {
        let path = format!("/v1/conversations/{c}/messages?after={after}&limit=100");
        let page = get(cluster.addr(0), "alice", &path).await;
        let items = page["items"].as_array().unwrap();
        let Some(last) = items.last() else {
            return found;
        };
        after = last["s"].as_u64().unwrap();
        for item in items.iter().filter(|item| item["b"]["text"] != Value::Null) {
            let key = item["b"]["text"].as_str().unwrap().to_owned();
            let before = found.insert(key, item["s"].as_u64().unwrap());
            assert_eq!(before, None, "twice: {item}");
        }
    }
}

#[tokio::test]
async fn cluster_changes_to_tls_by_restarts_and_loses_nothing() {
    let certificates = TestCertificates::new();
    let mut cluster = ProcessCluster::with(&[("cluster.secret", SECRET)]).await;
    let c = cluster
        .made(json!({"kind":"group","members":["bob","carol"]}))
        .await;
    let senders = [("alice", "a"), ("bob", "b"), ("carol", "c")];
    let senders: Vec<_> = (0..)
        .zip(senders)
        .map(|(at, (user, prefix))| SendingClient::start(cluster.addr(at), user, &c, prefix))
        .collect();
    restart_each(&mut cluster, &senders, |id| {
        let dir = certificates.node_dir(id).display().to_string();
        vec![("cluster.tls_dir", dir)]
    })
    .await;
    restart_each(&mut cluster, &senders, |_| {
        vec![("cluster.tls_required", "true".to_owned())]
    })
    .await;
    let mut sent = BTreeMap::new();
    for sender in senders {
        sent.extend(sender.stop().await);
    }
    assert_eq!(
        history(&cluster, &c).await,
        sent,
        "each acknowledged message once"
    );
    for at in 0..3 {
        // Since its last start every connection was encrypted.
        let unencrypted = figure(cluster.addr(at), "rookery_transport_unencrypted_total");
        assert_eq!(unencrypted.await, 0);
    }
    cluster.end();
}
