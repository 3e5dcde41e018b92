//! Message contents that a receiver can verify without the sender.
//!
//! The client message id contains the sender and the ordinal. The body contains the due time and a checksum over all of
//! them. A changed, swapped or invented body fails the check.

use std::fmt::Write;

use protocol::{ClientMessageId, UserId};
use xxhash_rust::xxh3::Xxh3;

/// Index of a client, from 0.
pub(crate) type ClientIx = u32;
/// Ordinal of a sender's message within one conversation, from 1.
pub(crate) type Ordinal = u32;

/// Sender and ordinal of a message, unique within a conversation of one run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct MessageTag {
    pub(crate) sender: ClientIx,
    pub(crate) ordinal: Ordinal,
}

/// Clients of a run and the messages that they sent, against which a received event is verified.
pub(crate) trait SentMessages {
    /// Returns the client of a user name; `None` if the name is not of this run.
    fn client(&self, user: &str) -> Option<ClientIx>;

    /// Returns the message with a client message id; `None` if the id is not of this run.
    fn message(&self, cid: &str) -> Option<MessageTag>;

    /// Returns the due time of a message, in nanoseconds of the run; `None` if the body is not the sender's.
    fn verify(&self, conversation: &str, cid: &str, body: &str) -> Option<u64>;
}

/// Encoder and verifier of the messages of one run.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    run: u32,
    prefix: String,
    filler: String,
}

/// Length of `{"x":"`. It precedes 16 hex digits of time and 16 of checksum.
const HEAD: usize = 6;
const DIGITS: usize = 16;
/// Length of the smallest body: head, digits, `","y":""}`.
pub(crate) const MIN_BYTES: usize = HEAD + 2 * DIGITS + r#"","y":""}"#.len();

// === impl Payload ===

impl Payload {
    /// `run` separates this run's messages from those of earlier runs on the same cluster. `size` is the body's length
    /// in bytes, at least [`MIN_BYTES`].
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

    /// Returns the id of the run.
    pub(crate) fn run(&self) -> u32 {
        self.run
    }

    /// Returns the user name of a client.
    pub(crate) fn user(&self, client: ClientIx) -> String {
        format!("lt{:x}-{client}", self.run)
    }

    /// Returns the user id of a client.
    pub(crate) fn user_id(&self, client: ClientIx) -> UserId {
        UserId::parse(&self.user(client)).expect("digits, letters and a hyphen are a user id")
    }

    /// Returns the client of a user name; `None` if the name is not of this run.
    pub(crate) fn client(&self, user: &str) -> Option<ClientIx> {
        // Formatted again, so that a name with leading zeros or of another run is not accepted.
        let client = user.rsplit_once('-')?.1.parse().ok()?;
        (self.user(client) == user).then_some(client)
    }

    /// Returns the client message id of a message.
    pub(crate) fn cid(&self, tag: MessageTag) -> String {
        format!("{}{}.{}", self.prefix, tag.sender, tag.ordinal)
    }

    /// Returns the typed client message id of a message.
    pub(crate) fn message_id(&self, tag: MessageTag) -> ClientMessageId {
        ClientMessageId::parse(&self.cid(tag)).expect("three numbers are a client message id")
    }

    /// Parses a client message id; `None` if it is not of this run.
    pub(crate) fn parse_cid(&self, cid: &str) -> Option<MessageTag> {
        let (sender, ordinal) = cid.strip_prefix(&self.prefix)?.split_once('.')?;
        Some(MessageTag {
            sender: sender.parse().ok()?,
            ordinal: ordinal.parse().ok()?,
        })
    }

    /// Returns the body of a message that was due at `at` nanoseconds of the run.
    pub(crate) fn body(&self, conversation: &str, tag: MessageTag, at: u64) -> String {
        let check = self.check(conversation, tag, at);
        let mut out = String::with_capacity(MIN_BYTES + self.filler.len());
        let _ = write!(out, r#"{{"x":"{at:016x}{check:016x}","y":"{}"}}"#, self.filler);
        out
    }

    /// Returns the due time of a message; `None` if the body is not the sender's.
    pub(crate) fn verify(&self, conversation: &str, tag: MessageTag, body: &str) -> Option<u64> {
        // `get` instead of slicing: a corrupt body may be short, or cut a character in two.
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

    /// Returns client message id and body in one payload, for a protocol without ids.
    pub(crate) fn seal(&self, conversation: &str, tag: MessageTag, at: u64) -> Vec<u8> {
        format!("{} {}", self.cid(tag), self.body(conversation, tag, at)).into_bytes()
    }

    /// Parses such a payload into message and due time; `None` if no client of this run made it.
    pub(crate) fn open(&self, conversation: &str, sealed: &[u8]) -> Option<(MessageTag, u64)> {
        let (cid, body) = std::str::from_utf8(sealed).ok()?.split_once(' ')?;
        let tag = self.parse_cid(cid)?;
        Some((tag, self.verify(conversation, tag, body)?))
    }

    fn check(&self, conversation: &str, tag: MessageTag, at: u64) -> u64 {
        // Seeded with the run and bound to the conversation: a valid body at a wrong place must fail, too.
        let mut hash = Xxh3::with_seed(u64::from(self.run));
        hash.update(conversation.as_bytes());
        hash.update(&tag.sender.to_le_bytes());
        hash.update(&tag.ordinal.to_le_bytes());
        hash.update(&at.to_le_bytes());
        hash.digest()
    }
}

impl SentMessages for Payload {
    fn client(&self, user: &str) -> Option<ClientIx> {
        Payload::client(self, user)
    }

    fn message(&self, cid: &str) -> Option<MessageTag> {
        self.parse_cid(cid)
    }

    fn verify(&self, conversation: &str, cid: &str, body: &str) -> Option<u64> {
        Payload::verify(self, conversation, self.parse_cid(cid)?, body)
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
            let tag = MessageTag { sender, ordinal };
            let body = payload.body("g_1", tag, at);
            prop_assert!(size < MIN_BYTES || body.len() == size);
            prop_assert_eq!(payload.parse_cid(&payload.cid(tag)), Some(tag));
            prop_assert_eq!(payload.verify("g_1", tag, &body), Some(at));
            prop_assert_eq!(payload.verify("g_2", tag, &body), None);
            prop_assert_eq!(payload.verify("g_1", MessageTag { sender: sender + 1, ordinal }, &body), None);
            prop_assert_eq!(payload.verify("g_1", MessageTag { sender, ordinal: ordinal + 1 }, &body), None);
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
            ours.parse_cid(&theirs.cid(MessageTag {
                sender: 1,
                ordinal: 1
            })),
            None
        );
        assert_eq!(ours.parse_cid("1.x.3"), None);
    }
}
