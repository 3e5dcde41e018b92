//! What the oracle knows of one conversation's log: a window of digests, block digests for what has left the
//! window, and per sender one ordinal. Every message is judged once, when the log is known up to it without a hole;
//! every further sight of it is a comparison.

mod archive;
mod counts;
mod judge;
mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::archive::{Archive, Archived};
pub(crate) use self::reading::Reading;
use super::changes::{Change, Changes};
use super::seen::Seen;
use super::violation::Kind;
use crate::clock::Nanos;
use crate::payload::{ClientIx, Ordinal, Tag};
use crate::team::Share;

/// How many entries one digest stands for once they have left the window.
pub(crate) const BLOCK: usize = 1024;

/// How many messages there are up to an event that nobody saw.
const UNKNOWN: u64 = u64::MAX;
/// For each entry of the window so many archived events, of a fifth of its size.
const ARCHIVE: usize = 8;

/// One conversation's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The first `s` that anybody saw; 0 while nobody saw any.
    origin: u64,
    /// The `s` of `window[0]`; whole blocks from `origin` up to here live on in `blocks`.
    base: u64,
    window: VecDeque<Entry>,
    blocks: Vec<Block>,
    archive: Archive,
    /// Everything from `origin` up to here is known and was judged.
    frontier: u64,
    /// Known but not judged yet: something below is still missing.
    ahead: BTreeMap<u64, Seen>,
    mn: Option<u64>,
    /// Some messages were passed over: how many there are is unknown until the next one.
    mn_lost: bool,
    ts: u64,
    senders: HashMap<ClientIx, Sender>,
    /// Acked for a place above the frontier.
    acked: BTreeMap<u64, Tag>,
    /// Who was removed, and where.
    removed: HashMap<ClientIx, u64>,
    /// The ordinal of the first message that was judged.
    first_mn: Option<u64>,
    /// The edits in the window, by the message that they change.
    edits: BTreeMap<u64, Vec<u64>>,
    /// Messages in the window that were deleted, and the places of the deletions.
    deletions: BTreeMap<u64, u64>,
    /// The place of the last message that was judged.
    last_message: u64,
    /// Seen without its words, and no deletion known: it must come. With the message that an edit changes.
    bare: BTreeMap<u64, u64>,
    /// When some of the messages were due at their senders, by place: one of every sixteen, as far back as there is room.
    sent: VecDeque<(u64, Nanos)>,
    /// Sights and acks below the window, judged by the archive.
    pub(crate) late: u64,
    /// Whose messages are issued here; others' are judged where they are.
    share: Share,
    /// The `s` up to which a coordinator was told the digests; those above stay in the window until it was. `None` while
    /// nobody asks.
    told: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// 0 while not known.
    digest: u64,
    /// 0 while not known, or without words.
    body: u64,
    tag: Option<Tag>,
    /// How many messages there are up to and including this event; known once it was judged.
    mn: u64,
    /// A deletion of it, or of what it edits, was judged.
    deleted: bool,
    edit: bool,
}

/// 1024 events that have left the window.
#[derive(Clone, Copy, Debug)]
struct Block {
    digest: u64,
    /// Of the bodies that can only change by a deletion; `None` if there was one since.
    bodies: Option<u64>,
}

#[derive(Debug, Default)]
struct Sender {
    issued: Ordinal,
    last: Ordinal,
    /// Above `last`.
    refused: BTreeSet<Ordinal>,
    changes: Changes,
}

/// The verdict on one sight: what is broken, and how.
pub(crate) type Verdict = Result<(), (Kind, String)>;

// === impl Log ===

impl Log {
    pub(crate) fn new(share: Share) -> Log {
        Log {
            share,
            ..Log::default()
        }
    }

    /// The digests from here on are for somebody else, too.
    pub(crate) fn tell(&mut self) {
        self.told = Some(self.frontier);
    }

