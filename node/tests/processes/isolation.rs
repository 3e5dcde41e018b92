//! Nodes that are there and say nothing: an inbox hides none of their rows, and who is left alone says so.

use serde_json::{Value, json};

use node::testkit::{
    ProcessCluster, ReceivingClient, SendingClient, TestTransport, ask, eventually, exchange, figure, get,
    program,
};

const MEMBERS: [&str; 3] = ["bob", "carol", "dan"];
const LIST: &str = "/v1/conversations?limit=100";

/// A conversation and a member whose shards have different owners.
struct SplitOwners {
    c: String,
    viewer: &'static str,
    /// The owner of the member's shard.
    beside: usize,
}

impl SplitOwners {
    async fn find(cluster: &ProcessCluster, groups: &[String]) -> SplitOwners {
        eventually("shards are spread over the nodes", async || {
            for c in groups {
                for viewer in MEMBERS {
                    let (owner, beside) = (cluster.owner(c).await.0, cluster.owner(viewer).await.0);
                    if owner != beside {
                        let c = c.clone();
                        return Some(SplitOwners { c, viewer, beside });
                    }
                }
            }
            None
        })
        .await
    }
}

fn rows(list: &Value) -> Vec<(&str, bool)> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    let mut rows: Vec<_> = items
        .iter()
        .map(|item| (item["c"].as_str().unwrap(), item["stale"] == true))
        .collect();
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn a_silent_owner_leaves_no_row_out_and_an_isolated_node_closes() {
    // A list waits for an owner for less time than a new one takes.
    let settings = [
        ("tuning.query_timeout", "800ms"),
        ("tuning.quorum_loss_timeout", "3s"),
    ];
    let cluster = ProcessCluster::with(&settings).await;
    let mut groups = Vec::new();
    for n in 0..8 {
        let (key, body) = (format!("make{n}"), json!({"kind":"group","members":MEMBERS}));
        let make = ("POST", "/v1/conversations", key.as_str());
        let (_, made) = ask(cluster.addr(0), "alice", make, body).await;
        groups.push(made["c"].as_str().unwrap().to_owned());
    }
    groups.sort_unstable();
    let whole: Vec<_> = groups.iter().map(|c| (c.as_str(), false)).collect();
    let fresh = async |split: &SplitOwners| {
        eventually("every row is fresh", async || {
            let list = get(cluster.addr(split.beside), split.viewer, LIST).await;
            (rows(&list) == whole).then_some(())
        })
        .await;
    };

    // The owner of one row does not answer: the row is stale, and there. Owners may move at any time while
    // the cluster spreads its shards, so each attempt chooses the conversation and the member anew.
    let (split, stale) = eventually("a row is stale", async || {
        let split = SplitOwners::find(&cluster, &groups).await;
        fresh(&split).await;
        let (owner, _) = cluster.owner(&split.c).await;
        if owner == split.beside {
            return None;
        }
        cluster.suspend(owner);
        let list = get(cluster.addr(split.beside), split.viewer, LIST).await;
        cluster.wake(owner);
        let listed = rows(&list);
        let names: Vec<_> = listed.iter().map(|(c, _)| *c).collect();
        assert_eq!(names, groups, "no row is hidden");
        let is_stale = listed.contains(&(split.c.as_str(), true));
        is_stale.then_some((split, list))
    })
    .await;
    let (c, beside) = (split.c.as_str(), split.beside);
    let alone = cluster.addr(beside);
    let row = stale["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["c"] == c);
    assert_eq!(row.unwrap()["kind"], "group", "{stale}");
    fresh(&split).await;

    // Both others fall silent. Whoever is connected to the third is told to come back, by whichever way.
    cluster.whole().await;
    let mut bob = ReceivingClient::new("bob", TestTransport::Socket, alone, c).await;
    let mut carol = ReceivingClient::new("carol", TestTransport::Stream, alone, c).await;
    let mut dan = ReceivingClient::new("dan", TestTransport::Poll, alone, c).await;
    let sender = SendingClient::start(alone, "alice", c, "m");
    sender.says(5).await;
    let others = [(beside + 1) % 3, (beside + 2) % 3];
    for other in others {
        cluster.suspend(other);
    }
    for client in [&mut bob, &mut carol] {
        client.wait_for_close().await;
        let bye = client.bye.take().expect("a goodbye");
        assert_eq!(bye["code"], 4015, "{bye}");
        assert!(bye["retry_ms"].as_u64().unwrap() <= 100, "{bye}");
    }
    dan.wait_for_close().await;
    // No announcement of the owners of the others' shards arrives.
    eventually("the silence of the owners is noticed", async || {
        (figure(alone, "rookery_shards_without_owner").await > 0).then_some(())
    })
    .await;
    eventually("the silence of the replicas is noticed", async || {
        (figure(alone, "rookery_shards_without_spare").await > 0).then_some(())
    })
    .await;
    let checked = program()
        .args(["ctl", "check", "--ready", "--url", &format!("http://{alone}")])
        .status();
    assert_eq!(checked.unwrap().code(), Some(6), "the exit code for monitors");
    // It takes nobody else, and says so to a balancer. It lives, so nobody restarts it.
    let bearer = "Authorization: Bearer dev:bob\r\n";
    for (path, headers, status) in [
        ("/v1/ws", bearer, 503),
        ("/v1/events", bearer, 503),
        ("/v1/poll", bearer, 503),
        ("/readyz", "", 503),
        ("/livez", "", 200),
    ] {
        let answered = exchange(alone, "GET", path, headers, &Value::Null).await;
        assert_eq!(answered.map(|(status, _)| status), Some(status), "{path}");
    }

    // They come to themselves, and each goes on where it was. What was sent all the time is there once.
    for other in others {
        cluster.wake(other);
    }
    cluster.whole().await;
    eventually("every shard has an owner again", async || {
        (figure(alone, "rookery_shards_without_owner").await == 0).then_some(())
    })
    .await;
    eventually("every replica is there again", async || {
        (figure(alone, "rookery_shards_without_spare").await == 0).then_some(())
    })
    .await;
    for client in [&mut bob, &mut carol, &mut dan] {
        let ready = client.connect(alone).await;
        assert_eq!(
            (&ready["resumed"], ready.get("why")),
            (&json!(true), None),
            "{ready}"
        );
    }
    sender.says(5).await;
    let sent = sender.stop().await;
    let last = sent.last().unwrap().1;
    let expected: Vec<_> = sent.iter().map(|(cid, _)| cid.as_str()).collect();
    for client in [&mut bob, &mut carol, &mut dan] {
        client.receives(last).await;
        assert_eq!(
            client.keys(),
            expected,
            "each message once, in the sender's order"
        );
    }
    cluster.end();
}
