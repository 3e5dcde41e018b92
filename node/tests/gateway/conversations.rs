//! Groups and channels as a team uses them: roles, bans, settings, blocks and the list of members.

use serde_json::{Value, json};

use node::testkit::{Client, Node};

/// Asks, and checks that it is done.
async fn done(client: &mut Client, request: Value) -> Value {
    let answer = client
        .ask(request["id"].as_i64().unwrap(), &request.to_string())
        .await;
    assert_ne!(answer["t"], "err", "{request}: {answer}");
    answer
}

/// Asks, and checks that it is refused for this reason.
async fn refused(client: &mut Client, request: Value, code: &str) {
    let answer = client
        .ask(request["id"].as_i64().unwrap(), &request.to_string())
        .await;
    assert_eq!(
        (&answer["t"], &answer["code"]),
        (&json!("err"), &json!(code)),
        "{request}"
    );
}

async fn channel(owner: &mut Client) -> String {
    let made = done(
        owner,
        json!({"t":"create","id":1,"kind":"channel","cid":"make","title":"News"}),
    )
    .await;
    made["c"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_channel_is_joined_read_and_banned_from() {
    let node = Node::start().await;
    let (mut alice, mut bob) = (node.client("alice").await, node.client("bob").await);
    let c = channel(&mut alice).await;
    done(
        &mut alice,
        json!({"t":"send","id":2,"c":c,"cid":"m1","b":{"text":"first"}}),
    )
    .await;

    // Bob comes, sees the channel, and what was said before.
    let joined = done(&mut bob, json!({"t":"join","id":3,"c":c,"cid":"j1"})).await;
    assert_eq!((&joined["t"], &joined["s"]), (&json!("ack"), &json!(3)));
    let snapshot = bob.expect("conv").await;
    assert_eq!(
        (&snapshot["role"], &snapshot["title"], &snapshot["last"]["s"]),
        (&json!("reader"), &json!("News"), &json!(3))
    );
    let page = done(&mut bob, json!({"t":"hist","id":4,"c":c})).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 3);
    refused(
        &mut bob,
        json!({"t":"send","id":5,"c":c,"cid":"b1","b":{}}),
        "forbidden",
    )
    .await;
    refused(&mut bob, json!({"t":"join","id":6,"c":c,"cid":"j2"}), "conflict").await;

    // As a member he writes; as one who is banned he doesn't come back.
    done(
        &mut alice,
        json!({"t":"role","id":7,"c":c,"cid":"r1","who":"bob","role":"member"}),
    )
    .await;
    let role = bob.expect("member").await;
    assert_eq!((&role["why"], &role["role"]), (&json!("role"), &json!("member")));
    done(&mut bob, json!({"t":"send","id":8,"c":c,"cid":"b2","b":{}})).await;
    let ban = done(&mut alice, json!({"t":"ban","id":9,"c":c,"cid":"x1","who":"bob"})).await;
    let removed = loop {
        let member = bob.expect("member").await;
        if member["role"].is_null() {
            break member;
        }
    };
    assert_eq!((&removed["why"], &removed["s"]), (&json!("ban"), &ban["s"]));
    refused(
        &mut bob,
        json!({"t":"join","id":10,"c":c,"cid":"j3"}),
        "forbidden",
    )
    .await;
    refused(&mut bob, json!({"t":"open","id":11,"c":c}), "not_member").await;
    refused(
        &mut bob,
        json!({"t":"send","id":12,"c":c,"cid":"b3","b":{}}),
        "not_member",
    )
    .await;
    done(
        &mut alice,
        json!({"t":"unban","id":13,"c":c,"cid":"x2","who":"bob"}),
    )
    .await;
    done(&mut bob, json!({"t":"join","id":14,"c":c,"cid":"j4"})).await;
    let snapshot = bob.expect("conv").await;
    assert_eq!(snapshot["role"], "reader");
    node.stop().await;
}

#[tokio::test]
async fn a_setting_is_everybodys_and_a_wish_is_ones_own() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let (mut phone, mut laptop) = (node.client("bob").await, node.client("bob").await);
    let made = done(
        &mut alice,
        json!({"t":"create","id":1,"kind":"group","cid":"make","title":"Lunch","members":["bob"]}),
    )
    .await;
    let c = made["c"].as_str().unwrap().to_owned();
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.expect("conv").await["history"], "joined");
    }

    // Bob mutes on the phone: no event in the log, and the laptop is told.
    let ack = done(
        &mut phone,
        json!({"t":"set","id":2,"c":c,"cid":"s1","muted":true,"pinned":true}),
    )
    .await;
    assert_eq!((&ack["t"], ack.get("s")), (&json!("ack"), None));
    let snapshot = laptop.expect("conv").await;
    assert_eq!(
        (&snapshot["muted"], &snapshot["pinned"], &snapshot["last"]["s"]),
        (&json!(true), &json!(true), &json!(2))
    );
    let again = done(
        &mut phone,
        json!({"t":"set","id":3,"c":c,"cid":"s1","muted":false}),
    )
    .await;
    assert_eq!(again["dup"], true);
    let inbox = done(&mut phone, json!({"t":"list","id":4})).await;
    assert_eq!(
        (&inbox["items"][0]["muted"], &inbox["items"][0]["pinned"]),
        (&json!(true), &json!(true))
    );

    // The title is everybody's, and nobody else's to change.
    refused(
        &mut phone,
        json!({"t":"set","id":5,"c":c,"cid":"s2","title":"Dinner"}),
        "forbidden",
    )
    .await;
    let ack = done(
        &mut alice,
        json!({"t":"set","id":6,"c":c,"cid":"s3","title":"Dinner","history":"all","muted":true}),
    )
    .await;
    assert_eq!(ack["s"], 3);
    for device in [&mut alice, &mut phone, &mut laptop] {
        let meta = device.expect("meta").await;
        assert_eq!(
            (&meta["s"], &meta["title"], &meta["history"]),
            (&json!(3), &json!("Dinner"), &json!("all"))
        );
    }
    let view = done(&mut phone, json!({"t":"open","id":7,"c":c})).await;
    assert_eq!(
        (&view["title"], &view["history"], &view["muted"]),
        (&json!("Dinner"), &json!("all"), &json!(true))
    );
    node.stop().await;
}

