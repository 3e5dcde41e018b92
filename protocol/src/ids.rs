//! Ids of the protocol: users, conversations and client message ids.
//!
//! Each is checked when it is parsed or deserialised, so code that holds an id never checks it again. Clones are cheap
//! because they share the text.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::role::ConversationKind;

/// The maximum length of an id, in bytes.
pub const MAX_ID_BYTES: usize = 64;

/// Reserved id of a user that is no person.
const SYSTEM: &str = "system";

/// Prefix of the ids that stand for erased users.
const TOMBSTONE: &str = "erased_";

/// Id of a user: 1-64 bytes of `[A-Za-z0-9_.@+-]`, the token's `sub`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// Id of a conversation: 1-64 URL-safe bytes. Groups and channels are `g_` and `ch_` followed by a ULID. Direct
/// conversations are `d_` followed by a hash of the pair, see [`ConversationId::direct`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId(Arc<str>);

/// Client message id: 1-64 bytes of any text, unique per user and conversation. It is the idempotency key of every
/// command that changes something.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientMessageId(Arc<str>);

/// Error of a text that is no id. The message names the kind of id and the rule, in words fit for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidId {
    /// The text is not 1-64 bytes of the permitted characters.
    #[error("a user id must have 1-64 bytes of A-Z a-z 0-9 _ . @ + -")]
    User,
    /// The text is not 1-64 URL-safe bytes.
    #[error("a conversation id must have 1-64 bytes of A-Z a-z 0-9 _ -")]
    Conv,
    /// The text is empty or longer than 64 bytes.
    #[error("a cid must have 1-64 bytes")]
    Cid,
}

// === impl UserId, ConversationId, ClientMessageId ===

