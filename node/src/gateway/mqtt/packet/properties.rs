//! Properties of MQTT 5 in packets of a client (section 2.2.2). Pure.

use bytes::Bytes;
#[cfg(feature = "conformance")]
use bytes::BytesMut;

use super::packet_reader::PacketReader;
use super::reason_code::PacketError;

/// Identifiers of the properties in use.
pub(super) mod id {
    pub(in crate::gateway::mqtt::packet) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(in crate::gateway::mqtt::packet) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(in crate::gateway::mqtt::packet) const CONTENT_TYPE: u8 = 0x03;
    pub(in crate::gateway::mqtt::packet) const RESPONSE_TOPIC: u8 = 0x08;
    pub(in crate::gateway::mqtt::packet) const CORRELATION_DATA: u8 = 0x09;
    pub(in crate::gateway::mqtt::packet) const SUBSCRIPTION_ID: u8 = 0x0B;
    pub(in crate::gateway::mqtt::packet) const SESSION_EXPIRY: u8 = 0x11;
    pub(in crate::gateway::mqtt::packet) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(in crate::gateway::mqtt::packet) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(in crate::gateway::mqtt::packet) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(in crate::gateway::mqtt::packet) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(in crate::gateway::mqtt::packet) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(in crate::gateway::mqtt::packet) const WILL_DELAY: u8 = 0x18;
    pub(in crate::gateway::mqtt::packet) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(in crate::gateway::mqtt::packet) const REASON_STRING: u8 = 0x1F;
    pub(in crate::gateway::mqtt::packet) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(in crate::gateway::mqtt::packet) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(in crate::gateway::mqtt::packet) const TOPIC_ALIAS: u8 = 0x23;
    pub(in crate::gateway::mqtt::packet) const MAXIMUM_QOS: u8 = 0x24;
    pub(in crate::gateway::mqtt::packet) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(in crate::gateway::mqtt::packet) const USER_PROPERTY: u8 = 0x26;
    pub(in crate::gateway::mqtt::packet) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(in crate::gateway::mqtt::packet) const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub(in crate::gateway::mqtt::packet) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub(in crate::gateway::mqtt::packet) const SHARED_SUBSCRIPTIONS_AVAILABLE: u8 = 0x2A;
}

/// Properties that the server reads. Others are checked and dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct Properties {
    /// All properties as the client sent them.
    pub(in crate::gateway::mqtt) bytes: Bytes,
    pub(in crate::gateway::mqtt) message_expiry: Option<u32>,
    pub(in crate::gateway::mqtt) response_topic: Option<String>,
    pub(in crate::gateway::mqtt) correlation_data: Option<Bytes>,
    pub(in crate::gateway::mqtt) subscription_id: Option<u32>,
    pub(in crate::gateway::mqtt) session_expiry: Option<u32>,
    pub(in crate::gateway::mqtt) has_authentication: bool,
    pub(in crate::gateway::mqtt) request_problem_information: Option<u8>,
    pub(in crate::gateway::mqtt) will_delay: Option<u32>,
    pub(in crate::gateway::mqtt) receive_maximum: Option<u16>,
    pub(in crate::gateway::mqtt) topic_alias: Option<u16>,
    pub(in crate::gateway::mqtt) topic_alias_maximum: Option<u16>,
    pub(in crate::gateway::mqtt) maximum_packet_size: Option<u32>,
}

// === impl Properties ===

impl Properties {
    /// Reads the properties of a packet in which those with the identifiers `permitted` may occur.
    ///
    /// # Errors
    /// A property that may not occur, that occurs twice, or that has an invalid value.
    pub(super) fn read(reader: &mut PacketReader, permitted: &[u8]) -> Result<Properties, PacketError> {
        let size = reader.variable()?;
        let bytes = reader.split(size)?;
        let mut fields = PacketReader::new(bytes.clone());
        let mut properties = Properties {
            bytes,
            ..Properties::default()
        };
        let mut seen = 0_u64;
        while !fields.is_empty() {
            // A variable byte integer; all identifiers in use have one byte.
            let id = fields.u8()?;
            if id != id::USER_PROPERTY {
                if id > 0x3F || !permitted.contains(&id) {
                    return Err(PacketError::MALFORMED);
                }
                if seen & (1 << id) != 0 {
                    return Err(PacketError::PROTOCOL);
                }
                seen |= 1 << id;
            }
            properties.read_value(id, &mut fields)?;
        }
        // Data without a method means nothing.
        let has = |id: u8| seen & (1 << id) != 0;
        if has(id::AUTHENTICATION_DATA) && !has(id::AUTHENTICATION_METHOD) {
            return Err(PacketError::PROTOCOL);
        }
        Ok(properties)
    }

