//! What becomes of messages, as a client sees it.

use node::testkit::{Client, HumanSize, Node, golden};

/// Two members of a group: an owner who has sent `s` = 3, and another.
async fn group(node: &Node) -> (Client, Client, String) {
    let mut alice = node.client("alice").await;
    let mut bob = node.client("bob").await;
    let create = r#"{"t":"create","id":1,"kind":"group","cid":"c1","members":["bob"]}"#;
    let c = alice.ask(1, create).await["c"].as_str().unwrap().to_owned();
    bob.expect("conv").await;
    let send = format!(r#"{{"t":"send","id":2,"c":"{c}","cid":"m1","b":{{"text":"hello"}}}}"#);
    assert_eq!(alice.ask(2, &send).await["s"], 3);
    bob.expect("msg").await;
    (alice, bob, c)
}

/// The next event of the log, without its number.
async fn event(client: &mut Client) -> String {
    loop {
        let text = client.text().await;
        let Some(at) = text.find(r#""t":"#) else {
            panic!("{text}")
        };
        if ["edit", "del", "react", "msg"]
            .iter()
            .any(|t| text[at..].starts_with(&format!(r#""t":"{t}""#)))
        {
            return format!("{{{}", &text[at..]);
        }
    }
}

#[tokio::test]
async fn message_changes_have_the_same_bytes_live_and_in_responses() {
    let node = Node::start().await;
    let (mut alice, mut bob, c) = group(&node).await;
    let commands = [
        ("edit", r#""of":3,"cid":"e1","b":{"text":"hello, all"}"#),
        ("react", r#""of":3,"cid":"r1","k":"👍","on":true"#),
        ("react", r#""of":3,"cid":"r2","k":"👍","on":false"#),
        ("send", r#""cid":"m2","b":{},"reply_to":3,"mentions":["bob"]"#),
    ];
    let mut live = Vec::new();
    for (i, (t, fields)) in commands.into_iter().enumerate() {
        let id = 10 + i as i64;
        let ack = alice
            .ask(id, &format!(r#"{{"t":"{t}","id":{id},"c":"{c}",{fields}}}"#))
            .await;
        assert_eq!((&ack["t"], &ack["s"]), (&"ack".into(), &(4 + i).into()));
        live.push(event(&mut bob).await);
    }
    let masked: Vec<_> = live.iter().map(|event| golden(event)).collect();
    assert_eq!(
        masked,
        [
            r#"{"t":"edit","c":"g_ULID","s":4,"of":3,"u":"alice","ts":0,"b":{"text":"hello, all"}}"#,
            r#"{"t":"react","c":"g_ULID","s":5,"of":3,"u":"alice","ts":0,"k":"👍","on":true}"#,
            r#"{"t":"react","c":"g_ULID","s":6,"of":3,"u":"alice","ts":0,"k":"👍","on":false}"#,
            r#"{"t":"msg","c":"g_ULID","s":7,"mn":2,"ts":0,"u":"alice","cid":"m2","b":{},"reply_to":3,"mentions":["bob"]}"#,
        ]
    );
    let events = live.join(",");
    for (id, ask) in [
        (20, format!(r#"{{"t":"hist","id":20,"c":"{c}","after":3}}"#)),
        (21, format!(r#"{{"t":"sync","id":21,"have":[["{c}",3]]}}"#)),
        (22, format!(r#"{{"t":"open","id":22,"c":"{c}","have":3}}"#)),
    ] {
        bob.send(&ask).await;
        let answer = loop {
            let text = bob.text().await;
            if text.contains(&format!(r#""id":{id}"#)) {
                break text;
            }
        };
        assert!(answer.contains(&format!(r#""events":[{events}]"#)), "{answer}");
    }

    // The deletion takes the words out of what is served, and leaves the places.
    let del = format!(r#"{{"t":"del","id":30,"c":"{c}","of":3,"cid":"d1"}}"#);
    assert_eq!(alice.ask(30, &del).await["s"], 8);
    let deleted = event(&mut bob).await;
    assert_eq!(
        golden(&deleted),
        r#"{"t":"del","c":"g_ULID","s":8,"of":3,"u":"alice","ts":0}"#
    );
    bob.send(&format!(
        r#"{{"t":"hist","id":31,"c":"{c}","after":2,"limit":2}}"#
    ))
    .await;
    assert_eq!(
        golden(&bob.text().await),
        r#"{"t":"hist","id":31,"c":"g_ULID","events":[{"t":"msg","c":"g_ULID","s":3,"mn":1,"ts":0,"u":"alice","cid":"m1","b":{},"deleted":true},{"t":"edit","c":"g_ULID","s":4,"of":3,"u":"alice","ts":0,"b":{},"deleted":true}],"more":true}"#
    );
    node.stop().await;
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_with_the_target() {
    let node = Node::start().await;
    let (mut alice, mut bob, c) = group(&node).await;
    let mut id = 100;
    let mut codes = Vec::new();
    for (t, fields) in [
        ("edit", r#""of":3,"b":{}"#),
        ("del", r#""of":3"#),
        ("edit", r#""of":99,"b":{}"#),
        ("react", r#""of":2,"k":"x","on":true"#),
        ("send", r#""reply_to":99,"b":{}"#),
    ] {
        id += 1;
        let ask = format!(r#"{{"t":"{t}","id":{id},"c":"{c}","cid":"x{id}",{fields}}}"#);
        codes.push(bob.ask(id, &ask).await["code"].clone());
    }
    assert_eq!(
        codes,
        ["forbidden", "forbidden", "not_found", "not_found", "not_found"]
    );
    let del = format!(r#"{{"t":"del","id":1,"c":"{c}","of":3,"cid":"d1"}}"#);
    alice.ask(1, &del).await;
    let edit = format!(r#"{{"t":"edit","id":2,"c":"{c}","of":3,"cid":"e1","b":{{}}}}"#);
    assert_eq!(alice.ask(2, &edit).await["code"], "conflict");
    // A second deletion, under another key, is a repetition of the first.
    let del = format!(r#"{{"t":"del","id":3,"c":"{c}","of":3,"cid":"d2"}}"#);
    let ack = alice.ask(3, &del).await;
    assert_eq!((&ack["s"], &ack["dup"]), (&4.into(), &true.into()));
    node.stop().await;
}

#[tokio::test]
async fn a_nodes_lower_limit_of_bodies_holds_for_edits_too() {
    let node = Node::with(|config| config.limits.max_body_size = HumanSize(64)).await;
    let (mut alice, _bob, c) = group(&node).await;
    let text = "x".repeat(64);
    let edit = format!(r#"{{"t":"edit","id":5,"c":"{c}","of":3,"cid":"e1","b":{{"text":"{text}"}}}}"#);
    assert_eq!(alice.ask(5, &edit).await["code"], "too_large");
    node.stop().await;
}
