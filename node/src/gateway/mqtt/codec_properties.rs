//! Properties of the codec of MQTT that hold for every input.

use bytes::{Bytes, BytesMut};

use super::packet::{
    ClientPacket, FixedHeader, MqttVersion, OutgoingPublish, PacketError, PublishPacket, ServerPackets,
};
use super::saved_state::SavedState;

/// Maximum size of a packet in these checks.
const PACKET_BYTES: usize = 65_536;

/// Decodes the packets of a connection, from CONNECT up to the first error, and the bytes as a packet whose length fits.
/// Returns true if any packet is accepted.
pub(crate) fn decode_stream(stream: &[u8]) -> bool {
    let is_connect = each_packet(stream, |_, _| ());
    let mut is_packet = false;
    each_body(stream, |_, _| is_packet = true);
    is_connect || is_packet
}

/// Checks the packets of a connection, and the bytes as a packet whose length fits.
///
/// # Panics
/// If a message comes back changed.
pub(crate) fn check_stream(stream: &[u8]) {
    let _accepted = each_packet(stream, check_packet);
    each_body(stream, check_packet);
    let state = SavedState::decode(stream);
    assert_eq!(SavedState::decode(&state.encode()), state);
}

/// Returns true if the first packet is accepted.
fn each_packet(stream: &[u8], mut use_packet: impl FnMut(MqttVersion, ClientPacket)) -> bool {
    let mut rest = Bytes::copy_from_slice(stream);
    let mut version = None;
    while let Ok(Some(header)) = FixedHeader::read(&rest, PACKET_BYTES) {
        if header.total > rest.len() {
            break;
        }
        let packet = rest.split_to(header.total);
        let Some(version) = version else {
            match ClientPacket::decode_connect(header, &packet) {
                Ok(connect) => version = Some(connect.version),
                Err(PacketError(_)) => break,
            }
            continue;
        };
        match ClientPacket::decode(version, header, &packet) {
            Ok(packet) => use_packet(version, packet),
            Err(PacketError(_)) => break,
        }
    }
    version.is_some()
}

/// Reads the first byte as type and flags, and all others as the body.
fn each_body(bytes: &[u8], mut use_packet: impl FnMut(MqttVersion, ClientPacket)) {
    let Some(first) = bytes.first() else {
        return;
    };
    let header = FixedHeader {
        kind: first >> 4,
        flags: first & 0x0F,
        size: 1,
        total: bytes.len(),
    };
    let packet = Bytes::copy_from_slice(bytes);
    let _connect = ClientPacket::decode_connect(header, &packet);
    for version in [MqttVersion::V3, MqttVersion::V5] {
        if let Ok(packet) = ClientPacket::decode(version, header, &packet) {
            use_packet(version, packet);
        }
    }
}

fn check_packet(version: MqttVersion, packet: ClientPacket) {
    if let ClientPacket::Publish(publish) = packet {
        check_publish(version, &publish);
    }
}

/// A message has the same form in both directions.
fn check_publish(version: MqttVersion, publish: &PublishPacket) {
    if publish.topic.is_empty() {
        return;
    }
    let packets = ServerPackets {
        version,
        max_size: usize::MAX,
        has_problem_information: true,
    };
    let message = OutgoingPublish {
        is_repeated: true,
        quality: publish.quality,
        topic: [&publish.topic, "", ""],
        packet_id: publish.packet_id,
        expiry: None,
        correlation_data: publish.properties.correlation_data.as_deref(),
        payload: [&publish.payload, b""],
    };
    let mut written = BytesMut::new();
    assert!(packets.publish(&mut written, &message));
    let written = written.freeze();
    let header = FixedHeader::read(&written, usize::MAX);
    let Ok(Some(header)) = header else {
        panic!("no header: {header:?}");
    };
    assert_eq!(header.total, written.len());
    let again = ClientPacket::decode(version, header, &written);
    let Ok(ClientPacket::Publish(again)) = again else {
        panic!("no message: {again:?}");
    };
    let fields = |publish: &PublishPacket| {
        let PublishPacket {
            quality,
            topic,
            packet_id,
            properties,
            payload,
            ..
        } = publish.clone();
        (quality, topic, packet_id, properties.correlation_data, payload)
    };
    assert_eq!(fields(&again), fields(publish));
}
