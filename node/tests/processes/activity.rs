//! What the shards of a conversation's members learn of its messages when the owner is killed between the first message
//! that it told and the end of the window, at which it would have told the next.

use std::collections::HashSet;
use std::net::SocketAddr;

use futures::future::join_all;
use serde_json::{Value, json};

use node::testkit::{Client, PATIENCE, ProcessCluster, ask, eventually, exchange, get};

/// More than a page of the list asks about beside its own: so pages stand in the order that the users' shards know, and
/// no owner is asked to put it right.
const GROUPS: usize = 135;
/// Longer than the test takes: what comes within the window is told by nobody but the next owner.
const WINDOW: &str = "10m";

/// Waits until every node owns something, so that nothing moves to another owner by itself.
async fn shared_out(cluster: &ProcessCluster) {
    eventually("every node owns a shard", async || {
        let (_, status) = exchange(cluster.addr(0), "GET", "/v1/cluster", "", &Value::Null).await?;
        let shards = status["shards"].as_array()?;
        let owners: Option<HashSet<u64>> = shards.iter().map(|shard| shard["owner"].as_u64()).collect();
        (owners?.len() == 3).then_some(())
    })
    .await;
}

/// A user whose shard that node owns, or one of the others does.
async fn user_of(cluster: &ProcessCluster, node: usize, owned: bool) -> String {
    for n in 0.. {
        let name = format!("user{n}");
        if (cluster.owner(&name).await.0 == node) == owned {
            return name;
        }
    }
    unreachable!("one of the names has such a shard")
}

