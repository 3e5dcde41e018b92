//! Step 2: a text message becomes a [`Request`].
//!
//! The step before is the WebSocket reader, which hands over one whole message within `max_frame`; the step
//! after is the session, which gets a command whose every field has been checked for shape. What needs
//! state (membership, what exists) is checked where the state is.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::{Head, shapes, splice};
use crate::error::ErrorCode;
use crate::ids::ConvId;
use crate::limits;
use crate::text;

mod message;

mod membership;

mod users;

pub use membership::{ActOn, Create, Join, Leave, Members, Set, SetRole};
pub use message::{Del, Edit, React, Send, Target, Typing};
pub use users::{Block, Me, Users};

/// A command and the number that its answer carries.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Chosen by the client, echoed in the answer; without one the answer has none.
    pub id: Option<i64>,
    /// What is asked.
    pub command: Command,
}

/// Why a text is no request: what the `err` answer says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {msg}")]
pub struct DecodeError {
    /// The request's `id`, if that much could be read.
    pub id: Option<i64>,
    /// [`ErrorCode::BadRequest`] or [`ErrorCode::TooLarge`].
    pub code: ErrorCode,
    /// What is wrong, for the client's developer.
    pub msg: String,
}

shapes! {
    /// Everything a client may ask.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Command {
        /// Says who the client is; again later to renew the token.
        Auth(Auth) = "auth",
        /// Sends a message.
        Send(Send) = "send",
        /// Changes the body of a message.
        Edit(Edit) = "edit",
        /// Deletes a message.
        Del(Del) = "del",
        /// Sets or takes back a reaction to a message.
        React(React) = "react",
        /// Makes a conversation.
        Create(Create) = "create",
        /// Brings a user in.
        Invite(ActOn) = "invite",
        /// Puts a member out.
        Kick(ActOn) = "kick",
        /// Puts a user out and keeps it out.
        Ban(ActOn) = "ban",
        /// Permits a user to come again.
        Unban(ActOn) = "unban",
        /// Changes the role of a member.
        Role(SetRole) = "role",
        /// Comes, to a channel.
        Join(Join) = "join",
        /// Goes.
        Leave(Leave) = "leave",
        /// Changes the title and settings, or what is the user's own: mute and pin.
        Set(Set) = "set",
        /// Moves the read cursor.
        Read(Cursor) = "read",
        /// Moves the delivered cursor.
        Recv(Cursor) = "recv",
        /// Shows one conversation and follows it.
        Open(Open) = "open",
        /// Lists the conversations of the user.
        List(List) = "list",
        /// Reads a page of the log.
        Hist(Hist) = "hist",
        /// Fetches what was missed, for many conversations.
        Sync(Sync) = "sync",
        /// Lists the members of a conversation.
        Members(Members) = "members",
        /// Says that the user is typing, or no longer.
        Typing(Typing) = "typing",
        /// Follows the presence of users.
        Watch(Users) = "watch",
        /// Follows it no longer.
        Unwatch(Users) = "unwatch",
        /// Refuses direct messages of a user.
        Block(Block) = "block",
        /// Accepts them again.
        Unblock(Block) = "unblock",
        /// Shows the user's own settings, after changing those that are given.
        Me(Me) = "me",
        /// Says that the client lives, and what it has got.
        Hb(Hb) = "hb",
    }
}

