//! Rates, sizes, and the order of a sender's messages across refusals.

use node::config::HumanDuration;

use crate::support::{Node, TEXT, masked};

#[tokio::test]
async fn refused_sends_name_a_delay_and_keep_the_senders_order() {
    let node = Node::with(|config| {
        config.limits.sends_per_second = 2;
        config.tuning.sends_burst = Some(3);
        config.tuning.abuse_factor = 1_000;
    })
    .await;
    let mut client = node.client("alice").await;
    let send = |i: i64| format!(r#"{{"t":"send","id":{i},"to":"bob","cid":"{i}","b":{{}}}}"#);
    let all: Vec<u8> = (1..=6)
        .flat_map(|i| masked(TEXT, true, send(i).as_bytes()))
        .collect();
    client.raw(&all).await;
    let mut codes = std::collections::BTreeMap::new();
    while codes.len() < 6 {
        let answer = client.json().await;
        if let Some(id) = answer["id"].as_i64() {
            codes.insert(id, answer);
        }
    }
    for i in 1..=3 {
        assert_eq!(codes[&i]["t"], "ack");
    }
    assert_eq!(
        (&codes[&4]["code"], &codes[&4]["temp"]),
        (&"rate_limited".into(), &true.into())
    );
    let wait = codes[&4]["retry_ms"].as_u64().unwrap();
    assert!((1..=500).contains(&wait), "{wait}");
    for i in 5..=6 {
        assert_eq!(codes[&i]["code"], "busy", "4 must come first");
    }

    // The refused one lifts the hold, and the order is the sender's.
    for i in 4..=6 {
        loop {
            let answer = client.ask(i, &send(i)).await;
            if answer["t"] == "ack" {
                assert_eq!(answer["mn"], i);
                break;
            }
            let wait = answer["retry_ms"].as_u64().unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        }
    }
}

#[tokio::test]
async fn sender_hold_for_a_refused_send_ends_after_its_timeout() {
    let node = Node::with(|config| {
        config.limits.sends_per_second = 2;
        config.tuning.sends_burst = Some(1);
        config.tuning.abuse_factor = 1_000;
        config.tuning.refused_send_timeout = HumanDuration::millis(3_000);
    })
    .await;
    let mut client = node.client("alice").await;
    let send = |id: i64, to: &str| {
        format!(r#"{{"t":"send","id":{id},"to":"{to}","cid":"{id}","b":{{}},"echo":false}}"#)
    };
    let both = [send(1, "bob"), send(2, "bob")]
        .map(|text| masked(TEXT, true, text.as_bytes()))
        .concat();
    client.raw(&both).await;
    assert_eq!(client.answer(2).await["code"], "rate_limited");

    // Elsewhere only the rate counts; there, the refused one is waited for first, and then no longer.
    for (to, refusals) in [
        ("carol", &["rate_limited"][..]),
        ("bob", &["busy", "rate_limited"]),
    ] {
        loop {
            let answer = client.ask(3, &send(3, to)).await;
            if answer["t"] == "ack" {
                break;
            }
            assert!(refusals.iter().any(|code| answer["code"] == *code), "{answer}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn going_on_at_a_multiple_of_the_rate_ends_the_session() {
    let node = Node::with(|config| {
        config.limits.sends_per_second = 5;
        config.tuning.sends_burst = Some(5);
        config.tuning.abuse_window = HumanDuration::millis(500);
    })
    .await;
    let mut client = node.client("alice").await;
    let flood = async {
        for i in 0.. {
            client
                .send(&format!(
                    r#"{{"t":"send","id":{i},"to":"bob","cid":"{i}","b":{{}}}}"#
                ))
                .await;
            let answer = client.recv().await;
            if let crate::support::Incoming::Close(code, reason) = answer {
                return (code, reason);
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        unreachable!()
    };
    let (code, reason) = tokio::time::timeout(crate::support::PATIENCE, flood)
        .await
        .unwrap();
    assert_eq!(code, 4208);
    assert!(reason.starts_with("{\"retry_ms\":"), "{reason}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large_and_the_session_goes_on() {
    let node = Node::with(|config| config.limits.max_body_size = node::config::HumanSize(1_000)).await;
    let mut client = node.client("alice").await;
    for (size, expected) in [(989, "ack"), (990, "err"), (20_000, "err")] {
        // {"x":"…"} is eight bytes more than its text.
        let body = "x".repeat(size + 3);
        let answer = client
            .ask(
                1,
                &format!(r#"{{"t":"send","id":1,"to":"bob","cid":"{size}","b":{{"x":"{body}"}}}}"#),
            )
            .await;
        assert_eq!(answer["t"], expected, "{answer}");
        if expected == "err" {
            assert_eq!(
                (&answer["code"], &answer["http"]),
                (&"too_large".into(), &413.into())
            );
        }
    }
}

#[tokio::test]
async fn long_pipeline_is_answered_despite_a_small_send_window() {
    let node = Node::with(|config| {
        config.limits.sends_per_second = 10_000;
        config.tuning.sends_burst = Some(10_000);
        config.tuning.unacked_sends = Some(2);
    })
    .await;
    let mut client = node.client("alice").await;
    for i in 0..300 {
        client
            .send(&format!(
                r#"{{"t":"send","id":{i},"to":"bob","cid":"{i}","b":{{}},"echo":false}}"#
            ))
            .await;
    }
    for (i, ack) in client.answers(0..300).await {
        assert_eq!((&ack["t"], &ack["mn"]), (&"ack".into(), &(i + 1).into()));
    }
}
