//! Encoding of several commands as one byte string, in log entries and in batches between nodes. Decoding copies no
//! bytes.
//!
//! ```text
//!   ┌──────────┬─────────┬──────────┬─────────┬──
//!   │ len u32  │ command │ len u32  │ command │ …      big-endian lengths
//!   └──────────┴─────────┴──────────┴─────────┴──
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Encodes commands. Each must be smaller than 4 GiB; the largest frame of the transport is far below that.
#[must_use]
pub fn pack(commands: &[Bytes]) -> Bytes {
    let mut packed = BytesMut::with_capacity(packed_len(commands));
    pack_into(&mut packed, commands);
    packed.freeze()
}

/// Returns the number of bytes that [`pack_into`] appends.
#[must_use]
pub fn packed_len(commands: &[Bytes]) -> usize {
    commands.iter().map(|command| command.len() + 4).sum()
}

/// Encodes commands behind other bytes, as [`pack`] does.
pub fn pack_into(packed: &mut impl BufMut, commands: &[Bytes]) {
    for command in commands {
        packed.put_u32(u32::try_from(command.len()).unwrap_or(u32::MAX));
        packed.put_slice(command);
    }
}

/// Decodes the result of [`pack`]; `None` if the bytes are damaged. The commands share the memory of `packed`.
#[must_use]
pub fn unpack(mut packed: Bytes) -> Option<Vec<Bytes>> {
    let mut commands = Vec::new();
    while packed.has_remaining() {
        let len = packed.try_get_u32().ok()? as usize;
        // `split_to` panics beyond the end; a damaged entry must be an error instead.
        if len > packed.remaining() {
            return None;
        }
        commands.push(packed.split_to(len));
    }
    Some(commands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(commands: Vec<Vec<u8>>) {
            let commands: Vec<Bytes> = commands.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(unpack(pack(&commands)), Some(commands));
        }

        #[test]
        fn foreign_bytes_are_refused_or_read_never_a_panic(bytes: Vec<u8>) {
            let _ = unpack(Bytes::from(bytes));
        }
    }
}
