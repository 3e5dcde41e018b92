//! Commands and their answers, as transcripts.

use node::testkit::{Client, HumanDuration, Node, golden};

async fn say(client: &mut Client, text: &str) -> String {
    client.send(text).await;
    golden(&client.text().await)
}

#[tokio::test]
async fn a_conversation_from_hello_to_sync() {
    let node = Node::start().await;
    let mut alice = Client::connect(node.addr()).await;
    let hello =
        r#"{"t":"hello","proto":1,"server":"n1","hb_ms":30000,"auth_ms":10000,"max_frame":65536,"time":0}"#;
    assert_eq!(golden(&alice.text().await), hello);
    let ready = r#"{"t":"ready","id":1,"user":"alice","sid":"SID","resumed":false,"n":0,"resume_ttl_ms":90000,"limits":{"body_bytes":16384,"sends_per_s":20,"burst":60,"ephemeral_per_s":2}}"#;
    assert_eq!(
        say(&mut alice, r#"{"t":"auth","id":1,"token":"dev:alice"}"#).await,
        ready
    );

    // The first message makes the conversation, and the conversation comes after its ack.
    let direct = "d_cqnezuscwz7if3puu6f3iggubj";
    let ack = format!(r#"{{"t":"ack","id":2,"c":"{direct}","cid":"m1","s":3,"mn":1,"ts":0}}"#);
    assert_eq!(
        say(
            &mut alice,
            r#"{"t":"send","id":2,"to":"bob","cid":"m1","b":{"text":"hello"}}"#
        )
        .await,
        ack
    );
    let created = |s, who| {
        format!(
            r#"{{"t":"member","c":"{direct}","s":{s},"ts":0,"u":"alice","who":"{who}","role":"member","why":"create"}}"#
        )
    };
    let msg = format!(
        r#""t":"msg","c":"{direct}","s":3,"mn":1,"ts":0,"u":"alice","cid":"m1","b":{{"text":"hello"}}}}"#
    );
    // The conversation is introduced up to the join; what followed comes as the events it was.
    let conv = format!(
        r#"{{"n":1,"t":"conv","c":"{direct}","kind":"direct","title":null,"role":"member","last":{{"s":1,"mn":0,"ts":0}},"unread":0,"mentions":0,"read":3,"delivered":3,"muted":false,"pinned":false,"history":"joined","members":2,"peer":{{"u":"bob","delivered":2,"read":2}},"events":[{}]}}"#,
        created(1, "alice")
    );
    assert_eq!(golden(&alice.text().await), conv);
    assert_eq!(
        golden(&alice.text().await),
        format!(r#"{{"n":2,{}"#, &created(2, "bob")[1..])
    );
    assert_eq!(golden(&alice.text().await), format!(r#"{{"n":3,{msg}"#));

    // The same cid again is the same message; another one by the id is the next.
    let dup = ack
        .replace("\"ts\":0}", "\"ts\":0,\"dup\":true}")
        .replace("\"id\":2", "\"id\":3");
    assert_eq!(
        say(
            &mut alice,
            r#"{"t":"send","id":3,"to":"bob","cid":"m1","b":{"text":"other"}}"#
        )
        .await,
        dup
    );
    let second = format!(r#"{{"t":"send","id":4,"c":"{direct}","cid":"m2","b":{{}},"echo":false}}"#);
    let ack = format!(r#"{{"t":"ack","id":4,"c":"{direct}","cid":"m2","s":4,"mn":2,"ts":0}}"#);
    assert_eq!(say(&mut alice, &second).await, ack);

    let hist = format!(r#"{{"t":"hist","id":5,"c":"{direct}","events":[{{{msg}],"more":true}}"#);
    let ask = format!(r#"{{"t":"hist","id":5,"c":"{direct}","before":4,"limit":1}}"#);
    assert_eq!(say(&mut alice, &ask).await, hist);
    let delta = format!(
        r#"{{"t":"delta","id":6,"as_of":[["{direct}",4]],"items":[{{"c":"{direct}","events":[{{{msg},{{"t":"msg","c":"{direct}","s":4,"mn":2,"ts":0,"u":"alice","cid":"m2","b":{{}}}}],"gap":false}}],"next":null}}"#
    );
    assert_eq!(
        say(
            &mut alice,
            &format!(r#"{{"t":"sync","id":6,"have":[["{direct}",2]]}}"#)
        )
        .await,
        delta
    );
    assert_eq!(
        say(&mut alice, r#"{"t":"hb","id":7,"n":1}"#).await,
        r#"{"t":"hb","id":7,"time":0}"#
    );
}

#[tokio::test]
async fn a_member_gets_what_comes_and_a_removed_one_nothing_more() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let mut bob = node.client("bob").await;
    let create = r#"{"t":"create","id":1,"kind":"group","cid":"c1","title":"Lunch","members":["bob"]}"#;
    let conv = alice.ask(1, create).await;
    let c = conv["c"].as_str().unwrap().to_owned();
    assert_eq!(
        (&conv["t"], &conv["role"], &conv["last"]["s"]),
        (&"conv".into(), &"owner".into(), &2.into())
    );
    let snapshot = bob.expect("conv").await;
    assert_eq!((&snapshot["c"], &snapshot["n"]), (&conv["c"], &1.into()));
    assert_eq!(
        alice.ask(2, &create.replace("\"id\":1", "\"id\":2")).await["c"],
        conv["c"],
        "the same cid"
    );

    for i in 0..3 {
        alice
            .send(&format!(r#"{{"t":"send","c":"{c}","cid":"m{i}","b":{{}}}}"#))
            .await;
    }
    for i in 0..3 {
        let msg = bob.expect("msg").await;
        assert_eq!((&msg["n"], &msg["s"]), (&(2 + i).into(), &(3 + i).into()));
    }
    let kick = alice
        .ask(
            3,
            &format!(r#"{{"t":"kick","id":3,"c":"{c}","cid":"k","who":"bob"}}"#),
        )
        .await;
    assert_eq!((&kick["t"], &kick["s"]), (&"ack".into(), &6.into()));
    assert!(
        kick.get("mn").is_none(),
        "a membership event is no message: {kick}"
    );
    let removed = bob.expect("member").await;
    assert_eq!(
        (&removed["s"], &removed["role"], &removed["why"]),
        (&6.into(), &serde_json::Value::Null, &"kick".into())
    );

    alice
        .ask(
            4,
            &format!(r#"{{"t":"send","id":4,"c":"{c}","cid":"after","b":{{}}}}"#),
        )
        .await;
    for (id, command) in [
        (
            11,
            format!(r#"{{"t":"send","id":11,"c":"{c}","cid":"x","b":{{}}}}"#),
        ),
        (12, format!(r#"{{"t":"hist","id":12,"c":"{c}"}}"#)),
        (13, format!(r#"{{"t":"open","id":13,"c":"{c}"}}"#)),
        (14, format!(r#"{{"t":"read","id":14,"c":"{c}","s":1}}"#)),
        (15, format!(r#"{{"t":"recv","id":15,"c":"{c}","s":1}}"#)),
        (16, format!(r#"{{"t":"leave","id":16,"c":"{c}","cid":"l"}}"#)),
        (
            17,
            r#"{"t":"hist","id":17,"c":"g_01ARZ3NDEKTSV4RRFFQ69G5FAV"}"#.to_owned(),
        ),
    ] {
        // Answered in order of their kinds; nothing but answers may come.
        bob.send(&command).await;
        let answer = bob.json().await;
        assert_eq!(
            (&answer["id"], &answer["code"]),
            (&id.into(), &"not_member".into()),
            "{command}"
        );
    }

    // Back again: shown anew, from the new membership on.
    alice
        .ask(
            5,
            &format!(r#"{{"t":"invite","id":5,"c":"{c}","cid":"i","who":"bob"}}"#),
        )
        .await;
    let snapshot = bob.expect("conv").await;
    assert_eq!(snapshot["last"]["s"], 8);
    alice
        .ask(
            6,
            &format!(r#"{{"t":"send","id":6,"c":"{c}","cid":"again","b":{{}}}}"#),
        )
        .await;
    assert_eq!(bob.expect("msg").await["s"], 9);
    bob.ask(20, &format!(r#"{{"t":"leave","id":20,"c":"{c}","cid":"bye"}}"#))
        .await;
    assert_eq!(bob.expect("member").await["why"], "leave");
}

#[tokio::test]
async fn cursors_move_forward_and_the_other_side_sees_them() {
    let node = Node::with(|config| config.tuning.delivered_interval = HumanDuration::millis(50)).await;
    let mut alice = node.client("alice").await;
    let mut bob = node.client("bob").await;
    let ack = alice
        .ask(1, r#"{"t":"send","id":1,"to":"bob","cid":"1","b":{}}"#)
        .await;
    let c = ack["c"].as_str().unwrap().to_owned();
    let n = bob.expect("msg").await["n"].as_u64().unwrap();

    bob.ask(2, &format!(r#"{{"t":"hb","id":2,"n":{n}}}"#)).await;
    let receipt = alice.expect("receipt").await;
    assert_eq!(
        (&receipt["u"], &receipt["delivered"], &receipt["read"]),
        (&"bob".into(), &3.into(), &2.into())
    );
    assert_eq!(
        bob.ask(3, &format!(r#"{{"t":"read","id":3,"c":"{c}","s":99}}"#))
            .await["t"],
        "ok"
    );
    let receipt = alice.expect("receipt").await;
    assert_eq!(
        (&receipt["delivered"], &receipt["read"]),
        (&3.into(), &3.into()),
        "clamped to the last"
    );

    let inbox = bob.ask(4, r#"{"t":"list","id":4}"#).await;
    let item = &inbox["items"][0];
    assert_eq!(
        (&item["unread"], &item["read"], &item["c"]),
        (&0.into(), &3.into(), &ack["c"])
    );
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_and_the_session_goes_on() {
    let node = Node::start().await;
    let mut client = node.client("alice").await;
    let deep = format!(
        r#"{{"t":"send","id":1,"to":"bob","cid":"1","b":{}{}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    for (text, id) in [
        ("not json", None),
        ("[]", None),
        ("{}", None),
        (r#"{"t":7,"id":1}"#, Some(1)),
        (r#"{"t":"frobnicate","id":2}"#, Some(2)),
        (r#"{"t":"send","id":3,"cid":"1","b":{}}"#, Some(3)),
        (r#"{"t":"send","id":4,"to":"bob","cid":"1","b":[]}"#, Some(4)),
        (r#"{"t":"send","id":5,"to":"bob","b":{}}"#, Some(5)),
        (r#"{"t":"send","id":6,"to":"b o b","cid":"1","b":{}}"#, Some(6)),
        (
            r#"{"t":"send","id":7,"to":"bob","cid":"1","b":{"x":"\ud800"}}"#,
            Some(7),
        ),
        (
            r#"{"t":"create","id":8,"kind":"direct","cid":"1","members":[]}"#,
            Some(8),
        ),
        (&deep, Some(1)),
    ] {
        client.send(text).await;
        let answer = client.json().await;
        assert_eq!(
            (&answer["t"], &answer["code"], &answer["http"]),
            (&"err".into(), &"bad_request".into(), &400.into())
        );
        assert_eq!(
            answer.get("id").and_then(serde_json::Value::as_i64),
            id,
            "{text:.60}"
        );
    }
    client.send(r#"{"t":"frobnicate"}"#).await;
    assert_eq!(
        client.ask(9, r#"{"t":"hb","id":9,"unknown":"ignored"}"#).await["t"],
        "hb"
    );
}
