//! Stopping and starting again.

use node::testkit::{Client, Incoming, Node};

#[tokio::test]
async fn a_stop_closes_sessions_with_a_retry_time() {
    let node = Node::start().await;
    let mut clients = vec![node.client("alice").await, node.client("bob").await];
    let stop = tokio::spawn(node.stop());
    for client in &mut clients {
        let bye = client.expect("bye").await;
        assert_eq!((&bye["code"], &bye["n"]), (&4012.into(), &1.into()));
        let (code, reason) = client.closed().await;
        assert_eq!(code, 4012);
        assert_eq!(reason, format!(r#"{{"retry_ms":{}}}"#, bye["retry_ms"]));
        assert_eq!(client.recv().await, Incoming::End);
    }
    stop.await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_not_ready_gets_no_numbered_bye() {
    let node = Node::start().await;
    let mut waiting = Client::connect(node.addr()).await;
    assert_eq!(waiting.json().await["t"], "hello");
    let stop = tokio::spawn(node.stop());
    let Incoming::Close(code, reason) = waiting.recv().await else {
        panic!("something else than the close")
    };
    assert_eq!(code, 4012);
    assert!(reason.starts_with(r#"{"retry_ms":"#), "{reason}");
    stop.await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let mut acks = Vec::new();
    for i in 0..20 {
        let text = format!(r#"{{"t":"send","id":{i},"to":"bob","cid":"{i}","b":{{"i":{i}}},"echo":false}}"#);
        acks.push(alice.ask(i, &text).await);
    }
    let c = acks[0]["c"].as_str().unwrap().to_owned();
    let dir = node.stop().await;

    let node = Node::on(dir, |_| ()).await;
    let mut bob = node.client("bob").await;
    let hist = bob
        .ask(1, &format!(r#"{{"t":"hist","id":1,"c":"{c}","after":2}}"#))
        .await;
    let events = hist["events"].as_array().unwrap();
    assert_eq!(events.len(), 20);
    for (event, ack) in events.iter().zip(&acks) {
        assert_eq!(
            (&event["s"], &event["ts"], &event["cid"]),
            (&ack["s"], &ack["ts"], &ack["cid"])
        );
    }
    let mut alice = node.client("alice").await;
    let again = alice
        .ask(7, r#"{"t":"send","id":7,"to":"bob","cid":"7","b":{}}"#)
        .await;
    assert_eq!(
        (&again["s"], &again["dup"]),
        (&acks[7]["s"], &true.into()),
        "the same cid is the same message"
    );
}

#[tokio::test]
async fn a_taken_address_is_named_by_its_setting() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = node::testkit::config(dir.path());
    config.server.listen = node.addr().to_string();
    let error = node::testkit::start(config)
        .await
        .err()
        .expect("the address is taken")
        .to_string();
    assert!(error.starts_with("server.listen 127.0.0.1:"), "{error}");
}
