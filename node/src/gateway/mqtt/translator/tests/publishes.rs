//! Messages of the client, and the answers to their commands.

use super::*;

#[test]
fn message_is_acknowledged_with_its_position() {
    let mut v5 = Connection::connected(MqttVersion::V5);
    v5.publish("c/g_1/send", json!({"cid": "k1", "b": {}}), ONCE, 7);
    assert!(v5.bytes().is_empty(), "not before the commit");
    let id = v5.request()["id"].clone();
    v5.answer(&ack(&id, 4));
    let reply = v5.bytes();
    assert_eq!(reply[2..5], [0, 7, 0]);
    let text = String::from_utf8_lossy(&reply).into_owned();
    assert!(
        text.contains("\0\x01s\0\x014") && text.contains("\0\x01c\0\x03g_1"),
        "{text:?}"
    );
    let mut v3 = Connection::connected(MqttVersion::V3);
    v3.publish("c/g_1/send", json!({"cid": "k1", "b": {}}), ONCE, 7);
    let id = v3.request()["id"].clone();
    v3.answer(&ack(&id, 4));
    assert_eq!(v3.bytes(), [0x40, 2, 0, 7]);
}

#[test]
fn acknowledgements_come_in_the_order_of_the_messages() {
    let mut connection = Connection::connected(MqttVersion::V3);
    let mut ids = Vec::new();
    for (c, packet_id) in [("g_1", 3), ("g_2", 9)] {
        connection.publish(
            &format!("c/{c}/send"),
            json!({"cid": "k", "b": {}}),
            ONCE,
            packet_id,
        );
        ids.push(connection.request()["id"].clone());
    }
    connection.publish("c/g_1/typing", json!({"on": true}), ONCE, 4);
    connection.translator.take_requests();
    connection.answer(&ack(&ids[1], 1));
    assert!(
        connection.bytes().is_empty(),
        "the first message is not committed"
    );
    connection.answer(&ack(&ids[0], 1));
    assert_eq!(connection.bytes(), [0x40, 2, 0, 3, 0x40, 2, 0, 9, 0x40, 2, 0, 4]);
}

#[test]
fn permanent_refusal_acknowledges_and_names_the_command() {
    for (version, code) in [(MqttVersion::V3, None), (MqttVersion::V5, Some(0x87))] {
        let mut connection = Connection::connected(version);
        connection.subscribe(&["u/me/answers"], LOWEST);
        connection.bytes();
        connection.publish("c/g_1/send", json!({"cid": "k1", "b": {}}), ONCE, 7);
        let id = connection.request()["id"].clone();
        connection.answer(&refused(&id, protocol::ErrorCode::NotMember));
        let reply = connection.out.clone();
        assert_eq!(reply[0], 0x40);
        assert_eq!((version == MqttVersion::V5).then(|| reply[4]), code);
        let messages = connection.messages();
        let (first, topic, _, answer) = &messages[0];
        assert_eq!((*first, &**topic), (0x30, "u/me/answers"));
        assert_eq!(
            (&answer["code"], &answer["cid"]),
            (&json!("not_member"), &json!("k1"))
        );
        assert!(connection.translator.is_connected());
    }
}

#[test]
fn temporary_refusal_ends_the_connection_unacknowledged() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.publish("c/g_1/send", json!({"cid": "k1", "b": {}}), ONCE, 7);
    let first = connection.request()["id"].clone();
    connection.publish("c/g_1/send", json!({"cid": "k2", "b": {}}), ONCE, 8);
    let second = connection.request()["id"].clone();
    connection.answer(&refused(&first, protocol::ErrorCode::Unavailable));
    connection.answer(&ack(&second, 1));
    assert!(connection.translator.is_failed() && connection.bytes().is_empty());
    connection.translator.close(None, &mut connection.out);
    assert_eq!(connection.bytes(), [0xE0, 1, 0x89]);

    let mut lowest = Connection::connected(MqttVersion::V5);
    lowest.publish("c/g_1/send", json!({"cid": "k1", "b": {}}), LOWEST, 0);
    let id = lowest.request()["id"].clone();
    lowest.answer(&refused(&id, protocol::ErrorCode::Unavailable));
    assert!(lowest.translator.is_connected(), "nothing is resent");
}