    /// The next digests that were not told yet, at most `most`, and the `s` of the first.
    pub(crate) fn untold(&mut self, most: usize) -> Option<(u64, Vec<u64>)> {
        let from = (self.told? + 1).max(self.origin);
        if self.origin == 0 || self.frontier < from {
            return None;
        }
        let most = most.min((self.frontier - from + 1) as usize);
        let entries = self.window.iter().skip((from - self.base) as usize).take(most);
        let digests: Vec<u64> = entries.map(|entry| entry.digest).collect();
        self.told = Some(from + digests.len() as u64 - 1);
        Some((from, digests))
    }

    /// The highest `s` up to which everything is known.
    pub(crate) fn frontier(&self) -> u64 {
        self.frontier
    }

    /// The first `s` that is known; a reading may begin there.
    pub(crate) fn origin(&self) -> u64 {
        self.origin
    }

    /// Gives the sender its next ordinal.
    pub(crate) fn issue(&mut self, sender: ClientIx) -> Ordinal {
        let sender = self.senders.entry(sender).or_default();
        sender.issued += 1;
        sender.issued
    }

    /// The ordinal of the sender's next change.
    pub(crate) fn next_change(&mut self, sender: ClientIx) -> Ordinal {
        self.senders.entry(sender).or_default().changes.next()
    }

    /// A change is about to be sent.
    pub(crate) fn issue_change(&mut self, ordinal: Ordinal, change: Change) {
        let sender = self.senders.entry(change.by).or_default();
        sender.changes.issue(ordinal, change);
    }

    /// It will never be accepted. Returns what it was.
    pub(crate) fn refuse_change(&mut self, tag: Tag) -> Result<Change, (Kind, String)> {
        let sender = self.senders.entry(tag.sender).or_default();
        let refused = sender.changes.refuse(tag.ordinal);
        refused.ok_or_else(|| {
            (
                Kind::RefusedShown,
                format!("{tag:?} was refused, and is in the log"),
            )
        })
    }

    /// Seen without their words, although nobody deleted them.
    pub(crate) fn bare(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bare.iter().map(|(s, of)| (*s, *of))
    }

    /// Where this client was removed, if it was not taken in again since.
    pub(super) fn removed_at(&self, client: ClientIx) -> Option<u64> {
        self.removed.get(&client).copied()
    }

    /// How many entries it holds, whatever their size: what must not grow with the length of the log.
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

    /// How many blocks have left the window: a digest for 1024 events each.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The sender was told that this message will never be accepted.
    pub(crate) fn refuse(&mut self, tag: Tag) -> Verdict {
        let sender = self.senders.entry(tag.sender).or_default();
        if tag.ordinal > sender.last {
            sender.refused.insert(tag.ordinal);
            return Ok(());
        }
        // Later ones are there already: it comes never, or is one of those that are there.
        match self.place_of(tag, self.frontier + 1) {
            Some(s) => Err((Kind::RefusedShown, format!("{tag:?} was refused, and has s={s}"))),
            None => Ok(()),
        }
    }

    /// The sender was told that the message has the place `s`.
    pub(crate) fn ack(&mut self, tag: Tag, s: u64) -> Verdict {
        if s > self.frontier || self.origin == 0 {
            return match self.acked.insert(s, tag) {
                Some(other) if other != tag => Err((
                    Kind::AckedOther,
                    format!("{other:?} and {tag:?} were both acked as s={s}"),
                )),
                _ => Ok(()),
            };
        }
        match self.entry(s) {
            None => {
                self.late += 1;
                match self.archive.get(s) {
                    Some(event) if event.is_of(tag) => Ok(()),
                    Some(_) => Err((
                        Kind::AckedOther,
                        format!("{tag:?} was acked as s={s}, where the log had another one"),
                    )),
                    None => Err(unjudged(s)),
                }
            }
            Some(entry) if entry.tag == Some(tag) => Ok(()),
            Some(entry) => Err((
                Kind::AckedOther,
                format!("{tag:?} was acked as s={s}, where the log has {:?}", entry.tag),
            )),
        }
    }

