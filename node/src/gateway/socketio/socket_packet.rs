//! Packets of Socket.IO 5: `<type>[<attachments>-][/namespace,][ack id][JSON]`. Pure.
//!
//! The text of the data stays as it is. The scan bounds its nesting before any parser reads it.

use std::borrow::Cow;

#[cfg(any(test, feature = "conformance", feature = "testkit"))]
use bytes::{BufMut, BytesMut};
use protocol::text;
use serde_json::value::RawValue;

/// Maximum number of binary attachments of a packet.
pub(super) const ATTACHMENTS: usize = 10;
/// Maximum length of a namespace in bytes.
const NAMESPACE_BYTES: usize = 256;
/// Namespace that is not written.
pub(super) const MAIN_NAMESPACE: &str = "/";
/// Names of events that the libraries use themselves.
const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Type of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PacketKind {
    Connect = b'0',
    Disconnect = b'1',
    Event = b'2',
    Ack = b'3',
    ConnectError = b'4',
    BinaryEvent = b'5',
    BinaryAck = b'6',
}

/// Packet without its binary attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketPacket<'a> {
    pub(super) kind: PacketKind,
    /// Number of binary messages that follow.
    pub(super) attachments: usize,
    pub(super) namespace: Cow<'a, str>,
    /// Number of the acknowledgement; for an event `None` if none is requested.
    pub(super) ack: Option<u64>,
    /// Text of a JSON value that fits the type.
    pub(super) data: Option<Cow<'a, str>>,
}

/// Name and arguments of an event.
#[derive(Debug)]
pub(super) struct SocketEvent<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) arguments: Vec<&'a RawValue>,
}

/// Text that is no packet of a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SocketPacketError {
    #[error("the packet has an unknown type")]
    Type,
    #[error("the number of attachments is no number up to {ATTACHMENTS}")]
    Attachments,
    #[error("the namespace is too long, or has control characters")]
    Namespace,
    #[error("the number of the acknowledgement is missing or too large")]
    Ack,
    #[error("the data does not fit the type of the packet")]
    Data,
    #[error("the name of the event is reserved")]
    Reserved,
    #[error("{0}")]
    Json(String),
    #[error("an attachment is missing, or belongs to no packet")]
    Order,
    #[error("the attachments are too large")]
    TooLarge,
}

// === impl PacketKind ===

impl PacketKind {
    fn of(digit: u8) -> Option<PacketKind> {
        Some(match digit {
            b'0' => PacketKind::Connect,
            b'1' => PacketKind::Disconnect,
            b'2' => PacketKind::Event,
            b'3' => PacketKind::Ack,
            b'4' => PacketKind::ConnectError,
            b'5' => PacketKind::BinaryEvent,
            b'6' => PacketKind::BinaryAck,
            _ => return None,
        })
    }

    fn is_binary(self) -> bool {
        matches!(self, PacketKind::BinaryEvent | PacketKind::BinaryAck)
    }
}

// === impl SocketPacket ===

