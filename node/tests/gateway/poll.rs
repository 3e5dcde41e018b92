//! Long polling: the same session, for a client that fetches.

use serde_json::{Value, json};

use node::testkit::session::say;
use node::testkit::{HumanDuration, Node, PATIENCE};

const BOB: &str = "Authorization: Bearer dev:bob\r\n";

async fn poll(node: &Node, query: &str) -> Value {
    let (status, body) = node.request(&format!("/v1/poll?device=phone&{query}"), BOB).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn sid(answer: &Value) -> String {
    answer["sid"].as_str().unwrap().to_owned()
}

fn numbers(answer: &Value) -> Vec<u64> {
    let events = answer["events"].as_array().unwrap();
    events.iter().map(|event| event["n"].as_u64().unwrap()).collect()
}

/// Polls until there is something.
async fn until_something(node: &Node, query: &str) -> Value {
    loop {
        let answer = poll(node, query).await;
        if !numbers(&answer).is_empty() {
            return answer;
        }
    }
}

#[tokio::test]
async fn poll_starts_at_once_and_repeats_events_until_confirmed() {
    let node = Node::with(|config| config.tuning.delivered_interval = HumanDuration::millis(60_000)).await;
    let mut alice = node.client("alice").await;
    let begun = poll(&node, "").await;
    let sid = sid(&begun);
    assert_eq!(begun, json!({"sid":sid,"resumed":false,"n":0,"events":[]}));

    // One that waits is answered when something happens.
    let query = format!("sid={sid}&after=0&wait=25");
    let (first, _) = tokio::join!(until_something(&node, &query), say(&mut alice, "bob", "a"));
    assert_eq!((&first["sid"], &first["resumed"]), (&json!(sid), &json!(true)));
    assert_eq!(first["events"][0]["t"], "conv");
    // Unconfirmed, they come again.
    node.figure_reaches("rookery_sessions_detached", 1).await;
    let again = async {
        loop {
            let again = poll(&node, &query).await;
            if again["n"] == 2 {
                return again;
            }
        }
    };
    let again = tokio::time::timeout(PATIENCE, again).await.unwrap();
    assert_eq!(numbers(&again), [1, 2]);
    assert_eq!(again["events"][1]["cid"], "a");
    say(&mut alice, "bob", "b").await;
    let next = until_something(&node, &format!("sid={sid}&after=2")).await;
    assert_eq!(
        (numbers(&next), &next["events"][0]["cid"]),
        (vec![3], &json!("b"))
    );
    // What was confirmed is gone, and nothing is pretended.
    let gap = poll(&node, &format!("sid={sid}&after=1&wait=0")).await;
    assert_eq!(
        (&gap["resumed"], &gap["why"], &gap["events"]),
        (&json!(false), &json!("gap"), &json!([]))
    );
    // Without events a poll ends by itself.
    let none = poll(&node, &format!("sid={sid}&after=3&wait=0")).await;
    assert_eq!(none, json!({"sid":sid,"resumed":true,"n":3,"events":[]}));
    node.stop().await;
}

#[tokio::test]
async fn what_is_fetched_and_confirmed_counts_as_delivered() {
    let node = Node::with(|config| config.tuning.delivered_interval = HumanDuration::millis(20)).await;
    let mut alice = node.client("alice").await;
    let sid = sid(&poll(&node, "").await);
    let s = say(&mut alice, "bob", "a").await["s"].as_u64().unwrap();
    let mut after = 0;
    while after < 2 {
        after = poll(&node, &format!("sid={sid}&after={after}")).await["n"]
            .as_u64()
            .unwrap();
    }
    poll(&node, &format!("sid={sid}&after=2&wait=0")).await;
    let receipt = alice.expect("receipt").await;
    assert_eq!((&receipt["u"], &receipt["delivered"]), (&json!("bob"), &json!(s)));
    node.stop().await;
}

#[tokio::test]
async fn a_second_poll_ends_the_first_with_nothing() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let sid = sid(&poll(&node, "").await);
    let query = format!("sid={sid}&after=0&wait=60");
    let first = poll(&node, &query);
    let second = async {
        node.figure_reaches("rookery_sessions", 2).await;
        poll(&node, &query).await
    };
    let talk = async {
        let first = first.await;
        assert_eq!((numbers(&first), &first["resumed"]), (vec![], &json!(true)));
        say(&mut alice, "bob", "a").await;
    };
    let (second, ()) = tokio::join!(second, talk);
    assert_eq!(numbers(&second)[0], 1);
    node.stop().await;
}

#[tokio::test]
async fn made_up_ids_and_numbers_get_no_events_of_others() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let sid = sid(&poll(&node, "").await);
    say(&mut alice, "bob", "a").await;
    until_something(&node, &format!("sid={sid}&after=0")).await;
    for after in ["-1", "9223372036854775808", "18446744073709551616", "1.5", "x"] {
        let (status, body) = node
            .request(&format!("/v1/poll?device=phone&sid={sid}&after={after}"), BOB)
            .await;
        assert_eq!(status, 400, "{after}: {body}");
        assert!(body.contains("bad_request"), "{body}");
    }
    let far = poll(&node, &format!("sid={sid}&after=9223372036854775807")).await;
    assert_eq!((&far["resumed"], &far["why"]), (&json!(false), &json!("gap")));
    for (sid, device, user) in [
        ("nonsense", "phone", "bob"),
        (sid.as_str(), "laptop", "bob"),
        (sid.as_str(), "phone", "eve"),
    ] {
        let bearer = format!("Authorization: Bearer dev:{user}\r\n");
        let path = format!("/v1/poll?device={device}&sid={sid}&after=0");
        let (status, body) = node.request(&path, &bearer).await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200);
        assert_eq!(
            (&answer["resumed"], &answer["why"], &answer["events"]),
            (&json!(false), &json!("unknown"), &json!([]))
        );
        assert_ne!(answer["sid"], sid);
    }
    let (status, _) = node.get("/v1/poll").await;
    assert_eq!(status, 401);
    let still = poll(&node, &format!("sid={sid}&after=0")).await;
    assert_eq!(still["resumed"], true);
    node.stop().await;
}

#[tokio::test]
async fn too_frequent_polls_get_a_retry_time() {
    let node = Node::with(|config| {
        config.limits.queries_per_second = 1;
        config.tuning.queries_burst = Some(6);
    })
    .await;
    let sid = sid(&poll(&node, "").await);
    poll(&node, &format!("sid={sid}&wait=0")).await;
    let refused = async {
        loop {
            let path = format!("/v1/poll?device=phone&sid={sid}&wait=0");
            let (status, body) = node.request(&path, BOB).await;
            if status == 429 {
                return body;
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await;
    let body = refused.expect("one is refused");
    assert!(body.contains("retry_ms"), "{body}");
    node.stop().await;
}

#[tokio::test]
async fn a_stop_ends_a_poll_that_waits() {
    let node = Node::start().await;
    let sid = sid(&poll(&node, "").await);
    let addr = node.addr();
    let waiting = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let head = format!(
            "GET /v1/poll?device=phone&sid={sid}&wait=60 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{BOB}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    });
    node.figure_reaches("rookery_sessions", 1).await;
    node.stop().await;
    let text = waiting.await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains(r#""events":[]"#),
        "{text}"
    );
}
