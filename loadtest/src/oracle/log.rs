//! Log of one conversation in the oracle: a window of digests, block digests below the window, and one ordinal per
//! sender.
//!
//! Every event is judged once, when the log is known up to it without a hole. Every further observation is only
//! compared.

mod archive;
mod counts;
mod judge;
mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::archive::{Archive, Archived};
pub(crate) use self::reading::Reading;
use super::changes::{MessageChange, MessageChanges};
use super::seen::SeenEvent;
use super::violation::ViolationKind;
use crate::clock::Nanos;
use crate::payload::{ClientIx, MessageTag, Ordinal};
use crate::spec::ClientSlice;

/// Number of events that one block digest covers below the window.
pub(crate) const BLOCK: usize = 1024;

/// Marker of an unknown message count, above messages that no client has observed.
const UNKNOWN: u64 = u64::MAX;
/// Number of archived events per window entry. An archived event has a fifth of an entry's size.
const ARCHIVE: usize = 8;

/// Log of one conversation.
#[derive(Debug, Default)]
pub(crate) struct OracleLog {
    /// First `s` that any client's view contains; 0 before the first view.
    origin: u64,
    /// `s` of `window[0]`. The events from `origin` up to here remain in `blocks`.
    base: u64,
    window: VecDeque<LogEntry>,
    blocks: Vec<DigestBlock>,
    archive: Archive,
    /// Every event from `origin` up to here is known and was judged.
    frontier: u64,
    /// Known events that are not judged yet, because an event below them is missing.
    ahead: BTreeMap<u64, SeenEvent>,
    mn: Option<u64>,
    /// `true` after retention removed messages unseen: their number is unknown until the next message.
    mn_lost: bool,
    ts: u64,
    senders: HashMap<ClientIx, SenderState>,
    /// Acks above the frontier, by position.
    acked: BTreeMap<u64, MessageTag>,
    /// Removed clients, with the position of the removal.
    removed: HashMap<ClientIx, u64>,
    /// Ordinal `mn` of the first message that was judged.
    first_mn: Option<u64>,
    /// Edits in the window, by the message that they change.
    edits: BTreeMap<u64, Vec<u64>>,
    /// Deleted messages in the window, with the positions of the deletions.
    deletions: BTreeMap<u64, u64>,
    /// Position of the last message that was judged.
    last_message: u64,
    /// Events observed without a body, with the message whose deletion explains it. That deletion must still follow.
    bare: BTreeMap<u64, u64>,
    /// Due times of sampled messages, by position: one message of every 16, the last 4096 samples.
    sent: VecDeque<(u64, Nanos)>,
    /// Number of observations and acks below the window, compared with the archive.
    pub(crate) late: u64,
    /// Clients of this process. Messages of other clients are judged by their own processes.
    share: ClientSlice,
    /// `s` up to which the digests were reported to the coordinator. Events above it remain in the window. `None`
    /// without a coordinator.
    reported: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct LogEntry {
    /// 0 while the event is unknown.
    digest: u64,
    /// 0 while unknown, or without a body.
    body: u64,
    tag: Option<MessageTag>,
    /// Number of messages up to and including this event. Valid once the event was judged.
    mn: u64,
    /// `true` once a deletion of the event, or of the message that it edits, was judged.
    deleted: bool,
    edit: bool,
}

/// Digest of [`BLOCK`] events that have left the window.
#[derive(Clone, Copy, Debug)]
struct DigestBlock {
    digest: u64,
    /// Digest of the bodies without those of edits; `None` after a deletion in the block.
    bodies: Option<u64>,
}

#[derive(Debug, Default)]
struct SenderState {
    issued: Ordinal,
    last: Ordinal,
    /// Refused ordinals above `last`.
    refused: BTreeSet<Ordinal>,
    changes: MessageChanges,
}

/// Result of one check: the broken promise and its details as the error.
pub(crate) type Verdict = Result<(), (ViolationKind, String)>;

// === impl OracleLog ===

impl OracleLog {
    pub(crate) fn new(share: ClientSlice) -> OracleLog {
        OracleLog {
            share,
            ..OracleLog::default()
        }
    }

