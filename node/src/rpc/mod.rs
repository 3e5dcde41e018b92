//! What nodes ask each other, and what the owner of a shard pushes: method numbers, shapes and their encoding.
//!
//! Every body is one version byte, then [postcard](https://postcard.jamesmunns.com). The numbers below and the order
//! of the fields are the format: they are frozen by tests with literal bytes, and a change of shape takes a new method
//! number, so that nodes of two versions understand each other during a rolling upgrade.
//!
//! | number | method | asked of | body → answer |
//! |---|---|---|---|
//! | 1 | `SUBMIT` | the shard's owner | `submit::Head` and the commands → `submit::Answers` |
//! | 2 | `REGISTER` | the shard's owner | `register::Register` → `register::Registered` |
//! | 3 | `UNREGISTER` | the shard's owner | `register::Unregister` → nothing |
//! | 16 | `OPEN` | the shard's owner | `read::Open` → `ConvView` |
//! | 17 | `HISTORY` | the shard's owner | `read::History` → `HistoryPage` |
//! | 18 | `SYNC` | the owner of all shards named | `read::Sync` → `read::Synced` |
//! | 19 | `SUMMARIES` | the owner of all shards named | `read::Summaries` → `read::Summarised` |
//! | 20 | `RANGE` | the shard's owner | `read::Range` → `read::Ranged` |
//! | 30 | `MISSED` | the shard's owner | `read::Since` → `Missed` |
//! | 21 | `INDEX` | the owner of the user's shard | `read::Index` → `read::Indexed` |
//! | 22 | `MEMBERS` | the shard's owner | `read::Members` → `MembersPage` |
//! | 23 | `BANS` | the shard's owner | `read::Members` → `BansPage` |
//! | 24 | `BLOCKS` | the owner of the user's shard | `read::Blocks` → `BlocksPage` |
//! | 26 | `MESSAGES` | the shard's owner | `read::History` → `MessagesPage` |
//! | 28 | `INDEX_AFTER` | the owner of the user's shard | `read::IndexAfter` → `IndexPage` |
//! | 34 | `SHARED_WITH` | the owner of the user's shard | `read::SharedWith` → `Option<ConvId>` |
//! | 35 | `WISHES` | the owner of the user's shard | a user → `GroupInvite` |
//! | 36 | `MENTIONING` | the owner of all shards named | `read::Summaries` → `read::Mentioning` |
//! | 40 | `ATTEND` | the owner of the users' shard | `presence::Attend` → `presence::Attended` |
//! | 41 | `BEAT` | an owner of users' shards | `presence::Beats` → `presence::Forgotten` |
//! | 42 | `NEWS` | a node that attends | `presence::News` → nothing |
//! | 43 | `PRESENCE` | the owner of the users' shard | `presence::Ask` → `presence::Asked` |
//! | 48 | `KEYS` | the owner of the shard of `keys` | nothing → `Option<Keyring>` |
//! | 49 | `ENDED` | every node | `login::Ended` → nothing |
//! | 56 | `RESUME` | the node that has the session | `resume::Resume` → `resume::Resumed` |
//! | 57 | `SETTLE` | the node that lent it | `resume::Settle` → `bool` |
//! | 58 | `VOID` | a node that it was lent to | `resume::Void` → nothing |
//!
//! One-way, on the fan-out lane: 1 `DELIVER` (`deliver`), 2 `POSITIONS` (`deliver::Positions`), 3 `TYPING`
//! (`presence::Typing`).
//!
//! A refusal of any method is a `Refused`.

pub(crate) mod deliver;
pub(crate) mod login;
pub(crate) mod owner;
pub(crate) mod presence;
pub(crate) mod read;
pub(crate) mod register;
pub(crate) mod resume;
pub(crate) mod submit;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of all shapes.
pub(crate) const VERSION: u8 = 1;