impl<'a> SocketPacket<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// Text that is no packet, or data that does not fit its type.
    pub(super) fn parse(text: &'a str) -> Result<SocketPacket<'a>, SocketPacketError> {
        let digit = text.as_bytes().first().copied();
        let kind = digit.and_then(PacketKind::of).ok_or(SocketPacketError::Type)?;
        let mut rest = text.get(1..).unwrap_or_default();
        let mut attachments = 0;
        if kind.is_binary() {
            let (count, behind) = rest.split_once('-').ok_or(SocketPacketError::Attachments)?;
            let count = number(count).ok_or(SocketPacketError::Attachments)?;
            attachments = usize::try_from(count).unwrap_or(usize::MAX);
            if attachments > ATTACHMENTS {
                return Err(SocketPacketError::Attachments);
            }
            rest = behind;
        }
        let mut namespace = MAIN_NAMESPACE;
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
            // It is echoed, and a separator in it would end the packet of a payload.
            if namespace.len() > NAMESPACE_BYTES || namespace.chars().any(char::is_control) {
                return Err(SocketPacketError::Namespace);
            }
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, data) = rest.split_at(digits);
        let ack = match id {
            "" => None,
            id => Some(number(id).ok_or(SocketPacketError::Ack)?),
        };
        let packet = SocketPacket {
            kind,
            attachments,
            namespace: Cow::Borrowed(namespace),
            ack,
            data: (!data.is_empty()).then_some(Cow::Borrowed(data)),
        };
        packet.check()?;
        Ok(packet)
    }

    /// Reads the data of an event.
    ///
    /// # Errors
    /// Data that is no name with arguments, and a reserved name.
    pub(super) fn event(&self) -> Result<SocketEvent<'_>, SocketPacketError> {
        let mut values = self.array()?.into_iter();
        let name = values.next().ok_or(SocketPacketError::Data)?.get();
        let name = match name.as_bytes().first() {
            Some(b'"') => serde_json::from_str(name).map_err(|error| json(&error))?,
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(name),
            _ => return Err(SocketPacketError::Data),
        };
        if RESERVED.contains(&&*name) {
            return Err(SocketPacketError::Reserved);
        }
        Ok(SocketEvent {
            name,
            arguments: values.collect(),
        })
    }

    /// Appends the text of the packet.
    #[cfg(any(test, feature = "conformance", feature = "testkit"))]
    pub(super) fn write(&self, out: &mut BytesMut) {
        let mut digits = itoa::Buffer::new();
        out.put_u8(self.kind as u8);
        if self.kind.is_binary() {
            out.put_slice(digits.format(self.attachments).as_bytes());
            out.put_u8(b'-');
        }
        if self.namespace != MAIN_NAMESPACE {
            out.put_slice(self.namespace.as_bytes());
            out.put_u8(b',');
        }
        if let Some(ack) = self.ack {
            out.put_slice(digits.format(ack).as_bytes());
        }
        if let Some(data) = &self.data {
            out.put_slice(data.as_bytes());
        }
    }

    pub(super) fn into_owned(self) -> SocketPacket<'static> {
        SocketPacket {
            kind: self.kind,
            attachments: self.attachments,
            namespace: Cow::Owned(self.namespace.into_owned()),
            ack: self.ack,
            data: self.data.map(|data| Cow::Owned(data.into_owned())),
        }
    }

    /// Checks that the data fits the type.
    fn check(&self) -> Result<(), SocketPacketError> {
        if let Some(data) = &self.data {
            // Bounds the nesting before a parser reads the text.
            text::scan(data).map_err(|flaw| SocketPacketError::Json(flaw.to_string()))?;
        }
        let fits = |fits: bool| {
            if fits {
                Ok(())
            } else {
                Err(SocketPacketError::Data)
            }
        };
        match self.kind {
            PacketKind::Connect => {
                fits(self.ack.is_none())?;
                self.data.as_ref().map_or(Ok(()), |data| {
                    let object: Result<&RawValue, _> = serde_json::from_str(data);
                    fits(object.map_err(|error| json(&error))?.get().starts_with('{'))
                })
            }
            PacketKind::Disconnect => fits(self.ack.is_none() && self.data.is_none()),
            PacketKind::Event | PacketKind::BinaryEvent => self.event().map(drop),
            PacketKind::Ack | PacketKind::BinaryAck => {
                self.ack.ok_or(SocketPacketError::Ack)?;
                self.array().map(drop)
            }
            // Only a server sends it.
            PacketKind::ConnectError => Err(SocketPacketError::Type),
        }
    }

    fn array(&self) -> Result<Vec<&RawValue>, SocketPacketError> {
        let data = self.data.as_deref().ok_or(SocketPacketError::Data)?;
        if !data.starts_with('[') {
            return Err(SocketPacketError::Data);
        }
        serde_json::from_str(data).map_err(|error| json(&error))
    }
}

fn json(error: &serde_json::Error) -> SocketPacketError {
    SocketPacketError::Json(error.to_string())
}

/// Reads digits as a number of a request, which has a sign in the native protocol.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number)?;
    i64::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests;
