use proptest::prelude::*;

use super::*;
use crate::gateway::mqtt::packet::{PacketError, QualityOfService, ReasonCode};

fn header(packet: &[u8]) -> FixedHeader {
    FixedHeader::read(packet, usize::MAX).unwrap().unwrap()
}

fn decode(version: MqttVersion, packet: &'static [u8]) -> Result<ClientPacket, PacketError> {
    ClientPacket::decode(version, header(packet), &Bytes::from_static(packet))
}

fn connect(packet: &[u8]) -> Result<ConnectPacket, PacketError> {
    ClientPacket::decode_connect(header(packet), &Bytes::copy_from_slice(packet))
}

/// CONNECT of 3.1.1 with these flags and this rest.
fn connect_with(flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x10, 0, 0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 30];
    packet.extend_from_slice(rest);
    packet[1] = u8::try_from(packet.len() - 2).unwrap();
    packet
}

#[test]
fn connect_of_both_versions_is_decoded() {
    let packet = connect_with(0b1100_0110, b"\x00\x02c1\x00\x01t\x00\x02{}\x00\x01u\x00\x02pw");
    let decoded = connect(&packet).unwrap();
    assert_eq!(decoded.version, MqttVersion::V3);
    assert!(decoded.is_clean);
    assert_eq!((decoded.keep_alive, &*decoded.client_id), (30, "c1"));
    let will = decoded.will.unwrap();
    assert_eq!((&*will.topic, &will.payload[..]), ("t", &b"{}"[..]));
    assert_eq!(decoded.user_name.as_deref(), Some("u"));
    assert_eq!(decoded.password.as_deref(), Some(&b"pw"[..]));

    let packet = b"\x10\x18\x00\x04MQTT\x05\x42\x00\x0A\x05\x11\x00\x00\x00\x09\x00\x02c1\x00\x02pw";
    let decoded = connect(packet).unwrap();
    assert_eq!(decoded.version, MqttVersion::V5);
    assert_eq!(decoded.properties.session_expiry, Some(9));
    assert_eq!(decoded.password.as_deref(), Some(&b"pw"[..]));
}

#[test]
fn impossible_connect_is_refused() {
    let old = b"\x10\x11\x00\x06MQIsdp\x03\x02\x00\x0A\x00\x01c\x00\x00";
    let unsupported = Err(PacketError(ReasonCode::UnsupportedVersion));
    assert_eq!(connect(old), unsupported);
    let next = b"\x10\x0D\x00\x04MQTT\x06\x02\x00\x0A\x00\x01c";
    assert_eq!(connect(next), unsupported);
    for (flags, rest) in [
        (0b0000_0011, &b"\x00\x01c"[..]),
        (0b0001_0010, b"\x00\x01c"),
        (0b0010_0010, b"\x00\x01c"),
        (0b0001_1110, b"\x00\x01c\x00\x01t\x00\x00"),
        (0b0100_0010, b"\x00\x01c\x00\x01p"),
        (0b0000_0010, b"\x00\x01c\x00"),
        (0b0000_0010, b"\x00\x02c"),
        (0b0000_0010, b"\x00\x01\x00"),
        (0b0000_0010, b"\x00\x03\xED\xA0\x80"),
    ] {
        let packet = connect_with(flags, rest);
        assert_eq!(connect(&packet), Err(PacketError::MALFORMED), "{packet:?}");
    }
    assert_eq!(
        connect(b"\xC0\x00"),
        Err(PacketError::PROTOCOL),
        "PINGREQ comes first"
    );
}

#[test]
fn publish_of_both_versions_is_decoded() {
    let Ok(ClientPacket::Publish(publish)) = decode(MqttVersion::V3, b"\x3A\x07\x00\x01t\x00\x09{}") else {
        panic!("a message");
    };
    assert_eq!(
        (publish.quality, publish.packet_id),
        (QualityOfService::AtLeastOnce, 9)
    );
    assert_eq!((&*publish.topic, &publish.payload[..]), ("t", &b"{}"[..]));
    let packet = b"\x30\x0B\x00\x00\x06\x23\x00\x03\x09\x00\x00{}";
    let Ok(ClientPacket::Publish(publish)) = decode(MqttVersion::V5, packet) else {
        panic!("a message");
    };
    assert_eq!((&*publish.topic, publish.properties.topic_alias), ("", Some(3)));
}

