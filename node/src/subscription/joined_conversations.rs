//! Redaction for members who joined later: removes the words of an earlier message from an edit of it. Pure.
//!
//! Reads are redacted by the owner, which has the member's row. A live event is the same for all subscribers, so each
//! session redacts it by itself. It needs the event by which its user joined, and whether new members read from their
//! joining on; the event stream contains changes of that setting. Members since the first event, the usual case, have
//! no entry.

use std::collections::HashMap;

use bytes::Bytes;
use protocol::{ConversationId, EncodedEvent, Event, HistoryVisibility};

use crate::state_machine::EventEnvelope;
use crate::state_machine::query::without_words;

/// Conversations that the user joined after their first event.
#[derive(Debug, Default)]
pub(crate) struct JoinedConversations(HashMap<ConversationId, JoinedConversation>);

#[derive(Clone, Copy, Debug)]
struct JoinedConversation {
    /// Seq of the event by which the user became a member.
    since: u64,
    history: HistoryVisibility,
}

// === impl JoinedConversations ===

impl JoinedConversations {
    /// Records that the user is a member since that event.
    pub(crate) fn admitted(&mut self, conv: &ConversationId, since: u64, history: HistoryVisibility) {
        if since > 1 {
            self.0.insert(conv.clone(), JoinedConversation { since, history });
        } else {
            self.0.remove(conv);
        }
    }

    /// Removes a conversation that is no longer followed.
    pub(crate) fn forget(&mut self, conv: &ConversationId) {
        self.0.remove(conv);
    }

    /// Returns the redacted event, or `None` if the user may read the event as it is.
    pub(crate) fn visible(&mut self, published: &EventEnvelope) -> Option<Bytes> {
        let joined = self.0.get_mut(&published.conv)?;
        // A change of the setting applies from this event on.
        if let Some(history) = history(&published.tail) {
            joined.history = history;
        }
        match joined.history {
            HistoryVisibility::Joined => without_words(&published.tail, joined.since),
            HistoryVisibility::All => None,
        }
    }
}

/// Returns the history visibility that an event sets; `None` if it does not change.
pub(crate) fn history(tail: &Bytes) -> Option<HistoryVisibility> {
    // By prefix: decoding every event of a busy conversation would cost too much.
    if !tail.starts_with(br#""t":"meta""#) {
        return None;
    }
    match EncodedEvent::from_tail(tail).ok()?.event()? {
        Event::Meta(meta) => meta.history,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv() -> ConversationId {
        ConversationId::parse("g_1").unwrap()
    }

    fn event(seq: u64, rest: &str) -> EventEnvelope {
        EventEnvelope {
            conv: conv(),
            seq,
            tail: format!(r#"{rest},"c":"g_1","s":{seq},"ts":9,"u":"al"}}"#).into(),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        }
    }

    fn edit(seq: u64, of: u64) -> EventEnvelope {
        let tail = format!(r#""t":"edit","c":"g_1","s":{seq},"of":{of},"u":"al","ts":9,"b":{{"x":1}}}}"#);
        EventEnvelope {
            tail: tail.into(),
            ..event(seq, "")
        }
    }

    #[test]
    fn a_new_member_gets_edits_of_earlier_messages_without_words() {
        let mut joined_conversations = JoinedConversations::default();
        assert_eq!(
            joined_conversations.visible(&edit(9, 3)),
            None,
            "a member from the start"
        );
        joined_conversations.admitted(&conv(), 5, HistoryVisibility::Joined);
        let left = joined_conversations.visible(&edit(9, 3)).unwrap();
        assert!(left.ends_with(br#""b":{},"deleted":true}"#), "{left:?}");
        assert_eq!(joined_conversations.visible(&edit(9, 5)), None);
        assert_eq!(
            joined_conversations.visible(&event(9, r#""t":"msg","b":{"x":1}"#)),
            None
        );
        // This event changes the history visibility.
        joined_conversations.visible(&event(10, r#""t":"meta","history":"all""#));
        assert_eq!(joined_conversations.visible(&edit(11, 3)), None);
        joined_conversations.visible(&event(12, r#""t":"meta","title":"x""#));
        joined_conversations.visible(&event(13, r#""t":"meta","history":"joined""#));
        assert!(joined_conversations.visible(&edit(14, 3)).is_some());
        joined_conversations.forget(&conv());
        assert_eq!(joined_conversations.visible(&edit(15, 3)), None);
    }
}
