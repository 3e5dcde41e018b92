//! Rows of one replica that change on the disk: found by the audit of all rows and repaired, while people write.

use std::path::Path;
use std::process::{Output, Stdio};

use node::testkit::{ProcessCluster, SendingClient, TABLES, exchange, get, program};
use serde_json::{Value, json};
use storage::{ScanOrder, ShardId, Store};

/// Text of the message whose row is changed.
const MARK: &str = "a message that the disk changes";

/// Changes one letter of the message in every row of a stopped node's replica that has it, with right checksums, as a
/// disk controller that writes other bytes. Returns the number of rows.
fn flip(data: &Path, shard: ShardId) -> usize {
    let store = Store::open(TABLES, &storage::Config::small(data)).unwrap();
    let state = store.state(shard);
    let mut transaction = state.transaction();
    let mut flipped = 0;
    for table in TABLES.tables() {
        let rows = state
            .scan(*table, b""..b"", ScanOrder::Ascending, usize::MAX)
            .unwrap();
        for (key, value) in rows {
            let at = value
                .windows(MARK.len())
                .position(|window| window == MARK.as_bytes());
            if let Some(at) = at {
                let mut value = value.to_vec();
                value[at] ^= 1;
                transaction.put(*table, &key, &value);
                flipped += 1;
            }
        }
    }
    transaction.commit(state.applied().unwrap().unwrap()).unwrap();
    store.close();
    flipped
}

async fn audit(cluster: &ProcessCluster, more: &[&str]) -> Output {
    let mut args = vec![
        "audit".to_owned(),
        "--url".to_owned(),
        format!("http://{}", cluster.addr(0)),
    ];
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    let run = move || {
        let mut command = program();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Shard of a conversation, and the node that leads it in normal operation.
async fn shard_of(cluster: &ProcessCluster, c: &str) -> (u16, u64) {
    let path = format!("/v1/cluster/owner?conversation={c}");
    let (_, found) = exchange(cluster.addr(0), "GET", &path, "", &Value::Null)
        .await
        .unwrap();
    let shard = found["shard"].as_u64().unwrap();
    let (_, status) = exchange(cluster.addr(0), "GET", "/v1/cluster", "", &Value::Null)
        .await
        .unwrap();
    let preferred = status["shards"][usize::try_from(shard).unwrap()]["preferred"]
        .as_u64()
        .unwrap();
    (u16::try_from(shard).unwrap(), preferred)
}

#[tokio::test]
async fn changed_rows_of_a_replica_are_repaired_under_load() {
    let mut cluster = ProcessCluster::start().await;
    // A conversation that the damaged node does not lead: clients are answered by another one.
    let damaged = 2;
    let mut found = None;
    for n in 0..20 {
        let make = ("POST", "/v1/conversations", format!("make{n}"));
        let group = json!({"kind": "group", "members": ["bob"]});
        let (_, made) = node::testkit::ask(cluster.addr(0), "alice", (make.0, make.1, &make.2), group).await;
        let c = made["c"].as_str().unwrap().to_owned();
        let (shard, preferred) = shard_of(&cluster, &c).await;
        if preferred != cluster.id(damaged) {
            found = Some((c, shard));
            break;
        }
    }
    let (c, shard) = found.expect("one of 20 conversations is led by another node");
    let path = format!("/v1/conversations/{c}/messages");
    let marked = json!({"b": {"text": MARK}});
    node::testkit::ask(cluster.addr(0), "alice", ("POST", &path, "marked"), marked).await;
    let sender = SendingClient::start(cluster.addr(0), "alice", &c, "a");
    sender.says(20).await;
    let equal = audit(&cluster, &["--rows"]).await;
    assert!(equal.status.success(), "{equal:?}");

    let mut process = cluster.terminate(damaged);
    let ended = tokio::task::spawn_blocking(move || process.0.wait().unwrap()).await;
    assert!(ended.unwrap().success());
    let data = cluster.dir().join(format!("node-{}", damaged + 1)).join("data");
    let flipped = tokio::task::spawn_blocking(move || flip(&data, ShardId(shard)));
    assert!(flipped.await.unwrap() > 0, "the row is in the replica");
    sender.says(20).await;
    cluster.restart().await;
    sender.says(20).await;

    let differs = audit(&cluster, &["--rows"]).await;
    let text = String::from_utf8_lossy(&differs.stderr).into_owned();
    assert_eq!(differs.status.code(), Some(1), "{text}");
    let expected = format!("shard {shard} at index ");
    assert!(text.contains(&expected) && text.contains("(differs)"), "{text}");

    let repaired = audit(&cluster, &["--repair", "--wait", "120"]).await;
    let printed = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert!(repaired.status.success(), "{repaired:?}");
    let expected = format!("the replica of node {} is filled again", cluster.id(damaged));
    assert!(
        printed.contains(&expected) && printed.contains("1 of them rebuilt"),
        "{printed}"
    );
    let equal = audit(&cluster, &["--rows"]).await;
    assert!(equal.status.success(), "{equal:?}");
    sender.says(20).await;

    let (_, log) = exchange(cluster.addr(0), "GET", "/v1/admin/events", "", &Value::Null)
        .await
        .unwrap();
    let rebuilt = |item: &&Value| item["act"] == "replicas.rebuild" && item["outcome"] == "done";
    assert_eq!(
        log["items"].as_array().unwrap().iter().filter(rebuilt).count(),
        1,
        "{log}"
    );

    // Nobody saw anything of it: each message once, at the position that was acknowledged.
    let mut sent = sender.stop().await;
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let page = get(
            cluster.addr(damaged),
            "alice",
            &format!("{path}?after={after}&limit=100"),
        )
        .await;
        let items = page["items"].as_array().unwrap();
        let Some(last) = items.last() else { break };
        after = last["s"].as_u64().unwrap();
        let texts = items
            .iter()
            .filter_map(|item| Some((item["b"]["text"].as_str()?, item["s"].as_u64()?)));
        read.extend(texts.map(|(text, s)| (text.to_owned(), s)));
    }
    let marked = read
        .iter()
        .position(|(text, _)| text == MARK)
        .expect("the message is unchanged");
    read.remove(marked);
    read.sort();
    sent.sort();
    assert_eq!(read, sent);
    cluster.end();
}
