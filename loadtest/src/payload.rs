//! What a message carries, so that a receiver can judge it without asking the sender: its client id names sender
//! and ordinal, its body the time at which it was due and a check sum over all of it. A body that was altered,
//! swapped or invented doesn't verify.

use std::fmt::Write;

use xxhash_rust::xxh3::Xxh3;

/// Numbers clients from 0.
pub(crate) type ClientIx = u32;
/// Numbers a sender's messages in one conversation from 1.
pub(crate) type Ordinal = u32;

/// Which message: sender and ordinal, unique within a conversation of one run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Tag {
    pub(crate) sender: ClientIx,
    pub(crate) ordinal: Ordinal,
}

/// Makes and checks the messages of one run.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    run: u32,
    prefix: String,
    filler: String,
}

/// `{"x":"` and sixteen digits of time, sixteen of check sum.
const HEAD: usize = 6;
const DIGITS: usize = 16;
/// The smallest body: head, digits, `","y":""}`.
pub(crate) const MIN_BYTES: usize = HEAD + 2 * DIGITS + r#"","y":""}"#.len();

// === impl Payload ===

impl Payload {
    /// `run` tells this run's messages from those of earlier runs on the same cluster; `size` is the body's size in
    /// bytes, at least [`MIN_BYTES`].
    pub(crate) fn new(run: u32, size: usize) -> Payload {
        let alphabet = "the quick rook caws over the lazy elm ";
        let filler = alphabet
            .chars()
            .cycle()
            .take(size.saturating_sub(MIN_BYTES))
            .collect();
        Payload {
            run,
            prefix: format!("{run:x}."),
            filler,
        }
    }

    /// Which run it is.
    pub(crate) fn run(&self) -> u32 {
        self.run
    }

    /// The user name of a client.
    pub(crate) fn user(&self, client: ClientIx) -> String {
        format!("lt{:x}-{client}", self.run)
    }

    /// The client of a user name of this run.
    pub(crate) fn client(&self, user: &str) -> Option<ClientIx> {
        let client = user.rsplit_once('-')?.1.parse().ok()?;
        (self.user(client) == user).then_some(client)
    }

    /// The client message id of a message.
    pub(crate) fn cid(&self, tag: Tag) -> String {
        format!("{}{}.{}", self.prefix, tag.sender, tag.ordinal)
    }

    /// Reads a client message id of this run.
    pub(crate) fn parse_cid(&self, cid: &str) -> Option<Tag> {
        let (sender, ordinal) = cid.strip_prefix(&self.prefix)?.split_once('.')?;
        Some(Tag {
            sender: sender.parse().ok()?,
            ordinal: ordinal.parse().ok()?,
        })
    }

    /// The body of a message that was due at `at` nanoseconds of the run.
    pub(crate) fn body(&self, conversation: &str, tag: Tag, at: u64) -> String {
        let check = self.check(conversation, tag, at);
        let mut out = String::with_capacity(MIN_BYTES + self.filler.len());
        let _ = write!(out, r#"{{"x":"{at:016x}{check:016x}","y":"{}"}}"#, self.filler);
        out
    }

    /// Returns when the message was due, or `None` if this is not the body that the sender gave it.
    pub(crate) fn verify(&self, conversation: &str, tag: Tag, body: &str) -> Option<u64> {
        let at = u64::from_str_radix(body.get(HEAD..HEAD + DIGITS)?, 16).ok()?;
        let check = u64::from_str_radix(body.get(HEAD + DIGITS..HEAD + 2 * DIGITS)?, 16).ok()?;
        let tail = body
            .get(HEAD + 2 * DIGITS..)?
            .strip_prefix(r#"","y":""#)?
            .strip_suffix(r#""}"#)?;
        let whole = body.starts_with(r#"{"x":""#)
            && tail == self.filler
            && check == self.check(conversation, tag, at);
        whole.then_some(at)
    }

    /// Client message id and body in one, for a wire without ids.
    pub(crate) fn seal(&self, conversation: &str, tag: Tag, at: u64) -> Vec<u8> {
        format!("{} {}", self.cid(tag), self.body(conversation, tag, at)).into_bytes()
    }

    /// Returns which message it is and when it was due, or `None` if nobody of this run sealed it like that.
    pub(crate) fn open(&self, conversation: &str, sealed: &[u8]) -> Option<(Tag, u64)> {
        let (cid, body) = std::str::from_utf8(sealed).ok()?.split_once(' ')?;
        let tag = self.parse_cid(cid)?;
        Some((tag, self.verify(conversation, tag, body)?))
    }

    fn check(&self, conversation: &str, tag: Tag, at: u64) -> u64 {
        let mut hash = Xxh3::with_seed(u64::from(self.run));
        hash.update(conversation.as_bytes());
        hash.update(&tag.sender.to_le_bytes());
        hash.update(&tag.ordinal.to_le_bytes());
        hash.update(&at.to_le_bytes());
        hash.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_sent_verifies_and_nothing_else_does(sender in 0u32..1000, ordinal in 1u32..100_000, at: u64, size in 0usize..600, flip in 0usize..700) {
            let payload = Payload::new(0xabc, size);
            let tag = Tag { sender, ordinal };
            let body = payload.body("g_1", tag, at);
            prop_assert!(size < MIN_BYTES || body.len() == size);
            prop_assert_eq!(payload.parse_cid(&payload.cid(tag)), Some(tag));
            prop_assert_eq!(payload.verify("g_1", tag, &body), Some(at));
            prop_assert_eq!(payload.verify("g_2", tag, &body), None);
            prop_assert_eq!(payload.verify("g_1", Tag { sender: sender + 1, ordinal }, &body), None);
            prop_assert_eq!(payload.verify("g_1", Tag { sender, ordinal: ordinal + 1 }, &body), None);
            let mut bytes = body.into_bytes();
            let flip = flip % bytes.len();
            bytes[flip] ^= 1;
            prop_assert_eq!(payload.verify("g_1", tag, std::str::from_utf8(&bytes).unwrap()), None);
        }
    }

    #[test]
    fn another_runs_messages_are_not_ours() {
        let (ours, theirs) = (Payload::new(1, 64), Payload::new(2, 64));
        assert_eq!(
            ours.parse_cid(&theirs.cid(Tag {
                sender: 1,
                ordinal: 1
            })),
            None
        );
        assert_eq!(ours.parse_cid("1.x.3"), None);
    }
}
