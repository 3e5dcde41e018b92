//! Client commands: decodes a text message into a [`Request`] and checks every field.
//!
//! Spine: step 2 of 13. Previous: `node: gateway/websocket/reader`. Next: `node: session/actor/send`.
//!
//! A text message has at most `max_frame` bytes. Checks that need state (membership, existence) happen where the state
//! is.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::{FrameHead, shapes, splice};
use crate::error::ErrorCode;
use crate::ids::ConversationId;
use crate::{limits, text};

mod message;

mod membership;

mod users;

pub use membership::{
    CreateConversation, JoinConversation, LeaveConversation, ListMembers, MemberAction, SetRole,
    UpdateConversation,
};
pub use message::{DeleteMessage, EditMessage, SendMessage, SendTarget, SetReaction, SetTyping};
pub use users::{BlockUser, UpdateProfile, WatchUsers};

/// A command and the request number that its response repeats.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Number chosen by the client and repeated in the response; `None` if the response needs none.
    pub id: Option<i64>,
    /// The command that the client sent.
    pub command: ClientCommand,
}

/// Error of a text that is no valid request, with the fields of the `err` response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct DecodeError {
    /// The request's `id`; `None` if it was absent or unreadable.
    pub id: Option<i64>,
    /// Either [`ErrorCode::BadRequest`] or [`ErrorCode::TooLarge`].
    pub code: ErrorCode,
    /// Description of the defect, for the developer of the client.
    pub message: String,
}

shapes! {
    /// Every command that a client can send.
    #[derive(Clone, PartialEq, Debug)]
    pub enum ClientCommand {
        /// Authenticates the connection; sent again later, it renews the token.
        Auth(Authenticate) = "auth",
        /// Sends a message to a conversation or to a user.
        Send(SendMessage) = "send",
        /// Replaces the body of a message.
        Edit(EditMessage) = "edit",
        /// Deletes a message for all members.
        Del(DeleteMessage) = "del",
        /// Sets or removes a reaction to a message.
        React(SetReaction) = "react",
        /// Creates a conversation with its initial members.
        Create(CreateConversation) = "create",
        /// Adds a user to a group or channel.
        Invite(MemberAction) = "invite",
        /// Removes a member from a conversation.
        Kick(MemberAction) = "kick",
        /// Removes a user from a conversation and prevents the user from joining again.
        Ban(MemberAction) = "ban",
        /// Lifts the ban of a user.
        Unban(MemberAction) = "unban",
        /// Changes the role of a member.
        Role(SetRole) = "role",
        /// Makes the user a member of a channel.
        Join(JoinConversation) = "join",
        /// Ends the user's membership in a conversation.
        Leave(LeaveConversation) = "leave",
        /// Changes the title or history setting for all members, or the user's own mute and pin.
        Set(UpdateConversation) = "set",
        /// Moves the user's read cursor in a conversation.
        Read(MoveCursor) = "read",
        /// Moves the user's delivered cursor in a conversation.
        Recv(MoveCursor) = "recv",
        /// Returns one conversation and subscribes the session to it.
        Open(OpenConversation) = "open",
        /// Lists the user's conversations, the latest activity first.
        List(ListConversations) = "list",
        /// Returns a page of a conversation's events.
        Hist(GetHistory) = "hist",
        /// Returns the missed events of many conversations.
        Sync(SyncRequest) = "sync",
        /// Lists the members of a conversation.
        Members(ListMembers) = "members",
        /// Announces that the user is typing or has stopped.
        Typing(SetTyping) = "typing",
        /// Subscribes the session to the presence of users.
        Watch(WatchUsers) = "watch",
        /// Ends the subscription to the presence of users.
        Unwatch(WatchUsers) = "unwatch",
        /// Blocks a user: refuses the user's direct messages and invitations.
        Block(BlockUser) = "block",
        /// Unblocks a user who was blocked before.
        Unblock(BlockUser) = "unblock",
        /// Returns the user's settings, after changing those that are given.
        Me(UpdateProfile) = "me",
        /// Reports that the client is alive, and the last event that it has applied.
        Hb(Heartbeat) = "hb",
    }
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
    pub resume: Option<ResumeSession>,
}

