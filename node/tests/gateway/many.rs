//! Users with more conversations than a session follows.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use node::testkit::{Client, Node, PATIENCE, eventually};

/// Makes groups, many at once, and returns their ids.
async fn groups(client: &mut Client, prefix: &str, members: &[&str], count: usize) -> Vec<String> {
    let mut made = Vec::new();
    for first in (0..count).step_by(100) {
        let some = first..count.min(first + 100);
        for i in some.clone() {
            let create =
                json!({"t":"create","id":i,"kind":"group","cid":format!("{prefix}-{i}"),"members":members});
            client.send(&create.to_string()).await;
        }
        for _ in some {
            let answer = loop {
                let frame = client.json().await;
                if frame.get("n").is_none() {
                    break frame;
                }
            };
            assert_eq!(answer["t"], "conv", "{answer}");
            made.push(answer["c"].as_str().unwrap().to_owned());
        }
    }
    made
}

/// A node whose sessions follow so many conversations.
async fn node(subscriptions: usize) -> Node {
    Node::with(|config| {
        config.limits.subscriptions_per_session = subscriptions;
        config.limits.sends_per_second = 100_000;
        config.tuning.sends_burst = Some(100_000);
        config.limits.queries_per_second = 100_000;
        config.tuning.queries_burst = Some(100_000);
        config.limits.additions_per_day = 10_000;
    })
    .await
}

async fn list(client: &mut Client, cursor: &Value, limit: usize) -> Value {
    let list = json!({"t":"list","id":1,"cursor":cursor,"limit":limit});
    let page = client.ask(1, &list.to_string()).await;
    assert_eq!(page["t"], "inbox", "{page}");
    page
}

async fn sync(client: &mut Client, have: Value, cursor: &Value) -> Value {
    let sync = json!({"t":"sync","id":2,"have":have,"cursor":cursor});
    let page = client.ask(2, &sync.to_string()).await;
    assert_eq!(page["t"], "delta", "{page}");
    page
}

async fn listed(client: &mut Client) -> Vec<String> {
    let (mut convs, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page = list(client, &cursor, 100).await;
        let items = page["items"].as_array().unwrap();
        convs.extend(items.iter().map(|item| item["c"].as_str().unwrap().to_owned()));
        cursor = page["next"].clone();
        if cursor.is_null() {
            return convs;
        }
    }
}

async fn synced(client: &mut Client) -> Vec<String> {
    let (mut convs, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page = sync(client, json!([]), &cursor).await;
        let as_of = page["as_of"].as_array().unwrap();
        convs.extend(as_of.iter().map(|pair| pair[0].as_str().unwrap().to_owned()));
        cursor = page["next"].clone();
        if cursor.is_null() {
            return convs;
        }
    }
}

#[tokio::test]
async fn all_of_2_100_conversations_are_named_by_list_and_by_sync() {
    let node = node(1_000).await;
    let mut alice = node.client("alice").await;
    let made: BTreeSet<String> = groups(&mut alice, "make", &["bob"], 2_100)
        .await
        .into_iter()
        .collect();
    for user in ["alice", "bob"] {
        let mut client = node.client(user).await;
        // Memberships are told to the users' shards.
        eventually("a list of all", async || {
            listed(&mut client).await.len() >= made.len()
        })
        .await;
        assert_eq!(
            listed(&mut client).await.into_iter().collect::<BTreeSet<_>>(),
            made,
            "{user}"
        );
        assert_eq!(
            synced(&mut client).await.into_iter().collect::<BTreeSet<_>>(),
            made,
            "{user}"
        );
    }
    // The one made last comes first; in it, what is sent is heard.
    let newest = groups(&mut alice, "newest", &["carol"], 1).await;
    let mut carol = node.client("carol").await;
    sync(&mut carol, json!([]), &Value::Null).await;
    let send = json!({"t":"send","id":7,"c":newest[0],"cid":"m1","b":{}});
    assert_eq!(alice.ask(7, &send.to_string()).await["t"], "ack");
    assert_eq!(
        list(&mut alice, &Value::Null, 1).await["items"][0]["c"],
        newest[0]
    );
    node.stop().await;
}

