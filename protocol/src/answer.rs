//! Server responses to client commands. Each shape carries the request's `id`, if it had one. `hello` opens a
//! connection and has none.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::{shapes, splice};
pub use crate::conversation::{ConversationSnapshot, DirectPeer, LastEvent};
use crate::error::ErrorCode;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::payload::EncodedEvent;
use crate::role::{ConversationKind, GroupInvite, Role};

shapes! {
    /// Everything that the server sends apart from events.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Response {
        /// The first frame of every connection.
        Hello(HelloResponse) = "hello",
        /// The session has begun or was resumed.
        Ready(ReadyResponse) = "ready",
        /// The change is durable and applied.
        Ack(Ack) = "ack",
        /// The command was carried out and returns no data.
        Ok(OkResponse) = "ok",
        /// A conversation as its member sees it.
        Conv(ConversationSnapshot) = "conv",
        /// A page of the user's conversations.
        Inbox(ConversationList) = "inbox",
        /// A page of a conversation's events.
        Hist(HistoryResponse) = "hist",
        /// A page of a conversation's members.
        Members(MembersResponse) = "members",
        /// The missed events of a set of conversations.
        Delta(SyncResponse) = "delta",
        /// The settings of the user.
        Me(MeResponse) = "me",
        /// The server is alive and repeats its clock.
        Hb(HeartbeatResponse) = "hb",
        /// The command was refused; the error code names the reason.
        Err(ErrorResponse) = "err",
    }
}

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

/// Fields of the `ack` response: the change is durable and applied.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ack {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key of the command.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// Sequence number of the event; absent if the command made none.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Ordinal of the message; absent if the event is no message.
    #[serde(rename = "mn", default, skip_serializing_if = "Option::is_none")]
    pub message_number: Option<u64>,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts", default, skip_serializing_if = "Option::is_none")]
    pub timestamp_ms: Option<u64>,
    /// True if the command was a repetition; the other fields are the first result.
    #[serde(rename = "dup", default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
}

/// A response without any fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OkResponse {}

/// Fields of the `inbox` response: a page of the user's conversations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationList {
    /// The conversations, the latest activity first.
    pub items: Vec<ConversationListItem>,
    /// Cursor of the next page; null after the last page.
    #[serde(default)]
    pub next: Option<String>,
}

/// One conversation of the user's list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationListItem {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Kind of the conversation.
    pub kind: ConversationKind,
    /// Title of the conversation; null if it has none.
    #[serde(default)]
    pub title: Option<String>,
    /// The user's role; null if the row is stale.
    #[serde(default)]
    pub role: Option<Role>,
    /// The last message in its current state; null if there is none, the user may not read it, or the row is stale.
    #[serde(default)]
    pub last: Option<EncodedEvent>,
    /// Number of messages above the read cursor that the user may read.
    #[serde(default)]
    pub unread: u64,
    /// Number of unread messages that mention the user.
    #[serde(default)]
    pub mentions: u64,
    /// The user's read cursor.
    #[serde(default)]
    pub read: u64,
    /// The user's delivered cursor.
    #[serde(default)]
    pub delivered: u64,
    /// True if notifications are muted for this user.
    #[serde(default)]
    pub muted: bool,
    /// True if the user's clients show the conversation on top.
    #[serde(default)]
    pub pinned: bool,
    /// The other user of a direct conversation; absent in groups and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<DirectPeer>,
    /// True if the owner of the conversation did not respond in time: only `c` and `kind` are valid. Request the page
    /// again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stale: bool,
}

/// Fields of the `hist` response: a page of a conversation's events.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryResponse {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The events, in ascending order of `s`.
    pub events: Vec<EncodedEvent>,
    /// True if more events exist in the requested direction.
    pub more: bool,
    /// True if events behind `after` are missing: they expired, the user may not read them, or the log ends before
    /// `after`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gap: bool,
}

/// Fields of the `members` response: a page of a conversation's members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MembersResponse {
    /// The members, in the order of their ids.
    pub items: Vec<ConversationMember>,
    /// Cursor of the next page; null after the last page.
    #[serde(default)]
    pub next: Option<String>,
}

/// One member of a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationMember {
    /// The user who is a member.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Role of the member in the conversation.
    pub role: Role,
    /// The member's delivered cursor; absent in conversations of more than 256 members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<u64>,
    /// The member's read cursor; absent in conversations of more than 256 members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
}

/// Fields of the `delta` response: the missed events of a set of conversations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SyncResponse {
    /// Pairs of a conversation and the `s` up to which its items reach. Apply buffered live events above it afterwards.
    pub as_of: Vec<(ConversationId, u64)>,
    /// The missed events of each conversation.
    pub items: Vec<SyncResponseItem>,
    /// Cursor of the next page; null after the last page.
    #[serde(default)]
    pub next: Option<String>,
}

/// The missed events of one conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SyncResponseItem {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The events, in ascending order of `s`, without a hole.
    pub events: Vec<EncodedEvent>,
    /// True if the events do not start at `have + 1`: they are the newest ones, and `hist` returns the others.
    #[serde(default)]
    pub gap: bool,
}

/// Fields of the `me` response: the settings of the user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MeResponse {
    /// The user who sent the command.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Setting for the users who may add this user to groups and channels.
    pub group_invite: GroupInvite,
}

/// Fields of the `hb` response, the heartbeat of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatResponse {
    /// The server's clock, in milliseconds since the Unix epoch.
    #[serde(rename = "time")]
    pub timestamp_ms: u64,
}

/// Fields of the `err` response: the command was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorResponse {
    /// The reason for the refusal, for programs.
    pub code: ErrorCode,
    /// HTTP status that corresponds to the code.
    #[serde(rename = "http")]
    pub http_status: u16,
    /// True if the same command may succeed later.
    #[serde(rename = "temp")]
    pub temporary: bool,
    /// Text of the reason, for people.
    #[serde(rename = "msg")]
    pub message: String,
    /// Time to wait before the next attempt, in milliseconds; present on temporary refusals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

// === impl Response ===

impl Response {
    /// Returns the JSON text of the response to the request with this `id`.
    pub fn encode(&self, id: Option<i64>) -> String {
        splice(self.tag(), id, &self.fields())
    }

    /// Decodes the shape named `tag`; `None` if no response has that name.
    pub(crate) fn decode(tag: &str, text: &str) -> Option<Result<Response, serde_json::Error>> {
        Response::read(tag, text)
    }
}

impl ErrorResponse {
    /// Returns a refusal whose other fields follow from its code. A temporary one without `retry_ms` gets 1,000 ms.
    pub fn new(code: ErrorCode, msg: impl Into<String>, retry_ms: Option<u64>) -> ErrorResponse {
        let temp = code.temporary();
        // A permanent refusal carries no delay: a client could take it as permission to retry.
        let retry_ms = if temp { retry_ms.or(Some(1_000)) } else { None };
        ErrorResponse {
            code,
            http_status: code.http(),
            temporary: temp,
            message: msg.into(),
            retry_ms,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}
