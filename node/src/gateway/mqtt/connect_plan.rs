//! Evaluation of a CONNECT, before and after the check of its token. Pure.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use protocol::limits::DEVICE_BYTES;
use protocol::{ErrorCode, UserId};

use super::packet::{ConnAck, ConnectPacket, MqttVersion, ReasonCode, ServerPackets};
use super::topic_aliases::TOPIC_ALIASES;
use super::will_command::WillCommand;
use crate::config::Config;
use crate::session::{DetachedPolicy, IdleLimit, PingInterval, SessionExpiry, TransportPolicy};

/// CONNECT that is accepted, but for its token.
#[derive(Debug)]
pub(super) struct ConnectPlan {
    pub(super) packets: ServerPackets,
    /// Acceptance, but for the session present flag.
    pub(super) accepted: ConnAck,
    pub(super) device: String,
    pub(super) token: String,
    user_name: Option<String>,
    pub(super) is_clean: bool,
    /// Receive maximum of the client.
    pub(super) receive_maximum: u16,
    pub(super) will: Option<WillCommand>,
    idle: IdleLimit,
    /// Session expiry that is granted.
    pub(super) expiry: Duration,
}

/// Refusal of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnectRefusal {
    pub(super) reason: ReasonCode,
    pub(super) words: String,
}

/// Keep-alive interval in seconds for a client of MQTT 5 that asks for none, or for a longer one than the maximum.
const SERVER_KEEP_ALIVE: u16 = 60;
const MOST_KEEP_ALIVE: u16 = 120;
/// Session expiry interval that means no expiry.
const NO_EXPIRY: u32 = u32::MAX;
/// Time for which a session with a will outlives its connection, and the delay of the will: the session executes it.
pub(super) const WILL_TIME: Duration = Duration::from_secs(2);
/// User name of a client that states no user.
const ANY_USER: &str = "token";

// === impl ConnectPlan ===

impl ConnectPlan {
    /// Evaluates a CONNECT.
    ///
    /// # Errors
    /// The refusal, with which the connection is closed.
    pub(super) fn of(connect: ConnectPacket, config: &Config) -> Result<ConnectPlan, ConnectRefusal> {
        let is_v5 = connect.version == MqttVersion::V5;
        if connect.properties.has_authentication {
            let words = "no authentication method is supported: the password is the token";
            return Err(refusal(ReasonCode::BadAuthenticationMethod, words));
        }
        let (device, assigned_client_id) = read_client_id(&connect)?;
        let token = connect.password.as_ref().and_then(read_token);
        let token =
            token.ok_or_else(|| refusal(ReasonCode::BadCredentials, "the password must be a token"))?;
        let will = connect
            .will
            .as_ref()
            .map(|will| WillCommand::of(will, is_v5))
            .transpose()?;
        let asked = match connect.version {
            MqttVersion::V3 if connect.is_clean => 0,
            MqttVersion::V3 => NO_EXPIRY,
            MqttVersion::V5 => connect.properties.session_expiry.unwrap_or(0),
        };
        let expiry = granted_expiry(asked, config);
        let has_own = (1..=MOST_KEEP_ALIVE).contains(&connect.keep_alive);
        // A client of 3.1.1 cannot be told another interval.
        let keep_alive = if is_v5 && !has_own {
            SERVER_KEEP_ALIVE
        } else {
            connect.keep_alive
        };
        let max_size = connect.properties.maximum_packet_size;
        Ok(ConnectPlan {
            packets: ServerPackets {
                version: connect.version,
                max_size: max_size.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX)),
                has_problem_information: connect.properties.request_problem_information != Some(0),
            },
            accepted: ConnAck {
                is_session_present: false,
                session_expiry: seconds(expiry),
                receive_maximum: u16::try_from(config.unacked_sends()).unwrap_or(u16::MAX),
                maximum_packet_size: u32::try_from(config.max_frame()).unwrap_or(u32::MAX),
                topic_alias_maximum: TOPIC_ALIASES,
                server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
                assigned_client_id,
            },
            device,
            token,
            user_name: connect.user_name,
            is_clean: connect.is_clean,
            receive_maximum: connect.properties.receive_maximum.unwrap_or(u16::MAX),
            will,
            idle: idle_limit(keep_alive),
            expiry,
        })
    }

    /// Checks the user name against the user of the token.
    ///
    /// # Errors
    /// The refusal of another user's name.
    pub(super) fn check_user(&self, user: &UserId) -> Result<(), ConnectRefusal> {
        match self.user_name.as_deref() {
            None | Some("" | ANY_USER) => Ok(()),
            Some(name) if name == user.as_str() => Ok(()),
            Some(_) => Err(refusal(
                ReasonCode::BadCredentials,
                "the user name is not that of the token",
            )),
        }
    }

    /// Returns the longest delay of the will. The session, which executes it, has not ended by then.
    pub(super) fn longest_will_delay(&self, config: &Config) -> Duration {
        let lifetime = self.expiry.min(config.session.resume_timeout.0);
        lifetime.saturating_sub(WILL_TIME)
    }

    /// Returns the policy of the session.
    pub(super) fn policy(&self) -> TransportPolicy {
        let least_lifetime = if self.will.is_some() {
            WILL_TIME
        } else {
            Duration::ZERO
        };
        TransportPolicy {
            ping: PingInterval::Never,
            idle: self.idle,
            detached: DetachedPolicy {
                keeps_presence: false,
                expiry: SessionExpiry::AtMost(self.expiry),
                least_lifetime,
            },
            ..TransportPolicy::GATEWAY
        }
    }
}

