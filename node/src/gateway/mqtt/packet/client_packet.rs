//! Packets of a client. Pure.

use bytes::Bytes;

use super::MqttVersion;
use super::connect::ConnectPacket;
use super::fixed_header::FixedHeader;
use super::packet_reader::PacketReader;
use super::properties::{Properties, id};
use super::publish::PublishPacket;
use super::reason_code::PacketError;
use super::subscribe::{SubscribePacket, UnsubscribePacket};

/// Packet of a client behind its CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) enum ClientPacket {
    Publish(PublishPacket),
    /// Confirmation of a message, with its packet id.
    PubAck(u16),
    /// First confirmation of a message of the highest quality, with its packet id and reason code.
    PubRec(u16, u8),
    /// Second confirmation of such a message.
    PubComp(u16),
    /// Release of a message of the highest quality.
    PubRel(u16),
    Subscribe(SubscribePacket),
    Unsubscribe(UnsubscribePacket),
    PingReq,
    Disconnect(DisconnectPacket),
}

/// Announcement that the client ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt) struct DisconnectPacket {
    /// True if the will shall not be published.
    pub(in crate::gateway::mqtt) discards_will: bool,
    /// New session expiry interval in seconds.
    pub(in crate::gateway::mqtt) session_expiry: Option<u32>,
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

// === impl ClientPacket ===

impl ClientPacket {
    /// First byte of CONNECT.
    pub(in crate::gateway::mqtt) const CONNECT_BYTE: u8 = CONNECT << 4;

    /// Decodes the first packet of a connection, which must be CONNECT. `packet`: all its bytes.
    ///
    /// # Errors
    /// The violation of the protocol.
    pub(in crate::gateway::mqtt) fn decode_connect(
        header: FixedHeader,
        packet: &Bytes,
    ) -> Result<ConnectPacket, PacketError> {
        if header.kind != CONNECT || header.flags != 0 {
            return Err(PacketError::PROTOCOL);
        }
        ConnectPacket::decode(packet.slice(header.size..))
    }

    /// Decodes a packet behind CONNECT. `packet`: all its bytes.
    ///
    /// # Errors
    /// The violation of the protocol.
    pub(in crate::gateway::mqtt) fn decode(
        version: MqttVersion,
        header: FixedHeader,
        packet: &Bytes,
    ) -> Result<ClientPacket, PacketError> {
        let flags = match header.kind {
            PUBLISH => header.flags,
            PUBREL | SUBSCRIBE | UNSUBSCRIBE => 0b0010,
            _ => 0,
        };
        if header.flags != flags {
            return Err(PacketError::MALFORMED);
        }
        let body = packet.slice(header.size..);
        match header.kind {
            PUBLISH => PublishPacket::decode(version, flags, body).map(ClientPacket::Publish),
            PUBACK => read_ack(version, body).map(|(id, _)| ClientPacket::PubAck(id)),
            PUBREC => read_ack(version, body).map(|(id, reason)| ClientPacket::PubRec(id, reason)),
            PUBREL => read_ack(version, body).map(|(id, _)| ClientPacket::PubRel(id)),
            PUBCOMP => read_ack(version, body).map(|(id, _)| ClientPacket::PubComp(id)),
            SUBSCRIBE => SubscribePacket::decode(version, body).map(ClientPacket::Subscribe),
            UNSUBSCRIBE => UnsubscribePacket::decode(version, body).map(ClientPacket::Unsubscribe),
            PINGREQ if body.is_empty() => Ok(ClientPacket::PingReq),
            PINGREQ => Err(PacketError::MALFORMED),
            DISCONNECT => read_disconnect(version, body).map(ClientPacket::Disconnect),
            // A second CONNECT, AUTH without a method, and packets that only a server sends.
            _ => Err(PacketError::PROTOCOL),
        }
    }
}

/// Reads packet id and reason code of an acknowledgement. Reason code and properties may be left out.
fn read_ack(version: MqttVersion, body: Bytes) -> Result<(u16, u8), PacketError> {
    let mut reader = PacketReader::new(body);
    let (packet_id, mut reason) = (reader.packet_id()?, 0);
    if version == MqttVersion::V5 && !reader.is_empty() {
        reason = reader.u8()?;
        if !reader.is_empty() {
            Properties::read(&mut reader, &[id::REASON_STRING])?;
        }
    }
    reader.end()?;
    Ok((packet_id, reason))
}

fn read_disconnect(version: MqttVersion, body: Bytes) -> Result<DisconnectPacket, PacketError> {
    let mut reader = PacketReader::new(body);
    let mut disconnect = DisconnectPacket {
        discards_will: true,
        session_expiry: None,
    };
    if version == MqttVersion::V5 && !reader.is_empty() {
        disconnect.discards_will = reader.u8()? == 0;
        if !reader.is_empty() {
            let permitted = [id::SESSION_EXPIRY, id::REASON_STRING];
            disconnect.session_expiry = Properties::read(&mut reader, &permitted)?.session_expiry;
        }
    }
    reader.end()?;
    Ok(disconnect)
}

#[cfg(test)]
mod tests;
