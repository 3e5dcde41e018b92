//! Properties of the codecs of Engine.IO and Socket.IO that hold for every input.

use bytes::{BufMut, BytesMut};

use super::engine_packet::{self, EnginePacket, SEPARATOR};
use super::packet_assembler::{AssembledPacket, PacketAssembler};
use super::socket_packet::{PacketKind, SocketPacket};

/// Maximum bytes of the attachments of a packet in these checks.
const ATTACHMENT_BYTES: usize = 64;

/// Decodes a payload of several packets. Returns true if all are accepted.
pub(crate) fn decode_payload(payload: &str) -> bool {
    engine_packet::packets(payload).all(|packet| packet.is_ok())
}

/// Decodes a sequence of messages: those that are no packet stand for binary ones. Returns true if all are accepted.
pub(crate) fn decode_packets(messages: &str) -> bool {
    let mut assembler = PacketAssembler::new(ATTACHMENT_BYTES);
    messages.split(char::from(SEPARATOR)).all(|message| {
        let assembled = match SocketPacket::parse(message) {
            Ok(_) => assembler.text(message),
            Err(_) => assembler.binary(message.as_bytes()),
        };
        let event = |assembled: AssembledPacket<'_>| assembled.packet.event().is_ok();
        assembled.is_ok_and(|assembled| {
            assembled.is_none_or(|assembled| !is_event(&assembled) || event(assembled))
        })
    })
}

fn is_event(assembled: &AssembledPacket<'_>) -> bool {
    matches!(assembled.packet.kind, PacketKind::Event | PacketKind::BinaryEvent)
}

/// Checks the packets of a payload.
///
/// # Panics
/// If the packets come back changed.
pub(crate) fn check_payload(payload: &str) {
    let packets: Result<Vec<EnginePacket<'_>>, _> = engine_packet::packets(payload).collect();
    let Ok(packets) = packets else {
        return;
    };
    let mut written = BytesMut::new();
    for (at, packet) in packets.iter().enumerate() {
        if at > 0 {
            written.put_u8(SEPARATOR);
        }
        packet.write(&mut written);
    }
    let written = String::from_utf8_lossy(&written);
    let again: Result<Vec<EnginePacket<'_>>, _> = engine_packet::packets(&written).collect();
    assert_eq!(again, Ok(packets));
}

/// Checks a sequence of messages as `decode_packets` reads it.
///
/// # Panics
/// If a packet comes back changed, or the attachments exceed their bounds.
pub(crate) fn check_packets(messages: &str) {
    let mut assembler = PacketAssembler::new(ATTACHMENT_BYTES);
    for message in messages.split(char::from(SEPARATOR)) {
        let assembled = match SocketPacket::parse(message) {
            Ok(packet) => {
                let mut written = BytesMut::new();
                packet.write(&mut written);
                let written = String::from_utf8_lossy(&written);
                assert_eq!(SocketPacket::parse(&written), Ok(packet));
                assembler.text(message)
            }
            Err(_) => assembler.binary(message.as_bytes()),
        };
        // A connection ends with its first error.
        let Ok(assembled) = assembled else {
            return;
        };
        if let Some(assembled) = assembled {
            assert_eq!(assembled.attachments.len(), assembled.packet.attachments);
            let bytes: usize = assembled.attachments.iter().map(|bytes| bytes.len()).sum();
            assert!(bytes <= ATTACHMENT_BYTES, "{bytes} bytes of attachments");
        }
    }
}
