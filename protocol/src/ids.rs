//! The three names of the protocol: users, conversations and client message ids.
//!
//! Each is checked where it enters (parsing and deserialising refuse what is malformed), so code that holds
//! one never checks again. Clones are cheap: the text is shared.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::role::Kind;

/// The longest id of any sort, in bytes.
pub const MAX_ID_BYTES: usize = 64;

/// A user: 1-64 bytes of `[A-Za-z0-9_.@+-]`, the token's `sub`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// A conversation: 1-64 URL-safe bytes. Groups and channels are `g_` and `ch_` followed by a ULID, direct
/// conversations are `d_` followed by a hash of the pair, see [`ConvId::direct`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConvId(Arc<str>);

/// A client message id: 1-64 bytes of any text, unique per user and conversation. The idempotency key of
/// every command that changes something.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(Arc<str>);

/// Why a text is no id. The message names the sort of id and the rule, fit to be shown to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidId {
    /// Not 1-64 bytes of the permitted characters.
    #[error("a user id is 1-64 bytes of A-Z a-z 0-9 _ . @ + -")]
    User,
    /// Not 1-64 URL-safe bytes.
    #[error("a conversation id is 1-64 bytes of A-Z a-z 0-9 _ -")]
    Conv,
    /// Empty or longer than 64 bytes.
    #[error("a cid is 1-64 bytes")]
    Cid,
}

// === impl UserId, ConvId, Cid ===

macro_rules! id {
    ($name:ident, $invalid:expr, $valid:expr) => {
        impl $name {
            /// Returns the id if `text` is well formed.
            pub fn parse(text: &str) -> Result<$name, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if text.is_empty() || text.len() > MAX_ID_BYTES || !valid(text) {
                    return Err($invalid);
                }
                Ok($name(Arc::from(text)))
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
id!(ConvId, InvalidId::Conv, |text| text
    .bytes()
    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')));
id!(Cid, InvalidId::Cid, |_| true);

impl ConvId {
    /// Returns the id of the direct conversation of two users: the same for either order, so both sides
    /// create the same conversation without coordination.
    pub fn direct(a: &UserId, b: &UserId) -> ConvId {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let mut hash = Sha256::new();
        hash.update(low.as_str());
        hash.update([0]);
        hash.update(high.as_str());
        let mut text = String::with_capacity(28);
        text.push_str("d_");
        base32(&hash.finalize(), 26, &mut text);
        ConvId(Arc::from(text))
    }

    /// Returns the kind that the prefix names, or `None` for an id that no node of this version makes.
    pub fn kind(&self) -> Option<Kind> {
        Kind::ALL
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
        assert_eq!(ConvId::direct(&a, &b), ConvId::direct(&b, &a));
        // Frozen: base32(sha256("alice\0bob")), the first 26 characters.
        assert_eq!(ConvId::direct(&a, &b).as_str(), "d_cqnezuscwz7if3puu6f3iggubj");
        assert_eq!(ConvId::direct(&a, &b).kind(), Some(Kind::Direct));
    }

    #[test]
    fn malformed_ids_are_refused_with_the_rule() {
        assert_eq!(UserId::parse(""), Err(InvalidId::User));
        assert_eq!(UserId::parse("a b"), Err(InvalidId::User));
        assert_eq!(UserId::parse(&"a".repeat(65)), Err(InvalidId::User));
        assert!(UserId::parse("u.42+x@example-1_").is_ok());
        assert_eq!(ConvId::parse("g_/../x"), Err(InvalidId::Conv));
        assert_eq!(Cid::parse(""), Err(InvalidId::Cid));
        assert!(Cid::parse("ü \u{0}").is_ok());
        let error = serde_json::from_str::<UserId>("\"a b\"").unwrap_err().to_string();
        assert!(error.contains("1-64 bytes"), "{error}");
    }

    #[test]
    fn kind_follows_the_prefix() {
        assert_eq!(ConvId::parse("g_01").unwrap().kind(), Some(Kind::Group));
        assert_eq!(ConvId::parse("ch_01").unwrap().kind(), Some(Kind::Channel));
        assert_eq!(ConvId::parse("x01").unwrap().kind(), None);
    }
}
