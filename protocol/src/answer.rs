//! What the server answers. Each shape carries the request's `id`, if it had one; `hello` opens a
//! connection and has none.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::RawEvent;
use crate::codec::{shapes, splice};
use crate::error::ErrorCode;
use crate::ids::{Cid, ConvId, UserId};
use crate::role::{GroupInvite, History, Kind, Role};

shapes! {
    /// Everything the server says apart from events.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Answer {
        /// The first frame of a connection.
        Hello(Hello) = "hello",
        /// The session is open.
        Ready(Ready) = "ready",
        /// A change is durable and applied.
        Ack(Ack) = "ack",
        /// Done, nothing to tell.
        Ok(Empty) = "ok",
        /// A conversation as its member sees it.
        Conv(Conv) = "conv",
        /// A page of the user's conversations.
        Inbox(Inbox) = "inbox",
        /// A page of a log.
        Hist(Hist) = "hist",
        /// A page of a conversation's members.
        Members(Members) = "members",
        /// What was missed.
        Delta(Delta) = "delta",
        /// The user's own settings.
        Me(Me) = "me",
        /// The server lives.
        Hb(Hb) = "hb",
        /// Refused.
        Err(Err) = "err",
    }
}

/// `hello`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Hello {
    /// The protocol's version.
    pub proto: u32,
    /// The name of the node, for support.
    pub server: String,
    /// How often the client should say `hb`, in milliseconds.
    pub hb_ms: u64,
    /// How long the client has for `auth`, in milliseconds.
    pub auth_ms: u64,
    /// The largest message accepted, in bytes.
    pub max_frame: u64,
    /// The server's clock, in milliseconds since the epoch.
    pub time: u64,
}

/// `ready`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Who the token says the client is.
    pub user: UserId,
    /// The session, to be presented at a resume.
    pub sid: String,
    /// Whether the session goes on exactly at `n + 1`.
    pub resumed: bool,
    /// The number of the last event before those that follow.
    pub n: u64,
    /// Why the session was not resumed although it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<NotResumed>,
    /// How long the session can be resumed after its socket is gone, in milliseconds.
    pub resume_ttl_ms: u64,
    /// The limits in force.
    pub limits: Limits,
}

/// Why a session was not resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotResumed {
    /// Too long gone.
    Expired,
    /// No such session of this user and device.
    Unknown,
    /// The events behind the client's are not all there any more, or the client claims events that were never sent.
    Gap,
}

/// The limits that `ready` tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes: u64,
    /// Sends per second, sustained.
    pub sends_per_s: u32,
    /// Sends at once.
    pub burst: u32,
    /// Ephemeral commands per second.
    pub ephemeral_per_s: u32,
}

/// `ack`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ack {
    /// The conversation.
    pub c: ConvId,
    /// The command's idempotency key.
    pub cid: Cid,
    /// The event's place in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s: Option<u64>,
    /// The message's ordinal; absent if the event is no message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mn: Option<u64>,
    /// The event's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<u64>,
    /// The command had been done before: this is the first result.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dup: bool,
}

/// An answer without fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Empty {}

/// `conv`, both an answer and an event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Conv {
    /// The conversation.
    pub c: ConvId,
    /// Its kind.
    pub kind: Kind,
    /// Its title.
    #[serde(default)]
    pub title: Option<String>,
    /// The user's role.
    pub role: Option<Role>,
    /// The end of the log; live events continue at `last.s + 1`.
    pub last: Last,
    /// The user's read cursor.
    pub read: u64,
    /// The user's delivered cursor.
    pub delivered: u64,
    /// Whether the user wants no alerts.
    #[serde(default)]
    pub muted: bool,
    /// Whether the user keeps it on top.
    #[serde(default)]
    pub pinned: bool,
    /// How far back a new member may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// The number of members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// The other side of a direct conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// What was missed since `have`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<RawEvent>>,
    /// The events don't start at `have + 1`: more was missed than they hold.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gap: bool,
}

/// The end of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Last {
    /// The last event.
    pub s: u64,
    /// The ordinal of the last message.
    pub mn: u64,
    /// The time of the last event.
    pub ts: u64,
}

