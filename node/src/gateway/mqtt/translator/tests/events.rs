//! Subscriptions and events.

use super::*;

#[test]
fn membership_grants_a_subscription() {
    for (version, failure) in [(MqttVersion::V3, 0x80), (MqttVersion::V5, 0x87)] {
        let mut connection = Connection::connected(version);
        connection.subscribe(
            &["c/g_1/events", "u/me/events", "c/g_2/events", "#"],
            QualityOfService::ExactlyOnce,
        );
        assert!(connection.bytes().is_empty());
        let requests = connection.translator.take_requests();
        let ids: Vec<Value> = requests
            .iter()
            .map(|command| json!(command.request.as_ref().unwrap().id))
            .collect();
        connection.answer(&refused(&ids[2], protocol::ErrorCode::NotMember));
        connection.answer(&opened(&ids[0], "g_1"));
        assert!(
            connection.bytes().is_empty(),
            "not all conversations are followed"
        );
        connection.answer(&delta(&ids[1], None));
        let suback = connection.bytes();
        assert_eq!(suback[suback.len() - 4..], [1, 1, failure, failure]);
        assert!(
            connection.translator.covers("g_2"),
            "by the filter for everything"
        );
        connection.event(1, &msg("g_2", 1));
        assert_eq!(connection.messages()[0].1, "u/me/events");
    }
}

#[test]
fn subscription_to_everything_waits_for_the_last_page_of_a_sync() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.subscribe(&["u/me/answers", "u/me/events"], ONCE);
    let first = connection.request();
    assert_eq!((&first["t"], &first["have"]), (&json!("sync"), &json!([])));
    connection.answer(&delta(&first["id"], Some("g_5")));
    assert!(connection.bytes().is_empty(), "another page follows");
    let second = connection.request();
    assert_eq!((&second["t"], &second["cursor"]), (&json!("sync"), &json!("g_5")));
    // Another SUBSCRIBE is not held up, and its own SUBACK names it.
    connection.subscribe(&["u/me/answers"], LOWEST);
    assert_eq!(connection.bytes(), [0x90, 4, 0, 5, 0, 0]);
    connection.answer(&delta(&second["id"], None));
    assert_eq!(connection.bytes(), [0x90, 5, 0, 5, 0, 1, 1]);
    // The session follows them from here on.
    connection.subscribe(&["u/alice/events"], ONCE);
    assert_eq!(connection.bytes(), [0x90, 4, 0, 5, 0, 1]);
    assert!(!connection.translator.has_requests());
}

#[test]
fn subscriptions_to_everything_share_one_sync() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.subscribe(&["u/me/events", "u/alice/events"], ONCE);
    let first = connection.request();
    connection.answer(&delta(&first["id"], Some("g_5")));
    let second = connection.request();
    connection.subscribe(&["u/me/events"], LOWEST);
    assert!(!connection.translator.has_requests() && connection.bytes().is_empty());
    connection.answer(&delta(&second["id"], None));
    assert_eq!(connection.bytes(), [0x90, 5, 0, 5, 0, 1, 1, 0x90, 4, 0, 5, 0, 0]);
}

#[test]
fn refused_subscription_to_everything_has_a_failure_code() {
    for (code, failure) in [
        (protocol::ErrorCode::Forbidden, 0x87),
        (protocol::ErrorCode::Unavailable, 0x80),
    ] {
        let mut connection = Connection::connected(MqttVersion::V5);
        connection.subscribe(&["u/me/events"], ONCE);
        let id = connection.request()["id"].clone();
        connection.answer(&refused(&id, code));
        assert_eq!(connection.bytes().last(), Some(&failure));
        assert!(!connection.translator.covers("g_1"));
    }
    let mut old = Connection::connected(MqttVersion::V3);
    old.subscribe(&["u/me/events", "u/alice/events"], ONCE);
    let id = old.request()["id"].clone();
    old.answer(&refused(&id, protocol::ErrorCode::Unavailable));
    assert_eq!(old.bytes(), [0x90, 4, 0, 5, 0x80, 0x80]);
    old.subscribe_all("me");
    assert_eq!(old.bytes().last(), Some(&1), "asked again");
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.subscribe(&["u/me/events"], ONCE);
    let id = connection.request()["id"].clone();
    connection.unsubscribe(&["u/me/events"]);
    connection.bytes();
    connection.answer(&delta(&id, None));
    assert_eq!(connection.bytes().last(), Some(&0x80), "removed meanwhile");
}

