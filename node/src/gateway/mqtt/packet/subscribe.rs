//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10). Pure.

use bytes::Bytes;

use super::packet_reader::PacketReader;
use super::properties::{Properties, id};
use super::reason_code::PacketError;
use super::{MqttVersion, QualityOfService};

/// Request for one or more subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct SubscribePacket {
    pub(in crate::gateway::mqtt) packet_id: u16,
    pub(in crate::gateway::mqtt) subscription_id: Option<u32>,
    pub(in crate::gateway::mqtt) topics: Vec<TopicRequest>,
}

/// Filter with the quality that the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct TopicRequest {
    pub(in crate::gateway::mqtt) filter: String,
    pub(in crate::gateway::mqtt) quality: QualityOfService,
    pub(in crate::gateway::mqtt) options: SubscribeOptions,
}

/// Options of a subscription in MQTT 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct SubscribeOptions {
    /// True if the client does not get its own messages.
    pub(in crate::gateway::mqtt) is_no_local: bool,
    /// True if messages have the retained flag that they were published with.
    pub(in crate::gateway::mqtt) is_retain_as_published: bool,
    /// Retained messages to send: 0: at each SUBSCRIBE, 1: for a new subscription only, 2: never.
    pub(in crate::gateway::mqtt) retain_handling: u8,
}

/// Request to end subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct UnsubscribePacket {
    pub(in crate::gateway::mqtt) packet_id: u16,
    pub(in crate::gateway::mqtt) filters: Vec<String>,
}

// === impl SubscribePacket, UnsubscribePacket ===

impl SubscribePacket {
    pub(super) fn decode(version: MqttVersion, body: Bytes) -> Result<SubscribePacket, PacketError> {
        let mut reader = PacketReader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = read_properties(version, &mut reader, &[id::SUBSCRIPTION_ID])?;
        let mut topics = Vec::new();
        while !reader.is_empty() {
            let filter = read_filter(&mut reader)?;
            let options = reader.u8()?;
            let quality = QualityOfService::from_bits(options & 3)?;
            let is_valid = match version {
                MqttVersion::V3 => options & 0xFC == 0,
                // Two reserved bits, and a retain handling that does not exist.
                MqttVersion::V5 => options & 0xC0 == 0 && options & 0x30 != 0x30,
            };
            if !is_valid {
                return Err(PacketError::MALFORMED);
            }
            topics.push(TopicRequest {
                filter,
                quality,
                options: SubscribeOptions {
                    is_no_local: options & 0x04 != 0,
                    is_retain_as_published: options & 0x08 != 0,
                    retain_handling: (options >> 4) & 3,
                },
            });
        }
        if topics.is_empty() {
            return Err(PacketError::PROTOCOL);
        }
        Ok(SubscribePacket {
            packet_id,
            subscription_id: properties.subscription_id,
            topics,
        })
    }
}

impl UnsubscribePacket {
    pub(super) fn decode(version: MqttVersion, body: Bytes) -> Result<UnsubscribePacket, PacketError> {
        let mut reader = PacketReader::new(body);
        let packet_id = reader.packet_id()?;
        read_properties(version, &mut reader, &[])?;
        let mut filters = Vec::new();
        while !reader.is_empty() {
            filters.push(read_filter(&mut reader)?);
        }
        if filters.is_empty() {
            return Err(PacketError::PROTOCOL);
        }
        Ok(UnsubscribePacket { packet_id, filters })
    }
}

fn read_filter(reader: &mut PacketReader) -> Result<String, PacketError> {
    let filter = reader.text()?;
    if filter.is_empty() {
        return Err(PacketError::MALFORMED);
    }
    Ok(filter)
}

fn read_properties(
    version: MqttVersion,
    reader: &mut PacketReader,
    permitted: &[u8],
) -> Result<Properties, PacketError> {
    match version {
        MqttVersion::V3 => Ok(Properties::default()),
        MqttVersion::V5 => Properties::read(reader, permitted),
    }
}