/// The session to resume and the last event that the client has applied.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Resume)]
pub struct ResumeSession {
    /// The `sid` from the `ready` of that session.
    #[serde(rename = "sid")]
    pub session_id: String,
    /// The last event number that the client has applied.
    #[serde(rename = "n")]
    pub session_seq: u64,
}

/// Fields of the `read` and `recv` commands, which move a cursor of the user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Cursor)]
pub struct MoveCursor {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// New cursor position: up to and including this `s`. A value beyond the last event is reduced to it.
    #[serde(rename = "s")]
    pub seq: u64,
}

/// Fields of the `open` command, which returns a conversation and subscribes the session to it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Open)]
pub struct OpenConversation {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The last `s` that the client has; without it no events are returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<u64>,
}

/// Fields of the `list` command, which returns a page of the user's conversations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::List)]
pub struct ListConversations {
    /// The `next` of the previous page; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
    /// Page size, 1 to 100; 50 if absent. A larger value is reduced to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Fields of the `hist` command, which returns a page of events. At most one of `before` and `after` is given; without
/// either, the newest page is returned.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Hist)]
pub struct GetHistory {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Returns the newest events below this `s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Returns the oldest events above this `s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Page size, 1 to 100; 50 if absent. A larger value is reduced to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Fields of the `sync` command, which returns the missed events of many conversations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Sync)]
pub struct SyncRequest {
    /// Pairs of a conversation and the last `s` that the client has there, at most 200. Conversations that are absent
    /// are sent from the start of the membership.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub have: Vec<(ConversationId, u64)>,
    /// The `next` of the previous page; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
}

/// Fields of the `hb` command, the heartbeat of the client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Hb)]
pub struct Heartbeat {
    /// Number of the last event that the client has applied. It confirms all events up to that number.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub session_seq: Option<u64>,
}

type Reject = (ErrorCode, String);

// === impl Request ===

impl Request {
    /// Decodes one text message. Returns `Ok(None)` for a message to be ignored: an unknown `t` without an `id`.
    pub fn decode(text: &str) -> Result<Option<Request>, DecodeError> {
        let refuse = |id, (code, msg)| {
            Err(DecodeError {
                id,
                code,
                message: msg,
            })
        };
        // The scan comes before any parser: deep nesting would cost a recursive parser its stack.
        // The `id` is read from the flawed text nevertheless, since a client matches the error by it.
        if let Err(flaw) = text::scan(text) {
            return refuse(text::id(text), bad(flaw));
        }
        // Serde accepts a sequence for a struct too, so a list must be refused here.
        if !text.trim_start().starts_with('{') {
            return refuse(None, bad("a frame must be one JSON object"));
        }
        let head = match FrameHead::read(text) {
            Ok(head) => head,
            Err(error) => return refuse(text::id(text), bad(error)),
        };
        let id = match head.id {
            Ok(id) => id,
            Err(why) => return refuse(None, bad(why)),
        };
        let Some(tag) = head.t else {
            return refuse(id, bad("t must be a string"));
        };
        match ClientCommand::read(&tag, text) {
            // Unknown and without `id`: a command of a later version that expects no response, so an error would
            // confuse it.
            None if id.is_none() => Ok(None),
            None => refuse(id, bad(format_args!("unknown t {:?}", clip(&tag)))),
            Some(Err(error)) => refuse(id, bad(error)),
            // Checked after the types: a command that fails here has an `id`, and the client receives the error under
            // it.
            Some(Ok(command)) => match command.check() {
                Ok(()) => Ok(Some(Request { id, command })),
                Err(reject) => refuse(id, reject),
            },
        }
    }

    /// Returns the JSON text of the request.
    pub fn encode(&self) -> String {
        splice(self.command.tag(), self.id, &self.command.fields())
    }
}