#[test]
fn temporary_refusal_leaves_what_another_subscribe_was_granted() {
    let [first, second] = [true, false].map(|is_refused_first| {
        let mut connection = Connection::connected(MqttVersion::V5);
        let ids = [(); 2].map(|()| {
            connection.subscribe(&["c/g_1/events"], ONCE);
            connection.request()["id"].clone()
        });
        let (granted, unavailable) = (opened(&ids[0], "g_1"), protocol::ErrorCode::Unavailable);
        let unavailable = refused(&ids[1], unavailable);
        let mut codes = Vec::new();
        for answer in if is_refused_first {
            [&unavailable, &granted]
        } else {
            [&granted, &unavailable]
        } {
            connection.answer(answer);
            codes.push(*connection.bytes().last().unwrap());
        }
        assert!(connection.translator.covers("g_1"));
        codes
    });
    assert_eq!(first, [0x80, 1]);
    assert_eq!(second, [1, 1], "the filter is there");
}

#[test]
fn subscription_that_was_removed_meanwhile_is_not_granted() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.subscribe(&["c/g_1/events"], ONCE);
    let id = connection.request()["id"].clone();
    connection.unsubscribe(&["c/g_1/events"]);
    connection.bytes();
    connection.answer(&opened(&id, "g_1"));
    assert_eq!(connection.bytes().last(), Some(&0x80));
    assert!(!connection.translator.covers("g_1"));
}

#[test]
fn unsubscribed_filter_gets_nothing_more() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.join("g_1", ONCE);
    connection.unsubscribe(&["c/g_1/events", "u/me/events"]);
    assert_eq!(connection.bytes(), [0xB0, 5, 0, 6, 0, 0, 0x11]);
    assert!(!connection.translator.covers("g_1"));
    connection.event(1, &msg("g_1", 1));
    assert!(connection.bytes().is_empty());
}

#[test]
fn event_comes_once_with_its_number_and_quality() {
    let mut connection = Connection::connected(MqttVersion::V3);
    connection.join("g_1", ONCE);
    connection.subscribe_all("alice");
    connection.bytes();
    connection.event(1, &msg("g_1", 4));
    connection.event(2, r#""t":"typing","c":"g_1","u":"bob","on":true}"#);
    connection.event(3, r#""t":"presence","u":"bob","state":"online"}"#);
    connection.event(4, r#""t":"conv","c":"g_2","kind":"group"}"#);
    connection.event(5, r#""t":"bye","code":4012,"retry_ms":1}"#);
    let messages = connection.messages();
    let heads: Vec<_> = messages
        .iter()
        .map(|(first, topic, id, payload)| (*first, &**topic, *id, payload["n"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        heads,
        [
            (0x32, "c/g_1/events", 1, 1),
            (0x30, "c/g_1/events", 0, 2),
            (0x30, "u/alice/events", 0, 3),
            (0x32, "u/alice/events", 4, 4),
        ]
    );
    assert_eq!(messages[0].3["s"], 4);
}

#[test]
fn resync_reaches_a_client_of_single_conversations() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.join("g_1", ONCE);
    connection.join("g_2", ONCE);
    let resync = r#""t":"resync","why":"slow"}"#;
    connection.event(1, resync);
    let messages = connection.messages();
    let mut topics: Vec<_> = messages.iter().map(|message| &*message.1).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["c/g_1/events", "c/g_2/events"]);
    let payload = json!({"n": 1, "t": "resync", "why": "slow"});
    assert!(
        messages
            .iter()
            .all(|message| message.0 == 0x30 && message.3 == payload)
    );
    connection.subscribe_all("me");
    connection.bytes();
    connection.event(2, resync);
    let messages = connection.messages();
    assert_eq!(messages.len(), 1, "once, by the filter for everything");
    assert_eq!((messages[0].0, &*messages[0].1), (0x32, "u/me/events"));
}

#[test]
fn receive_maximum_holds_events_back() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.join("g_1", ONCE);
    for n in 1..=3 {
        assert!(connection.translator.takes_event());
        connection.event(n, &msg("g_1", n));
    }
    assert!(!connection.translator.takes_event(), "the client permits three");
    assert_eq!(
        connection.packet(ClientPacket::PubAck(2)),
        Ok(PacketEffect::Acknowledged { was_full: true }),
        "the writer has to go on"
    );
    assert!(connection.translator.takes_event());
    assert_eq!(
        connection.packet(ClientPacket::PubAck(2)),
        Ok(PacketEffect::Ignored)
    );
    connection.translator.take_confirmation();
    assert_eq!(
        connection.packet(ClientPacket::PubAck(1)),
        Ok(PacketEffect::Acknowledged { was_full: false })
    );
    assert_eq!(connection.translator.take_confirmation(), Some(2));
}

#[test]
fn removal_is_the_last_event_of_a_subscription() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.join("g_1", ONCE);
    let member = |who| {
        format!(r#""t":"member","c":"g_1","s":5,"ts":9,"u":"bob","who":"{who}","role":null,"why":"kick"}}"#)
    };
    connection.event(1, &member("carol"));
    connection.event(2, &member("alice"));
    connection.event(3, &msg("g_1", 6));
    assert_eq!(connection.messages().len(), 2);
    assert!(!connection.translator.covers("g_1"));
}
