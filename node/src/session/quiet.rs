//! Which of its own messages a session doesn't want to see: those sent with `echo:false`, until they have passed. Pure.
//!
//! A live event says which session doesn't want it. One that is read from the log doesn't, and a session that goes on
//! elsewhere has another tag, so the session itself knows: by the place once the message is acknowledged, by its `cid`
//! before.

use std::collections::HashMap;

use protocol::{Cid, ConvId, Event, RawEvent, UserId};

use crate::conversation::timeline::Published;

/// Messages that have not passed yet, at most: beyond, the oldest of the conversation, or the newest of another one, is shown
/// when it comes. A client has to bear that anyhow (the `cid` tells).
const MOST: usize = 1_024;
/// The author stands within the first bytes of a message.
const HEAD: usize = 256;

/// The messages that are not to be shown.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    convs: HashMap<ConvId, Vec<Own>>,
    len: usize,
}

/// A message that has not passed yet.
#[derive(Debug)]
struct Own {
    cid: Cid,
    /// Its place, once it is known.
    s: Option<u64>,
}

// === impl Quiet ===

impl Quiet {
    /// A message is sent.
    pub(super) fn sent(&mut self, conv: &ConvId, cid: &Cid) {
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
        own.push(Own {
            cid: cid.clone(),
            s: None,
        });
        self.len += 1;
    }

    /// A message has its place. `passed`: the session has everything up to there.
    pub(super) fn placed(&mut self, conv: &ConvId, cid: &Cid, s: u64, passed: u64) {
        if let Some(own) = self.convs.get_mut(conv)
            && let Some(own) = own.iter_mut().find(|own| own.cid == *cid)
        {
            own.s = Some(s);
        }
        self.passed(conv, passed);
    }

    /// A message was refused for good.
    pub(super) fn refused(&mut self, conv: &ConvId, cid: &Cid) {
        self.retain(conv, |own| own.cid != *cid);
    }

    /// The session has everything up to `s`.
    pub(super) fn passed(&mut self, conv: &ConvId, s: u64) {
        if self.len > 0 {
            self.retain(conv, |own| own.s.is_none_or(|place| place > s));
        }
    }

    /// Whether the event is one of these messages, which has passed by that.
    pub(super) fn takes(&mut self, event: &Published, user: &UserId) -> bool {
        if self.len == 0 {
            return false;
        }
        let Some(own) = self.convs.get(&event.conv) else {
            return false;
        };
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

    /// Forgets a conversation.
    pub(super) fn forget(&mut self, conv: &ConvId) {
        self.retain(conv, |_| false);
    }

    /// What a session that goes on with this one has to know.
    pub(super) fn all(&self) -> Vec<(ConvId, Cid)> {
        let all = self.convs.iter();
        all.flat_map(|(conv, own)| own.iter().map(|own| (conv.clone(), own.cid.clone())))
            .collect()
    }

    fn retain(&mut self, conv: &ConvId, stays: impl Fn(&Own) -> bool) {
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

/// The client's id of a message that the user sent. Most events are somebody else's, and are not decoded.
fn own_cid(event: &Published, user: &UserId) -> Option<Cid> {
    let author = format!("\"u\":\"{user}\"");
    let head = &event.tail[..event.tail.len().min(HEAD)];
    if !head.windows(author.len()).any(|part| part == author.as_bytes()) {
        return None;
    }
    let event = RawEvent::from_tail(&event.tail).ok()?.event()?;
    match event {
        Event::Msg(msg) if msg.u == *user => Some(msg.cid),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::conversation::timeline::read::Logged;

    fn conv() -> ConvId {
        ConvId::parse("g_1").unwrap()
    }

    fn cid(text: &str) -> Cid {
        Cid::parse(text).unwrap()
    }

    fn message(s: u64, user: &str, cid: &str) -> Published {
        let tail =
            format!(r#""t":"msg","c":"g_1","s":{s},"mn":1,"ts":5,"u":"{user}","cid":"{cid}","b":{{}}}}"#);
        let tail = Bytes::from(tail);
        Published::replay(conv(), Logged { s, tail })
    }

    #[test]
    fn a_message_is_known_by_its_id_until_its_place_is_and_passes_once() {
        let me: UserId = "alice".parse().unwrap();
        let mut quiet = Quiet::default();
        for id in ["a", "b", "c", "d"] {
            quiet.sent(&conv(), &cid(id));
        }
        // The place comes first, or the event.
        quiet.placed(&conv(), &cid("a"), 4, 3);
        assert!(!quiet.takes(&message(3, "bob", "b"), &me), "somebody else's");
        assert!(!quiet.takes(&message(3, "alice", "x"), &me), "of another device");
        assert!(quiet.takes(&message(4, "alice", "a"), &me));
        assert!(!quiet.takes(&message(4, "alice", "a"), &me), "once");
        assert!(quiet.takes(&message(5, "alice", "b"), &me));
        // What has passed live, or was jumped over, and what never came to be.
        quiet.placed(&conv(), &cid("c"), 6, 6);
        quiet.refused(&conv(), &cid("d"));
        assert_eq!((quiet.all(), quiet.len), (vec![], 0));
    }

    #[test]
    fn what_never_passes_is_bounded() {
        let mut quiet = Quiet::default();
        for n in 0..3 * MOST {
            quiet.sent(&conv(), &cid(&n.to_string()));
            quiet.sent(&ConvId::parse(&format!("g_{n}")).unwrap(), &cid("x"));
        }
        assert!(quiet.len <= MOST && quiet.all().len() == quiet.len);
    }
}
