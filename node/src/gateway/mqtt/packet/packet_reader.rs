//! Reader of the fields of one packet (section 1.5). Pure.

use bytes::{Buf, Bytes};

use super::reason_code::PacketError;

/// Rest of a packet that is being decoded.
pub(super) struct PacketReader(Bytes);

// === impl PacketReader ===

impl PacketReader {
    pub(super) fn new(bytes: Bytes) -> PacketReader {
        PacketReader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(feature = "conformance")]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn u8(&mut self) -> Result<u8, PacketError> {
        self.0.try_get_u8().map_err(|_| PacketError::MALFORMED)
    }

    pub(super) fn u16(&mut self) -> Result<u16, PacketError> {
        self.0.try_get_u16().map_err(|_| PacketError::MALFORMED)
    }

    pub(super) fn u32(&mut self) -> Result<u32, PacketError> {
        self.0.try_get_u32().map_err(|_| PacketError::MALFORMED)
    }

    /// Reads a packet identifier, which is never 0.
    pub(super) fn packet_id(&mut self) -> Result<u16, PacketError> {
        match self.u16()? {
            0 => Err(PacketError::MALFORMED),
            id => Ok(id),
        }
    }

    /// Reads a variable byte integer.
    pub(super) fn variable(&mut self) -> Result<usize, PacketError> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(PacketError::MALFORMED)
    }

    /// Reads binary data with a length of two bytes.
    pub(super) fn binary(&mut self) -> Result<Bytes, PacketError> {
        let size = usize::from(self.u16()?);
        self.split(size)
    }

    /// Reads a text. U+0000 and everything that is not UTF-8, surrogates included, is malformed.
    pub(super) fn text(&mut self) -> Result<String, PacketError> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| PacketError::MALFORMED)?;
        if text.contains('\0') {
            return Err(PacketError::MALFORMED);
        }
        Ok(text.to_owned())
    }

    /// Splits off the next bytes.
    pub(super) fn split(&mut self, size: usize) -> Result<Bytes, PacketError> {
        if size > self.0.len() {
            return Err(PacketError::MALFORMED);
        }
        Ok(self.0.split_to(size))
    }

    /// Returns all remaining bytes.
    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    /// Checks that nothing is left.
    pub(super) fn end(&self) -> Result<(), PacketError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(PacketError::MALFORMED)
        }
    }
}
