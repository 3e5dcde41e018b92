//! What there is to read, over every transport: counts, places that the log doesn't have, and notes to oneself.

use serde_json::{Value, json};

use node::testkit::{Call, Client, Node, group};

/// The line of a conversation in the inbox, over both transports. The conversation itself has the same counts.
async fn line(node: &Node, client: &mut Client, user: &str, c: &str) -> Value {
    let find = |inbox: Value| {
        let rows = inbox["items"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["c"] == c).unwrap()
    };
    let asked = find(client.ask(90, r#"{"t":"list","id":90}"#).await);
    let rest = Call::new("GET", "/v1/conversations").by(user).to(node).await;
    assert_eq!(find(rest.is(200)), asked);
    let open = json!({ "t": "open", "id": 91, "c": c }).to_string();
    let opened = client.ask(91, &open).await;
    let by_rest = Call::new("GET", &format!("/v1/conversations/{c}")).by(user);
    for conv in [opened, by_rest.to(node).await.is(200)] {
        assert_eq!(counts(&conv), counts(&asked), "{conv}");
    }
    asked
}

fn counts(of: &Value) -> [&Value; 3] {
    [&of["unread"], &of["mentions"], &of["read"]]
}

async fn send(node: &Node, c: &str, by: &str, cid: &str) -> u64 {
    let call = Call::new("POST", &format!("/v1/conversations/{c}/messages"))
        .by(by)
        .key(cid);
    let sent = call.json(&json!({ "b": { "text": cid } })).to(node).await.is(201);
    sent["s"].as_u64().unwrap()
}

#[tokio::test]
async fn what_was_deleted_is_not_unread_and_mentions_follow_edits() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let (mut alice, mut bob) = (node.client("alice").await, node.client("bob").await);
    let (first, second) = (
        send(&node, &c, "alice", "a").await,
        send(&node, &c, "alice", "b").await,
    );
    // Over one transport and over the other.
    let edit = json!({ "t": "edit", "id": 5, "c": c, "of": first, "cid": "e", "b": {}, "mentions": ["bob"] });
    assert_eq!(alice.ask(5, &edit.to_string()).await["t"], "ack");
    let put = |cid: &str, mentions: Value| {
        let call = Call::new("PUT", &format!("/v1/conversations/{c}/messages/{second}"));
        let body = json!({ "b": { "text": "better" }, "mentions": mentions });
        call.by("alice").key(cid).json(&body).to(&node)
    };
    put("e2", json!(["bob"])).await.is(200);
    let live = loop {
        let event = bob.expect("edit").await;
        if event["of"] == second {
            break event;
        }
    };
    assert_eq!(live["mentions"], json!(["bob"]));
    let row = line(&node, &mut bob, "bob", &c).await;
    assert_eq!((&row["unread"], &row["mentions"]), (&json!(2), &json!(2)));
    put("e3", json!([])).await.is(200);
    let row = line(&node, &mut bob, "bob", &c).await;
    assert_eq!((&row["unread"], &row["mentions"]), (&json!(2), &json!(1)));
    // A change of one's own settings tells the sessions of the user the whole conversation.
    let set = Call::new("PATCH", &format!("/v1/conversations/{c}"))
        .by("bob")
        .key("s");
    set.json(&json!({ "muted": true })).to(&node).await.is(200);
    let snapshot = loop {
        let event = bob.expect("conv").await;
        if event["muted"] == true {
            break event;
        }
    };
    assert_eq!(counts(&snapshot), counts(&row));
    let call = Call::new("DELETE", &format!("/v1/conversations/{c}/messages/{first}"));
    call.by("alice").key("d").to(&node).await.is(200);
    let row = line(&node, &mut bob, "bob", &c).await;
    assert_eq!((&row["unread"], &row["mentions"]), (&json!(1), &json!(0)));
    put("e4", Value::from(vec!["bob"; 51]))
        .await
        .is_problem(400, "bad_request");
    node.stop().await;
}

#[tokio::test]
async fn a_missing_seq_is_a_gap_over_every_transport() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let last = send(&node, &c, "alice", "a").await;
    let mut bob = node.client("bob").await;
    for (at, gap) in [(last, false), (last + 1, true), (9_000_000, true)] {
        let path = |rest: &str| format!("/v1/conversations/{c}{rest}");
        let get = |rest: String| Call::new("GET", &rest).by("bob").to(&node);
        let asked = [
            bob.ask(
                1,
                &json!({ "t": "open", "id": 1, "c": c, "have": at }).to_string(),
            )
            .await,
            get(path(&format!("?have={at}"))).await.is(200),
            bob.ask(
                2,
                &json!({ "t": "hist", "id": 2, "c": c, "after": at }).to_string(),
            )
            .await,
            get(path(&format!("/events?after={at}"))).await.is(200),
            get(path(&format!("/messages?after={at}"))).await.is(200),
        ];
        for answer in &asked {
            assert_eq!(answer["gap"] == true, gap, "{at}: {answer}");
        }
        let have = json!([[c, at]]);
        let call = Call::new("POST", "/v1/sync")
            .by("bob")
            .json(&json!({ "have": have }));
        let asked = [
            bob.ask(3, &json!({ "t": "sync", "id": 3, "have": have }).to_string())
                .await,
            call.to(&node).await.is(200),
        ];
        for answer in &asked {
            assert_eq!(answer["as_of"], json!([[c, last]]));
            assert_eq!(answer["items"][0]["gap"] == true, gap, "{at}: {answer}");
            let events = answer["items"][0]["events"].as_array().map_or(0, Vec::len);
            assert_eq!(
                events,
                if gap { 3 } else { 0 },
                "what to begin anew with: {answer}"
            );
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn a_note_to_oneself_is_a_message_on_all_of_ones_devices() {
    let node = Node::start().await;
    let (mut one, mut two) = (node.client("alice").await, node.client("alice").await);
    let note = json!({ "t": "send", "id": 1, "to": "alice", "cid": "n", "b": { "text": "milk" } });
    let ack = one.ask(1, &note.to_string()).await;
    assert_eq!((&ack["s"], &ack["mn"]), (&json!(2), &json!(1)), "{ack}");
    let c = ack["c"].as_str().unwrap().to_owned();
    let conv = two.expect("conv").await;
    assert_eq!(
        (&conv["c"], &conv["peer"]["u"], &conv["members"]),
        (&json!(c), &json!("alice"), &json!(1))
    );
    let call = Call::new("POST", "/v1/users/alice/messages")
        .by("alice")
        .key("n2");
    let sent = call
        .json(&json!({ "b": { "text": "eggs" } }))
        .to(&node)
        .await
        .is(201);
    assert_eq!((&sent["c"], &sent["s"]), (&json!(c), &json!(3)));
    for device in [&mut one, &mut two] {
        while device.expect("msg").await["cid"] != "n2" {}
    }
    let row = line(&node, &mut two, "alice", &c).await;
    assert_eq!((&row["unread"], &row["kind"]), (&json!(0), &json!("direct")));
    let make = json!({ "kind": "direct", "members": ["alice"] });
    let made = Call::new("POST", "/v1/conversations")
        .by("alice")
        .key("m")
        .json(&make);
    assert_eq!(made.to(&node).await.is(200)["c"], json!(c));
    node.stop().await;
}

#[tokio::test]
async fn owner_removes_reactions_of_former_members() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob", "carol"]).await;
    let s = send(&node, &c, "alice", "a").await;
    let mut alice = node.client("alice").await;
    for user in ["bob", "carol"] {
        let path = format!("/v1/conversations/{c}/messages/{s}/reactions/ok");
        Call::new("PUT", &path).by(user).key("r").to(&node).await.is(201);
        let path = format!("/v1/conversations/{c}/members/{user}");
        Call::new("DELETE", &path)
            .by(user)
            .key("l")
            .to(&node)
            .await
            .is(200);
    }
    let react =
        json!({ "t": "react", "id": 1, "c": c, "of": s, "cid": "x", "k": "ok", "on": false, "who": "bob" });
    assert_eq!(alice.ask(1, &react.to_string()).await["t"], "ack");
    let path = format!("/v1/conversations/{c}/messages/{s}/reactions/ok?who=carol");
    Call::new("DELETE", &path)
        .by("alice")
        .key("y")
        .to(&node)
        .await
        .is(200);
    let mut taken = Vec::new();
    while taken.len() < 2 {
        let event = alice.expect("react").await;
        if event["on"] == false {
            assert_eq!(event["by"], "alice");
            taken.push(event["u"].clone());
        }
    }
    assert_eq!(taken, ["bob", "carol"]);
    let messages = format!("/v1/conversations/{c}/messages");
    let history = Call::new("GET", &messages).by("alice").to(&node).await.is(200);
    assert_eq!(history["items"][0]["reactions"], json!({}));
    node.stop().await;
}

#[tokio::test]
async fn a_new_member_reads_no_earlier_words_over_any_transport() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let old = send(&node, &c, "alice", "old").await;
    // One is there when it is brought in, on one device, and comes later with another.
    let mut there = node.client("dave").await;
    let invite = Call::new("PUT", &format!("/v1/conversations/{c}/members/dave"));
    let since = invite.by("alice").key("i").to(&node).await.is(201)["s"]
        .as_u64()
        .unwrap();
    there.expect("conv").await;
    let (mut later, mut bob) = (node.client("dave").await, node.client("bob").await);
    for client in [&mut later, &mut bob] {
        client.ask(1, r#"{"t":"sync","id":1,"have":[]}"#).await;
    }
    let new = send(&node, &c, "alice", "new").await;
    let mut last = 0;
    for (of, cid) in [(old, "e1"), (new, "e2")] {
        let edit = Call::new("PUT", &format!("/v1/conversations/{c}/messages/{of}"));
        let edit = edit
            .by("alice")
            .key(cid)
            .json(&json!({ "b": { "text": "edited" } }));
        last = edit.to(&node).await.is(200)["s"].as_u64().unwrap();
    }
    let is_blank = |event: &Value| event["b"] == json!({}) && event["deleted"] == true;
    for (client, is_new) in [(&mut there, true), (&mut later, true), (&mut bob, false)] {
        let (first, second) = (client.expect("edit").await, client.expect("edit").await);
        assert_eq!((&first["of"], &second["of"]), (&json!(old), &json!(new)));
        assert_eq!(is_blank(&first), is_new, "{first}");
        assert_eq!(second["b"]["text"], "edited");
    }
    // What is read says the same as what came live.
    let get = |by: &str, path: String| Call::new("GET", &path).by(by).to(&node);
    let path = |rest: &str| format!("/v1/conversations/{c}{rest}");
    for (user, is_new) in [("dave", true), ("bob", false)] {
        let have = json!({ "have": [[c, since]] });
        let sync = Call::new("POST", "/v1/sync")
            .by(user)
            .json(&have)
            .to(&node)
            .await
            .is(200);
        let export = get(user, path("/export")).await;
        assert_eq!(export.status, 200);
        let inbox = get(user, "/v1/conversations".to_owned()).await;
        let texts = [
            get(user, path("/events")).await.text,
            get(user, path(&format!("?have={since}"))).await.text,
            sync.to_string(),
            export.text,
        ];
        for text in texts {
            assert_eq!(
                text.matches("edited").count(),
                if is_new { 1 } else { 2 },
                "{user}: {text}"
            );
        }
        assert!(inbox.text.contains("edited"));
        let messages = get(user, path("/messages")).await.is(200);
        assert_eq!(
            messages["items"].as_array().unwrap().len(),
            if is_new { 1 } else { 2 }
        );
    }
    assert_eq!(last, new + 2);
    node.stop().await;
}
