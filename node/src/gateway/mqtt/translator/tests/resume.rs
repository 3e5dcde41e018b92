//! Sessions that the next connection continues.

use super::*;
use crate::gateway::mqtt::packet::DisconnectPacket;

const RESUMED: &str = r#"{"t":"ready","user":"alice","sid":"2c","resumed":true,"n":1}"#;
const REBUILT: &str = r#"{"t":"ready","user":"alice","sid":"2c","resumed":true,"n":0}"#;
const NEW: &str = r#"{"t":"ready","user":"alice","sid":"2c","resumed":false,"n":0,"why":"expired"}"#;

/// State of a client with one subscription, to which events up to 3 were sent.
fn state() -> Bytes {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.join("g_1", ONCE);
    for n in 1..=3 {
        connection.event(n, &msg("g_1", n));
    }
    connection.translator.on_end();
    connection.translator.take_state().unwrap().state
}

fn resumed(is_clean: bool, state: &[u8], ready: &str) -> (Connection, bool) {
    let mut connection = Connection::new(MqttVersion::V5, is_clean, None);
    connection.translator.restore(state, false);
    connection.answer(ready);
    let is_present = connection.bytes()[2] == 1;
    (connection, is_present)
}

#[test]
fn resumed_session_repeats_what_was_sent_before() {
    let (mut connection, is_present) = resumed(false, &state(), RESUMED);
    assert!(is_present && connection.translator.covers("g_1"));
    for n in 2..=4 {
        connection.event(n, &msg("g_1", n));
    }
    let heads: Vec<_> = connection
        .messages()
        .iter()
        .map(|sent| (sent.0, sent.2))
        .collect();
    assert_eq!(
        heads,
        [(0x3A, 2), (0x3A, 3), (0x32, 4)],
        "the ids are those of before"
    );
}

#[test]
fn events_of_a_rebuilt_session_are_not_marked_as_repeated() {
    let mut connection = Connection::new(MqttVersion::V5, false, None);
    connection.translator.restore(&state(), true);
    connection.answer(REBUILT);
    assert_eq!(connection.bytes()[2], 1, "session present");
    for n in 1..=3 {
        connection.event(n, &msg("g_1", n + 7));
    }
    let messages = connection.messages();
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|message| message.0 == 0x32), "{messages:?}");
}

#[test]
fn subscriptions_select_events_before_the_session_is_ready() {
    let mut connection = Connection::new(MqttVersion::V5, false, None);
    assert!(!connection.translator.covers("g_1"));
    connection.translator.restore(&state(), false);
    assert!(connection.translator.covers("g_1"));
}

#[test]
fn client_of_a_lost_session_is_made_to_synchronise() {
    let (mut connection, is_present) = resumed(false, b"", NEW);
    assert!(!is_present);
    connection.subscribe(&["u/me/answers"], ONCE);
    assert!(connection.messages().is_empty());
    connection.subscribe(&["u/me/events"], ONCE);
    let id = connection.request()["id"].clone();
    connection.answer(&refused(&id, protocol::ErrorCode::Unavailable));
    assert!(connection.messages().is_empty(), "not subscribed");
    connection.subscribe_all("me");
    let resync = json!({"t": "resync", "why": "expired"});
    assert_eq!(
        connection.messages(),
        [(0x30, "u/me/events".to_owned(), 0, resync)]
    );
    connection.subscribe(&["u/me/events"], ONCE);
    assert!(connection.messages().is_empty(), "once");
    let (mut clean, _) = resumed(true, b"", NEW);
    clean.subscribe_all("me");
    assert!(clean.messages().is_empty(), "a clean start expects nothing");
}

#[test]
fn session_that_the_client_gave_up_is_not_present() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.join("g_1", ONCE);
    let disconnect = DisconnectPacket {
        discards_will: true,
        session_expiry: Some(0),
    };
    let effect = connection.packet(ClientPacket::Disconnect(disconnect));
    assert_eq!(effect, Ok(PacketEffect::Disconnect(disconnect)));
    connection.translator.on_end();
    let state = connection.translator.take_state().unwrap().state;
    let (connection, is_present) = resumed(false, &state, RESUMED);
    assert!(!is_present && !connection.translator.covers("g_1"));
}

#[test]
fn session_without_expiry_stays_without_one() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.translator.accepted.session_expiry = 0;
    let disconnect = DisconnectPacket {
        discards_will: true,
        session_expiry: Some(9),
    };
    let refused = connection.packet(ClientPacket::Disconnect(disconnect));
    assert_eq!(refused, Err(PacketError::PROTOCOL));
}

#[test]
fn state_is_written_when_it_changes() {
    let mut connection = Connection::connected(MqttVersion::V5);
    let is_lasting =
        |connection: &mut Connection| connection.translator.take_state().map(|state| state.is_lasting);
    assert_eq!(is_lasting(&mut connection), Some(true), "of a new session");
    assert_eq!(is_lasting(&mut connection), None);
    connection.join("g_1", ONCE);
    assert_eq!(is_lasting(&mut connection), Some(true));
    connection.event(1, &msg("g_1", 1));
    assert_eq!(is_lasting(&mut connection), Some(false), "the number alone");
    connection.event(2, &msg("g_1", 2));
    assert_eq!(is_lasting(&mut connection), None, "said ahead");
    connection.event(100, &msg("g_1", 100));
    connection.unsubscribe(&["c/g_1/events"]);
    assert_eq!(is_lasting(&mut connection), Some(true));
}
