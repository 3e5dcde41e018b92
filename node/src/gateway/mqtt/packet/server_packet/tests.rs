use super::*;

fn packets(version: MqttVersion) -> ServerPackets {
    ServerPackets {
        version,
        max_size: 60,
        has_problem_information: true,
    }
}

fn bytes(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

#[test]
fn packets_of_both_versions_have_their_golden_bytes() {
    let (v3, v5) = (packets(MqttVersion::V3), packets(MqttVersion::V5));
    let accepted = ConnAck {
        is_session_present: true,
        session_expiry: 90,
        receive_maximum: 16,
        maximum_packet_size: 65_536,
        topic_alias_maximum: 8,
        server_keep_alive: Some(60),
        assigned_client_id: Some("ab".to_owned()),
    };
    let connack = bytes(|out| v5.connack(out, &accepted));
    let head = [
        0x20, 37, 1, 0, 34, 0x11, 0, 0, 0, 90, 0x21, 0, 16, 0x24, 1, 0x25, 0, 0x28, 0, 0x29, 0, 0x2A, 0,
    ];
    assert_eq!(connack[..23], head);
    assert_eq!(
        connack[23..],
        [0x27, 0, 1, 0, 0, 0x22, 0, 8, 0x13, 0, 60, 0x12, 0, 2, b'a', b'b']
    );
    assert_eq!(bytes(|out| v3.connack(out, &accepted)), [0x20, 2, 1, 0]);
    let refused = ReasonCode::BadCredentials;
    assert_eq!(bytes(|out| v3.refusal(out, refused, "no")), [0x20, 2, 0, 4]);
    assert_eq!(
        bytes(|out| v5.refusal(out, refused, "no")),
        [0x20, 8, 0, 0x86, 5, 0x1F, 0, 2, b'n', b'o']
    );
    assert!(bytes(|out| v3.refusal(out, ReasonCode::MalformedPacket, "")).is_empty());
    assert_eq!(
        bytes(|out| v3.suback(out, 7, &[1, 0x80])),
        [0x90, 4, 0, 7, 1, 0x80]
    );
    assert_eq!(bytes(|out| v5.suback(out, 7, &[1])), [0x90, 4, 0, 7, 0, 1]);
    assert_eq!(bytes(|out| v3.unsuback(out, 7, &[0])), [0xB0, 2, 0, 7]);
    assert_eq!(
        bytes(|out| v5.unsuback(out, 7, &[0x11])),
        [0xB0, 4, 0, 7, 0, 0x11]
    );
    assert_eq!(bytes(ServerPackets::pingresp), [0xD0, 0]);
    assert!(bytes(|out| v3.disconnect(out, ReasonCode::SessionTakenOver)).is_empty());
    assert_eq!(
        bytes(|out| v5.disconnect(out, ReasonCode::SessionTakenOver)),
        [0xE0, 1, 0x8E]
    );
}

#[test]
fn acknowledgement_has_properties_where_they_are_wanted() {
    let properties = [("s", "7".to_owned())];
    let reply = PublishReply {
        kind: PublishReplyKind::PubAck,
        packet_id: 3,
        reason: ReasonCode::Success,
        properties: &properties,
    };
    let v5 = packets(MqttVersion::V5);
    assert_eq!(
        bytes(|out| v5.reply(out, &reply)),
        [0x40, 11, 0, 3, 0, 7, 0x26, 0, 1, b's', 0, 1, b'7']
    );
    let short = ServerPackets { max_size: 12, ..v5 };
    assert_eq!(bytes(|out| short.reply(out, &reply)), [0x40, 2, 0, 3]);
    let silent = ServerPackets {
        has_problem_information: false,
        ..v5
    };
    let refused = PublishReply {
        kind: PublishReplyKind::PubRec,
        reason: ReasonCode::NotAuthorized,
        ..reply
    };
    assert_eq!(bytes(|out| silent.reply(out, &refused)), [0x50, 3, 0, 3, 0x87]);
    let v3 = packets(MqttVersion::V3);
    assert_eq!(bytes(|out| v3.reply(out, &refused)), [0x50, 2, 0, 3]);
}

#[test]
fn message_larger_than_the_client_accepts_is_not_written() {
    let message = OutgoingPublish {
        is_repeated: true,
        quality: QualityOfService::AtLeastOnce,
        topic: ["c/", "g_1", "/events"],
        packet_id: 9,
        expiry: None,
        correlation_data: Some(b"k"),
        payload: [b"{\"n\":1,", b"}"],
    };
    let v3 = packets(MqttVersion::V3);
    let out = bytes(|out| assert!(v3.publish(out, &message)));
    assert_eq!(out, *b"\x3A\x18\x00\x0Cc/g_1/events\x00\x09{\"n\":1,}");
    let v5 = packets(MqttVersion::V5);
    let out = bytes(|out| assert!(v5.publish(out, &message)));
    assert_eq!(
        out,
        *b"\x3A\x32\x00\x0Cc/g_1/events\x00\x09\x19\x01\x01\x03\x00\x10application/json\x09\x00\x01k{\"n\":1,}"
    );
    let small = ServerPackets { max_size: 51, ..v5 };
    assert!(bytes(|out| assert!(!small.publish(out, &message))).is_empty());
}
