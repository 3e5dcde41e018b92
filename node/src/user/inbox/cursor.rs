//! Where a page of the inbox begins, and what has to be known of the pages before it.

use protocol::{ConvId, ErrorCode};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::conversation::answer::Refusal;
use crate::conversation::timeline::read::Direction;

/// Young rows that a cursor remembers to have been shown. Of more, what is shown again at the end of the list may not have
/// moved.
const REMEMBERED: usize = 40;

/// A place in the list of a user's conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListCursor {
    pub(super) phase: ListPhase,
    /// Messages from then on may have come after the list was begun.
    pub(super) since: u64,
    /// Rows from then on were young when the list was begun: they may have stood lower than their last message.
    pub(super) young: u64,
    /// What was shown of those: a sum over each. `None`: more than are remembered.
    pub(super) seen: Option<Vec<u32>>,
    /// The time and the conversation behind which the page begins; none: at the beginning.
    pub(super) at: Option<(u64, ConvId)>,
}

/// How pages are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListPhase {
    /// By the last messages, as the owners know them.
    Fine,
    /// By the list alone: too much moves.
    Coarse,
    /// Behind the end: what has moved since the list was begun, the oldest first.
    Again,
}

// === impl ListCursor ===

impl ListCursor {
    /// The beginning of a list. `slack_ms`: by how much clocks may differ; `window_ms`: by how much the list may lag.
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

    /// The place in the list from which on rows are read, and which way.
    pub(super) fn from(&self) -> (Option<(u64, ConvId)>, Direction) {
        match self.phase {
            ListPhase::Fine | ListPhase::Coarse => (self.at.clone(), Direction::Older),
            ListPhase::Again => (self.at.clone(), Direction::Newer),
        }
    }

    /// The same list from where it begins again.
    pub(super) fn again(self) -> ListCursor {
        let before = self.young.saturating_sub(1);
        // Whichever conversation is named, all that are younger come behind this place.
        let at = ConvId::parse("-").ok().map(|conv| (before, conv));
        ListCursor {
            phase: ListPhase::Again,
            at,
            ..self
        }
    }

    /// Whether the list has just come to its end.
    pub(super) fn begins_again(&self) -> bool {
        self.phase == ListPhase::Again && self.at.as_ref().is_some_and(|(ms, _)| *ms < self.young)
    }

    /// Remembers a young row as shown.
    pub(super) fn remember(&mut self, conv: &ConvId, s: Option<u64>) {
        if let Some(seen) = &mut self.seen {
            if seen.len() < REMEMBERED {
                seen.push(sum(conv, s));
            } else {
                self.seen = None;
            }
        }
    }

    /// Whether a row was shown as it is; `None`: not known.
    pub(super) fn was_seen(&self, conv: &ConvId, s: Option<u64>) -> Option<bool> {
        let seen = self.seen.as_ref()?;
        Some(seen.contains(&sum(conv, s)))
    }

    pub(super) fn parse(text: &str) -> Result<ListCursor, Refusal> {
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
            let conv = ConvId::parse(parts.next()?).ok()?;
            Some(ListCursor {
                phase,
                since,
                young,
                seen,
                at: Some((ms, conv)),
            })
        };
        read(text).ok_or_else(|| Refusal::new(ErrorCode::BadRequest, "unknown cursor"))
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

/// What a row is remembered by: which it is, and how far. `None`: its owner was silent.
fn sum(conv: &ConvId, s: Option<u64>) -> u32 {
    xxh3_64_with_seed(conv.as_str().as_bytes(), s.unwrap_or(u64::MAX)) as u32
}

fn sums_of(text: &str) -> Option<Vec<u32>> {
    let bytes = text.as_bytes();
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
        let conv = ConvId::parse(&"g".repeat(64)).unwrap();
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
