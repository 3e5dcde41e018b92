//! A conversation as lines of JSON.

use serde_json::{Value, json};

use node::testkit::{Call, Config, HumanDuration, Node, Reply, eventually, group};

async fn send(node: &Node, c: &str, n: u64) {
    let send = Call::new("POST", &format!("/v1/conversations/{c}/messages")).by("alice");
    send.key(&n.to_string())
        .json(&json!({ "b": { "n": n } }))
        .to(node)
        .await
        .is(201);
}

async fn export(node: &Node, c: &str, user: &str, query: &str) -> Reply {
    Call::new("GET", &format!("/v1/conversations/{c}/export{query}"))
        .by(user)
        .to(node)
        .await
}

/// The lines of a whole body, which comes in chunks.
fn lines(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("Content-Type"), "application/x-ndjson");
    let (mut rest, mut body) = (reply.text.as_str(), String::new());
    loop {
        let (size, chunk) = rest.split_once("\r\n").expect("the size of a chunk");
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&chunk[..size]);
        rest = &chunk[size + 2..];
        if size == 0 {
            break;
        }
    }
    body.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn seqs(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["s"].as_u64().unwrap()).collect()
}

fn unlimited(config: &mut Config) {
    config.limits.sends_per_second = 10_000;
    config.tuning.sends_burst = Some(10_000);
}

#[tokio::test]
async fn an_export_holds_every_event_that_the_member_may_see() {
    let node = Node::with(unlimited).await;
    let c = group(&node, "alice", &["bob"]).await;
    for n in 3..=230 {
        send(&node, &c, n).await;
    }
    let invite = Call::new("PUT", &format!("/v1/conversations/{c}/members/carol")).by("alice");
    invite.key("carol").to(&node).await.is(201);
    let all = lines(&export(&node, &c, "bob", "").await);
    assert_eq!(seqs(&all), (1..=231).collect::<Vec<_>>());
    let events = Call::new(
        "GET",
        &format!("/v1/conversations/{c}/events?after=100&limit=100"),
    );
    let events = events.by("bob").to(&node).await.is(200);
    assert_eq!(
        events["events"].as_array().unwrap()[..],
        all[100..200],
        "as everywhere else"
    );
    let part = lines(&export(&node, &c, "bob", "?from=99&to=102").await);
    assert_eq!(seqs(&part), [99, 100, 101, 102]);
    assert_eq!(
        seqs(&lines(&export(&node, &c, "bob", "?from=231&to=999").await)),
        [231]
    );
    assert_eq!(
        lines(&export(&node, &c, "bob", "?from=500").await),
        [] as [Value; 0]
    );
    assert_eq!(lines(&export(&node, &c, "bob", "?to=0").await), [] as [Value; 0]);
    // One who came later sees the log from there on.
    assert_eq!(seqs(&lines(&export(&node, &c, "carol", "").await)), [231]);
    export(&node, &c, "mallory", "")
        .await
        .is_problem(403, "not_member");
    export(&node, &c, "bob", "?from=x")
        .await
        .is_problem(400, "bad_request");
}

#[tokio::test]
async fn an_export_says_what_is_gone() {
    let node = Node::with(|config| {
        unlimited(config);
        config.retention.group_max_messages = 5;
        config.retention.interval = HumanDuration::millis(20);
    })
    .await;
    let c = group(&node, "alice", &["bob"]).await;
    for n in 3..=30 {
        send(&node, &c, n).await;
    }
    eventually("the oldest go", async || {
        seqs(&lines(&export(&node, &c, "bob", "").await)) == [26, 27, 28, 29, 30]
    })
    .await;
    let part = lines(&export(&node, &c, "bob", "?from=10&to=27").await);
    assert_eq!(part[0], json!({ "t": "gap", "c": c, "from": 10, "to": 25 }));
    assert_eq!(seqs(&part[1..]), [26, 27]);
    // Pages say it too.
    let events = Call::new("GET", &format!("/v1/conversations/{c}/events?after=9"));
    let events = events.by("bob").to(&node).await.is(200);
    assert_eq!(
        (&events["gap"], &events["events"][0]["s"]),
        (&json!(true), &json!(26))
    );
    node.stop().await;
}