    /// Somebody saw an event: the first sight is judged, every other one is compared. `window` is how many
    /// entries to keep, `before` says that the words, if they are missing, were not for the one who saw it.
    pub(crate) fn see(&mut self, seen: &Seen, window: usize, before: bool) -> Verdict {
        if self.origin == 0 {
            (self.origin, self.base, self.frontier) = (seen.s, seen.s, seen.s - 1);
        }
        if seen.s < self.origin {
            return Ok(()); // before anybody's first sight: nothing to compare with
        }
        if seen.s < self.base {
            self.late += 1;
            return match self.archive.get(seen.s) {
                Some(event) if event.is(seen.digest) => Ok(()),
                Some(_) => Err((
                    Kind::Fork,
                    format!("late, {:?} is seen where others saw another", seen.tag),
                )),
                None => Err(unjudged(seen.s)),
            };
        }
        let index = (seen.s - self.base) as usize;
        if index >= self.window.len() {
            if index - self.window.len() > 10_000_000 {
                return Err((
                    Kind::Hole,
                    format!("s={} is ten million above anything known", seen.s),
                ));
            }
            self.window.resize(index + 1, Entry::default());
        }
        let known = &mut self.window[index];
        if known.digest != 0 {
            let same =
                known.digest == seen.digest && (seen.deleted || known.body == 0 || known.body == seen.body);
            if !same {
                return Err((
                    Kind::Fork,
                    format!("one saw {:?}, another {:?}", known.tag, seen.tag),
                ));
            }
            if seen.deleted && !known.deleted && !before {
                self.bare.insert(seen.s, seen.edited().unwrap_or(seen.s));
            } else if known.body == 0 {
                known.body = seen.body;
            }
            return Ok(());
        }
        let mn = known.mn;
        *known = Entry {
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

    fn entry(&self, s: u64) -> Option<&Entry> {
        self.window.get(s.checked_sub(self.base)? as usize)
    }

    fn entry_mut(&mut self, s: u64) -> Option<&mut Entry> {
        self.window.get_mut(s.checked_sub(self.base)? as usize)
    }

    /// `window` is how many entries to keep; the archive has room for as many as take the same memory, and more.
    fn trim(&mut self, window: usize) {
        let done = self.told.map_or(self.frontier, |told| told.min(self.frontier));
        while self.window.len() >= window.max(BLOCK) + BLOCK && self.base + (BLOCK as u64) <= done {
            let (mut digest, mut bodies) = (0, 0);
            let room = ARCHIVE * window.max(BLOCK);
            for (s, entry) in (self.base..).zip(self.window.drain(..BLOCK)) {
                self.archive.push(s, Archived::new(entry.digest, entry.tag), room);
                digest = chain(digest, entry.digest);
                // A later deletion of its message takes an edit's words too, and nobody could say which edits those are.
                if !entry.deleted && !entry.edit {
                    bodies = chain(bodies, entry.body);
                }
            }
            self.blocks.push(Block {
                digest,
                bodies: Some(bodies),
            });
            self.base += BLOCK as u64;
            let base = self.base;
            self.deletions = self.deletions.split_off(&base);
            self.edits.retain(|_, edits| {
                edits.retain(|edit| *edit >= base);
                !edits.is_empty()
            });
        }
    }

    /// What was acked and is not in the log, once the log is known to its end.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (u64, Tag)> {
        self.acked.iter().map(|(s, tag)| (*s, *tag))
    }

    /// The log around a place, for people.
    pub(crate) fn around(&self, s: u64) -> Vec<String> {
        let from = s.saturating_sub(8).max(self.base);
        (from..=s + 8)
            .filter_map(|s| self.entry(s).map(|entry| (s, entry)))
            .map(|(s, entry)| format!("s={s} {:?} digest={:016x}", entry.tag, entry.digest))
            .collect()
    }
}

fn unjudged(s: u64) -> (Kind, String) {
    (
        Kind::LateSight,
        format!("s={s} is further back than the oracle remembers"),
    )
}

fn chain(digest: u64, next: u64) -> u64 {
    xxh3_64_with_seed(&next.to_le_bytes(), digest)
}
