//! Event rows: encoded by hand, because their tail is served without copying.

use bytes::Bytes;
use protocol::UserId;

use super::rows::corrupt;

/// Version byte of every event row.
const VERSION: u8 = 1;

/// Declares the kinds of event rows by their frozen numbers, so that a kind cannot be written without being readable.
macro_rules! event_kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal),* $(,)?) => {
        /// Kind of an event row.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(super) enum EventKind {
            $($(#[$doc])* $kind = $number),*
        }

        impl EventKind {
            fn from_number(number: u8) -> Option<EventKind> {
                match number {
                    $($number => Some(EventKind::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

event_kinds! {
    Message = 1,
    Member = 2,
    Meta = 3,
    Edit = 4,
    Delete = 5,
    React = 6,
    /// Deleted message, which keeps its position and its ordinal.
    Tombstone = 7,
}

/// Event row: `version u8 | kind u8 | mn u64 | author length u8 | author | tail`, where `mn` is the ordinal of the last
/// message up to this event.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct EventRow {
    pub(super) kind: EventKind,
    pub(super) mn: u64,
    pub(super) author: UserId,
    pub(super) tail: Bytes,
}

// === impl EventRow ===

impl EventRow {
    const HEAD: usize = 11;

    /// Encodes an event row.
    pub(super) fn encode(kind: EventKind, mn: u64, author: &UserId, tail: &str) -> Vec<u8> {
        let author = author.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(Self::HEAD + author.len() + tail.len());
        bytes.extend_from_slice(&[VERSION, kind as u8]);
        bytes.extend_from_slice(&mn.to_be_bytes());
        // Ids are at most 64 bytes, so the length fits into one byte.
        bytes.push(author.len() as u8);
        bytes.extend_from_slice(author);
        bytes.extend_from_slice(tail.as_bytes());
        bytes
    }

    /// Decodes an event row; the tail shares the row's memory.
    pub(super) fn decode(row: &Bytes) -> Result<EventRow, storage::Error> {
        let fields = |row: &Bytes| {
            let (head, rest) = row.split_first_chunk::<{ Self::HEAD }>()?;
            if head[0] != VERSION {
                return None;
            }
            let kind = EventKind::from_number(head[1])?;
            let author = std::str::from_utf8(rest.get(..usize::from(head[10]))?).ok()?;
            Some(EventRow {
                kind,
                mn: u64::from_be_bytes(head[2..10].try_into().ok()?),
                author: UserId::parse(author).ok()?,
                tail: row.slice(Self::HEAD + author.len()..),
            })
        };
        fields(row).ok_or_else(|| corrupt("a malformed event"))
    }
}
