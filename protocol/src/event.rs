//! Server events: each is encoded once, as a *tail* that all receivers share.
//!
//! A session's frame is `{"n":413,` followed by the tail, `"t":"msg",…}`. The stored bytes are the tail too, so live
//! events, history and sync are identical by construction.
//!
//! The state machine of `node` encodes each event; the fan-out passes the tail on.

use crate::codec::FrameHead;
pub use crate::codec::event_frame;
use crate::groups::conversation::ConversationSnapshot;
pub use crate::groups::cursors::ReceiptEvent;
pub use crate::groups::membership::MemberEvent;
pub use crate::groups::message_changes::{DeleteEvent, EditEvent, edited, tombstone};
pub use crate::groups::messages::{MessageEvent, MessageParts};
pub use crate::groups::presence::{PresenceEvent, PresenceState, TypingEvent};
pub use crate::groups::reactions::ReactionEvent;
pub use crate::groups::session::{CloseEvent, ResyncEvent};
pub use crate::groups::settings::MetadataEvent;
pub use crate::groups::sync::ActivityEvent;
pub use crate::groups::users::ProfileEvent;
use crate::payload::EncodedEvent;
use crate::shape::events;

events! {
    /// Every event that the server pushes to a session.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Event {
        /// A message was sent to a conversation.
        Msg(MessageEvent) = "msg",
        /// The body of a message was replaced.
        Edit(EditEvent) = "edit",
        /// A message was deleted for all members.
        Del(DeleteEvent) = "del",
        /// A reaction to a message was set or removed.
        React(ReactionEvent) = "react",
        /// The title or the history setting of a conversation changed.
        Meta(MetadataEvent) = "meta",
        /// The membership of a user changed.
        Member(MemberEvent) = "member",
        /// A conversation is new to the session, or another device of the user changed mute or pin.
        Conv(ConversationSnapshot) = "conv",
        /// A message was sent in a conversation whose events this session did not receive live.
        Activity(ActivityEvent) = "activity",
        /// The cursors of a member moved.
        Receipt(ReceiptEvent) = "receipt",
        /// A member is typing or has stopped.
        Typing(TypingEvent) = "typing",
        /// A watched user came online or went offline.
        Presence(PresenceEvent) = "presence",
        /// The profile of a watched user changed.
        Profile(ProfileEvent) = "profile",
        /// Events were dropped, and the client must run `sync`.
        Resync(ResyncEvent) = "resync",
        /// The server is about to close the connection.
        Bye(CloseEvent) = "bye",
    }
}

// === impl Event ===

impl Event {
    /// Decodes an event with or without its session number; `None` for a shape of a later version.
    pub fn decode(text: &str) -> Option<Event> {
        let head = FrameHead::read(text).ok()?;
        Event::read(head.tag.as_deref()?, text)?.ok()
    }
}

// === impl EncodedEvent ===

impl EncodedEvent {
    /// Returns the frame of this event with a session's event number.
    pub fn frame(&self, session_seq: u64) -> String {
        event_frame(session_seq, self.tail())
    }

    /// Returns the decoded event; `None` for an event of a later version.
    pub fn event(&self) -> Option<Event> {
        Event::decode(self.as_str())
    }
}
