//! PUBLISH of a client (section 3.3). Pure.

use bytes::Bytes;

use super::packet_reader::PacketReader;
use super::properties::{Properties, id};
use super::reason_code::{PacketError, ReasonCode};
use super::{MqttVersion, QualityOfService};

/// Message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct PublishPacket {
    pub(in crate::gateway::mqtt) quality: QualityOfService,
    pub(in crate::gateway::mqtt) is_retained: bool,
    /// Empty for a message whose topic is given by its alias.
    pub(in crate::gateway::mqtt) topic: String,
    /// 0 for a message of the lowest quality.
    pub(in crate::gateway::mqtt) packet_id: u16,
    pub(in crate::gateway::mqtt) properties: Properties,
    pub(in crate::gateway::mqtt) payload: Bytes,
}

const PERMITTED: &[u8] = &[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::TOPIC_ALIAS,
];

// === impl PublishPacket ===

impl PublishPacket {
    pub(super) fn decode(version: MqttVersion, flags: u8, body: Bytes) -> Result<PublishPacket, PacketError> {
        let quality = QualityOfService::from_bits((flags >> 1) & 3)?;
        // Without an id there is nothing to repeat.
        if flags & 0x08 != 0 && quality == QualityOfService::AtMostOnce {
            return Err(PacketError::MALFORMED);
        }
        let mut reader = PacketReader::new(body);
        let topic = reader.text()?;
        if topic.contains(['+', '#']) {
            return Err(PacketError(ReasonCode::TopicNameInvalid));
        }
        let packet_id = match quality {
            QualityOfService::AtMostOnce => 0,
            QualityOfService::AtLeastOnce | QualityOfService::ExactlyOnce => reader.packet_id()?,
        };
        let properties = match version {
            MqttVersion::V3 => Properties::default(),
            MqttVersion::V5 => Properties::read(&mut reader, PERMITTED)?,
        };
        if topic.is_empty() && properties.topic_alias.is_none() {
            return Err(PacketError::PROTOCOL);
        }
        Ok(PublishPacket {
            quality,
            is_retained: flags & 1 != 0,
            topic,
            packet_id,
            properties,
            payload: reader.rest(),
        })
    }
}
