//! Tests of the translation between native frames and MQTT packets.

use protocol::ConversationId;
use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, PubAckProperties, PubAckReason, PublishProperties};

use super::*;
use crate::wire;

fn wire() -> MqttWire {
    MqttWire::new(WireLogin {
        token: "dev:ann".to_owned(),
        device: "d".to_owned(),
        instance: "i".to_owned(),
    })
}

/// Returns the packets that a client sends.
fn packets(out: Vec<Message>) -> Vec<Packet> {
    let mut bytes = BytesMut::new();
    for message in out {
        bytes.extend_from_slice(&message.into_data());
    }
    let mut packets = Vec::new();
    while let Some(packet) = next(&mut bytes).unwrap() {
        packets.push(packet);
    }
    packets
}

/// Returns the sent packets and the native frames of some received packets.
fn receive(wire: &mut MqttWire, received: &[Packet]) -> (Vec<Packet>, Vec<String>, Result<(), WireEnd>) {
    let (mut out, mut frames) = (Vec::new(), Vec::new());
    let result = received.iter().try_for_each(|packet| {
        let whole = message(packet).unwrap().into_data();
        // A packet may span messages.
        let (one, two) = whole.split_at(whole.len() / 2);
        [one, two].into_iter().try_for_each(|part| {
            let part = Message::binary(part.to_vec());
            wire.receive(&part, &mut out, &mut |frame| frames.push(frame.to_owned()))
        })
    });
    (packets(out), frames, result)
}

fn connack(session_present: bool) -> Packet {
    let properties = ConnAckProperties {
        session_expiry_interval: Some(600),
        receive_max: Some(2),
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    };
    Packet::ConnAck(ConnAck {
        session_present,
        code: ConnectReturnCode::Success,
        properties: Some(properties),
    })
}

fn suback() -> Packet {
    let codes = [QoS::AtMostOnce, QoS::AtLeastOnce].map(SubscribeReasonCode::Success);
    Packet::SubAck(SubAck {
        pkid: 1,
        return_codes: codes.to_vec(),
        properties: None,
    })
}

fn publish(topic: &str, packet_id: u16, payload: &'static str) -> Packet {
    let properties = PublishProperties {
        content_type: Some("application/json".to_owned()),
        payload_format_indicator: Some(1),
        ..PublishProperties::default()
    };
    let qos = if packet_id == 0 {
        QoS::AtMostOnce
    } else {
        QoS::AtLeastOnce
    };
    let mut publish = Publish::new(topic, qos, payload, Some(properties));
    publish.pkid = packet_id;
    Packet::Publish(publish)
}

fn puback(packet_id: u16, reason: PubAckReason, properties: &[(&str, &str)]) -> Packet {
    let user_properties = properties
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    let properties = PubAckProperties {
        reason_string: None,
        user_properties: user_properties.collect(),
    };
    Packet::PubAck(PubAck {
        pkid: packet_id,
        reason,
        properties: Some(properties),
    })
}

