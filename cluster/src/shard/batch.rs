//! Many commands in one piece of bytes, and back without copying them.
//!
//! ```text
//!   ┌──────────┬─────────┬──────────┬─────────┬──
//!   │ len u32  │ command │ len u32  │ command │ …      big-endian lengths
//!   └──────────┴─────────┴──────────┴─────────┴──
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Packs commands. The total must stay below 4 GiB, which the queue's bound in bytes ensures.
#[must_use]
pub fn pack(commands: &[Bytes]) -> Bytes {
    let mut packed = BytesMut::with_capacity(commands.iter().map(|c| c.len() + 4).sum());
    for command in commands {
        packed.put_u32(u32::try_from(command.len()).unwrap_or(u32::MAX));
        packed.put_slice(command);
    }
    packed.freeze()
}

/// Unpacks what [`pack`] made; `None` if the bytes are something else.
#[must_use]
pub fn unpack(mut packed: Bytes) -> Option<Vec<Bytes>> {
    let mut commands = Vec::new();
    while packed.has_remaining() {
        let len = packed.try_get_u32().ok()? as usize;
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
