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
use crate::ids::UserId;
use crate::patch::FieldPatch;
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

    /// Replaces a user wherever the fields of an event of the log name it, and removes the custom data of a membership
    /// of that user. Bodies stay as they are. Returns true if something changed.
    pub fn replace_user(&mut self, user: &UserId, by: &UserId) -> bool {
        let mut changed = false;
        let mut replace = |field: &mut UserId| {
            if field == user {
                *field = by.clone();
                changed = true;
            }
        };
        match self {
            Event::Msg(msg) => {
                replace(&mut msg.user);
                msg.mentions.iter_mut().for_each(&mut replace);
            }
            Event::Edit(edit) => {
                replace(&mut edit.user);
                edit.mentions.iter_mut().flatten().for_each(&mut replace);
            }
            Event::Del(del) => replace(&mut del.user),
            Event::React(react) => {
                replace(&mut react.user);
                react.removed_by.iter_mut().for_each(&mut replace);
            }
            Event::Meta(meta) => replace(&mut meta.user),
            Event::Member(member) => {
                if member.member == *user {
                    member.data = FieldPatch::Keep;
                }
                replace(&mut member.user);
                replace(&mut member.member);
            }
            // The others are in no log.
            Event::Conv(_)
            | Event::Activity(_)
            | Event::Receipt(_)
            | Event::Typing(_)
            | Event::Presence(_)
            | Event::Profile(_)
            | Event::Resync(_)
            | Event::Bye(_) => {}
        }
        changed
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_user_is_named_by_no_field_and_bodies_stay() {
        let [ada, gone] = ["ada", "erased_x"].map(|id| UserId::parse(id).unwrap());
        for (before, after) in [
            (
                r#""t":"msg","c":"g_1","s":7,"mn":5,"ts":9,"u":"ada","cid":"ada","b":{"u":"ada","n":1.0},"mentions":["bo","ada"]}"#,
                r#""t":"msg","c":"g_1","s":7,"mn":5,"ts":9,"u":"erased_x","cid":"ada","b":{"u":"ada","n":1.0},"mentions":["bo","erased_x"]}"#,
            ),
            (
                r#""t":"edit","c":"g_1","s":8,"of":7,"u":"ada","ts":9,"b":{"n":1.0},"mentions":["ada"]}"#,
                r#""t":"edit","c":"g_1","s":8,"of":7,"u":"erased_x","ts":9,"b":{"n":1.0},"mentions":["erased_x"]}"#,
            ),
            (
                r#""t":"del","c":"g_1","s":8,"of":7,"u":"ada","ts":9}"#,
                r#""t":"del","c":"g_1","s":8,"of":7,"u":"erased_x","ts":9}"#,
            ),
            (
                r#""t":"react","c":"g_1","s":8,"of":7,"u":"ada","ts":9,"k":"+1","on":false,"by":"ada"}"#,
                r#""t":"react","c":"g_1","s":8,"of":7,"u":"erased_x","ts":9,"k":"+1","on":false,"by":"erased_x"}"#,
            ),
            (
                r#""t":"meta","c":"g_1","s":8,"ts":9,"u":"ada","title":"ada"}"#,
                r#""t":"meta","c":"g_1","s":8,"ts":9,"u":"erased_x","title":"ada"}"#,
            ),
            (
                r#""t":"member","c":"g_1","s":8,"ts":9,"u":"bo","who":"ada","role":"member","why":"role","data":{"n":"Ada"}}"#,
                r#""t":"member","c":"g_1","s":8,"ts":9,"u":"bo","who":"erased_x","role":"member","why":"role"}"#,
            ),
        ] {
            let mut event = EncodedEvent::from_tail(before.as_bytes())
                .unwrap()
                .event()
                .unwrap();
            assert!(event.replace_user(&ada, &gone), "{before}");
            assert_eq!(event.tail(), after);
            assert!(!event.replace_user(&ada, &gone), "{before}");
        }
    }
}