    /// Starts to hold digests for the coordinator, from here on.
    pub(crate) fn report(&mut self) {
        self.reported = Some(self.frontier);
    }

    /// Returns the next unreported digests, at most `most`, and the `s` of the first.
    pub(crate) fn unreported(&mut self, most: usize) -> Option<(u64, Vec<u64>)> {
        let from = (self.reported? + 1).max(self.origin);
        if self.origin == 0 || self.frontier < from {
            return None;
        }
        let most = most.min((self.frontier - from + 1) as usize);
        // Never below the window: `trim` holds unreported entries.
        let entries = self.window.iter().skip((from - self.base) as usize).take(most);
        let digests: Vec<u64> = entries.map(|entry| entry.digest).collect();
        self.reported = Some(from + digests.len() as u64 - 1);
        Some((from, digests))
    }

    /// Begins a client's view above `last`. The log begins with its earliest view.
    ///
    /// Observations do not begin it: a page of the newest events may be the first one, and lies above events that the
    /// clients still receive.
    pub(crate) fn begin(&mut self, last: u64) {
        // The views of a run begin before its load. Once events are known, the log cannot be extended downwards.
        if self.origin == 0 || (self.window.is_empty() && last < self.frontier) {
            (self.origin, self.base, self.frontier) = (last + 1, last + 1, last);
        }
    }

    /// Returns the highest `s` up to which every event is known.
    pub(crate) fn frontier(&self) -> u64 {
        self.frontier
    }

    /// Returns the first known `s`, at which a reading may begin.
    pub(crate) fn origin(&self) -> u64 {
        self.origin
    }

    /// Returns the sender's next ordinal.
    pub(crate) fn issue(&mut self, sender: ClientIx) -> Ordinal {
        let sender = self.senders.entry(sender).or_default();
        sender.issued += 1;
        sender.issued
    }

    /// Returns the ordinal of the sender's next change.
    pub(crate) fn next_change(&mut self, sender: ClientIx) -> Ordinal {
        self.senders.entry(sender).or_default().changes.next()
    }

    /// Adds a change that is about to be sent.
    pub(crate) fn issue_change(&mut self, ordinal: Ordinal, change: MessageChange) {
        let sender = self.senders.entry(change.by).or_default();
        sender.changes.issue(ordinal, change);
    }

    /// Records a permanent refusal and returns the change. It is an error if the change is in the log.
    pub(crate) fn refuse_change(
        &mut self,
        tag: MessageTag,
    ) -> Result<MessageChange, (ViolationKind, String)> {
        let sender = self.senders.entry(tag.sender).or_default();
        let refused = sender.changes.refuse(tag.ordinal);
        refused.ok_or_else(|| {
            (
                ViolationKind::RefusedVisible,
                format!("{tag:?} was refused, but is in the log"),
            )
        })
    }

    /// Returns the events observed without a body and without a known deletion.
    pub(crate) fn bare(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bare.iter().map(|(s, of)| (*s, *of))
    }

    /// Returns the position of the client's removal, if it was not added again since.
    pub(super) fn removed_at(&self, client: ClientIx) -> Option<u64> {
        self.removed.get(&client).copied()
    }

    /// Number of stored entries, which must not grow with the length of the log.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        let senders = self.senders.values();
        let senders: usize = senders
            .map(|sender| 1 + sender.refused.len() + sender.changes.entries())
            .sum();
        self.window.len()
            + self.ahead.len()
            + self.acked.len()
            + self.removed.len()
            + self.bare.len()
            + self.edits.values().map(Vec::len).sum::<usize>()
            + senders
    }

    #[cfg(test)]
    pub(crate) fn archived(&self) -> usize {
        self.archive.len()
    }