// === impl ClientCommand ===

impl ClientCommand {
    /// Checks the rules that the types cannot express: sizes, and fields that exclude each other.
    pub fn check(&self) -> Result<(), (ErrorCode, String)> {
        match self {
            ClientCommand::Auth(auth) => auth.check(),
            ClientCommand::Send(send) => send.check(),
            ClientCommand::Edit(edit) => edit.check(),
            ClientCommand::React(react) => react.check(),
            ClientCommand::Create(create) => create.check(),
            ClientCommand::Set(set) => set.check(),
            ClientCommand::Members(members) => members.check(),
            ClientCommand::Watch(users) | ClientCommand::Unwatch(users) => users.check(),
            ClientCommand::List(ListConversations { cursor, .. }) => {
                longest("cursor", cursor.as_deref(), limits::CURSOR_BYTES)
            }
            ClientCommand::Hist(hist) if hist.before.is_some() && hist.after.is_some() => {
                Err(bad("only one of before and after may be given"))
            }
            ClientCommand::Sync(sync) => {
                most("have", sync.have.len(), limits::SYNC_HAVE)?;
                longest("cursor", sync.cursor.as_deref(), limits::CURSOR_BYTES)
            }
            // No wildcard: a new command must not pass unchecked by accident.
            ClientCommand::Del(_)
            | ClientCommand::Invite(_)
            | ClientCommand::Kick(_)
            | ClientCommand::Ban(_)
            | ClientCommand::Unban(_)
            | ClientCommand::Role(_)
            | ClientCommand::Join(_)
            | ClientCommand::Leave(_)
            | ClientCommand::Typing(_)
            | ClientCommand::Block(_)
            | ClientCommand::Unblock(_)
            | ClientCommand::Read(_)
            | ClientCommand::Recv(_)
            | ClientCommand::Open(_)
            | ClientCommand::Hist(_)
            | ClientCommand::Me(_)
            | ClientCommand::Hb(_) => Ok(()),
        }
    }
}

impl Authenticate {
    fn check(&self) -> Result<(), Reject> {
        longest("token", Some(&self.token), limits::TOKEN_BYTES)?;
        longest("device", self.device.as_deref(), limits::DEVICE_BYTES)?;
        longest("instance", self.instance.as_deref(), limits::DEVICE_BYTES)?;
        longest(
            "resume.sid",
            self.resume.as_ref().map(|resume| resume.session_id.as_str()),
            limits::CURSOR_BYTES,
        )
    }
}

impl fmt::Debug for Authenticate {
    /// Formats without secrets: the token and the session id are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("device", &self.device)
            .field("instance", &self.instance)
            .field("resume", &self.resume.as_ref().map(|resume| resume.session_seq))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ResumeSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("n", &self.session_seq)
            .finish_non_exhaustive()
    }
}

fn bad(why: impl fmt::Display) -> Reject {
    (ErrorCode::BadRequest, why.to_string())
}

fn longest(name: &str, text: Option<&str>, bytes: usize) -> Result<(), Reject> {
    match text {
        Some(text) if text.len() > bytes => Err(bad(format_args!("{name} exceeds {bytes} bytes"))),
        _ => Ok(()),
    }
}

/// Checks that a title is within its limit and displayable. An empty title means none.
fn title(title: Option<&str>) -> Result<(), Reject> {
    longest("title", title, limits::TITLE_BYTES)?;
    match title.filter(|title| !title.is_empty()).map(text::visible) {
        Some(Err(why)) => Err(bad(format_args!("title must have {why}"))),
        _ => Ok(()),
    }
}

fn most(name: &str, len: usize, limit: usize) -> Result<(), Reject> {
    if len > limit {
        Err(bad(format_args!("{name} has more than {limit} entries")))
    } else {
        Ok(())
    }
}

/// Returns at most the first 32 characters of a client's text, short enough to be quoted in an error.
fn clip(text: &str) -> &str {
    match text.char_indices().nth(32) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
