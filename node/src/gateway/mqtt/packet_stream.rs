//! Packets in the bytes of one client, of which the first is CONNECT. Pure.

use bytes::{Bytes, BytesMut};

use super::packet::{ClientPacket, ConnectPacket, FixedHeader, PacketError};

/// Bytes that were received and not decoded.
#[derive(Debug)]
pub(super) struct PacketStream {
    /// Bytes of an incomplete packet, and packets that were not asked for yet.
    input: BytesMut,
    /// Largest packet in bytes.
    max: usize,
}

// === impl PacketStream ===

impl PacketStream {
    pub(super) fn new(max: usize) -> PacketStream {
        PacketStream {
            input: BytesMut::new(),
            max,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns the first packet once it is complete.
    ///
    /// # Errors
    /// Another packet than CONNECT, another protocol, or a violation.
    pub(super) fn next_connect(&mut self) -> Result<Option<ConnectPacket>, PacketError> {
        // The bytes of another protocol are not collected.
        let first = self.input.first();
        if first.is_some_and(|first| *first != ClientPacket::CONNECT_BYTE) {
            return Err(PacketError::PROTOCOL);
        }
        let packet = self.next_packet()?;
        packet
            .map(|(header, packet)| ClientPacket::decode_connect(header, &packet))
            .transpose()
    }

    /// Splits the next complete packet off.
    ///
    /// # Errors
    /// A length that is too large or malformed.
    pub(super) fn next_packet(&mut self) -> Result<Option<(FixedHeader, Bytes)>, PacketError> {
        let header = FixedHeader::read(&self.input, self.max)?;
        let header = header.filter(|header| self.input.len() >= header.total);
        Ok(header.map(|header| (header, self.input.split_to(header.total).freeze())))
    }

    /// Releases the memory of an empty buffer: an idle client holds none.
    pub(super) fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::mqtt::packet::ReasonCode;

    const CONNECT: &[u8] = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x0A\x00\x01c";

    #[test]
    fn packets_are_split_wherever_their_bytes_were() {
        let mut stream = PacketStream::new(100);
        let bytes = [CONNECT, &[0xC0, 0, 0xE0]].concat();
        let mut connects = 0;
        for byte in &bytes {
            stream.push(&[*byte]);
            if connects == 0 {
                connects += usize::from(stream.next_connect().unwrap().is_some());
            }
        }
        assert_eq!(connects, 1);
        assert_eq!(stream.next_packet().unwrap().unwrap().1[..], [0xC0, 0]);
        assert_eq!(stream.next_packet(), Ok(None), "incomplete");
        stream.push(&[0]);
        assert_eq!(stream.next_packet().unwrap().unwrap().1[..], [0xE0, 0]);
        stream.release();
        assert_eq!(stream.input.capacity(), 0);
    }

    #[test]
    fn other_protocols_and_large_packets_are_refused_at_once() {
        let mut stream = PacketStream::new(100);
        stream.push(b"G");
        assert_eq!(stream.next_connect(), Err(PacketError::PROTOCOL));
        let mut stream = PacketStream::new(100);
        stream.push(&[0x10, 100]);
        assert_eq!(
            stream.next_connect(),
            Err(PacketError(ReasonCode::PacketTooLarge))
        );
    }
}
