//! The session of a connection: `auth` and `hb`, the `hello`, `ready` and `hb` responses, the `resync` and `bye` events.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::check::{Rejection, bad, longest};
use crate::close::CloseCode;
use crate::cost::CommandCost;
use crate::groups::resume::ResumeTarget;
use crate::ids::{ConversationId, UserId};
use crate::limits;
use crate::shape::{CommandFields, EventFields, ShapeFields};

/// Fields of the `hello` frame, the first of every connection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HelloResponse {
    /// Version of the protocol, which is 1.
    #[serde(rename = "proto")]
    pub protocol_version: u32,
    /// Name of the node, for support.
    pub server: String,
    /// Interval at which the client should send `hb`, in milliseconds.
    #[serde(rename = "hb_ms")]
    pub heartbeat_interval_ms: u64,
    /// Time within which the client must send `auth`, in milliseconds.
    #[serde(rename = "auth_ms")]
    pub auth_timeout_ms: u64,
    /// The largest message that the server accepts, in bytes.
    #[serde(rename = "max_frame")]
    pub max_frame_bytes: u64,
    /// The server's clock, in milliseconds since the Unix epoch.
    #[serde(rename = "time")]
    pub timestamp_ms: u64,
}

/// Fields of the `auth` command, which authenticates the connection or renews the token.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Auth)]
pub struct Authenticate {
    /// A JWT, or `dev:<user>` in dev mode. At most 8 KiB.
    pub token: String,
    /// Name of the device, at most 64 bytes. Without it the server chooses a random name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Random id of one start of the app, at most 64 bytes. It distinguishes a reconnect from a second copy of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The session to resume; absent for a new session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumeTarget>,
}

/// Fields of the `ready` response: the session has begun or was resumed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadyResponse {
    /// The user that the token authenticates.
    pub user: UserId,
    /// Id of the session, sent by the client to resume it.
    #[serde(rename = "sid")]
    pub session_id: String,
    /// True if the session continues exactly at `n + 1`.
    pub resumed: bool,
    /// Number of the last event before those that follow.
    #[serde(rename = "n")]
    pub session_seq: u64,
    /// The reason for which a requested resume was refused.
    #[serde(rename = "why", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NotResumed>,
    /// Time for which the session can be resumed after its connection is lost, in milliseconds.
    pub resume_ttl_ms: u64,
    /// The limits that apply to this session.
    pub limits: SessionLimits,
}

/// Reason for which a session was not resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotResumed {
    /// The session was detached for too long, or was evicted.
    Expired,
    /// This user and device have no such session.
    Unknown,
    /// Events after the client's last one are no longer kept, or the client named an event that was never sent.
    Gap,
}

/// Limits that apply to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionLimits {
    /// The largest message body, in bytes.
    pub body_bytes: u64,
    /// Sustained rate of `send` commands, per second.
    #[serde(rename = "sends_per_s")]
    pub sends_per_second: u32,
    /// Number of `send` commands that may arrive at once.
    pub burst: u32,
    /// Rate of ephemeral commands such as `typing`, per second.
    #[serde(rename = "ephemeral_per_s")]
    pub ephemeral_per_second: u32,
}

/// Fields of the `hb` command, the heartbeat of the client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Hb)]
pub struct Heartbeat {
    /// Number of the last event that the client has applied. It confirms all events up to that number.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub session_seq: Option<u64>,
}

/// Fields of the `hb` response, the heartbeat of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatResponse {
    /// The server's clock, in milliseconds since the Unix epoch.
    #[serde(rename = "time")]
    pub timestamp_ms: u64,
}

/// Fields of the `resync` event: events were dropped, and the client must run `sync`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Resync)]
pub struct ResyncEvent {
    /// The reason for the loss, for support.
    #[serde(rename = "why")]
    pub reason: String,
}

/// Fields of the `bye` event, which announces a close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Bye)]
pub struct CloseEvent {
    /// The WebSocket close code that follows.
    pub code: u16,
    /// Time to wait before the next connection, in milliseconds.
    pub retry_ms: u64,
}

// === impl Authenticate ===

impl fmt::Debug for Authenticate {
    /// Formats without secrets: the token and the session id are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("device", &self.device)
            .field("instance", &self.instance)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

// === impl CloseEvent ===

impl CloseEvent {
    /// Returns the event that announces a close.
    pub fn new(code: CloseCode, retry_ms: u64) -> CloseEvent {
        CloseEvent {
            code: code.code(),
            retry_ms,
        }
    }
}

// === shapes ===

impl ShapeFields for HelloResponse {
    const EXAMPLE: &'static str = concat!(
        r#"{"proto":1,"server":"n1","hb_ms":30000,"auth_ms":10000,"max_frame":65536,"#,
        r#""time":1795912692652}"#,
    );
}

impl ShapeFields for Authenticate {
    const EXAMPLE: &'static str = concat!(
        r#"{"token":"dev:ada","device":"phone-1","instance":"x7","#,
        r#""resume":{"sid":"s_7f3a2c","n":412}}"#,
    );
}

impl CommandFields for Authenticate {
    type Response = ReadyResponse;

    fn check(&self) -> Result<(), Rejection> {
        longest("token", Some(&self.token), limits::TOKEN_BYTES)?;
        longest("device", self.device.as_deref(), limits::DEVICE_BYTES)?;
        longest("instance", self.instance.as_deref(), limits::DEVICE_BYTES)?;
        longest(
            "resume.sid",
            match &self.resume {
                Some(ResumeTarget::Session(resume)) => Some(resume.session_id.as_str()),
                Some(ResumeTarget::Device(_)) | None => None,
            },
            limits::CURSOR_BYTES,
        )?;
        if matches!(self.resume, Some(ResumeTarget::Device(_))) && self.device.is_none() {
            return Err(bad("resume by device needs a device"));
        }
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::SESSION
    }
}

impl ShapeFields for ReadyResponse {
    const EXAMPLE: &'static str = concat!(
        r#"{"user":"ada","sid":"s_7f3a2c","resumed":true,"n":412,"resume_ttl_ms":90000,"#,
        r#""limits":{"body_bytes":16384,"sends_per_s":20,"burst":60,"ephemeral_per_s":2}}"#,
    );
}

impl ShapeFields for Heartbeat {
    const EXAMPLE: &'static str = r#"{"n":413}"#;
}

impl CommandFields for Heartbeat {
    type Response = HeartbeatResponse;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::FREE
    }
}

impl ShapeFields for HeartbeatResponse {
    const EXAMPLE: &'static str = r#"{"time":1795912692652}"#;
}

impl ShapeFields for ResyncEvent {
    const EXAMPLE: &'static str = r#"{"why":"slow"}"#;
}

impl EventFields for ResyncEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        None
    }
}

impl ShapeFields for CloseEvent {
    const EXAMPLE: &'static str = r#"{"code":4012,"retry_ms":1830}"#;
}

impl EventFields for CloseEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        None
    }
}