/// The other side of a direct conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// The user.
    pub u: UserId,
    /// What has arrived there.
    pub delivered: u64,
    /// What was read there.
    pub read: u64,
}

/// `inbox`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Inbox {
    /// The conversations, the latest activity first.
    pub items: Vec<Item>,
    /// The cursor of the next page, null after the last.
    #[serde(default)]
    pub next: Option<String>,
}

/// One conversation in the inbox.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Item {
    /// The conversation.
    pub c: ConvId,
    /// Its kind.
    pub kind: Kind,
    /// Its title.
    #[serde(default)]
    pub title: Option<String>,
    /// The user's role; null when the row is stale.
    #[serde(default)]
    pub role: Option<Role>,
    /// The last event; null when the row is stale.
    #[serde(default)]
    pub last: Option<RawEvent>,
    /// Messages above the read cursor that are there to be read.
    #[serde(default)]
    pub unread: u64,
    /// Unread messages that mention the user.
    #[serde(default)]
    pub mentions: u64,
    /// The user's read cursor.
    #[serde(default)]
    pub read: u64,
    /// The user's delivered cursor.
    #[serde(default)]
    pub delivered: u64,
    /// Whether the user wants no alerts.
    #[serde(default)]
    pub muted: bool,
    /// Whether the user keeps it on top.
    #[serde(default)]
    pub pinned: bool,
    /// The other side of a direct conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// The conversation's owner didn't answer in time: only `c` and `kind` count, ask again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stale: bool,
}

/// `hist`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Hist {
    /// The conversation.
    pub c: ConvId,
    /// Events in ascending order.
    pub events: Vec<RawEvent>,
    /// Whether the log goes on in the direction asked for.
    pub more: bool,
    /// The events don't begin behind `after`: what was there is gone, or is not for this member, or the log ends before it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gap: bool,
}

/// `members`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Members {
    /// The members, in the order of their ids.
    pub items: Vec<Member>,
    /// The cursor of the next page, null after the last.
    #[serde(default)]
    pub next: Option<String>,
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The user.
    pub u: UserId,
    /// The role.
    pub role: Role,
    /// What has arrived there; absent in conversations of more than 256 members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<u64>,
    /// What was read there; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
}

/// `delta`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Delta {
    /// Up to where the items reach: buffered live events above are applied after them.
    pub as_of: Vec<(ConvId, u64)>,
    /// What was missed, per conversation.
    pub items: Vec<DeltaItem>,
    /// The cursor of the next page, null after the last.
    #[serde(default)]
    pub next: Option<String>,
}

/// What was missed in one conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeltaItem {
    /// The conversation.
    pub c: ConvId,
    /// Events in ascending order, without a hole.
    pub events: Vec<RawEvent>,
    /// The events don't start at `have + 1`: they are the newest, `hist` has the others.
    #[serde(default)]
    pub gap: bool,
}

/// `me`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The user.
    pub u: UserId,
    /// Who may make the user a member of groups and channels.
    pub group_invite: GroupInvite,
}

/// `hb`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Hb {
    /// The server's clock, in milliseconds since the epoch.
    pub time: u64,
}

/// `err`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Err {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The HTTP status that goes with it.
    pub http: u16,
    /// Whether the same command may succeed later.
    pub temp: bool,
    /// The reason, for people.
    pub msg: String,
    /// How long to wait before the next try, in milliseconds; on temporary refusals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

// === impl Answer ===

impl Answer {
    /// Returns the text of the answer to the request numbered `id`.
    pub fn encode(&self, id: Option<i64>) -> String {
        splice(self.tag(), id, &self.fields())
    }

    /// Reads the shape named `tag`; `None` if there is no such answer.
    pub(crate) fn decode(tag: &str, text: &str) -> Option<Result<Answer, serde_json::Error>> {
        Answer::read(tag, text)
    }
}

impl Err {
    /// Returns the refusal with what its code implies. A temporary one without `retry_ms` gets 1,000.
    pub fn new(code: ErrorCode, msg: impl Into<String>, retry_ms: Option<u64>) -> Err {
        let temp = code.temporary();
        let retry_ms = if temp { retry_ms.or(Some(1_000)) } else { None };
        Err {
            code,
            http: code.http(),
            temp,
            msg: msg.into(),
            retry_ms,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}