#[tokio::test]
async fn group_beyond_the_subscription_limit_is_answered_and_live() {
    let node = node(3).await;
    let mut alice = node.client("alice").await;
    let made = groups(&mut alice, "make", &["bob"], 12).await;
    let mut bob = node.client("bob").await;
    sync(&mut bob, json!([]), &Value::Null).await;
    let send = json!({"t":"send","id":7,"c":made[11],"cid":"m1","b":{}});
    bob.send(&send.to_string()).await;
    let message = loop {
        let frame = alice.json().await;
        if frame["t"] == "msg" {
            break frame;
        }
    };
    assert_eq!(message["c"], made[11]);
    node.stop().await;
}

#[tokio::test]
async fn an_update_makes_a_conversation_live_from_there_on() {
    let node = node(3).await;
    let mut alice = node.client("alice").await;
    let made = groups(&mut alice, "make", &["bob"], 10).await;
    let mut bob = node.client("bob").await;
    eventually("a sync of all", async || {
        sync(&mut bob, json!([]), &Value::Null).await["as_of"]
            .as_array()
            .unwrap()
            .len()
            >= made.len()
    })
    .await;

    // In every group, the oldest first, something is sent: bob gets it, or is told how far the log is, and then gets
    // what comes behind.
    let mut updates = 0;
    for (round, c) in made.iter().enumerate() {
        let send = |cid: String| json!({"t":"send","id":7,"c":c,"cid":cid,"b":{}}).to_string();
        let first = alice.ask(7, &send(format!("a{round}"))).await["s"]
            .as_u64()
            .unwrap();
        let (mut at, mut asked) = (0, false);
        while at < first {
            let frame = bob.json().await;
            match frame["t"].as_str().unwrap() {
                "msg" if frame["c"] == *c => at = frame["s"].as_u64().unwrap(),
                "activity" if frame["c"] == *c => {
                    at = frame["last"]["s"].as_u64().unwrap();
                    updates += 1;
                    asked = true;
                }
                _ => {}
            }
        }
        if asked {
            // What is up to there is to be had.
            let hist = json!({"t":"hist","id":8,"c":c,"after":first - 1});
            let page = bob.ask(8, &hist.to_string()).await;
            assert_eq!(page["events"][0]["s"], first, "{page}");
        }
        let second = alice.ask(7, &send(format!("b{round}"))).await["s"]
            .as_u64()
            .unwrap();
        loop {
            let frame = bob.json().await;
            assert_ne!(frame["t"], "resync", "{frame}");
            if frame["t"] == "msg" && frame["c"] == *c {
                assert_eq!(frame["s"], second);
                break;
            }
        }
    }
    assert!(updates >= made.len() - 3 - 1, "{updates} were told");
    node.stop().await;
}

#[tokio::test]
async fn the_list_is_in_the_order_of_the_last_messages() {
    let node = node(1_000).await;
    let mut alice = node.client("alice").await;
    let made = groups(&mut alice, "make", &["bob"], 6).await;
    let mut request = 100;
    for (round, at) in [3, 0, 5, 0, 3, 1].into_iter().enumerate() {
        request += 1;
        let send = json!({"t":"send","id":request,"c":made[at],"cid":format!("m{round}"),"b":{"text":format!("m{round}")}});
        assert_eq!(alice.ask(request, &send.to_string()).await["t"], "ack");
        // Times in milliseconds: the next message has a later one.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    // Neither a reaction nor a change of membership moves anything.
    let sent = alice
        .ask(9, &json!({"t":"hist","id":9,"c":made[5]}).to_string())
        .await;
    let of = sent["events"].as_array().unwrap().last().unwrap()["s"].clone();
    for change in [
        json!({"t":"react","id":9,"c":made[5],"of":of,"cid":"r","k":"+1","on":true}),
        json!({"t":"edit","id":9,"c":made[5],"of":of,"cid":"e","b":{"text":"now"}}),
        json!({"t":"invite","id":9,"c":made[0],"cid":"i","who":"carol"}),
    ] {
        assert_eq!(alice.ask(9, &change.to_string()).await["t"], "ack");
    }
    // The list may be a moment behind a message that was just acknowledged.
    let sorted = async {
        loop {
            let page = list(&mut alice, &Value::Null, 4).await;
            let convs: Vec<_> = page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["c"].clone())
                .collect();
            if convs == [1, 3, 0, 5].map(|at| json!(made[at])) {
                break page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let page = tokio::time::timeout(PATIENCE, sorted)
        .await
        .expect("the order of the last messages");
    assert_eq!(page["items"][3]["last"]["b"], json!({"text":"now"}));
    assert_eq!(page["items"][3]["last"]["t"], "msg");
    node.stop().await;
}