    /// Number of blocks that have left the window.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Records that a message was refused permanently.
    pub(crate) fn refuse(&mut self, tag: MessageTag) -> Verdict {
        let sender = self.senders.entry(tag.sender).or_default();
        if tag.ordinal > sender.last {
            sender.refused.insert(tag.ordinal);
            return Ok(());
        }
        // Later messages of the sender are in the log. The refused one never follows, or it is among them.
        match self.seq_of(tag, self.frontier + 1) {
            Some(s) => Err((
                ViolationKind::RefusedVisible,
                format!("{tag:?} was refused, but has s={s}"),
            )),
            None => Ok(()),
        }
    }

    /// Records that a message was acknowledged at `s`.
    pub(crate) fn ack(&mut self, tag: MessageTag, s: u64) -> Verdict {
        // Not known yet up to there. The ack is compared when its event is judged.
        if s > self.frontier {
            return match self.acked.insert(s, tag) {
                Some(other) if other != tag => Err((
                    ViolationKind::AckedOther,
                    format!("{other:?} and {tag:?} were both acked as s={s}"),
                )),
                _ => Ok(()),
            };
        }
        match self.entry(s) {
            None => {
                // Below the window only 32 bits per event remain, which still detect a wrong ack.
                self.late += 1;
                match self.archive.get(s) {
                    Some(event) if event.is_of(tag) => Ok(()),
                    Some(_) => Err((
                        ViolationKind::AckedOther,
                        format!("{tag:?} was acked as s={s}, where the log has another message"),
                    )),
                    // Its sender's view had begun before the send, and no view begins below the origin.
                    None if s < self.origin => Err((
                        ViolationKind::StaleAppend,
                        format!(
                            "{tag:?} was acked as s={s}, but every view begins at s={} or above",
                            self.origin
                        ),
                    )),
                    None => Err(unjudged(s)),
                }
            }
            Some(entry) if entry.tag == Some(tag) => Ok(()),
            Some(entry) => Err((
                ViolationKind::AckedOther,
                format!("{tag:?} was acked as s={s}, where the log has {:?}", entry.tag),
            )),
        }
    }

    /// Records an observed event: the first observation is judged, every other one is compared.
    ///
    /// `window` is the number of entries to hold. `before` is `true` if a missing body is expected: the client joined
    /// later.
    pub(crate) fn see(&mut self, seen: &SeenEvent, window: usize, before: bool) -> Verdict {
        // Below every view, so no client received the event live. A page may still contain it.
        if self.origin == 0 || seen.s < self.origin {
            return Ok(());
        }
        if seen.s < self.base {
            self.late += 1;
            return match self.archive.get(seen.s) {
                Some(event) if event.is(seen.digest) => Ok(()),
                Some(_) => Err((
                    ViolationKind::Fork,
                    format!(
                        "received late: {:?}, where other clients received another message",
                        seen.tag
                    ),
                )),
                None => Err(unjudged(seen.s)),
            };
        }
        let index = (seen.s - self.base) as usize;
        if index >= self.window.len() {
            // A corrupt `s` must not make the window allocate without bound.
            if index - self.window.len() > 10_000_000 {
                return Err((
                    ViolationKind::Hole,
                    format!("s={} is ten million above the highest known position", seen.s),
                ));
            }
            self.window.resize(index + 1, LogEntry::default());
        }
        let known = &mut self.window[index];
        if known.digest != 0 {
            // A deletion between two observations removes the body, so only two existing bodies are compared.
            let same =
                known.digest == seen.digest && (seen.deleted || known.body == 0 || known.body == seen.body);
            if !same {
                return Err((
                    ViolationKind::Fork,
                    format!("one client received {:?}, another {:?}", known.tag, seen.tag),
                ));
            }
            // Until the end the deletion may be in a part of the log that no client has observed yet.
            if seen.deleted && !known.deleted && !before {
                self.bare.insert(seen.s, seen.edited().unwrap_or(seen.s));
            } else if known.body == 0 {
                known.body = seen.body;
            }
            return Ok(());
        }
        // Preserved: `pass_over` may have marked the count as unknown, and this event is not judged again.
        let mn = known.mn;
        *known = LogEntry {
            digest: seen.digest,
            body: seen.body,
            tag: seen.tag,
            mn,
            deleted: false,
            edit: seen.is_edit(),
        };
        if seen.deleted && !before {
            self.bare.insert(seen.s, seen.edited().unwrap_or(seen.s));
        }
        if seen.s <= self.frontier {
            return Ok(()); // passed over by one, and seen by another before it went
        }
        // Held back: ordinals and removals can be judged only in log order.
        if seen.s != self.frontier + 1 {
            self.ahead.insert(seen.s, seen.clone());
            return Ok(());
        }
        self.judge(seen)?;
        self.judge_ahead()?;
        self.trim(window);
        Ok(())
    }