/// Returns the session expiry that is granted to a client that asks for this one, in seconds.
pub(super) fn granted_expiry(asked: u32, config: &Config) -> Duration {
    let asked = match asked {
        NO_EXPIRY => Duration::MAX,
        seconds => Duration::from_secs(u64::from(seconds)),
    };
    asked.min(config.mqtt.session_expiry_max.0)
}

/// Returns the refusal of a client that the session did not admit.
pub(super) fn refused_admission(code: ErrorCode, words: &str) -> ConnectRefusal {
    let reason = match code {
        ErrorCode::BadRequest => ReasonCode::ClientIdNotValid,
        ErrorCode::Unauthenticated => ReasonCode::BadCredentials,
        ErrorCode::TokenExpired | ErrorCode::Forbidden | ErrorCode::NotMember => ReasonCode::NotAuthorized,
        ErrorCode::RateLimited | ErrorCode::Conflict => ReasonCode::ConnectionRateExceeded,
        ErrorCode::Busy => ReasonCode::ServerBusy,
        _ => ReasonCode::ServerUnavailable,
    };
    refusal(reason, words)
}

pub(super) fn refusal(reason: ReasonCode, words: impl Into<String>) -> ConnectRefusal {
    ConnectRefusal {
        reason,
        words: words.into(),
    }
}

/// Returns the client id, and that id once more if the server made it.
fn read_client_id(connect: &ConnectPacket) -> Result<(String, Option<String>), ConnectRefusal> {
    let id = &connect.client_id;
    if id.len() > DEVICE_BYTES {
        let words = format!("a client id has at most {DEVICE_BYTES} bytes");
        return Err(refusal(ReasonCode::ClientIdNotValid, words));
    }
    if !id.is_empty() {
        return Ok((id.clone(), None));
    }
    if connect.version == MqttVersion::V3 && !connect.is_clean {
        let words = "a session that is kept needs a client id";
        return Err(refusal(ReasonCode::ClientIdNotValid, words));
    }
    let id = format!("mqtt-{}", BASE32_NOPAD.encode(&rand::random::<[u8; 10]>()));
    Ok((id.clone(), Some(id)))
}

fn read_token(password: &Bytes) -> Option<String> {
    let token = std::str::from_utf8(password).ok()?;
    (!token.is_empty()).then(|| token.to_owned())
}

/// Returns the idle limit for a keep-alive interval in seconds: one and a half of it.
fn idle_limit(keep_alive: u16) -> IdleLimit {
    match keep_alive {
        0 => IdleLimit::Never,
        seconds => IdleLimit::After(Duration::from_secs(u64::from(seconds)) * 3 / 2),
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(NO_EXPIRY)
}

#[cfg(test)]
mod tests;
