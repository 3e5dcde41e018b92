//! The echo applications, on which the conformance suites of Engine.IO and Socket.IO run.

use node::testkit::{Call, Client, Incoming, Node, masked};

async fn socket(node: &Node, application: &str) -> Client {
    let path = format!("/v1/echo/{application}/?EIO=4&transport=websocket");
    let mut client = Client::upgrade_at(node.addr(), &path, "", None).await;
    assert!(client.text().await.starts_with("0{"));
    client
}

/// Returns the next message but pings, which are answered.
async fn next(client: &mut Client) -> Incoming {
    loop {
        match client.recv().await {
            Incoming::Text(ping) if ping == "2" => client.send("3").await,
            other => return other,
        }
    }
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

#[tokio::test]
async fn engine_echo_returns_text_and_binary_on_both_transports() {
    let node = Node::start().await;
    let mut client = socket(&node, "engine.io").await;
    client.send("4hello").await;
    assert_eq!(next(&mut client).await, text("4hello"));
    client.raw(&masked(2, true, &[1, 2, 3])).await;
    assert_eq!(next(&mut client).await, Incoming::Binary(vec![1, 2, 3]));
    let path = "/v1/echo/engine.io/?EIO=4&transport=polling";
    let open = Call::new("GET", path).to(&node).await;
    let sid = open.text.split('"').nth(3).unwrap();
    let path = format!("{path}&sid={sid}");
    let posted = Call::new("POST", &path)
        .text("4hello\x1ebAQIDBA==")
        .to(&node)
        .await;
    assert_eq!((posted.status, &*posted.text), (200, "ok"));
    let polled = Call::new("GET", &path).to(&node).await;
    assert_eq!(polled.text, "4hello\x1ebAQIDBA==");
}

#[tokio::test]
async fn socket_echo_returns_events_and_acknowledges() {
    let node = Node::start().await;
    let mut client = socket(&node, "socket.io").await;
    client.send(r#"40/custom,{"token":"abc"}"#).await;
    assert!(
        matches!(next(&mut client).await, Incoming::Text(text) if text.starts_with(r#"40/custom,{"sid":""#))
    );
    assert_eq!(
        next(&mut client).await,
        text(r#"42/custom,["auth",{"token":"abc"}]"#)
    );
    client.send(r#"42/custom,["message",1,{"a":[true]}]"#).await;
    assert_eq!(
        next(&mut client).await,
        text(r#"42/custom,["message-back",1,{"a":[true]}]"#)
    );
    client
        .send(r#"451-/custom,7["message-with-ack",{"_placeholder":true,"num":0}]"#)
        .await;
    client.raw(&masked(2, true, &[9])).await;
    assert_eq!(
        next(&mut client).await,
        text(r#"461-/custom,7[{"_placeholder":true,"num":0}]"#)
    );
    assert_eq!(next(&mut client).await, Incoming::Binary(vec![9]));
}

#[tokio::test]
async fn echoes_are_absent_without_development_tokens() {
    let node = Node::with(|config| {
        config.auth.dev_tokens = false;
        config.auth.secret = node::testkit::SecretString("0123456789abcdef0123456789abcdef".to_owned());
    })
    .await;
    for application in ["engine.io", "socket.io"] {
        let path = format!("/v1/echo/{application}/?EIO=4&transport=polling");
        assert_eq!(Call::new("GET", &path).to(&node).await.status, 404);
    }
}
