//! Packets of the topic tree on which the suites for brokers run. Pure.

use bytes::{BufMut, BytesMut};

use super::fixed_header::{FixedHeader, length_size, write_length};
use super::properties::id;
use super::reason_code::ReasonCode;
use super::server_packet::ServerPackets;
use super::{MqttVersion, QualityOfService};

/// Message of the topic tree to one client.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway::mqtt) struct TopicPublish<'a> {
    pub(in crate::gateway::mqtt) is_repeated: bool,
    pub(in crate::gateway::mqtt) is_retained: bool,
    pub(in crate::gateway::mqtt) quality: QualityOfService,
    /// Empty for a message whose topic is given by its alias.
    pub(in crate::gateway::mqtt) topic: &'a str,
    pub(in crate::gateway::mqtt) packet_id: u16,
    pub(in crate::gateway::mqtt) topic_alias: Option<u16>,
    /// Rest of the lifetime in seconds.
    pub(in crate::gateway::mqtt) expiry: Option<u32>,
    pub(in crate::gateway::mqtt) subscription_ids: &'a [u32],
    /// Properties of the publisher.
    pub(in crate::gateway::mqtt) properties: &'a [u8],
    pub(in crate::gateway::mqtt) payload: &'a [u8],
}

/// Acceptance of a connection to the topic tree.
#[derive(Clone, Debug)]
pub(in crate::gateway::mqtt) struct BrokerConnAck {
    pub(in crate::gateway::mqtt) is_session_present: bool,
    pub(in crate::gateway::mqtt) topic_alias_maximum: u16,
    pub(in crate::gateway::mqtt) receive_maximum: u16,
    pub(in crate::gateway::mqtt) server_keep_alive: Option<u16>,
    pub(in crate::gateway::mqtt) assigned_client_id: Option<String>,
}

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBREL: u8 = 0x62;

// === impl ServerPackets: topic tree ===

impl ServerPackets {
    pub(in crate::gateway::mqtt) fn broker_connack(&self, out: &mut BytesMut, accepted: &BrokerConnAck) {
        let mut properties = BytesMut::new();
        if self.version == MqttVersion::V5 {
            // In this order: the suites compare whole packets.
            if let Some(seconds) = accepted.server_keep_alive {
                properties.put_u8(id::SERVER_KEEP_ALIVE);
                properties.put_u16(seconds);
            }
            properties.put_u8(id::TOPIC_ALIAS_MAXIMUM);
            properties.put_u16(accepted.topic_alias_maximum);
            if let Some(client_id) = &accepted.assigned_client_id {
                properties.put_u8(id::ASSIGNED_CLIENT_ID);
                put_text(&mut properties, client_id);
            }
            properties.put_u8(id::RECEIVE_MAXIMUM);
            properties.put_u16(accepted.receive_maximum);
        }
        FixedHeader::write(out, CONNACK, 2 + self.properties_size(&properties));
        out.put_slice(&[u8::from(accepted.is_session_present), ReasonCode::Success.byte()]);
        self.put_properties(out, &properties);
    }

    /// Appends a message. Returns false and appends nothing if it is larger than the client accepts.
    pub(in crate::gateway::mqtt) fn topic_publish(
        &self,
        out: &mut BytesMut,
        message: &TopicPublish<'_>,
    ) -> bool {
        let mut properties = BytesMut::new();
        if self.version == MqttVersion::V5 {
            if let Some(seconds) = message.expiry {
                properties.put_u8(id::MESSAGE_EXPIRY);
                properties.put_u32(seconds);
            }
            if let Some(alias) = message.topic_alias {
                properties.put_u8(id::TOPIC_ALIAS);
                properties.put_u16(alias);
            }
            for subscription_id in message.subscription_ids {
                properties.put_u8(id::SUBSCRIPTION_ID);
                write_length(&mut properties, usize::try_from(*subscription_id).unwrap_or(1));
            }
            properties.put_slice(message.properties);
        }
        let has_id = message.quality != QualityOfService::AtMostOnce;
        let remaining = 2
            + message.topic.len()
            + if has_id { 2 } else { 0 }
            + self.properties_size(&properties)
            + message.payload.len();
        if FixedHeader::total_of(remaining) > self.max_size {
            return false;
        }
        let flags = (u8::from(message.is_repeated && has_id) << 3)
            | ((message.quality as u8) << 1)
            | u8::from(message.is_retained);
        FixedHeader::write(out, PUBLISH | flags, remaining);
        put_text(out, message.topic);
        if has_id {
            out.put_u16(message.packet_id);
        }
        self.put_properties(out, &properties);
        out.put_slice(message.payload);
        true
    }

    /// Appends the release of a message of the highest quality.
    pub(in crate::gateway::mqtt) fn pubrel(out: &mut BytesMut, packet_id: u16) {
        FixedHeader::write(out, PUBREL, 2);
        out.put_u16(packet_id);
    }

    fn properties_size(&self, properties: &[u8]) -> usize {
        match self.version {
            MqttVersion::V3 => 0,
            MqttVersion::V5 => length_size(properties.len()) + properties.len(),
        }
    }

    fn put_properties(&self, out: &mut BytesMut, properties: &[u8]) {
        if self.version == MqttVersion::V5 {
            write_length(out, properties.len());
            out.put_slice(properties);
        }
    }
}

/// Appends a text, which came from a packet and is no longer than that permits.
fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}