/// `auth`.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Auth)]
pub struct Auth {
    /// A JWT, or `dev:<user>` in dev mode.
    pub token: String,
    /// The device; a random one is made without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Random per start of the app: tells a reconnect from a second copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The session to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

/// Which session to go on with, and from where.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Resume)]
pub struct Resume {
    /// The session.
    pub sid: String,
    /// The last event number that the client has applied.
    pub n: u64,
}

/// `read` and `recv`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Cursor)]
pub struct Cursor {
    /// The conversation.
    pub c: ConvId,
    /// Up to and including this event; beyond the last it is clamped.
    pub s: u64,
}

/// `open`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Open)]
pub struct Open {
    /// The conversation.
    pub c: ConvId,
    /// The last `s` that the client has; without it no events are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<u64>,
}

/// `list`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::List)]
pub struct List {
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
    /// See [`limits::page`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// `hist`. At most one of `before` and `after` is there; without either the newest page is meant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Hist)]
pub struct Hist {
    /// The conversation.
    pub c: ConvId,
    /// Events below this `s`, the newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Events above this `s`, the oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// See [`limits::page`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// `sync`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Sync)]
pub struct Sync {
    /// What the client has, per conversation. What is absent is sent from the start of membership.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub have: Vec<(ConvId, u64)>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
}

/// `hb`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Hb)]
pub struct Hb {
    /// The last event number that the client has applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
}

type Reject = (ErrorCode, String);

// === impl Request ===

impl Request {
    /// Reads one text message. `Ok(None)` is a message to be ignored: an unknown `t` without an `id`.
    pub fn decode(text: &str) -> Result<Option<Request>, DecodeError> {
        let refuse = |id, (code, msg)| Err(DecodeError { id, code, msg });
        if let Err(flaw) = text::scan(text) {
            return refuse(text::id(text), bad(flaw));
        }
        if !text.trim_start().starts_with('{') {
            return refuse(None, bad("a frame is one JSON object"));
        }
        let head = match Head::read(text) {
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
        match Command::read(&tag, text) {
            None if id.is_none() => Ok(None),
            None => refuse(id, bad(format_args!("unknown t {:?}", clip(&tag)))),
            Some(Err(error)) => refuse(id, bad(error)),
            Some(Ok(command)) => match command.check() {
                Ok(()) => Ok(Some(Request { id, command })),
                Err(reject) => refuse(id, reject),
            },
        }
    }

    /// Returns the text of the request.
    pub fn encode(&self) -> String {
        splice(self.command.tag(), self.id, &self.command.fields())
    }
}

// === impl Command ===

impl Command {
    /// Checks what the types cannot: sizes, and fields that exclude each other.
    pub fn check(&self) -> Result<(), (ErrorCode, String)> {
        match self {
            Command::Auth(auth) => auth.check(),
            Command::Send(send) => send.check(),
            Command::Edit(edit) => edit.check(),
            Command::React(react) => react.check(),
            Command::Create(create) => create.check(),
            Command::Set(set) => set.check(),
            Command::Members(members) => members.check(),
            Command::Watch(users) | Command::Unwatch(users) => users.check(),
            Command::List(List { cursor, .. }) => longest("cursor", cursor.as_deref(), limits::CURSOR_BYTES),
            Command::Hist(hist) if hist.before.is_some() && hist.after.is_some() => {
                Err(bad("before and after exclude each other"))
            }
            Command::Sync(sync) => {
                most("have", sync.have.len(), limits::SYNC_HAVE)?;
                longest("cursor", sync.cursor.as_deref(), limits::CURSOR_BYTES)
            }
            Command::Del(_)
            | Command::Invite(_)
            | Command::Kick(_)
            | Command::Ban(_)
            | Command::Unban(_)
            | Command::Role(_)
            | Command::Join(_)
            | Command::Leave(_)
            | Command::Typing(_)
            | Command::Block(_)
            | Command::Unblock(_)
            | Command::Read(_)
            | Command::Recv(_)
            | Command::Open(_)
            | Command::Hist(_)
            | Command::Me(_)
            | Command::Hb(_) => Ok(()),
        }
    }
}

impl Auth {
    fn check(&self) -> Result<(), Reject> {
        longest("token", Some(&self.token), limits::TOKEN_BYTES)?;
        longest("device", self.device.as_deref(), limits::DEVICE_BYTES)?;
        longest("instance", self.instance.as_deref(), limits::DEVICE_BYTES)?;
        longest(
            "resume.sid",
            self.resume.as_ref().map(|resume| resume.sid.as_str()),
            limits::CURSOR_BYTES,
        )
    }
}

impl fmt::Debug for Auth {
    /// Shows no secret: the token and the session id are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("device", &self.device)
            .field("instance", &self.instance)
            .field("resume", &self.resume.as_ref().map(|resume| resume.n))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("n", &self.n)
            .finish_non_exhaustive()
    }
}

fn bad(why: impl fmt::Display) -> Reject {
    (ErrorCode::BadRequest, why.to_string())
}

fn longest(name: &str, text: Option<&str>, bytes: usize) -> Result<(), Reject> {
    match text {
        Some(text) if text.len() > bytes => Err(bad(format_args!("{name} is over {bytes} bytes"))),
        _ => Ok(()),
    }
}

/// A title, if there is one, is fit to be shown. An empty one is none.
fn title(title: Option<&str>) -> Result<(), Reject> {
    longest("title", title, limits::TITLE_BYTES)?;
    match title.filter(|title| !title.is_empty()).map(text::shown) {
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

/// Returns what of a client's text is fit to be quoted back.
fn clip(text: &str) -> &str {
    match text.char_indices().nth(32) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