macro_rules! id {
    ($name:ident, $invalid:expr, $valid:expr) => {
        impl $name {
            /// Returns the id if `text` is well-formed.
            pub fn parse(text: &str) -> Result<$name, InvalidId> {
                if !$name::is_valid(text) {
                    return Err($invalid);
                }
                Ok($name(Arc::from(text)))
            }

            /// Returns true if `text` is a well-formed id.
            pub fn is_valid(text: &str) -> bool {
                let valid: fn(&str) -> bool = $valid;
                !text.is_empty() && text.len() <= MAX_ID_BYTES && valid(text)
            }

            /// Returns the text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<$name, InvalidId> {
                $name::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a string ({})", $invalid)
                    }
                    // Checked as borrowed text: an invalid id is refused before it is copied.
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

id!(UserId, InvalidId::User, |text| text.bytes().all(|b| b
    .is_ascii_alphanumeric()
    || matches!(b, b'_' | b'.' | b'@' | b'+' | b'-')));
id!(ConversationId, InvalidId::Conv, |text| text
    .bytes()
    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')));
id!(ClientMessageId, InvalidId::Cid, |_| true);

/// The key that assigns the user to a shard.
impl AsRef<[u8]> for UserId {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The key that assigns the conversation to a shard.
impl AsRef<[u8]> for ConversationId {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl UserId {
    /// Returns the reserved id of the system, in whose name a back end acts. No token can have it.
    pub fn system() -> UserId {
        UserId(Arc::from(SYSTEM))
    }

    /// Returns true for the reserved id of the system.
    pub fn is_system(&self) -> bool {
        &*self.0 == SYSTEM
    }

    /// Returns the tombstone id with these random bytes, which stands for an erased user. No token can have it.
    pub fn tombstone(random: &[u8; 16]) -> UserId {
        let mut text = TOMBSTONE.to_owned();
        // 26 characters of 5 bits hold all 128 bits.
        base32(random, 26, &mut text);
        UserId(Arc::from(text))
    }

    /// Returns true for a tombstone id, and for any other id with its reserved prefix.
    pub fn is_tombstone(&self) -> bool {
        self.0.starts_with(TOMBSTONE)
    }

    /// Returns true for an id that no person has: that of the system, or a tombstone id.
    pub fn is_reserved(&self) -> bool {
        self.is_system() || self.is_tombstone()
    }
}

impl ConversationId {
    /// Returns the id of the direct conversation of two users. The order does not matter, so both sides create the same
    /// conversation without coordination.
    pub fn direct(a: &UserId, b: &UserId) -> ConversationId {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let mut hash = Sha256::new();
        hash.update(low.as_str());
        // The separator keeps pairs apart whose concatenation is equal, such as `a` + `bc` and `ab` + `c`.
        hash.update([0]);
        hash.update(high.as_str());
        let mut text = String::with_capacity(28);
        text.push_str("d_");
        // 26 characters of 5 bits are 130 bits of the hash: collisions are out of reach, and the id stays short.
        base32(&hash.finalize(), 26, &mut text);
        ConversationId(Arc::from(text))
    }

    /// Returns the kind that the prefix names; `None` for an id that no node of this version creates.
    pub fn kind(&self) -> Option<ConversationKind> {
        ConversationKind::ALL
            .into_iter()
            .find(|kind| self.0.starts_with(kind.prefix()))
    }
}

/// Appends `chars` characters of lower-case RFC 4648 base32, 5 bits each.
fn base32(bytes: &[u8], chars: usize, out: &mut String) {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    for i in 0..chars {
        let (byte, shift) = (i * 5 / 8, i * 5 % 8);
        let pair = u16::from_be_bytes([bytes[byte], bytes.get(byte + 1).copied().unwrap_or(0)]);
        out.push(char::from(ALPHABET[usize::from(pair >> (11 - shift)) & 31]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_id_is_the_same_for_either_order() {
        let (a, b) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
        assert_eq!(ConversationId::direct(&a, &b), ConversationId::direct(&b, &a));
        // Frozen: base32(sha256("alice\0bob")), the first 26 characters.
        assert_eq!(
            ConversationId::direct(&a, &b).as_str(),
            "d_cqnezuscwz7if3puu6f3iggubj"
        );
        assert_eq!(
            ConversationId::direct(&a, &b).kind(),
            Some(ConversationKind::Direct)
        );
    }

    #[test]
    fn ids_of_no_person_are_recognised() {
        let tombstone = UserId::tombstone(&[0xff; 16]);
        assert_eq!(tombstone.as_str(), "erased_77777777777777777777777774");
        assert_ne!(tombstone, UserId::tombstone(&[0xfe; 16]));
        assert_eq!(UserId::parse(tombstone.as_str()), Ok(tombstone.clone()));
        assert!(tombstone.is_tombstone() && tombstone.is_reserved());
        assert!(UserId::system().is_reserved() && !UserId::system().is_tombstone());
        assert!(!UserId::parse("erased").unwrap().is_reserved());
    }

    #[test]
    fn malformed_ids_are_refused_with_the_rule() {
        assert_eq!(UserId::parse(""), Err(InvalidId::User));
        assert_eq!(UserId::parse("a b"), Err(InvalidId::User));
        assert_eq!(UserId::parse(&"a".repeat(65)), Err(InvalidId::User));
        assert!(UserId::parse("u.42+x@example-1_").is_ok());
        assert_eq!(ConversationId::parse("g_/../x"), Err(InvalidId::Conv));
        assert_eq!(ClientMessageId::parse(""), Err(InvalidId::Cid));
        assert!(ClientMessageId::parse("ü \u{0}").is_ok());
        let error = serde_json::from_str::<UserId>("\"a b\"").unwrap_err().to_string();
        assert!(error.contains("1-64 bytes"), "{error}");
    }

    #[test]
    fn kind_follows_the_prefix() {
        assert_eq!(
            ConversationId::parse("g_01").unwrap().kind(),
            Some(ConversationKind::Group)
        );
        assert_eq!(
            ConversationId::parse("ch_01").unwrap().kind(),
            Some(ConversationKind::Channel)
        );
        assert_eq!(ConversationId::parse("x01").unwrap().kind(), None);
    }
}
