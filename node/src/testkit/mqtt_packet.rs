//! Packets of MQTT in bytes, as a client needs them.

/// Packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttPacket {
    /// Type and flags of the packet.
    pub first: u8,
    pub body: Vec<u8>,
}

/// Returns the bytes of a packet.
#[must_use]
pub fn mqtt_packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest & 0x7F).unwrap();
        rest >>= 7;
        packet.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// Returns the bytes behind a variable byte integer.
pub(super) fn behind_length(bytes: &[u8]) -> &[u8] {
    let size = bytes.iter().take_while(|byte| *byte & 0x80 != 0).count() + 1;
    &bytes[size.min(bytes.len())..]
}

/// Returns the first packet of the bytes and its size, if it is complete.
pub(super) fn whole_packet(bytes: &[u8]) -> Option<(MqttPacket, usize)> {
    let mut length = 0;
    for at in 1..5 {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            let size = at + 1 + length;
            let body = bytes.get(at + 1..size)?.to_vec();
            return Some((
                MqttPacket {
                    first: bytes[0],
                    body,
                },
                size,
            ));
        }
    }
    panic!("a length of more than four bytes");
}

/// Appends a field with its length.
pub(super) fn put(out: &mut Vec<u8>, field: &[u8]) {
    out.extend(u16::try_from(field.len()).unwrap().to_be_bytes());
    out.extend(field);
}

/// Returns the text at the start of the bytes, and the rest.
pub(super) fn text(bytes: &[u8]) -> (String, &[u8]) {
    let size = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let text = String::from_utf8(bytes[2..2 + size].to_vec()).unwrap();
    (text, &bytes[2 + size..])
}