/// Returns a wire that is connected and subscribed.
fn connected() -> MqttWire {
    let mut wire = wire();
    let (sent, frames, received) = receive(&mut wire, &[connack(false), suback()]);
    assert_eq!(received, Ok(()));
    assert!(
        matches!(&sent[..], [Packet::Subscribe(subscribe)] if subscribe.filters.len() == 2),
        "{sent:?}"
    );
    assert_eq!(frames, [r#"{"t":"ready","resumed":false}"#]);
    wire
}

fn c() -> ConversationId {
    ConversationId::parse("g_1").unwrap()
}

fn clean_start(wire: &mut MqttWire) -> bool {
    let mut out = Vec::new();
    wire.begin(&mut out);
    match &packets(out)[..] {
        [Packet::Connect(connect, None, Some(login))] => {
            assert_eq!((&*connect.client_id, &*login.password), ("d", "dev:ann"));
            connect.clean_start
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn first_connection_alone_has_a_clean_start() {
    assert!(clean_start(&mut wire()));
    let mut wire = connected();
    assert!(!clean_start(&mut wire));
    let (sent, frames, _) = receive(&mut wire, &[connack(true)]);
    assert_eq!(frames, [r#"{"t":"ready","resumed":true}"#]);
    assert!(
        sent.is_empty(),
        "the session still has its subscriptions: {sent:?}"
    );
    wire.forget();
    assert!(clean_start(&mut wire));
    let (.., received) = receive(&mut wire, &[connack(true)]);
    assert!(matches!(received, Err(WireEnd::Malformed(_))), "{received:?}");
}

#[test]
fn resync_of_a_lost_session_is_the_ready_that_is_not_resumed() {
    let mut wire = connected();
    clean_start(&mut wire);
    let resync = publish("u/me/events", 0, r#"{"t":"resync","why":"unknown"}"#);
    let (_, frames, _) = receive(&mut wire, &[connack(false), suback(), resync.clone(), resync]);
    assert_eq!(
        frames,
        [
            r#"{"t":"ready","resumed":false}"#,
            r#"{"t":"resync","why":"unknown"}"#
        ],
        "a second one is an event"
    );
}

#[test]
fn events_are_acknowledged_and_answers_come_once() {
    let mut wire = connected();
    let mut out = Vec::new();
    wire.send(wire::encode(Some(3), wire::open(&c())), &mut out);
    assert!(matches!(&packets(out)[..], [Packet::Publish(open)]
            if open.topic == "c/g_1/open" && open.qos == QoS::AtMostOnce),);
    let event = r#"{"n":4,"t":"msg","c":"g_1","s":2}"#;
    let answer = r#"{"t":"conv","id":3}"#;
    let (sent, frames, received) = receive(
        &mut wire,
        &[
            publish("u/me/events", 4, event),
            publish("u/me/answers", 0, answer),
            publish("u/me/answers", 0, answer),
        ],
    );
    assert_eq!(received, Ok(()));
    assert!(
        matches!(&sent[..], [Packet::PubAck(ack)] if ack.pkid == 4),
        "{sent:?}"
    );
    assert_eq!(frames, [event, answer]);
    let (.., received) = receive(&mut wire, &[publish("c/g_1/events", 5, event)]);
    assert!(matches!(received, Err(WireEnd::Malformed(_))), "{received:?}");
}

#[test]
fn acknowledgement_of_a_publish_is_the_response() {
    let mut wire = connected();
    let mut out = Vec::new();
    for id in 1..=3 {
        let cid = wire::message_id(&format!("k{id}"));
        let send = wire::send(&c(), cid, r#"{"x":1}"#.to_owned());
        wire.send(wire::encode(Some(id << 32), send), &mut out);
    }
    let sent = packets(out);
    let ids: Vec<u16> = sent
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => {
                assert_eq!(
                    (&publish.topic[..], publish.qos),
                    (&b"c/g_1/send"[..], QoS::AtLeastOnce)
                );
                publish.pkid
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids.len(), 2, "the window of the node");
    let fields = [
        ("c", "g_1"),
        ("s", "4"),
        ("mn", "1"),
        ("ts", "99"),
        ("dup", "false"),
    ];
    let refused = [("code", "not_member"), ("msg", "a \"stranger\"")];
    let (sent, frames, _) = receive(
        &mut wire,
        &[
            puback(ids[0], PubAckReason::Success, &fields),
            puback(ids[1], PubAckReason::NotAuthorized, &refused),
        ],
    );
    assert!(matches!(&sent[..], [Packet::Publish(_)]), "{sent:?}");
    assert_eq!(
        frames,
        [
            r#"{"t":"ack","id":4294967296,"c":"g_1","s":4,"mn":1,"ts":99,"dup":false}"#,
            r#"{"t":"err","id":8589934592,"code":"not_member","msg":"a \"stranger\""}"#
        ]
    );
    let (.., received) = receive(&mut wire, &[puback(ids[0], PubAckReason::Success, &fields)]);
    assert!(
        matches!(received, Err(WireEnd::Malformed(_))),
        "twice: {received:?}"
    );
}

#[test]
fn cursors_have_no_position_and_heartbeats_are_pings() {
    let mut wire = connected();
    let mut out = Vec::new();
    wire.send(wire::encode(Some(9), wire::read(&c(), 4)), &mut out);
    wire.send(wire::encode(None, wire::heartbeat(4)), &mut out);
    let sent = packets(out);
    let [Packet::Publish(read), Packet::PingReq(_)] = &sent[..] else {
        panic!("{sent:?}");
    };
    let (_, frames, _) = receive(&mut wire, &[puback(read.pkid, PubAckReason::Success, &[])]);
    assert_eq!(frames, [r#"{"t":"ok","id":9}"#]);
}
