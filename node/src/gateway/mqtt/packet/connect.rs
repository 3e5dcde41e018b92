//! CONNECT (section 3.1). Pure.

use bytes::Bytes;

use super::packet_reader::PacketReader;
use super::properties::{Properties, id};
use super::reason_code::{PacketError, ReasonCode};
use super::{MqttVersion, QualityOfService};

/// First packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct ConnectPacket {
    pub(in crate::gateway::mqtt) version: MqttVersion,
    /// Clean start of MQTT 5, clean session of 3.1.1.
    pub(in crate::gateway::mqtt) is_clean: bool,
    /// Keep-alive interval in seconds; 0: none.
    pub(in crate::gateway::mqtt) keep_alive: u16,
    pub(in crate::gateway::mqtt) properties: Properties,
    pub(in crate::gateway::mqtt) client_id: String,
    pub(in crate::gateway::mqtt) will: Option<WillMessage>,
    pub(in crate::gateway::mqtt) user_name: Option<String>,
    pub(in crate::gateway::mqtt) password: Option<Bytes>,
}

/// Message that the server publishes when the connection ends without a DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct WillMessage {
    pub(in crate::gateway::mqtt) topic: String,
    pub(in crate::gateway::mqtt) payload: Bytes,
    pub(in crate::gateway::mqtt) quality: QualityOfService,
    pub(in crate::gateway::mqtt) is_retained: bool,
    pub(in crate::gateway::mqtt) properties: Properties,
}

/// Properties of the packet itself.
const PERMITTED: &[u8] = &[
    id::SESSION_EXPIRY,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
    id::REQUEST_PROBLEM_INFORMATION,
    id::REQUEST_RESPONSE_INFORMATION,
    id::RECEIVE_MAXIMUM,
    id::TOPIC_ALIAS_MAXIMUM,
    id::MAXIMUM_PACKET_SIZE,
];
/// Properties of the will.
const WILL_PERMITTED: &[u8] = &[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::WILL_DELAY,
];

// === impl ConnectPacket ===

impl ConnectPacket {
    /// Decodes the body of a packet.
    ///
    /// # Errors
    /// [`ReasonCode::UnsupportedVersion`] for another version of the protocol, else the violation.
    pub(super) fn decode(body: Bytes) -> Result<ConnectPacket, PacketError> {
        let mut reader = PacketReader::new(body);
        let version = read_version(&mut reader)?;
        let flags = reader.u8()?;
        let is_set = |bit: u8| flags & (1 << bit) != 0;
        let (has_user_name, has_password) = (is_set(7), is_set(6));
        let (has_will, is_retained) = (is_set(2), is_set(5));
        let quality = QualityOfService::from_bits((flags >> 3) & 3)?;
        if is_set(0) || (!has_will && (is_retained || quality != QualityOfService::AtMostOnce)) {
            return Err(PacketError::MALFORMED);
        }
        if version == MqttVersion::V3 && has_password && !has_user_name {
            return Err(PacketError::MALFORMED);
        }
        let keep_alive = reader.u16()?;
        let is_v5 = version == MqttVersion::V5;
        let properties = if is_v5 {
            Properties::read(&mut reader, PERMITTED)?
        } else {
            Properties::default()
        };
        let client_id = reader.text()?;
        let will = if has_will {
            let properties = if is_v5 {
                Properties::read(&mut reader, WILL_PERMITTED)?
            } else {
                Properties::default()
            };
            Some(WillMessage {
                topic: reader.text()?,
                payload: reader.binary()?,
                quality,
                is_retained,
                properties,
            })
        } else {
            None
        };
        let user_name = has_user_name.then(|| reader.text()).transpose()?;
        let password = has_password.then(|| reader.binary()).transpose()?;
        reader.end()?;
        Ok(ConnectPacket {
            version,
            is_clean: is_set(1),
            keep_alive,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }
}

fn read_version(reader: &mut PacketReader) -> Result<MqttVersion, PacketError> {
    let (name, level) = (reader.binary()?, reader.u8()?);
    match (&name[..], level) {
        (b"MQTT", 4) => Ok(MqttVersion::V3),
        (b"MQTT", 5) => Ok(MqttVersion::V5),
        (b"MQTT", _) | (b"MQIsdp", _) => Err(PacketError(ReasonCode::UnsupportedVersion)),
        _ => Err(PacketError::MALFORMED),
    }
}
