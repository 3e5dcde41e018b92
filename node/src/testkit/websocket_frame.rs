//! Encoder of WebSocket frames, valid and invalid ones.

/// Opcode of a text frame.
pub const TEXT: u8 = 1;

/// Encodes a masked frame, as a client has to send it.
pub fn masked(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    frame(opcode | if last { 0x80 } else { 0 }, Some([1, 2, 3, 4]), payload)
}

/// Encodes any frame, by its first byte, its mask and its payload.
pub fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(bit | u8::try_from(short).unwrap()),
        middle @ 126..=0xffff => {
            bytes.push(bit | 126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(bit | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| bytes.extend(mask)).unwrap_or_default();
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}