    /// Judges what was seen above a hole that there is no more.
    fn judge_ahead(&mut self) -> Verdict {
        while let Some(next) = self.ahead.remove(&(self.frontier + 1)) {
            self.judge(&next)?;
        }
        Ok(())
    }

    fn entry(&self, s: u64) -> Option<&LogEntry> {
        self.window.get(s.checked_sub(self.base)? as usize)
    }

    fn entry_mut(&mut self, s: u64) -> Option<&mut LogEntry> {
        self.window.get_mut(s.checked_sub(self.base)? as usize)
    }

    /// Moves whole blocks out of the window until it has about `window` entries. The archive holds a multiple of that
    /// number.
    fn trim(&mut self, window: usize) {
        // Unreported digests stay in the window: the coordinator would otherwise never compare them.
        let done = self
            .reported
            .map_or(self.frontier, |reported| reported.min(self.frontier));
        while self.window.len() >= window.max(BLOCK) + BLOCK && self.base + (BLOCK as u64) <= done {
            let (mut digest, mut bodies) = (0, 0);
            let room = ARCHIVE * window.max(BLOCK);
            for (s, entry) in (self.base..).zip(self.window.drain(..BLOCK)) {
                self.archive.push(s, Archived::new(entry.digest, entry.tag), room);
                digest = chain(digest, entry.digest);
                // Edits are excluded: the deletion of a message removes its edits' bodies too, and a block does not
                // list its edits.
                if !entry.deleted && !entry.edit {
                    bodies = chain(bodies, entry.body);
                }
            }
            self.blocks.push(DigestBlock {
                digest,
                bodies: Some(bodies),
            });
            self.base += BLOCK as u64;
            // Bounds the indexes as well: without this they would grow with the length of the log.
            let base = self.base;
            self.deletions = self.deletions.split_off(&base);
            self.edits.retain(|_, edits| {
                edits.retain(|edit| *edit >= base);
                !edits.is_empty()
            });
        }
    }

    /// Returns the acknowledged messages that are not in the log, valid once the log is known to its end.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (u64, MessageTag)> {
        self.acked.iter().map(|(s, tag)| (*s, *tag))
    }

    /// Returns the log around a position as text.
    pub(crate) fn around(&self, s: u64) -> Vec<String> {
        let from = s.saturating_sub(8).max(self.base);
        (from..=s + 8)
            .filter_map(|s| self.entry(s).map(|entry| (s, entry)))
            .map(|(s, entry)| format!("s={s} {:?} digest={:016x}", entry.tag, entry.digest))
            .collect()
    }
}

fn unjudged(s: u64) -> (ViolationKind, String) {
    (
        ViolationKind::LateSight,
        format!("s={s} is older than the oracle's window"),
    )
}

fn chain(digest: u64, next: u64) -> u64 {
    xxh3_64_with_seed(&next.to_le_bytes(), digest)
}