    fn read_value(&mut self, id: u8, fields: &mut PacketReader) -> Result<(), PacketError> {
        match id {
            id::PAYLOAD_FORMAT | id::REQUEST_RESPONSE_INFORMATION => {
                flag(fields.u8()?)?;
            }
            id::MESSAGE_EXPIRY => self.message_expiry = Some(fields.u32()?),
            id::CONTENT_TYPE | id::REASON_STRING => {
                fields.text()?;
            }
            id::RESPONSE_TOPIC => self.response_topic = Some(fields.text()?),
            id::CORRELATION_DATA => self.correlation_data = Some(fields.binary()?),
            id::SUBSCRIPTION_ID => {
                let subscription_id = fields.variable()?;
                non_zero(subscription_id)?;
                self.subscription_id = u32::try_from(subscription_id).ok();
            }
            id::SESSION_EXPIRY => self.session_expiry = Some(fields.u32()?),
            id::AUTHENTICATION_METHOD => {
                fields.text()?;
                self.has_authentication = true;
            }
            id::AUTHENTICATION_DATA => {
                fields.binary()?;
            }
            id::REQUEST_PROBLEM_INFORMATION => {
                self.request_problem_information = Some(flag(fields.u8()?)?);
            }
            id::WILL_DELAY => self.will_delay = Some(fields.u32()?),
            id::RECEIVE_MAXIMUM => {
                let most = fields.u16()?;
                non_zero(usize::from(most))?;
                self.receive_maximum = Some(most);
            }
            id::TOPIC_ALIAS_MAXIMUM => self.topic_alias_maximum = Some(fields.u16()?),
            id::TOPIC_ALIAS => self.topic_alias = Some(fields.u16()?),
            id::USER_PROPERTY => {
                fields.text()?;
                fields.text()?;
            }
            id::MAXIMUM_PACKET_SIZE => {
                let most = fields.u32()?;
                non_zero(usize::try_from(most).unwrap_or(usize::MAX))?;
                self.maximum_packet_size = Some(most);
            }
            _ => return Err(PacketError::MALFORMED),
        }
        Ok(())
    }
}

#[cfg(feature = "conformance")]
impl Properties {
    /// Returns the properties of a message that its receivers get as they are, in their order.
    pub(in crate::gateway::mqtt) fn forwarded(&self) -> Bytes {
        let mut forwarded = BytesMut::new();
        let mut fields = PacketReader::new(self.bytes.clone());
        let mut rest = self.bytes.clone();
        while !fields.is_empty() {
            // Checked when the packet was read.
            let Ok(id) = fields.u8() else { break };
            if Properties::default().read_value(id, &mut fields).is_err() {
                break;
            }
            let property = rest.split_to(rest.len() - fields.len());
            let is_own = matches!(
                id,
                id::MESSAGE_EXPIRY | id::TOPIC_ALIAS | id::SUBSCRIPTION_ID | id::WILL_DELAY
            );
            if !is_own {
                forwarded.extend_from_slice(&property);
            }
        }
        forwarded.freeze()
    }
}

fn flag(value: u8) -> Result<u8, PacketError> {
    if value > 1 {
        return Err(PacketError::PROTOCOL);
    }
    Ok(value)
}

fn non_zero(value: usize) -> Result<(), PacketError> {
    if value == 0 {
        return Err(PacketError::PROTOCOL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8], permitted: &[u8]) -> Result<Properties, PacketError> {
        Properties::read(&mut PacketReader::new(Bytes::from_static(bytes)), permitted)
    }

    #[test]
    fn permitted_properties_are_read_once() {
        let permitted = [id::SESSION_EXPIRY, id::RECEIVE_MAXIMUM];
        let bytes = &[15, 0x11, 0, 0, 0, 9, 0x21, 0, 3, 0x26, 0, 1, b'a', 0, 1, b'b'];
        let read_properties = read(bytes, &permitted).unwrap();
        assert_eq!(
            (read_properties.session_expiry, read_properties.receive_maximum),
            (Some(9), Some(3))
        );
        assert_eq!(read_properties.bytes, bytes[1..]);
        assert_eq!(read(&[0], &permitted), Ok(Properties::default()));
        let twice = &[6, 0x21, 0, 3, 0x21, 0, 3];
        assert_eq!(read(twice, &permitted), Err(PacketError::PROTOCOL));
        assert_eq!(read(twice, &[]), Err(PacketError::MALFORMED));
    }

    #[cfg(feature = "conformance")]
    #[test]
    fn receivers_get_what_is_not_the_servers_own() {
        let permitted: Vec<u8> = (0..0x40).collect();
        // Message expiry, a user property, a topic alias, and the payload format.
        let bytes = &[
            17, 0x02, 0, 0, 0, 9, 0x26, 0, 1, b'a', 0, 1, b'b', 0x23, 0, 3, 0x01, 1,
        ];
        let forwarded = read(bytes, &permitted).unwrap().forwarded();
        assert_eq!(forwarded[..], [0x26, 0, 1, b'a', 0, 1, b'b', 0x01, 1]);
    }

    #[test]
    fn impossible_values_are_refused() {
        for (bytes, error) in [
            (&[3, 0x21, 0, 0][..], PacketError::PROTOCOL),
            (&[5, 0x27, 0, 0, 0, 0], PacketError::PROTOCOL),
            (&[2, 0x17, 2], PacketError::PROTOCOL),
            (&[4, 0x16, 0, 1, 7], PacketError::PROTOCOL),
            (&[3, 0x21, 0], PacketError::MALFORMED),
            (&[2, 0x21, 0, 1], PacketError::MALFORMED),
            (&[0x80], PacketError::MALFORMED),
            (&[2, 0x7F, 0], PacketError::MALFORMED),
        ] {
            let permitted: Vec<u8> = (0..0x40).collect();
            assert_eq!(read(bytes, &permitted), Err(error), "{bytes:?}");
        }
    }
}