/// Commands for a shard.
pub(crate) const SUBMIT: u16 = 1;
/// A node wants deliveries.
pub(crate) const REGISTER: u16 = 2;
/// A node wants some deliveries no more.
pub(crate) const UNREGISTER: u16 = 3;
/// A conversation as a member sees it.
pub(crate) const OPEN: u16 = 16;
/// A page of a conversation's log.
pub(crate) const HISTORY: u16 = 17;
/// What was missed in several conversations.
pub(crate) const SYNC: u16 = 18;
/// Inbox rows of several conversations.
pub(crate) const SUMMARIES: u16 = 19;
/// A piece of a conversation's log, for a node's relay.
pub(crate) const RANGE: u16 = 20;
/// A piece of a conversation's log, for a user who goes on listening.
pub(crate) const MISSED: u16 = 30;
/// The conversations of a user.
pub(crate) const INDEX: u16 = 21;
/// A page of the members.
pub(crate) const MEMBERS: u16 = 22;
/// A page of those who are banned.
pub(crate) const BANS: u16 = 23;
/// A page of those whom a user blocks.
pub(crate) const BLOCKS: u16 = 24;
/// A page of messages as they are now.
pub(crate) const MESSAGES: u16 = 26;
/// A page of the conversations of a user.
pub(crate) const INDEX_AFTER: u16 = 28;
/// Which of some conversations a user is in.
pub(crate) const SHARED_WITH: u16 = 34;
/// A user's own wishes that concern others.
pub(crate) const WISHES: u16 = 35;
/// Who wrote the unread messages that mention a user.
pub(crate) const MENTIONING: u16 = 36;
/// Which sessions a node has of a shard's users, and whom they watch.
pub(crate) const ATTEND: u16 = 40;
/// A node lives, and believes to be known.
pub(crate) const BEAT: u16 = 41;
/// What has become of users and sessions, for a node that attends.
pub(crate) const NEWS: u16 = 42;
/// Who of a shard's users is there.
pub(crate) const PRESENCE: u16 = 43;
/// The keys of the cluster.
pub(crate) const KEYS: u16 = 48;
/// Logins that are over.
pub(crate) const ENDED: u16 = 49;
/// A client goes on with a session here.
pub(crate) const RESUME: u16 = 56;
/// A session that was lent is the other node's for good.
pub(crate) const SETTLE: u16 = 57;
/// A session that was borrowed is of no use.
pub(crate) const VOID: u16 = 58;

/// Cast: events and notices.
pub(crate) const DELIVER: u16 = 1;
/// Cast: the last number of every registration.
pub(crate) const POSITIONS: u16 = 2;
/// Cast: a member types.
pub(crate) const TYPING: u16 = 3;

/// Why another node refused a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refused {
    /// Ask the owner; it is the one named, if any is.
    NotOwner {
        /// The owner heard of last.
        owner: Option<u64>,
        /// Its epoch.
        epoch: u64,
    },
    /// An earlier batch of the stream is missing: start a new stream.
    OutOfOrder,
    /// A queue is full: later.
    Busy,
    /// The batch entered and was not answered in full: start a new stream with everything unanswered.
    Broken {
        /// Some of it may have been applied.
        unknown: bool,
    },
    /// The registration is not known: register anew.
    Unregistered,
    /// The user is no member, or there is no such conversation.
    NotMember,
    /// The body can't be read, or asks for what can't be.
    Bad(String),
    /// A fault of that node.
    Failed(String),
    /// The user is a member and may not see that.
    Forbidden(String),
}

/// A body that can't be read: of another version, or damaged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The version byte is another one.
    #[error("shape of version {0}, this node speaks {VERSION}")]
    Version(u8),
    /// Cut short or not of the shape expected.
    #[error("malformed: {0}")]
    Malformed(#[from] postcard::Error),
}

// === encoding ===

/// Returns the body of a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    let start = Vec::from([VERSION]);
    Bytes::from(postcard::to_extend(value, start).expect("a vector takes any value"))
}

/// Reads the body of a value.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    Ok(postcard::from_bytes(versioned(body)?)?)
}

/// Returns what follows the version byte.
pub(crate) fn versioned(body: &[u8]) -> Result<&[u8], Error> {
    match body.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => Err(Error::Version(*version)),
        None => Err(Error::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Checks the literal bytes of a value, and that they are read as it.
    pub(crate) fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        value: T,
        bytes: &[u8],
    ) {
        assert_eq!(&encode(&value)[..], bytes, "{value:?}");
        assert_eq!(decode::<T>(bytes).unwrap(), value);
    }

    #[test]
    fn refusals_are_frozen() {
        golden(
            Refused::NotOwner {
                owner: Some(3),
                epoch: 300,
            },
            &[1, 0, 1, 3, 0xac, 2],
        );
        golden(Refused::OutOfOrder, &[1, 1]);
        golden(Refused::Busy, &[1, 2]);
        golden(Refused::Broken { unknown: true }, &[1, 3, 1]);
        golden(Refused::Unregistered, &[1, 4]);
        golden(Refused::NotMember, &[1, 5]);
        golden(Refused::Bad("x".into()), &[1, 6, 1, b'x']);
        golden(Refused::Failed("x".into()), &[1, 7, 1, b'x']);
        golden(Refused::Forbidden("x".into()), &[1, 8, 1, b'x']);
    }

    #[test]
    fn the_keys_of_the_cluster_are_frozen() {
        use crate::conversation::timeline::login::{Hidden, Keyring, SigningKey};
        golden(None::<Keyring>, &[1, 0]);
        let key = SigningKey {
            seed: Hidden([8; 32]),
            from_ms: 9,
        };
        let ring = Keyring {
            pepper: Hidden([7; 32]),
            keys: vec![key],
        };
        let bytes = [&[1, 1][..], &[7; 32], &[1], &[8; 32], &[9]].concat();
        golden(Some(ring), &bytes);
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(
            decode::<Refused>(&[9, 1]).unwrap_err().to_string(),
            "shape of version 9, this node speaks 1"
        );
        assert!(decode::<Refused>(&[]).is_err());
    }
}
