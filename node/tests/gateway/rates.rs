//! A rate is a user's: it outlives connections, is shared by all of them, and pays for what a command costs.

use serde_json::json;

use node::testkit::session::auth;
use node::testkit::{Client, Node};

fn send(id: i64) -> String {
    json!({"t":"send","id":id,"to":"bob","cid":id.to_string(),"b":{},"echo":false}).to_string()
}

/// One token a minute, about: what was taken is not there again while a test runs.
async fn scarce(burst: u32) -> Node {
    Node::with(|config| {
        (config.limits.sends_per_second, config.tuning.sends_burst) = (1, Some(burst));
        config.tuning.abuse_factor = 1_000;
    })
    .await
}

/// How many of so many sends are acknowledged.
async fn acks(client: &mut Client, sends: std::ops::Range<i64>) -> usize {
    let mut acks = 0;
    for id in sends {
        let answer = client.ask(id, &send(id)).await;
        acks += usize::from(answer["t"] == "ack");
    }
    acks
}

#[tokio::test]
async fn a_rate_outlives_the_connections_of_its_user() {
    let node = scarce(40).await;
    let mut all = 0;
    for round in 0..10 {
        let mut client = node.client("alice").await;
        all += acks(&mut client, round * 20..round * 20 + 20).await;
    }
    assert!((40..60).contains(&all), "{all} of 200 with a burst of 40");
    let mut other = node.client("carol").await;
    assert_eq!(acks(&mut other, 0..10).await, 10, "another user has another");
}

#[tokio::test]
async fn sessions_and_requests_of_a_user_share_one_rate() {
    let node = scarce(40).await;
    let mut all = 0;
    for device in 0..10 {
        let mut client = Client::connect(node.addr()).await;
        client.expect("hello").await;
        client.send(&auth("alice", &format!("d{device}"), None)).await;
        assert_eq!(client.answer(0).await["t"], "ready");
        all += acks(&mut client, device * 20..device * 20 + 20).await;
    }
    assert!((40..60).contains(&all), "{all} of 200 with a burst of 40");
    let bearer =
        "Authorization: Bearer dev:alice\r\nIdempotency-Key: x\r\nContent-Type: application/json\r\n";
    let (status, body) = node.post("/v1/users/bob/messages", bearer, r#"{"b":{}}"#).await;
    assert_eq!(status, 429, "{body}");
}

#[tokio::test]
async fn a_command_costs_by_its_size_and_the_largest_is_possible() {
    let node = Node::with(|config| {
        (config.limits.sends_per_second, config.tuning.sends_burst) = (1, Some(60));
    })
    .await;
    let mut client = node.client("alice").await;
    let members: Vec<String> = (0..256).map(|i| format!("m{i}")).collect();
    let create = |id: i64| {
        json!({"t":"create","id":id,"kind":"group","cid":id.to_string(),"members":members}).to_string()
    };
    assert_eq!(client.ask(1, &create(1)).await["t"], "conv");
    let refused = client.ask(2, &create(2)).await;
    assert_eq!(refused["code"], "rate_limited", "{refused}");
    assert!(refused["retry_ms"].as_u64().unwrap() > 10_000, "{refused}");
    assert_eq!(client.ask(3, &send(3)).await["t"], "ack", "what is small fits");

    let mut client = node.client("carol").await;
    let large = json!({"x":"x".repeat(16_000)});
    let mut acks = 0;
    for id in 0..60 {
        let send = json!({"t":"send","id":id,"to":"bob","cid":id.to_string(),"b":large,"echo":false});
        acks += usize::from(client.ask(id, &send.to_string()).await["t"] == "ack");
    }
    assert!(
        (10..30).contains(&acks),
        "{acks} bodies of 16 KB with a burst of 60"
    );
}

#[tokio::test]
async fn a_question_costs_by_what_it_may_show() {
    let node = Node::with(|config| {
        (config.limits.queries_per_second, config.tuning.queries_burst) = (1, Some(40));
        config.tuning.abuse_factor = 1_000;
    })
    .await;
    let watched: Vec<String> = (0..500).map(|i| format!("w{i}")).collect();
    let have: Vec<_> = (0..200).map(|i| json!([format!("g_{i}"), 1])).collect();
    for (user, fields) in [
        ("list", json!({"limit":100})),
        ("sync", json!({"have":have})),
        ("watch", json!({"users":watched})),
    ] {
        let mut client = node.client(user).await;
        let mut answered = 0;
        for id in 0..40 {
            let mut question = fields.clone();
            question["t"] = json!(user);
            question["id"] = json!(id);
            let answer = client.ask(id, &question.to_string()).await;
            assert!(
                answer["t"] != "err" || answer["code"] == "rate_limited",
                "{answer}"
            );
            answered += usize::from(answer["t"] != "err");
        }
        assert!((2..20).contains(&answered), "{answered} of 40 times {user}");
    }
}

#[tokio::test]
async fn the_begin_of_a_session_is_a_question_of_its_user() {
    let node = Node::with(|config| {
        (config.limits.queries_per_second, config.tuning.queries_burst) = (1, Some(40));
        config.tuning.abuse_factor = 1_000;
    })
    .await;
    let mut begun = 0;
    for _ in 0..40 {
        let mut client = Client::connect(node.addr()).await;
        client.expect("hello").await;
        let answer = client.ask(0, r#"{"t":"auth","id":0,"token":"dev:alice"}"#).await;
        if answer["t"] == "ready" {
            begun += 1;
        } else {
            assert_eq!(answer["code"], "rate_limited", "{answer}");
            assert!(answer["retry_ms"].as_u64().is_some(), "{answer}");
        }
    }
    assert!((5..30).contains(&begun), "{begun} of 40");
    let bearer = "Authorization: Bearer dev:alice\r\n";
    let refused = Client::upgrade(node.addr(), bearer, None).await;
    assert!(refused.head.starts_with("HTTP/1.1 429"), "{}", refused.head);
    let (status, body) = node.request("/v1/events", bearer).await;
    assert_eq!(status, 429, "{body}");
}
