//! Packets of the server. Pure.

use bytes::{BufMut, BytesMut};

use super::fixed_header::{FixedHeader, length_size, write_length};
use super::properties::id;
use super::reason_code::ReasonCode;
use super::{MqttVersion, QualityOfService};

/// Encoder of the packets for one client.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway::mqtt) struct ServerPackets {
    pub(in crate::gateway::mqtt) version: MqttVersion,
    /// Largest packet that the client accepts, in bytes.
    pub(in crate::gateway::mqtt) max_size: usize,
    /// True if acknowledgements may have texts.
    pub(in crate::gateway::mqtt) has_problem_information: bool,
}

/// Acceptance of a connection. All fields but the first one are for MQTT 5.
#[derive(Clone, Debug)]
pub(in crate::gateway::mqtt) struct ConnAck {
    pub(in crate::gateway::mqtt) is_session_present: bool,
    pub(in crate::gateway::mqtt) session_expiry: u32,
    pub(in crate::gateway::mqtt) receive_maximum: u16,
    pub(in crate::gateway::mqtt) maximum_packet_size: u32,
    pub(in crate::gateway::mqtt) topic_alias_maximum: u16,
    /// `None`: the client's own interval holds.
    pub(in crate::gateway::mqtt) server_keep_alive: Option<u16>,
    /// `None`: the client has an id of its own.
    pub(in crate::gateway::mqtt) assigned_client_id: Option<String>,
}

/// Message to a client. Its payload follows in two parts.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway::mqtt) struct OutgoingPublish<'a> {
    /// True if an earlier connection may have received the message.
    pub(in crate::gateway::mqtt) is_repeated: bool,
    pub(in crate::gateway::mqtt) quality: QualityOfService,
    /// Parts of the topic.
    pub(in crate::gateway::mqtt) topic: [&'a str; 3],
    /// Not written for the lowest quality.
    pub(in crate::gateway::mqtt) packet_id: u16,
    /// Lifetime in seconds; `None`: not limited.
    pub(in crate::gateway::mqtt) expiry: Option<u32>,
    pub(in crate::gateway::mqtt) correlation_data: Option<&'a [u8]>,
    pub(in crate::gateway::mqtt) payload: [&'a [u8]; 2],
}

/// Kind of the acknowledgement of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(clippy::enum_variant_names, reason = "names of the specification")]
pub(in crate::gateway::mqtt) enum PublishReplyKind {
    PubAck = 0x40,
    PubRec = 0x50,
    PubComp = 0x70,
}

/// Acknowledgement of a message of the client.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway::mqtt) struct PublishReply<'a> {
    pub(in crate::gateway::mqtt) kind: PublishReplyKind,
    pub(in crate::gateway::mqtt) packet_id: u16,
    pub(in crate::gateway::mqtt) reason: ReasonCode,
    /// User properties for clients that want them.
    pub(in crate::gateway::mqtt) properties: &'a [(&'static str, String)],
}

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBACK: u8 = 0x90;
const UNSUBACK: u8 = 0xB0;
const PINGRESP: u8 = 0xD0;
const DISCONNECT: u8 = 0xE0;

const JSON: &str = "application/json";

// === impl ServerPackets ===

impl ServerPackets {
    pub(in crate::gateway::mqtt) fn connack(&self, out: &mut BytesMut, accepted: &ConnAck) {
        let mut body = BytesMut::new();
        body.put_slice(&[u8::from(accepted.is_session_present), ReasonCode::Success.byte()]);
        if self.version == MqttVersion::V5 {
            put_properties(&mut body, &accepted.properties());
        }
        put_packet(out, CONNACK, &body);
    }

    /// Appends the refusal of a connection, with words unless they are empty. In 3.1.1 nothing, if there is no code for it.
    pub(in crate::gateway::mqtt) fn refusal(&self, out: &mut BytesMut, reason: ReasonCode, words: &str) {
        let mut body = BytesMut::new();
        body.put_u8(0);
        match self.version {
            MqttVersion::V3 => match reason.return_code() {
                Some(code) => body.put_u8(code),
                None => return,
            },
            MqttVersion::V5 => {
                body.put_u8(reason.byte());
                let mut properties = BytesMut::new();
                if !words.is_empty() {
                    put_property(&mut properties, id::REASON_STRING, words);
                }
                put_properties(&mut body, &properties);
            }
        }
        put_packet(out, CONNACK, &body);
    }

    /// Appends a message. Returns false and appends nothing if it is larger than the client accepts.
    pub(in crate::gateway::mqtt) fn publish(
        &self,
        out: &mut BytesMut,
        message: &OutgoingPublish<'_>,
    ) -> bool {
        let is_v5 = self.version == MqttVersion::V5;
        let has_id = message.quality != QualityOfService::AtMostOnce;
        let correlation = message.correlation_data.filter(|_| is_v5);
        // Payload format and content type, which all messages have.
        let mut properties = 2 + 3 + JSON.len();
        properties += if message.expiry.is_some() { 5 } else { 0 };
        properties += correlation.map_or(0, |data| 3 + data.len());
        let topic = message.topic.iter().map(|part| part.len()).sum::<usize>();
        let mut remaining = 2 + topic + if has_id { 2 } else { 0 };
        if is_v5 {
            remaining += length_size(properties) + properties;
        }
        remaining += message.payload.iter().map(|part| part.len()).sum::<usize>();
        if FixedHeader::total_of(remaining) > self.max_size {
            return false;
        }
        let flags = (u8::from(message.is_repeated && has_id) << 3) | ((message.quality as u8) << 1);
        out.reserve(FixedHeader::total_of(remaining));
        FixedHeader::write(out, PUBLISH | flags, remaining);
        put_size(out, topic);
        for part in message.topic {
            out.put_slice(part.as_bytes());
        }
        if has_id {
            out.put_u16(message.packet_id);
        }
        if is_v5 {
            write_length(out, properties);
            out.put_slice(&[id::PAYLOAD_FORMAT, 1]);
            put_property(out, id::CONTENT_TYPE, JSON);
            if let Some(seconds) = message.expiry {
                out.put_u8(id::MESSAGE_EXPIRY);
                out.put_u32(seconds);
            }
            if let Some(data) = correlation {
                out.put_u8(id::CORRELATION_DATA);
                put_size(out, data.len());
                out.put_slice(data);
            }
        }
        for part in message.payload {
            out.put_slice(part);
        }
        true
    }

