//! What must hold when an event takes its place in the log: judged once, in the log's order.

use super::{BLOCK, Log, UNKNOWN, Verdict};
use crate::oracle::changes::{Change, What};
use crate::oracle::seen::Seen;
use crate::oracle::violation::Kind;
use crate::payload::Tag;

/// Of every so many messages one is remembered with its time, the last ones.
const SAMPLE: u64 = 16;
const SAMPLES: usize = 4096;

// === impl Log: judge ===

impl Log {
    /// Judges the event right above the frontier, in the light of all below it.
    pub(super) fn judge(&mut self, seen: &Seen) -> Verdict {
        self.frontier = seen.s;
        if seen.ts < self.ts {
            return Err((Kind::TimeFell, format!("from {} to {}", self.ts, seen.ts)));
        }
        self.ts = seen.ts;
        if let Some(mn) = seen.mn {
            if self.mn.is_some_and(|last| mn != last + 1) {
                return Err((
                    Kind::OrdinalHole,
                    format!("from mn={} to mn={mn}", self.mn.unwrap_or(0)),
                ));
            }
            (self.mn, self.mn_lost) = (Some(mn), false);
            self.first_mn.get_or_insert(mn);
            self.last_message = seen.s;
            if mn.is_multiple_of(SAMPLE) && seen.due > 0 {
                self.sent.push_back((seen.s, seen.due));
                if self.sent.len() > SAMPLES {
                    self.sent.pop_front();
                }
            }
        }
        let messages = self.mn.unwrap_or(if self.mn_lost { UNKNOWN } else { 0 });
        if let Some(entry) = self.entry_mut(seen.s) {
            entry.mn = messages;
        }
        let tag = match &seen.change {
            Some(change) => Some(self.changed(change, seen)?),
            None => seen.tag,
        };
        match seen.member {
            Some((client, true)) => drop(self.removed.remove(&client)),
            Some((client, false)) => drop(self.removed.insert(client, seen.s)),
            None => {}
        }
        if let Some(acked) = self.acked.remove(&seen.s)
            && Some(acked) != tag
        {
            return Err((
                Kind::AckedOther,
                format!("{acked:?} was acked here, the log has {tag:?}"),
            ));
        }
        let Some(tag) = tag else { return Ok(()) };
        if let Some(k) = self.removed.get(&tag.sender) {
            return Err((
                Kind::ExMemberAccepted,
                format!("client {} was removed at s={k}", tag.sender),
            ));
        }
        if seen.change.is_some() {
            return Ok(());
        }
        let again = self.place_of(tag, seen.s);
        let sender = self.senders.entry(tag.sender).or_default();
        // Of a message from another process it is not known here how many there are: its own process sees it, too.
        if tag.ordinal > sender.issued && self.share.owns(tag.sender) {
            return Err((
                Kind::Phantom,
                format!("{tag:?}, of whom only {} were sent", sender.issued),
            ));
        }
        if sender.refused.contains(&tag.ordinal) {
            return Err((Kind::RefusedShown, format!("{tag:?}")));
        }
        if tag.ordinal <= sender.last {
            return Err(match again {
                Some(s) => (Kind::Duplicate, format!("{tag:?} has s={s} already")),
                None => (
                    Kind::Reordered,
                    format!("{tag:?} comes after ordinal {}", sender.last),
                ),
            });
        }
        sender.last = tag.ordinal;
        if !sender.refused.is_empty() {
            sender.refused = sender.refused.split_off(&(tag.ordinal + 1));
        }
        Ok(())
    }

    /// Finds out whose change it is, and what it means for the words that are there.
    fn changed(&mut self, change: &Change, seen: &Seen) -> Result<Tag, (Kind, String)> {
        let sender = self.senders.entry(change.by).or_default();
        let tag = Tag {
            sender: change.by,
            ordinal: sender.changes.place(change, seen.deleted)?,
        };
        if let Some(entry) = self.entry_mut(seen.s) {
            entry.tag = Some(tag);
        }
        match change.what {
            What::Edit => self.edits.entry(change.of).or_default().push(seen.s),
            What::Delete => {
                self.deletions.insert(change.of, seen.s);
                self.delete(change.of);
                for edit in self.edits.remove(&change.of).unwrap_or_default() {
                    self.delete(edit);
                }
            }
            What::React => {}
        }
        Ok(tag)
    }

    fn delete(&mut self, s: u64) {
        self.bare.remove(&s);
        if let Some(entry) = self.entry_mut(s) {
            entry.deleted = true;
        } else if let Some(left) = s.checked_sub(self.origin)
            && let Some(block) = self.blocks.get_mut(left as usize / BLOCK)
        {
            block.bodies = None;
        }
    }

    /// Where below `s` the message is already, looked up only when its ordinal says that something is wrong.
    pub(super) fn place_of(&self, tag: Tag, s: u64) -> Option<u64> {
        if self
            .senders
            .get(&tag.sender)
            .is_none_or(|sender| tag.ordinal > sender.last)
        {
            return None;
        }
        let below = self.window.iter().take((s - self.base) as usize);
        below
            .enumerate()
            .find(|(_, entry)| entry.tag == Some(tag))
            .map(|(index, _)| self.base + index as u64)
    }
}
