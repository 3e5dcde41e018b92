//! Codec of MQTT 3.1.1 and 5: packets of clients are decoded, packets of the server encoded. Pure.
//!
//! A packet's length is checked at its fixed header, before its bytes are collected. Fields are slices of the received
//! bytes, so no length within a packet allocates anything.

mod client_packet;
mod connect;
mod fixed_header;
mod packet_reader;
mod properties;
mod publish;
mod reason_code;
mod server_packet;
mod subscribe;
#[cfg(feature = "conformance")]
mod topic_publish;

pub(super) use client_packet::{ClientPacket, DisconnectPacket};
pub(super) use connect::{ConnectPacket, WillMessage};
pub(super) use fixed_header::FixedHeader;
#[cfg(feature = "conformance")]
pub(super) use properties::Properties;
pub(super) use publish::PublishPacket;
pub(super) use reason_code::{PacketError, ReasonCode};
pub(super) use server_packet::{ConnAck, OutgoingPublish, PublishReply, PublishReplyKind, ServerPackets};
#[cfg(feature = "conformance")]
pub(super) use subscribe::SubscribeOptions;
#[cfg(any(test, feature = "conformance"))]
pub(super) use subscribe::TopicRequest;
pub(super) use subscribe::{SubscribePacket, UnsubscribePacket};
#[cfg(feature = "conformance")]
pub(super) use topic_publish::{BrokerConnAck, TopicPublish};

/// Version of the protocol, by the level in CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MqttVersion {
    /// Version 3.1.1 with the level 4.
    V3,
    /// Version 5.0 with the level 5.
    V5,
}

/// Quality of service of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "names of the specification")]
pub(super) enum QualityOfService {
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

// === impl QualityOfService ===

impl QualityOfService {
    /// Returns the quality of two bits.
    ///
    /// # Errors
    /// [`ReasonCode::MalformedPacket`] for the reserved value 3.
    pub(super) fn from_bits(bits: u8) -> Result<QualityOfService, PacketError> {
        match bits {
            0 => Ok(QualityOfService::AtMostOnce),
            1 => Ok(QualityOfService::AtLeastOnce),
            2 => Ok(QualityOfService::ExactlyOnce),
            _ => Err(PacketError::MALFORMED),
        }
    }
}
