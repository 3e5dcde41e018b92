//! Checks of an event at its position in the log. Every event is judged once, in log order.

use super::{BLOCK, OracleLog, UNKNOWN, Verdict};
use crate::oracle::changes::{ChangeKind, MessageChange};
use crate::oracle::seen::SeenEvent;
use crate::oracle::violation::ViolationKind;
use crate::payload::MessageTag;

/// Sampling of due times: one of this many messages, and the number of samples stored.
const SAMPLE: u64 = 16;
const SAMPLES: usize = 4096;

// === impl OracleLog: judge ===

impl OracleLog {
    /// Judges the event directly above the frontier, against everything below it.
    pub(super) fn judge(&mut self, seen: &SeenEvent) -> Verdict {
        self.frontier = seen.s;
        if seen.ts < self.ts {
            return Err((
                ViolationKind::TimeFell,
                format!("the timestamp changed from {} to {}", self.ts, seen.ts),
            ));
        }
        self.ts = seen.ts;
        if let Some(mn) = seen.mn {
            if self.mn.is_some_and(|last| mn != last + 1) {
                return Err((
                    ViolationKind::OrdinalHole,
                    format!(
                        "the message number changed from mn={} to mn={mn}",
                        self.mn.unwrap_or(0)
                    ),
                ));
            }
            (self.mn, self.mn_lost) = (Some(mn), false);
            self.first_mn.get_or_insert(mn);
            self.last_message = seen.s;
            // Due 0 means a deleted message, whose body carried the time.
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
        // The ack may have arrived before the first observation.
        if let Some(acked) = self.acked.remove(&seen.s)
            && Some(acked) != tag
        {
            return Err((
                ViolationKind::AckedOther,
                format!("{acked:?} was acked here, the log has {tag:?}"),
            ));
        }
        let Some(tag) = tag else { return Ok(()) };
        // Changes and messages alike: a removed member may append nothing.
        if let Some(k) = self.removed.get(&tag.sender) {
            return Err((
                ViolationKind::ExMemberAccepted,
                format!("client {} was removed at s={k}", tag.sender),
            ));
        }
        if seen.change.is_some() {
            return Ok(());
        }
        let again = self.seq_of(tag, seen.s);
        let sender = self.senders.entry(tag.sender).or_default();
        // Only the sender's own process knows the number of its messages, and it judges this event too.
        if tag.ordinal > sender.issued && self.share.owns(tag.sender) {
            return Err((
                ViolationKind::Phantom,
                format!("{tag:?}, whose sender sent only {} messages", sender.issued),
            ));
        }
        if sender.refused.contains(&tag.ordinal) {
            return Err((ViolationKind::RefusedVisible, format!("{tag:?}")));
        }
        if tag.ordinal <= sender.last {
            return Err(match again {
                Some(s) => (ViolationKind::Duplicate, format!("{tag:?} already has s={s}")),
                None => (
                    ViolationKind::Reordered,
                    format!("{tag:?} follows ordinal {}", sender.last),
                ),
            });
        }
        sender.last = tag.ordinal;
        // Ordinals up to here cannot be accepted any longer, so the set stays small.
        if !sender.refused.is_empty() {
            sender.refused = sender.refused.split_off(&(tag.ordinal + 1));
        }
        Ok(())
    }

    /// Finds the sender of a change, and applies the change to the known bodies.
    fn changed(
        &mut self,
        change: &MessageChange,
        seen: &SeenEvent,
    ) -> Result<MessageTag, (ViolationKind, String)> {
        let sender = self.senders.entry(change.by).or_default();
        let tag = MessageTag {
            sender: change.by,
            ordinal: sender.changes.position(change, seen.deleted)?,
        };
        if let Some(entry) = self.entry_mut(seen.s) {
            entry.tag = Some(tag);
        }
        match change.what {
            ChangeKind::Edit => self.edits.entry(change.of).or_default().push(seen.s),
            ChangeKind::Delete => {
                self.deletions.insert(change.of, seen.s);
                self.delete(change.of);
                // The deletion of a message also removes the bodies of its edits.
                for edit in self.edits.remove(&change.of).unwrap_or_default() {
                    self.delete(edit);
                }
            }
            ChangeKind::React => {}
        }
        Ok(tag)
    }

    fn delete(&mut self, s: u64) {
        self.bare.remove(&s);
        if let Some(entry) = self.entry_mut(s) {
            entry.deleted = true;
            // A block has no record per event, so its bodies cannot be compared any longer.
        } else if let Some(left) = s.checked_sub(self.origin)
            && let Some(block) = self.blocks.get_mut(left as usize / BLOCK)
        {
            block.bodies = None;
        }
    }

    /// Returns the position of the message below `s`, within the window. Searched only after an ordinal was wrong,
    /// because it is slow.
    pub(super) fn seq_of(&self, tag: MessageTag, s: u64) -> Option<u64> {
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
