//! Reason codes of MQTT 5 (section 2.4), and the return codes of 3.1.1.

/// Reason code of MQTT 5, as far as the server sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::gateway::mqtt) enum ReasonCode {
    Success = 0x00,
    #[cfg(feature = "conformance")]
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    Unspecified = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecific = 0x83,
    UnsupportedVersion = 0x84,
    ClientIdNotValid = 0x85,
    BadCredentials = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    MessageRateTooHigh = 0x96,
    QuotaExceeded = 0x97,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QosNotSupported = 0x9B,
    SharedSubscriptionsNotSupported = 0x9E,
    ConnectionRateExceeded = 0x9F,
    SubscriptionIdsNotSupported = 0xA1,
}

/// Violation of the protocol that ends the connection, with the reason for a client of MQTT 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet is refused with reason code {0:?}")]
pub(in crate::gateway::mqtt) struct PacketError(pub(in crate::gateway::mqtt) ReasonCode);

// === impl ReasonCode, PacketError ===

impl ReasonCode {
    pub(in crate::gateway::mqtt) fn byte(self) -> u8 {
        self as u8
    }

    /// Returns the return code of CONNACK in 3.1.1. `None`: the connection is closed without one.
    pub(in crate::gateway::mqtt) fn return_code(self) -> Option<u8> {
        match self {
            ReasonCode::UnsupportedVersion => Some(1),
            ReasonCode::ClientIdNotValid => Some(2),
            ReasonCode::BadCredentials => Some(4),
            ReasonCode::NotAuthorized | ReasonCode::TopicNameInvalid | ReasonCode::PayloadFormatInvalid => {
                Some(5)
            }
            ReasonCode::MalformedPacket | ReasonCode::ProtocolError | ReasonCode::PacketTooLarge => None,
            _ => Some(3),
        }
    }
}

impl PacketError {
    pub(in crate::gateway::mqtt) const MALFORMED: PacketError = PacketError(ReasonCode::MalformedPacket);
    pub(in crate::gateway::mqtt) const PROTOCOL: PacketError = PacketError(ReasonCode::ProtocolError);
}
