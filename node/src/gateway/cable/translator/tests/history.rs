//! Tests of histories, of dropped events and of continued sessions.

use super::*;

#[test]
fn history_follows_the_confirmation_with_offsets() {
    let mut connection = Connection::new(true);
    connection.subscribe(CHAT, json!({"streams": {"g_1": {"epoch": "1", "offset": 2}}}));
    let id = connection.request()["id"].clone();
    connection.answer(&opened(&id, 4));
    connection.event(1, &msg(5));
    let request = connection.request();
    assert_eq!((&request["t"], &request["after"]), (&json!("hist"), &json!(2)));
    connection.answer(&page(&request["id"], 3..=5, false));
    connection.event(2, &msg(6));
    let frames = connection.frames();
    assert_eq!(frames[0], status("confirm_subscription", CHAT));
    let offsets: Vec<&Value> = frames[1..4].iter().map(|frame| &frame["offset"]).collect();
    assert_eq!(offsets, [&json!(3), &json!(4), &json!(5)]);
    assert_eq!(
        (&frames[1]["stream_id"], &frames[1]["epoch"]),
        (&json!("g_1"), &json!("1"))
    );
    assert_eq!(frames[1]["message"]["n"], Value::Null);
    assert_eq!(frames[4], status("confirm_history", CHAT));
    assert_eq!((frames.len(), &frames[5]["message"]["n"]), (6, &json!(2)));
}

#[test]
fn base_protocol_has_no_history() {
    let mut connection = Connection::new(false);
    connection.subscribe(CHAT, json!({"streams": {"g_1": {"epoch": "1", "offset": 2}}}));
    let id = connection.request()["id"].clone();
    connection.answer(&opened(&id, 4));
    connection.client(json!({"command": "history", "identifier": CHAT, "history": {"since": 0}}));
    assert_eq!(connection.frames(), [status("confirm_subscription", CHAT)]);
    assert!(!connection.translator.has_requests());
}

#[test]
fn dropped_events_are_read_from_the_log() {
    let mut connection = Connection::subscribed(false, 4);
    connection.event(1, r#""t":"resync","why":"slow"}"#);
    let request = connection.request();
    assert_eq!((&request["t"], &request["after"]), (&json!("hist"), &json!(4)));
    connection.answer(&page(&request["id"], 5..=6, false));
    connection.event(2, r#""t":"activity","c":"g_1","last":{"s":8,"mn":8,"ts":9}}"#);
    let request = connection.request();
    assert_eq!(request["after"], 6);
    connection.answer(&page(&request["id"], 7..=8, false));
    let seqs: Vec<Value> = connection
        .frames()
        .iter()
        .map(|frame| frame["message"]["s"].clone())
        .collect();
    assert_eq!(seqs, [json!(5), json!(6), json!(7), json!(8)]);
}

#[test]
fn whisper_is_typing_and_nothing_else() {
    let mut connection = Connection::subscribed(true, 4);
    let mut whisper = |data: Value| {
        connection.client(json!({"command": "whisper", "identifier": CHAT, "data": data}));
        let requests = connection.translator.take_requests();
        requests
            .into_iter()
            .map(|made| match made.request.unwrap().command {
                ClientCommand::Typing(typing) => (typing.conversation.to_string(), typing.active),
                command => panic!("{command:?}"),
            })
            .next()
    };
    let typing = |on| Some(("g_1".to_owned(), on));
    assert_eq!(whisper(json!({"event": "typing", "user": "Alice"})), typing(true));
    assert_eq!(whisper(json!({"typing": true})), typing(true));
    assert_eq!(
        whisper(json!({"event": "typing", "typing": false})),
        typing(false)
    );
    for data in [json!({"event": "cursor"}), json!({}), json!("typing"), json!([1])] {
        assert_eq!(whisper(data), None);
    }
}

#[test]
fn continued_session_welcomes_back_with_what_is_still_allowed() {
    let mut before = Connection::subscribed(true, 4);
    before.subscribe(r#"{"channel":"ChatChannel","c":"g_2"}"#, Value::Null);
    let id = before.request()["id"].clone();
    before.answer(&opened(&id, 9));
    before.subscribe(INBOX, Value::Null);
    let state = before.translator.take_changed_state().unwrap();
    assert_eq!(before.translator.take_changed_state(), None);

    let limits = SubscriptionLimits {
        count: 4,
        bytes: 1_000,
    };
    let mut after = Connection {
        translator: CableTranslator::new("alice".parse().unwrap(), true, limits),
        frames: Frames::default(),
    };
    after.translator.restore(&state);
    after.answer(r#"{"t":"ready","sid":"3d","resumed":true,"n":12}"#);
    let requests = after.translator.take_requests();
    let ids: Vec<Value> = requests
        .iter()
        .map(|made| json!(made.request.as_ref().unwrap().id))
        .collect();
    assert_eq!((ids.len(), after.frames()), (2, vec![]));
    after.event(13, &msg(5));
    after.answer(&opened(&ids[0], 5));
    after.answer(&refused(&ids[1], ErrorCode::NotMember));
    let welcome = json!({"type": "welcome", "sid": "3d", "restored": true, "restored_ids": [CHAT]});
    assert_eq!(after.frames(), [welcome]);

    // The client asks for what is behind its position; live events wait until then.
    after.event(14, &msg(6));
    after.client(json!({"command": "history", "identifier": CHAT, "history": {"streams": {"g_1": {"epoch": "1", "offset": 4}}}}));
    let request = after.request();
    assert_eq!(request["after"], 4);
    after.answer(&page(&request["id"], 5..=6, false));
    let frames = after.frames();
    assert_eq!(
        (&frames[0]["offset"], &frames[1]["offset"]),
        (&json!(5), &json!(6))
    );
    assert_eq!(frames[2..], [status("confirm_history", CHAT)]);
}

#[test]
fn continued_session_without_subscriptions_is_welcomed_at_once() {
    let mut connection = Connection::new(true);
    connection.translator.welcome = WelcomeState::Connecting;
    connection.translator.restore(b"nonsense");
    connection.answer(r#"{"t":"ready","sid":"3d","resumed":true,"n":12}"#);
    let welcome = json!({"type": "welcome", "sid": "3d", "restored": true, "restored_ids": []});
    assert_eq!(connection.frames(), [welcome]);
}