/// Has Alice make groups with these members.
async fn groups(cluster: &ProcessCluster, members: &[String]) -> Vec<String> {
    let mut made = Vec::new();
    for first in (0..GROUPS).step_by(15) {
        let some = (first..first + 15).map(|n| async move {
            let (key, body) = (format!("make{n}"), json!({"kind":"group","members":members}));
            let make = ("POST", "/v1/conversations", key.as_str());
            let (_, made) = ask(cluster.addr(n % 3), "alice", make, body).await;
            made["c"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
        });
        made.extend(join_all(some).await);
    }
    made
}

/// Sends as Alice, and returns the message's place.
async fn says(addr: SocketAddr, c: &str, key: &str) -> u64 {
    let path = format!("/v1/conversations/{c}/messages");
    let (status, ack) = ask(addr, "alice", ("POST", &path, key), json!({"b":{}})).await;
    assert!(status < 300, "{ack}");
    ack["s"].as_u64().unwrap()
}

/// The first two conversations of a user's list, on a page each.
async fn first_two(addr: SocketAddr, user: &str) -> [Value; 2] {
    let first = get(addr, user, "/v1/conversations?limit=1").await;
    let next = first["next"].as_str().unwrap_or_else(|| panic!("{first}"));
    let second = get(addr, user, &format!("/v1/conversations?limit=1&cursor={next}")).await;
    [first, second].map(|page| page["items"][0]["c"].clone())
}

/// Waits until the first two are these.
async fn stand_first(addr: SocketAddr, user: &str, expected: [&str; 2]) {
    eventually("the list has them first", async || {
        (first_two(addr, user).await == expected.map(Value::from)).then_some(())
    })
    .await;
}

/// Reads until the client has the event, or was told that it is there. Returns whether it was told.
async fn learns(client: &mut Client, c: &str, s: u64) -> bool {
    let reading = reads_until(client, c, s);
    let learned = tokio::time::timeout(PATIENCE, reading).await;
    learned.unwrap_or_else(|_| panic!("nobody told of {s} in {c}"))
}

async fn reads_until(client: &mut Client, c: &str, s: u64) -> bool {
    loop {
        let event = client.json().await;
        assert_ne!(event["t"], "resync", "{event}");
        let (update, reached) = match event["t"].as_str() {
            Some("msg") => (false, &event["s"]),
            Some("activity") => (true, &event["last"]["s"]),
            _ => continue,
        };
        if event["c"] == *c && reached.as_u64().is_some_and(|reached| reached >= s) {
            return update;
        }
    }
}

#[tokio::test]
async fn new_owner_completes_the_activity_window_of_a_killed_owner() {
    let settings = [
        ("tuning.activity_interval", WINDOW),
        ("limits.subscriptions_per_session", "1"),
        ("limits.additions_per_day", "1000"),
    ];
    let mut cluster = ProcessCluster::with(&settings).await;
    shared_out(&cluster).await;
    // Of two members one has her list on the node that will be killed, and one elsewhere.
    let (victim, others) = cluster.owner("alice").await;
    let members = [
        user_of(&cluster, victim, true).await,
        user_of(&cluster, victim, false).await,
    ];
    // Each has a session that follows one conversation. A message brings one in, a message in another puts it out.
    let at = cluster.addr(others[0]);
    let mut sessions = Vec::new();
    for (user, node) in members.iter().zip(others) {
        let mut client = Client::connect(cluster.addr(node)).await;
        let auth = json!({"t":"auth","id":1,"token":format!("dev:{user}"),"device":"phone"});
        assert_eq!(client.ask(1, &auth.to_string()).await["t"], "ready");
        assert_eq!(
            client.ask(2, r#"{"t":"sync","id":2,"have":[]}"#).await["t"],
            "delta"
        );
        sessions.push(client);
    }
    let made = groups(&cluster, &members).await;
    let (mut there, mut elsewhere) = (None, None);
    for c in &made {
        let owner = cluster.owner(c).await.0;
        *(if owner == victim {
            &mut there
        } else {
            &mut elsewhere
        }) = Some(c.as_str());
    }
    let (moved, quiet) = (there.unwrap(), elsewhere.unwrap());

    // Each session has seen all of them come and go before anything is said: a later introduction would put out what a
    // message has brought in.
    for (user, client) in members.iter().zip(&mut sessions) {
        let mut unseen: HashSet<&str> = made.iter().map(String::as_str).collect();
        while !unseen.is_empty() {
            let event = tokio::time::timeout(PATIENCE, client.json()).await;
            let event = event.unwrap_or_else(|_| panic!("{user} never saw {unseen:?}"));
            if event["t"] == "conv" {
                unseen.remove(event["c"].as_str().unwrap());
            }
        }
        eventually("the list has all", async || {
            let (mut count, mut cursor) = (0, String::new());
            loop {
                let page = get(at, user, &format!("/v1/conversations?limit=100{cursor}")).await;
                count += page["items"].as_array()?.len();
                let Some(next) = page["next"].as_str() else {
                    return (count >= GROUPS).then_some(());
                };
                cursor = format!("&cursor={next}");
            }
        })
        .await;
    }
    for (key, c) in [("first", moved), ("other", quiet)] {
        let s = says(at, c, key).await;
        for client in &mut sessions {
            learns(client, c, s).await;
        }
    }
    for user in &members {
        stand_first(at, user, [quiet, moved]).await;
    }

    // Within the window nobody but the owner knows of this one, and the owner dies.
    let second = says(at, moved, "second").await;
    for user in &members {
        assert_eq!(
            first_two(at, user).await,
            [quiet, moved],
            "told at the end of the window"
        );
    }
    cluster.kill(victim);

    for client in &mut sessions {
        assert!(learns(client, moved, second).await, "it was not followed");
    }
    for user in &members {
        stand_first(at, user, [moved, quiet]).await;
    }
    // What it was told of is to be had, and what comes behind it is heard.
    for client in &mut sessions {
        let hist = json!({"t":"hist","id":3,"c":moved,"after":second - 1});
        let page = client.ask(3, &hist.to_string()).await;
        assert_eq!(page["events"][0]["s"], second, "{page}");
    }
    let third = says(at, moved, "third").await;
    for client in &mut sessions {
        assert!(!learns(client, moved, third).await, "it is followed");
    }
    cluster.end();
}
