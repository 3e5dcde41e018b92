//! Fixed header: type, flags and remaining length (section 2.1). Pure.

use bytes::{BufMut, BytesMut};

use super::reason_code::{PacketError, ReasonCode};

/// Largest remaining length that four bytes can state.
pub(super) const MAX_REMAINING: usize = 268_435_455;

/// Type that no packet has.
const FORBIDDEN: u8 = 0;

/// Fixed header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct FixedHeader {
    /// Type of the packet, the upper four bits.
    pub(in crate::gateway::mqtt) kind: u8,
    pub(in crate::gateway::mqtt) flags: u8,
    /// Size of the fixed header in bytes.
    pub(in crate::gateway::mqtt) size: usize,
    /// Size of the whole packet in bytes.
    pub(in crate::gateway::mqtt) total: usize,
}

// === impl FixedHeader ===

impl FixedHeader {
    /// Reads the header at the start of `bytes`. `None`: it is incomplete.
    ///
    /// # Errors
    /// The forbidden type, a length of more than four bytes, or a packet over `max` bytes.
    pub(in crate::gateway::mqtt) fn read(
        bytes: &[u8],
        max: usize,
    ) -> Result<Option<FixedHeader>, PacketError> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        // At once: its flags and its length have no meaning.
        if first >> 4 == FORBIDDEN {
            return Err(PacketError::PROTOCOL);
        }
        let mut remaining = 0;
        for (at, byte) in rest.iter().take(4).enumerate() {
            remaining |= usize::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                let size = at + 2;
                let total = size + remaining;
                if total > max {
                    return Err(PacketError(ReasonCode::PacketTooLarge));
                }
                return Ok(Some(FixedHeader {
                    kind: first >> 4,
                    flags: first & 0x0F,
                    size,
                    total,
                }));
            }
        }
        if rest.len() >= 4 {
            return Err(PacketError::MALFORMED);
        }
        Ok(None)
    }

    /// Appends a header. Larger lengths than the protocol permits do not occur: every event is far smaller.
    pub(super) fn write(out: &mut BytesMut, first: u8, remaining: usize) {
        out.put_u8(first);
        write_length(out, remaining.min(MAX_REMAINING));
    }

    /// Returns the size of a packet with this remaining length.
    pub(super) fn total_of(remaining: usize) -> usize {
        1 + length_size(remaining) + remaining
    }
}

/// Appends a variable byte integer.
pub(super) fn write_length(out: &mut BytesMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7F).unwrap_or(0x7F);
        value >>= 7;
        if value == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}

/// Returns the size of a variable byte integer.
pub(super) fn length_size(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn length_is_refused_before_the_body_arrives() {
        for (bytes, max, expected) in [
            (&[][..], 100, Ok(None)),
            (&[0x30], 100, Ok(None)),
            (&[0x30, 0x80], 100_000, Ok(None)),
            (&[0x30, 0xFF, 0xFF, 0xFF], 100, Ok(None)),
            (
                &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
                100_000,
                Err(PacketError(ReasonCode::PacketTooLarge)),
            ),
            (
                &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
                usize::MAX,
                Err(PacketError::MALFORMED),
            ),
            (&[0x30, 99], 100, Err(PacketError(ReasonCode::PacketTooLarge))),
            (&[0x0A, 0xC0], 100, Err(PacketError::PROTOCOL)),
        ] {
            assert_eq!(FixedHeader::read(bytes, max), expected, "{bytes:?}");
        }
        let header = FixedHeader {
            kind: 8,
            flags: 2,
            size: 2,
            total: 100,
        };
        assert_eq!(FixedHeader::read(&[0x82, 98, 1], 100), Ok(Some(header)));
    }

    proptest! {
        #[test]
        fn written_header_is_read_back(remaining in 0..=MAX_REMAINING, first in 0x10..=u8::MAX) {
            let mut out = BytesMut::new();
            FixedHeader::write(&mut out, first, remaining);
            prop_assert_eq!(out.len(), 1 + length_size(remaining));
            let header = FixedHeader::read(&out, usize::MAX).unwrap().unwrap();
            prop_assert_eq!((header.kind << 4) | header.flags, first);
            prop_assert_eq!(header.total, FixedHeader::total_of(remaining));
        }
    }
}
