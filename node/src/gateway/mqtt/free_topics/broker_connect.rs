//! Evaluation of a CONNECT to the topic tree, which takes every client. Pure.

use std::time::Duration;

use crate::gateway::mqtt::packet::{
    BrokerConnAck, ConnectPacket, MqttVersion, ReasonCode, ServerPackets, WillMessage,
};

/// CONNECT that is accepted.
#[derive(Debug)]
pub(super) struct BrokerConnect {
    pub(super) client: String,
    pub(super) packets: ServerPackets,
    /// Acceptance, but for the session present flag.
    pub(super) accepted: BrokerConnAck,
    pub(super) is_clean: bool,
    /// Time for which the session outlives the connection; `None`: it has no end.
    pub(super) expiry: Option<Duration>,
    /// The same, if the client has stated it.
    pub(super) stated_expiry: Option<Duration>,
    pub(super) receive_maximum: u16,
    pub(super) alias_maximum: u16,
    pub(super) will: Option<WillMessage>,
    /// Time of silence after which the connection is closed; `None`: silence never closes it.
    pub(super) idle: Option<Duration>,
}

/// Refusal of a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerRefusal {
    /// The client gets this reason.
    Reason(ReasonCode),
    /// The connection is closed without a packet.
    Silent,
}

/// Receive maximum of the server.
pub(super) const RECEIVE_MAXIMUM: u16 = 20;
/// Largest alias that a client may use.
pub(super) const TOPIC_ALIASES: u16 = 10;
/// Longest keep-alive interval in seconds.
const MOST_KEEP_ALIVE: u16 = 60;
/// Session expiry interval that means no expiry.
const NO_EXPIRY: u32 = u32::MAX;

// === impl BrokerConnect ===

impl BrokerConnect {
    pub(super) fn of(connect: ConnectPacket) -> Result<BrokerConnect, BrokerRefusal> {
        let is_v5 = connect.version == MqttVersion::V5;
        let properties = &connect.properties;
        if properties.has_authentication {
            return Err(BrokerRefusal::Reason(ReasonCode::BadAuthenticationMethod));
        }
        // The server's own topics are not those of clients.
        let is_topic =
            |topic: &str| !topic.is_empty() && !topic.contains(['+', '#']) && !topic.starts_with('$');
        if connect.will.as_ref().is_some_and(|will| !is_topic(&will.topic)) {
            return Err(BrokerRefusal::Silent);
        }
        if connect.client_id.is_empty() && !is_v5 && !connect.is_clean {
            return Err(BrokerRefusal::Reason(ReasonCode::ClientIdNotValid));
        }
        let assigned_client_id = connect.client_id.is_empty().then(assigned_id);
        let asked = match connect.version {
            MqttVersion::V3 if connect.is_clean => 0,
            MqttVersion::V3 => NO_EXPIRY,
            MqttVersion::V5 => properties.session_expiry.unwrap_or(0),
        };
        let keep_alive = if is_v5 {
            connect.keep_alive.min(MOST_KEEP_ALIVE)
        } else {
            connect.keep_alive
        };
        let max_size = properties.maximum_packet_size;
        Ok(BrokerConnect {
            client: assigned_client_id.clone().unwrap_or(connect.client_id),
            packets: ServerPackets {
                version: connect.version,
                max_size: max_size.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX)),
                has_problem_information: true,
            },
            accepted: BrokerConnAck {
                is_session_present: false,
                topic_alias_maximum: TOPIC_ALIASES,
                receive_maximum: RECEIVE_MAXIMUM,
                server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
                assigned_client_id,
            },
            is_clean: connect.is_clean,
            expiry: expiry_of(asked),
            stated_expiry: properties.session_expiry.and_then(expiry_of),
            receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
            alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            will: connect.will,
            idle: (keep_alive > 0).then(|| Duration::from_secs(u64::from(keep_alive)) * 3 / 2),
        })
    }
}

/// Returns the time of a session expiry interval; `None`: it has no end.
pub(super) fn expiry_of(seconds: u32) -> Option<Duration> {
    (seconds != NO_EXPIRY).then(|| Duration::from_secs(u64::from(seconds)))
}

/// Returns a client id in the form that the suites expect.
fn assigned_id() -> String {
    format!("auto-{:036x}", rand::random::<u128>())
}
