//! Packet assembler: joins a packet with the binary messages that follow it. Pure.

use bytes::Bytes;

use super::socket_packet::{SocketPacket, SocketPacketError};

/// Assembler of one connection.
#[derive(Debug)]
pub(super) struct PacketAssembler {
    /// Maximum bytes of all attachments of a packet.
    max_bytes: usize,
    incomplete: Option<IncompletePacket>,
}

/// Packet with all its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AssembledPacket<'a> {
    pub(super) packet: SocketPacket<'a>,
    pub(super) attachments: Vec<Bytes>,
}

/// Packet whose attachments have not all arrived.
#[derive(Debug)]
struct IncompletePacket {
    packet: SocketPacket<'static>,
    attachments: Vec<Bytes>,
    bytes: usize,
}

// === impl PacketAssembler ===

impl PacketAssembler {
    pub(super) fn new(max_bytes: usize) -> PacketAssembler {
        PacketAssembler {
            max_bytes,
            incomplete: None,
        }
    }

    /// Accepts a text message. `None`: attachments follow.
    ///
    /// # Errors
    /// Text that is no packet, or comes in place of an attachment.
    pub(super) fn text<'a>(
        &mut self,
        text: &'a str,
    ) -> Result<Option<AssembledPacket<'a>>, SocketPacketError> {
        if self.incomplete.is_some() {
            return Err(SocketPacketError::Order);
        }
        let packet = SocketPacket::parse(text)?;
        if packet.attachments == 0 {
            return Ok(Some(AssembledPacket {
                packet,
                attachments: Vec::new(),
            }));
        }
        self.incomplete = Some(IncompletePacket {
            packet: packet.into_owned(),
            attachments: Vec::new(),
            bytes: 0,
        });
        Ok(None)
    }

    /// Accepts a binary message. `None`: further attachments follow.
    ///
    /// # Errors
    /// Bytes that belong to no packet, or exceed the limit.
    pub(super) fn binary(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<AssembledPacket<'static>>, SocketPacketError> {
        let mut incomplete = self.incomplete.take().ok_or(SocketPacketError::Order)?;
        incomplete.bytes = incomplete.bytes.saturating_add(bytes.len());
        if incomplete.bytes > self.max_bytes {
            return Err(SocketPacketError::TooLarge);
        }
        incomplete.attachments.push(Bytes::copy_from_slice(bytes));
        if incomplete.attachments.len() < incomplete.packet.attachments {
            self.incomplete = Some(incomplete);
            return Ok(None);
        }
        Ok(Some(AssembledPacket {
            packet: incomplete.packet,
            attachments: incomplete.attachments,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: &str = r#"52-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;

    #[test]
    fn packet_is_complete_with_its_last_attachment() {
        let mut assembler = PacketAssembler::new(9);
        assert_eq!(assembler.text(TWO), Ok(None));
        assert_eq!(assembler.binary(b"one"), Ok(None));
        let whole = assembler.binary(b"second").unwrap().unwrap();
        assert_eq!(whole.packet, SocketPacket::parse(TWO).unwrap());
        assert_eq!(whole.attachments, [&b"one"[..], b"second"]);
        let plain = assembler.text(r#"2["x"]"#).unwrap().unwrap();
        assert_eq!(plain.attachments.len(), 0);
        let none = assembler.text(r#"50-["x"]"#).unwrap().unwrap();
        assert_eq!(none.attachments.len(), 0, "a packet may announce none");
    }

    #[test]
    fn text_between_attachments_and_binary_alone_are_refused() {
        let mut assembler = PacketAssembler::new(100);
        assert_eq!(assembler.binary(b"x"), Err(SocketPacketError::Order));
        assert_eq!(assembler.text(TWO), Ok(None));
        assert_eq!(assembler.text(r#"2["x"]"#), Err(SocketPacketError::Order));
    }

    #[test]
    fn attachments_are_bounded_in_all() {
        let mut assembler = PacketAssembler::new(10);
        assert_eq!(assembler.text(TWO), Ok(None));
        assert_eq!(assembler.binary(&[0; 6]), Ok(None));
        assert_eq!(assembler.binary(&[0; 5]), Err(SocketPacketError::TooLarge));
    }

    proptest! {
        /// However the messages are mixed, no more is held than the limit.
        #[test]
        fn no_order_of_messages_holds_more_than_the_limit(sizes in prop::collection::vec(prop::option::of(0..8usize), 0..40)) {
            let mut assembler = PacketAssembler::new(12);
            for size in sizes {
                let _refused = match size {
                    None => assembler.text(TWO).is_err(),
                    Some(size) => assembler.binary(&vec![0; size]).is_err(),
                };
                let held = assembler.incomplete.as_ref();
                let bytes = held.map_or(0, |held| held.attachments.iter().map(Bytes::len).sum());
                prop_assert!(bytes <= 12);
            }
        }
    }
}