    pub(in crate::gateway::mqtt) fn reply(&self, out: &mut BytesMut, reply: &PublishReply<'_>) {
        let mut body = BytesMut::new();
        body.put_u16(reply.packet_id);
        if self.version == MqttVersion::V5 {
            let mut properties = BytesMut::new();
            for (name, value) in reply.properties.iter().filter(|_| self.has_problem_information) {
                put_property(&mut properties, id::USER_PROPERTY, name);
                put_text(&mut properties, value);
            }
            let length = properties.len();
            let remaining = body.len() + 1 + length_size(length) + length;
            if length > 0 && FixedHeader::total_of(remaining) <= self.max_size {
                body.put_u8(reply.reason.byte());
                put_properties(&mut body, &properties);
            } else if reply.reason != ReasonCode::Success {
                body.put_u8(reply.reason.byte());
            }
        }
        // PUBREL alone has flags, and the server never sends it.
        put_packet(out, reply.kind as u8, &body);
    }

    /// Appends the acknowledgement of a SUBSCRIBE with a code per filter.
    pub(in crate::gateway::mqtt) fn suback(&self, out: &mut BytesMut, packet_id: u16, codes: &[u8]) {
        self.codes(out, SUBACK, packet_id, codes);
    }

    /// Appends the acknowledgement of an UNSUBSCRIBE. Those of 3.1.1 have no codes.
    pub(in crate::gateway::mqtt) fn unsuback(&self, out: &mut BytesMut, packet_id: u16, codes: &[u8]) {
        match self.version {
            MqttVersion::V3 => self.codes(out, UNSUBACK, packet_id, &[]),
            MqttVersion::V5 => self.codes(out, UNSUBACK, packet_id, codes),
        }
    }

    pub(in crate::gateway::mqtt) fn pingresp(out: &mut BytesMut) {
        out.put_slice(&[PINGRESP, 0]);
    }

    /// Appends the end of the connection, which 3.1.1 has no packet for.
    pub(in crate::gateway::mqtt) fn disconnect(&self, out: &mut BytesMut, reason: ReasonCode) {
        if self.version == MqttVersion::V5 {
            out.put_slice(&[DISCONNECT, 1, reason.byte()]);
        }
    }

    fn codes(&self, out: &mut BytesMut, first: u8, packet_id: u16, codes: &[u8]) {
        let mut body = BytesMut::with_capacity(3 + codes.len());
        body.put_u16(packet_id);
        if self.version == MqttVersion::V5 {
            body.put_u8(0);
        }
        body.put_slice(codes);
        put_packet(out, first, &body);
    }
}

// === impl ConnAck ===

impl ConnAck {
    fn properties(&self) -> BytesMut {
        let mut properties = BytesMut::new();
        properties.put_u8(id::SESSION_EXPIRY);
        properties.put_u32(self.session_expiry);
        properties.put_u8(id::RECEIVE_MAXIMUM);
        properties.put_u16(self.receive_maximum);
        properties.put_slice(&[id::MAXIMUM_QOS, 1, id::RETAIN_AVAILABLE, 0]);
        // Without these a client may count on them, and add an id to each of its subscriptions.
        for unavailable in [
            id::WILDCARDS_AVAILABLE,
            id::SUBSCRIPTION_IDS_AVAILABLE,
            id::SHARED_SUBSCRIPTIONS_AVAILABLE,
        ] {
            properties.put_slice(&[unavailable, 0]);
        }
        properties.put_u8(id::MAXIMUM_PACKET_SIZE);
        properties.put_u32(self.maximum_packet_size);
        properties.put_u8(id::TOPIC_ALIAS_MAXIMUM);
        properties.put_u16(self.topic_alias_maximum);
        if let Some(seconds) = self.server_keep_alive {
            properties.put_u8(id::SERVER_KEEP_ALIVE);
            properties.put_u16(seconds);
        }
        if let Some(client_id) = &self.assigned_client_id {
            put_property(&mut properties, id::ASSIGNED_CLIENT_ID, client_id);
        }
        properties
    }
}

fn put_packet(out: &mut BytesMut, first: u8, body: &[u8]) {
    FixedHeader::write(out, first, body.len());
    out.put_slice(body);
}

fn put_properties(out: &mut BytesMut, properties: &[u8]) {
    write_length(out, properties.len());
    out.put_slice(properties);
}

fn put_property(out: &mut BytesMut, id: u8, text: &str) {
    out.put_u8(id);
    put_text(out, text);
}

/// Appends a text, cut to what its length can state.
fn put_text(out: &mut BytesMut, text: &str) {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    put_size(out, end);
    out.put_slice(&text.as_bytes()[..end]);
}

fn put_size(out: &mut BytesMut, size: usize) {
    out.put_u16(u16::try_from(size).unwrap_or(u16::MAX));
}

#[cfg(test)]
mod tests;
