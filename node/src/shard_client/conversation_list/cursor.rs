//! Cursor of the conversation list: the place of the next page, and what the pages before it have shown.

use protocol::{ConversationId, ErrorCode};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::shard_client::command_error::CommandError;
use crate::state_machine::Direction;

/// Maximum number of recent rows whose display a cursor records. With more, rows repeated at the end of the list may
/// not have moved.
const REMEMBERED: usize = 40;

/// Place in the list of a user's conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListCursor {
    pub(super) phase: ListPhase,
    /// Lower bound of the times to which rows may have moved since the list was started, in milliseconds.
    pub(super) since: u64,
    /// Rows from this time on were recent when the list was started: they may have been listed below their last
    /// message.
    pub(super) young: u64,
    /// Hashes of the recent rows shown so far; `None` if there were more than [`REMEMBERED`].
    pub(super) seen: Option<Vec<u32>>,
    /// Time and conversation behind which the page starts; `None` at the start of the list.
    pub(super) at: Option<(u64, ConversationId)>,
}

/// Method by which pages are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListPhase {
    /// By the last messages as reported by the owners.
    Fine,
    /// By the list alone, because too many rows are recent.
    Coarse,
    /// After the end: rows that moved since the list was started, the oldest first.
    Again,
}

// === impl ListCursor ===

impl ListCursor {
    /// Returns the start of a list. `slack_ms` bounds the difference between clocks, `window_ms` the lag of the list.
    pub(super) fn begin(now_ms: u64, slack_ms: u64, window_ms: u64) -> ListCursor {
        let since = now_ms.saturating_sub(slack_ms);
        ListCursor {
            phase: ListPhase::Fine,
            since,
            young: since.saturating_sub(window_ms),
            seen: Some(Vec::new()),
            at: None,
        }
    }

    /// Returns the place from which rows are read, and the direction.
    pub(super) fn from(&self) -> (Option<(u64, ConversationId)>, Direction) {
        match self.phase {
            ListPhase::Fine | ListPhase::Coarse => (self.at.clone(), Direction::Older),
            ListPhase::Again => (self.at.clone(), Direction::Newer),
        }
    }

    /// Returns the cursor of the repetition phase, which starts at the oldest row that may have moved.
    pub(super) fn again(self) -> ListCursor {
        let before = self.repeated_from().saturating_sub(1);
        // The place is older than every row of the phase, so the conversation in it does not matter.
        let at = ConversationId::parse("-").ok().map(|conv| (before, conv));
        ListCursor {
            phase: ListPhase::Again,
            at,
            ..self
        }
    }

    /// Returns true at the start of the repetition phase.
    pub(super) fn begins_again(&self) -> bool {
        let from = self.repeated_from();
        self.phase == ListPhase::Again && self.at.as_ref().is_some_and(|(ms, _)| *ms < from)
    }

    /// Returns the lower bound of the times of the rows in the repetition phase. Recent rows are among them because the
    /// record tells which of them have moved.
    fn repeated_from(&self) -> u64 {
        self.young.min(self.since)
    }

    /// Records a recent row as shown.
    pub(super) fn remember(&mut self, conv: &ConversationId, s: Option<u64>) {
        if let Some(seen) = &mut self.seen {
            if seen.len() < REMEMBERED {
                seen.push(sum(conv, s));
            } else {
                // An incomplete record would wrongly report rows as new, so it is dropped as a whole.
                self.seen = None;
            }
        }
    }

    /// Returns true if the row was shown in this state; `None` if there is no record.
    pub(super) fn was_seen(&self, conv: &ConversationId, s: Option<u64>) -> Option<bool> {
        let seen = self.seen.as_ref()?;
        Some(seen.contains(&sum(conv, s)))
    }

    pub(super) fn parse(text: &str) -> Result<ListCursor, CommandError> {
        let read = |text: &str| {
            let mut parts = text.splitn(6, '.');
            let phase = match parts.next()? {
                "f" => ListPhase::Fine,
                "c" => ListPhase::Coarse,
                "a" => ListPhase::Again,
                _ => return None,
            };
            let since = parts.next()?.parse().ok()?;
            let young = parts.next()?.parse().ok()?;
            let seen = match parts.next()? {
                "*" => None,
                sums => Some(sums_of(sums)?),
            };
            let ms = parts.next()?.parse().ok()?;
            let conv = ConversationId::parse(parts.next()?).ok()?;
            Some(ListCursor {
                phase,
                since,
                young,
                seen,
                at: Some((ms, conv)),
            })
        };
        read(text).ok_or_else(|| CommandError::new(ErrorCode::BadRequest, "unknown cursor"))
    }
}

impl std::fmt::Display for ListCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match self.phase {
            ListPhase::Fine => 'f',
            ListPhase::Coarse => 'c',
            ListPhase::Again => 'a',
        };
        write!(f, "{phase}.{}.{}.", self.since, self.young)?;
        match &self.seen {
            Some(sums) => sums.iter().try_for_each(|sum| write!(f, "{sum:08x}"))?,
            None => f.write_str("*")?,
        }
        match &self.at {
            Some((ms, conv)) => write!(f, ".{ms}.{conv}"),
            None => f.write_str(".."),
        }
    }
}

/// Returns the hash of a row: conversation and last position. `None` stands for an unreachable owner.
fn sum(conv: &ConversationId, s: Option<u64>) -> u32 {
    xxh3_64_with_seed(conv.as_str().as_bytes(), s.unwrap_or(u64::MAX)) as u32
}

fn sums_of(text: &str) -> Option<Vec<u32>> {
    let bytes = text.as_bytes();
    // The bound limits the work on a cursor that a client made up.
    if !bytes.len().is_multiple_of(8) || bytes.len() / 8 > REMEMBERED {
        return None;
    }
    let sum = |sum: &[u8]| u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok();
    bytes.chunks(8).map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_make_is_refused() {
        for text in [
            "x",
            "f.5.g_a",
            "f.5.5..x.g_a",
            "f.5.5.123.7.g_a",
            "f.5.5..7.",
            "g.5.5..7.g_a",
        ] {
            assert_eq!(
                ListCursor::parse(text).unwrap_err().code,
                ErrorCode::BadRequest,
                "{text}"
            );
        }
        for text in ["f.5.4..5.g_a", "c.5.4.0000002b0000002c.7.g_a", "a.5.4.*.3.-"] {
            assert_eq!(ListCursor::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_longest_cursor_is_one_that_clients_may_send() {
        let mut cursor = ListCursor::begin(u64::MAX, 0, 0);
        let conv = ConversationId::parse(&"g".repeat(64)).unwrap();
        for s in 0..REMEMBERED as u64 {
            cursor.remember(&conv, Some(s));
        }
        cursor.at = Some((u64::MAX, conv.clone()));
        assert!(cursor.to_string().len() <= protocol::limits::CURSOR_BYTES);
        assert_eq!(cursor.was_seen(&conv, Some(3)), Some(true));
        cursor.remember(&conv, None);
        assert_eq!(cursor.was_seen(&conv, Some(3)), None);
    }
}
