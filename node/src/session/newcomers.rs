//! What one who came later may not read: the words of a message from before, in an edit of it. Pure.
//!
//! What is read is cut by the owner, which has the member's row. What comes live is the same for all who listen, so each
//! session leaves the words out itself. It needs to know no more than since when its user is a member, and whether
//! newcomers read from their joining on, which the stream says when it changes. Most are members from the first event on,
//! and are not kept here.

use std::collections::HashMap;

use bytes::Bytes;
use protocol::{ConvId, Event, History, RawEvent};

use crate::conversation::timeline::Published;
use crate::conversation::timeline::read::without_words;

/// The conversations to which the user came after their first event.
#[derive(Debug, Default)]
pub(super) struct Newcomers(HashMap<ConvId, Newcomer>);

#[derive(Clone, Copy, Debug)]
struct Newcomer {
    /// The event by which the user became a member.
    since: u64,
    history: History,
}

// === impl Newcomers ===

impl Newcomers {
    /// The user is a member since that event.
    pub(super) fn admitted(&mut self, conv: &ConvId, since: u64, history: History) {
        if since > 1 {
            self.0.insert(conv.clone(), Newcomer { since, history });
        } else {
            self.0.remove(conv);
        }
    }

    /// The conversation is not followed any more.
    pub(super) fn forget(&mut self, conv: &ConvId) {
        self.0.remove(conv);
    }

    /// Returns what the user is shown in the place of an event, if that is something else.
    pub(super) fn shown(&mut self, published: &Published) -> Option<Bytes> {
        let newcomer = self.0.get_mut(&published.conv)?;
        if let Some(history) = history(&published.tail) {
            newcomer.history = history;
        }
        match newcomer.history {
            History::Joined => without_words(&published.tail, newcomer.since),
            History::All => None,
        }
    }
}

/// Returns how far back members read from an event on, if that event changes it.
pub(crate) fn history(tail: &Bytes) -> Option<History> {
    if !tail.starts_with(br#""t":"meta""#) {
        return None;
    }
    match RawEvent::from_tail(tail).ok()?.event()? {
        Event::Meta(meta) => meta.history,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv() -> ConvId {
        ConvId::parse("g_1").unwrap()
    }

    fn event(seq: u64, rest: &str) -> Published {
        Published {
            conv: conv(),
            seq,
            tail: format!(r#"{rest},"c":"g_1","s":{seq},"ts":9,"u":"al"}}"#).into(),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        }
    }

    fn edit(seq: u64, of: u64) -> Published {
        let tail = format!(r#""t":"edit","c":"g_1","s":{seq},"of":{of},"u":"al","ts":9,"b":{{"x":1}}}}"#);
        Published {
            tail: tail.into(),
            ..event(seq, "")
        }
    }

    #[test]
    fn a_newcomer_gets_an_edit_of_a_message_from_before_without_its_words() {
        let mut newcomers = Newcomers::default();
        assert_eq!(newcomers.shown(&edit(9, 3)), None, "a member from the start");
        newcomers.admitted(&conv(), 5, History::Joined);
        let left = newcomers.shown(&edit(9, 3)).unwrap();
        assert!(left.ends_with(br#""b":{},"deleted":true}"#), "{left:?}");
        assert_eq!(newcomers.shown(&edit(9, 5)), None);
        assert_eq!(newcomers.shown(&event(9, r#""t":"msg","b":{"x":1}"#)), None);
        // The stream says what members may read from now on.
        newcomers.shown(&event(10, r#""t":"meta","history":"all""#));
        assert_eq!(newcomers.shown(&edit(11, 3)), None);
        newcomers.shown(&event(12, r#""t":"meta","title":"x""#));
        newcomers.shown(&event(13, r#""t":"meta","history":"joined""#));
        assert!(newcomers.shown(&edit(14, 3)).is_some());
        newcomers.forget(&conv());
        assert_eq!(newcomers.shown(&edit(15, 3)), None);
    }
}