#[tokio::test]
async fn an_empty_title_is_none_from_the_start_as_later() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let made = done(
        &mut alice,
        json!({"t":"create","id":1,"kind":"group","cid":"c","members":["bob"],"title":""}),
    )
    .await;
    assert_eq!(made["title"], Value::Null);
    node.stop().await;
}

#[tokio::test]
async fn a_blocked_user_writes_to_the_group_and_not_to_the_user() {
    let node = Node::start().await;
    let (mut alice, mut bob) = (node.client("alice").await, node.client("bob").await);
    // Before there is any conversation.
    assert_eq!(
        done(&mut alice, json!({"t":"block","id":1,"who":"bob"})).await["t"],
        "ok"
    );
    refused(
        &mut bob,
        json!({"t":"send","id":2,"to":"alice","cid":"b1","b":{}}),
        "forbidden",
    )
    .await;
    refused(
        &mut bob,
        json!({"t":"create","id":3,"kind":"direct","cid":"b2","members":["alice"]}),
        "forbidden",
    )
    .await;
    let ack = done(
        &mut alice,
        json!({"t":"send","id":4,"to":"bob","cid":"a1","b":{}}),
    )
    .await;
    let c = ack["c"].clone();
    refused(
        &mut bob,
        json!({"t":"send","id":5,"c":c,"cid":"b3","b":{}}),
        "forbidden",
    )
    .await;
    done(&mut bob, json!({"t":"hist","id":6,"c":c})).await;

    let group = done(
        &mut alice,
        json!({"t":"create","id":7,"kind":"group","cid":"g","members":["bob"]}),
    )
    .await;
    done(
        &mut bob,
        json!({"t":"send","id":8,"c":group["c"],"cid":"b4","b":{}}),
    )
    .await;

    assert_eq!(
        done(&mut alice, json!({"t":"unblock","id":9,"who":"bob"})).await["t"],
        "ok"
    );
    done(
        &mut bob,
        json!({"t":"send","id":10,"to":"alice","cid":"b5","b":{}}),
    )
    .await;
    refused(&mut bob, json!({"t":"block","id":11,"who":"bob"}), "bad_request").await;
    node.stop().await;
}

#[tokio::test]
async fn members_are_listed_in_pages_with_their_roles_and_cursors() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let mut non_member = node.client("eve").await;
    let made = done(
        &mut alice,
        json!({"t":"create","id":1,"kind":"group","cid":"make","members":["dan","bob","carol"]}),
    )
    .await;
    let c = made["c"].clone();
    done(&mut alice, json!({"t":"send","id":2,"c":c,"cid":"m","b":{}})).await;
    let first = done(&mut alice, json!({"t":"members","id":3,"c":c,"limit":3})).await;
    assert_eq!(
        first["items"],
        json!([
            {"u":"alice","role":"owner","delivered":5,"read":5},
            {"u":"bob","role":"member","delivered":4,"read":4},
            {"u":"carol","role":"member","delivered":4,"read":4},
        ])
    );
    let second = done(
        &mut alice,
        json!({"t":"members","id":4,"c":c,"cursor":first["next"]}),
    )
    .await;
    assert_eq!(
        (&second["items"][0]["u"], &second["next"]),
        (&json!("dan"), &Value::Null)
    );
    refused(
        &mut alice,
        json!({"t":"members","id":5,"c":c,"cursor":"no cursor"}),
        "bad_request",
    )
    .await;
    refused(&mut non_member, json!({"t":"members","id":6,"c":c}), "not_member").await;
    node.stop().await;
}