#[test]
fn internal_error_is_a_result() {
    for (version, code) in [(MqttVersion::V3, None), (MqttVersion::V5, Some(0x80))] {
        let mut connection = Connection::connected(version);
        connection.subscribe(&["u/me/answers"], LOWEST);
        connection.bytes();
        connection.publish("c/g_1/send", json!({"cid": "k1", "b": {}}), ONCE, 7);
        let id = connection.request()["id"].clone();
        connection.answer(&refused(&id, protocol::ErrorCode::Internal));
        assert_eq!(connection.out[0], 0x40);
        assert_eq!((version == MqttVersion::V5).then(|| connection.out[4]), code);
        assert_eq!(connection.messages()[0].3["code"], "internal");
        assert!(
            connection.translator.is_connected(),
            "the client would repeat it forever"
        );
    }
}

#[test]
fn unknown_topic_is_refused_and_the_connection_stays() {
    for (quality, reply) in [(ONCE, Some(0x90)), (LOWEST, None)] {
        let mut connection = Connection::connected(MqttVersion::V5);
        connection.publish("test/topic", json!({}), quality, 7);
        let [
            ReceivedCommand {
                request: Err(error), ..
            },
        ] = &connection.translator.take_requests()[..]
        else {
            panic!("a refusal");
        };
        let id = json!(error.id.unwrap());
        connection.answer(&refused(&id, protocol::ErrorCode::BadRequest));
        assert_eq!(connection.bytes().get(4).copied(), reply);
        assert!(connection.translator.is_connected());
    }
}

#[test]
fn refusal_repeats_the_start_of_a_long_topic() {
    for (topic, end) in [("é".repeat(30_000), "\"…"), ("x".repeat(64), "x\"")] {
        let mut connection = Connection::connected(MqttVersion::V5);
        connection.publish(&topic, json!({}), ONCE, 7);
        let [ReceivedCommand { request, .. }] = &connection.translator.take_requests()[..] else {
            panic!("a refusal");
        };
        let words = &request.as_ref().unwrap_err().message;
        assert!(words.ends_with(end) && words.len() < 200, "{words}");
    }
}

#[test]
fn answers_go_to_their_own_topic() {
    let mut connection = Connection::connected(MqttVersion::V5);
    connection.subscribe(&["u/alice/answers"], ONCE);
    connection.bytes();
    let mut request = message("me/list", r#"{"id":900,"limit":3}"#, LOWEST, 0);
    request.properties.correlation_data = Some(Bytes::from_static(b"corr"));
    connection.packet(ClientPacket::Publish(request)).unwrap();
    let id = connection.request()["id"].clone();
    connection.answer(&format!(r#"{{"t":"inbox","id":{id},"items":[]}}"#));
    assert!(connection.out.windows(7).any(|bytes| bytes == b"\x09\0\x04corr"));
    let answer = json!({"t": "inbox", "id": 900, "items": []});
    assert_eq!(
        connection.messages(),
        [(0x30, "u/alice/answers".to_owned(), 0, answer)]
    );

    connection.publish("c/g_1/send", json!({"cid": "k1", "b": {}}), LOWEST, 0);
    let id = connection.request()["id"].clone();
    connection.answer(&ack(&id, 1));
    assert!(
        connection.bytes().is_empty(),
        "a message of the lowest quality has no answer"
    );
}

#[test]
fn promises_of_the_server_are_enforced() {
    let publish = |quality, is_retained| {
        let mut connection = Connection::connected(MqttVersion::V5);
        let mut message = message("c/g_1/send", "{}", quality, 7);
        message.is_retained = is_retained;
        connection.packet(ClientPacket::Publish(message)).unwrap_err().0
    };
    assert_eq!(
        publish(QualityOfService::ExactlyOnce, false),
        ReasonCode::QosNotSupported
    );
    assert_eq!(publish(ONCE, true), ReasonCode::RetainNotSupported);
    let mut connection = Connection::connected(MqttVersion::V5);
    for packet_id in 1..=16 {
        connection.publish("c/g_1/send", json!({"cid": "k", "b": {}}), ONCE, packet_id);
    }
    let over = message("c/g_1/send", "{}", ONCE, 17);
    assert_eq!(
        connection.packet(ClientPacket::Publish(over)),
        Err(PacketError(ReasonCode::ReceiveMaximumExceeded))
    );
}

#[test]
fn highest_quality_of_the_old_version_is_completed() {
    let mut connection = Connection::connected(MqttVersion::V3);
    connection.publish(
        "c/g_1/send",
        json!({"cid": "k1", "b": {}}),
        QualityOfService::ExactlyOnce,
        7,
    );
    let id = connection.request()["id"].clone();
    connection.answer(&ack(&id, 1));
    assert_eq!(connection.bytes(), [0x50, 2, 0, 7]);
    connection.packet(ClientPacket::PubRel(7)).unwrap();
    assert_eq!(connection.bytes(), [0x70, 2, 0, 7]);
}
