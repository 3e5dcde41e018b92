//! Echo filter: a session's own messages sent with `echo:false`, until they have passed. Pure.
//!
//! A live event names the excluded session. An event read from the log does not, and a resuming session has another
//! tag. So the session recognises such a message itself: by its seq once it is acknowledged, by its `cid` before.

use std::collections::HashMap;

use protocol::{ClientMessageId, ConversationId, EncodedEvent, Event, UserId};

use crate::state_machine::EventEnvelope;

/// Maximum number of messages in the filter. Beyond it the oldest one of the conversation, or the newest one of another
/// conversation, is echoed. A client has to handle that anyway, by the `cid`.
const MOST: usize = 1_024;
/// Bytes at the start of a message among which its author is found.
const HEAD: usize = 256;

/// Messages that must not be echoed.
#[derive(Debug, Default)]
pub(super) struct EchoFilter {
    convs: HashMap<ConversationId, Vec<OwnMessage>>,
    len: usize,
}

/// Message that has not passed yet.
#[derive(Debug)]
struct OwnMessage {
    cid: ClientMessageId,
    /// `None` until the message is acknowledged.
    s: Option<u64>,
}

// === impl EchoFilter ===

impl EchoFilter {
    /// Adds a message that is being sent.
    pub(super) fn sent(&mut self, conv: &ConversationId, cid: &ClientMessageId) {
        if self.len >= MOST && self.convs.get(conv).is_none_or(Vec::is_empty) {
            return;
        }
        let own = self.convs.entry(conv.clone()).or_default();
        if own.iter().any(|own| own.cid == *cid) {
            return;
        }
        if self.len >= MOST {
            own.remove(0);
            self.len -= 1;
        }
        own.push(OwnMessage {
            cid: cid.clone(),
            s: None,
        });
        self.len += 1;
    }

    /// Records the seq of a message. `passed`: position up to which the session has all events.
    pub(super) fn placed(&mut self, conv: &ConversationId, cid: &ClientMessageId, s: u64, passed: u64) {
        if let Some(own) = self.convs.get_mut(conv)
            && let Some(own) = own.iter_mut().find(|own| own.cid == *cid)
        {
            own.s = Some(s);
        }
        self.passed(conv, passed);
    }

    /// Removes a permanently refused message.
    pub(super) fn refused(&mut self, conv: &ConversationId, cid: &ClientMessageId) {
        self.retain(conv, |own| own.cid != *cid);
    }

    /// Removes the messages up to seq `s`, which the session has passed.
    pub(super) fn passed(&mut self, conv: &ConversationId, s: u64) {
        if self.len > 0 {
            self.retain(conv, |own| own.s.is_none_or(|own_s| own_s > s));
        }
    }

    /// Returns true if the event is one of these messages, and removes it from the filter.
    pub(super) fn takes(&mut self, event: &EventEnvelope, user: &UserId) -> bool {
        if self.len == 0 {
            return false;
        }
        let Some(own) = self.convs.get(&event.conv) else {
            return false;
        };
        // Events are decoded only while a message has no seq: most events belong to other users.
        let unplaced = own.iter().any(|own| own.s.is_none());
        let known = own.iter().find(|own| own.s == Some(event.seq));
        let cid = match known {
            Some(own) => Some(own.cid.clone()),
            None if unplaced => own_cid(event, user).filter(|cid| own.iter().any(|own| own.cid == *cid)),
            None => None,
        };
        let Some(cid) = cid else { return false };
        self.retain(&event.conv, |own| own.cid != cid);
        true
    }

    pub(super) fn forget(&mut self, conv: &ConversationId) {
        self.retain(conv, |_| false);
    }

    /// Returns all messages of the filter, for the session that resumes this one.
    pub(super) fn all(&self) -> Vec<(ConversationId, ClientMessageId)> {
        let all = self.convs.iter();
        all.flat_map(|(conv, own)| own.iter().map(|own| (conv.clone(), own.cid.clone())))
            .collect()
    }

    fn retain(&mut self, conv: &ConversationId, stays: impl Fn(&OwnMessage) -> bool) {
        let Some(own) = self.convs.get_mut(conv) else {
            return;
        };
        let before = own.len();
        own.retain(stays);
        self.len -= before - own.len();
        if own.is_empty() {
            self.convs.remove(conv);
        }
    }
}

/// Returns the client message id of a message that the user sent.
fn own_cid(event: &EventEnvelope, user: &UserId) -> Option<ClientMessageId> {
    // A search for bytes first: most events belong to other users and need no decoding.
    let author = format!("\"u\":\"{user}\"");
    let head = &event.tail[..event.tail.len().min(HEAD)];
    if !head.windows(author.len()).any(|part| part == author.as_bytes()) {
        return None;
    }
    let event = EncodedEvent::from_tail(&event.tail).ok()?.event()?;
    match event {
        Event::Msg(msg) if msg.user == *user => Some(msg.client_message_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::state_machine::LoggedEvent;

    fn conv() -> ConversationId {
        ConversationId::parse("g_1").unwrap()
    }

    fn cid(text: &str) -> ClientMessageId {
        ClientMessageId::parse(text).unwrap()
    }

    fn message(s: u64, user: &str, cid: &str) -> EventEnvelope {
        let tail =
            format!(r#""t":"msg","c":"g_1","s":{s},"mn":1,"ts":5,"u":"{user}","cid":"{cid}","b":{{}}}}"#);
        let tail = Bytes::from(tail);
        EventEnvelope::replay(conv(), LoggedEvent { s, tail })
    }

    #[test]
    fn a_message_is_known_by_its_id_until_its_seq_and_passes_once() {
        let me: UserId = "alice".parse().unwrap();
        let mut quiet = EchoFilter::default();
        for id in ["a", "b", "c", "d"] {
            quiet.sent(&conv(), &cid(id));
        }
        // The acknowledgement or the event arrives first.
        quiet.placed(&conv(), &cid("a"), 4, 3);
        assert!(!quiet.takes(&message(3, "bob", "b"), &me), "somebody else's");
        assert!(!quiet.takes(&message(3, "alice", "x"), &me), "of another device");
        assert!(quiet.takes(&message(4, "alice", "a"), &me));
        assert!(!quiet.takes(&message(4, "alice", "a"), &me), "once");
        assert!(quiet.takes(&message(5, "alice", "b"), &me));
        // Messages that passed live or within a gap, and a refused one.
        quiet.placed(&conv(), &cid("c"), 6, 6);
        quiet.refused(&conv(), &cid("d"));
        assert_eq!((quiet.all(), quiet.len), (vec![], 0));
    }

    #[test]
    fn what_never_passes_is_bounded() {
        let mut quiet = EchoFilter::default();
        for n in 0..3 * MOST {
            quiet.sent(&conv(), &cid(&n.to_string()));
            quiet.sent(&ConversationId::parse(&format!("g_{n}")).unwrap(), &cid("x"));
        }
        assert!(quiet.len <= MOST && quiet.all().len() == quiet.len);
    }
}