#[test]
fn impossible_packets_are_refused() {
    let invalid_topic = PacketError(ReasonCode::TopicNameInvalid);
    for (packet, error) in [
        (&b"\x36\x05\x00\x01t\x00\x09"[..], PacketError::MALFORMED),
        (b"\x38\x03\x00\x01t", PacketError::MALFORMED),
        (b"\x32\x05\x00\x01t\x00\x00", PacketError::MALFORMED),
        (b"\x30\x03\x00\x01#", invalid_topic),
        (b"\x30\x04\x00\x02a+", invalid_topic),
        (b"\x30\x02\x00\x00", PacketError::PROTOCOL),
        (b"\x30\x03\x00\x09t", PacketError::MALFORMED),
        (b"\x80\x06\x00\x01\x00\x01t\x00", PacketError::MALFORMED),
        (b"\x82\x06\x00\x01\x00\x01t\x03", PacketError::MALFORMED),
        (b"\x82\x06\x00\x01\x00\x01t\x04", PacketError::MALFORMED),
        (b"\x82\x02\x00\x01", PacketError::PROTOCOL),
        (b"\x82\x05\x00\x01\x00\x00\x00", PacketError::MALFORMED),
        (b"\xA2\x02\x00\x01", PacketError::PROTOCOL),
        (b"\x60\x02\x00\x01", PacketError::MALFORMED),
        (b"\x40\x02\x00\x00", PacketError::MALFORMED),
        (b"\x40\x03\x00\x01\x00", PacketError::MALFORMED),
        (b"\xC0\x01\x00", PacketError::MALFORMED),
        (b"\x10\x00", PacketError::PROTOCOL),
        (b"\x20\x02\x00\x00", PacketError::PROTOCOL),
        (b"\xF0\x00", PacketError::PROTOCOL),
        (b"\xE0\x01\x00", PacketError::MALFORMED),
    ] {
        assert_eq!(decode(MqttVersion::V3, packet), Err(error), "{packet:?}");
    }
}

#[test]
fn acknowledgements_may_be_short_or_complete() {
    for packet in [
        &b"\x40\x02\x00\x09"[..],
        b"\x40\x03\x00\x09\x10",
        b"\x40\x04\x00\x09\x00\x00",
        b"\x40\x08\x00\x09\x00\x04\x1F\x00\x01x",
    ] {
        let decoded = ClientPacket::decode(MqttVersion::V5, header(packet), &Bytes::copy_from_slice(packet));
        assert_eq!(decoded, Ok(ClientPacket::PubAck(9)), "{packet:?}");
    }
    for (packet, expected) in [
        (&b"\x50\x02\x00\x09"[..], ClientPacket::PubRec(9, 0)),
        (b"\x50\x03\x00\x09\x80", ClientPacket::PubRec(9, 0x80)),
        (b"\x62\x03\x00\x09\x92", ClientPacket::PubRel(9)),
        (b"\x70\x02\x00\x09", ClientPacket::PubComp(9)),
    ] {
        let decoded = ClientPacket::decode(MqttVersion::V5, header(packet), &Bytes::copy_from_slice(packet));
        assert_eq!(decoded, Ok(expected), "{packet:?}");
    }
    let with_will = DisconnectPacket {
        discards_will: false,
        session_expiry: Some(7),
    };
    assert_eq!(
        decode(MqttVersion::V5, b"\xE0\x07\x04\x05\x11\x00\x00\x00\x07"),
        Ok(ClientPacket::Disconnect(with_will))
    );
    let normal = DisconnectPacket {
        discards_will: true,
        session_expiry: None,
    };
    for version in [MqttVersion::V3, MqttVersion::V5] {
        assert_eq!(decode(version, b"\xE0\x00"), Ok(ClientPacket::Disconnect(normal)));
    }
}

proptest! {
    /// A panic would end the connections of a whole thread.
    #[test]
    fn no_bytes_make_the_decoder_panic(kind in 0_u8..16, flags in 0_u8..16, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let header = FixedHeader { kind, flags, size: 0, total: body.len() };
        let body = Bytes::from(body);
        for version in [MqttVersion::V3, MqttVersion::V5] {
            let _decoded = ClientPacket::decode(version, header, &body);
        }
        let _connect = ClientPacket::decode_connect(header, &body);
    }

    /// Bytes that begin like a real CONNECT reach every field.
    #[test]
    fn no_connect_makes_the_decoder_panic(level in 4_u8..6, flags in any::<u8>(), rest in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, flags, 0, 0];
        body.extend(rest);
        let header = FixedHeader { kind: 1, flags: 0, size: 0, total: body.len() };
        let _connect = ClientPacket::decode_connect(header, &Bytes::from(body));
    }
}
