//! Client commands: decodes a text message into a [`Request`] and checks every field.
//!
//! Spine: step 2 of 13. Previous: `node: gateway/websocket/reader`. Next: `node: session/actor/send`.
//!
//! A text message has at most `max_frame` bytes. Checks that need state (membership, existence) happen where the state
//! is.

use crate::check::bad;
use crate::codec::{FrameHead, splice};
use crate::error::ErrorCode;
pub use crate::groups::conversation::{CreateConversation, OpenConversation};
pub use crate::groups::conversation_list::ListConversations;
pub use crate::groups::cursors::MoveCursor;
pub use crate::groups::history::GetHistory;
pub use crate::groups::member_list::ListMembers;
pub use crate::groups::membership::{JoinConversation, LeaveConversation, MemberAction, SetRole};
pub use crate::groups::message_changes::{DeleteMessage, EditMessage};
pub use crate::groups::messages::{SendMessage, SendTarget};
pub use crate::groups::presence::{SetTyping, WatchUsers};
pub use crate::groups::profile::{BlockUser, UpdateProfile};
pub use crate::groups::reactions::SetReaction;
pub use crate::groups::resume::{DeviceResume, ResumeSession, ResumeTarget};
pub use crate::groups::session::{Authenticate, Heartbeat};
pub use crate::groups::settings::UpdateConversation;
pub use crate::groups::sync::SyncRequest;
pub use crate::groups::users::GetUsers;
use crate::shape::commands;
use crate::text;

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

commands! {
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
        /// Returns the user's profile and settings, after changing what is given.
        Me(UpdateProfile) = "me",
        /// Returns the profiles of users.
        Users(GetUsers) = "users",
        /// Reports that the client is alive, and the last event that it has applied.
        Hb(Heartbeat) = "hb",
    }
}

// === impl Request ===

impl Request {
    /// Decodes one text message. Returns `Ok(None)` for a message to be ignored: an unknown `t` without an `id`.
    pub fn decode(text: &str) -> Result<Option<Request>, DecodeError> {
        let refuse = |id, (code, message)| Err(DecodeError { id, code, message });
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
        let Some(tag) = head.tag else {
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

/// Returns at most the first 32 characters of a client's text, short enough to be quoted in an error.
fn clip(text: &str) -> &str {
    match text.char_indices().nth(32) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
