//! What the oracle knows of one conversation's log: a window of digests, block digests for what has left the
//! window, and per sender one ordinal. Every message is judged once, when the log is known up to it without a hole;
//! every further sight of it is a comparison.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::seen::Seen;
use super::violation::Kind;
use crate::payload::{ClientIx, Ordinal, Tag};

/// How many entries one digest stands for once they have left the window.
pub(crate) const BLOCK: usize = 1024;

/// One conversation's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The first `s` that anybody saw; 0 while nobody saw any.
    origin: u64,
    /// The `s` of `window[0]`; whole blocks from `origin` up to here live on in `blocks`.
    base: u64,
    window: VecDeque<Entry>,
    blocks: Vec<u64>,
    /// Everything from `origin` up to here is known and was judged.
    frontier: u64,
    /// Known but not judged yet: something below is still missing.
    ahead: BTreeMap<u64, Seen>,
    mn: Option<u64>,
    ts: u64,
    senders: HashMap<ClientIx, Sender>,
    /// Acked for a place above the frontier.
    acked: BTreeMap<u64, Tag>,
    /// Who was removed, and where.
    removed: HashMap<ClientIx, u64>,
    /// Sights and acks below the window: only the block digests judge those.
    pub(crate) late: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// 0 while not known.
    digest: u64,
    tag: Option<Tag>,
}

#[derive(Debug, Default)]
struct Sender {
    issued: Ordinal,
    last: Ordinal,
    refused: HashSet<Ordinal>,
}

/// A second reading of the log, from its origin, against what the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    next: u64,
    block: u64,
}

/// The verdict on one sight: what is broken, and how.
pub(crate) type Verdict = Result<(), (Kind, String)>;

// === impl Log ===

impl Log {
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

    /// The sender was told that this message will never be accepted.
    pub(crate) fn refuse(&mut self, tag: Tag) {
        self.senders
            .entry(tag.sender)
            .or_default()
            .refused
            .insert(tag.ordinal);
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
                Ok(())
            }
            Some(entry) if entry.tag == Some(tag) => Ok(()),
            Some(entry) => Err((
                Kind::AckedOther,
                format!("{tag:?} was acked as s={s}, where the log has {:?}", entry.tag),
            )),
        }
    }

    /// Somebody saw an event: the first sight is judged, every other one is compared. `window` is how many
    /// entries to keep.
    pub(crate) fn see(&mut self, seen: &Seen, window: usize) -> Verdict {
        if self.origin == 0 {
            (self.origin, self.base, self.frontier) = (seen.s, seen.s, seen.s - 1);
        }
        if seen.s < self.base {
            self.late += 1;
            return Ok(());
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
        let known = self.window[index];
        if known.digest != 0 {
            let same = known.digest == seen.digest;
            return if same {
                Ok(())
            } else {
                Err((
                    Kind::Fork,
                    format!("one saw {:?}, another {:?}", known.tag, seen.tag),
                ))
            };
        }
        self.window[index] = Entry {
            digest: seen.digest,
            tag: seen.tag,
        };
        if seen.s != self.frontier + 1 {
            self.ahead.insert(seen.s, seen.clone());
            return Ok(());
        }
        self.judge(seen)?;
        while let Some(next) = self.ahead.remove(&(self.frontier + 1)) {
            self.judge(&next)?;
        }
        self.trim(window);
        Ok(())
    }

    /// Judges the event right above the frontier, in the light of all below it.
    fn judge(&mut self, seen: &Seen) -> Verdict {
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
            self.mn = Some(mn);
        }
        match seen.member {
            Some((client, true)) => drop(self.removed.remove(&client)),
            Some((client, false)) => drop(self.removed.insert(client, seen.s)),
            None => {}
        }
        if let Some(acked) = self.acked.remove(&seen.s)
            && Some(acked) != seen.tag
        {
            return Err((
                Kind::AckedOther,
                format!("{acked:?} was acked here, the log has {:?}", seen.tag),
            ));
        }
        let Some(tag) = seen.tag else { return Ok(()) };
        if let Some(k) = self.removed.get(&tag.sender) {
            return Err((
                Kind::ExMemberAccepted,
                format!("client {} was removed at s={k}", tag.sender),
            ));
        }
        let again = self.place_of(tag, seen.s);
        let sender = self.senders.entry(tag.sender).or_default();
        if tag.ordinal > sender.issued {
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
        Ok(())
    }

    /// Where below `s` the message is already, looked up only when its ordinal says that something is wrong.
    fn place_of(&self, tag: Tag, s: u64) -> Option<u64> {
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

    fn entry(&self, s: u64) -> Option<&Entry> {
        self.window.get(s.checked_sub(self.base)? as usize)
    }

    fn trim(&mut self, window: usize) {
        while self.window.len() >= window.max(BLOCK) + BLOCK && self.base + (BLOCK as u64) <= self.frontier {
            let block = self
                .window
                .drain(..BLOCK)
                .fold(0, |digest, entry| chain(digest, entry.digest));
            self.blocks.push(block);
            self.base += BLOCK as u64;
        }
    }

    /// Compares the next event of a second reading.
    pub(crate) fn reread(&mut self, reading: &mut Reading, seen: &Seen, window: usize) -> Verdict {
        if seen.s < self.origin {
            return Ok(()); // before anybody's first sight: nothing to compare with
        }
        if reading.next == 0 && self.origin != 0 {
            reading.next = self.origin;
        }
        if reading.next != 0 && seen.s != reading.next {
            return Err((
                Kind::Hole,
                format!("read back s={} where s={} was due", seen.s, reading.next),
            ));
        }
        reading.next = seen.s + 1;
        if seen.s >= self.base {
            return self.see(seen, window);
        }
        reading.block = chain(reading.block, seen.digest);
        let read = (seen.s - self.origin + 1) as usize;
        if read.is_multiple_of(BLOCK) {
            let known = self.blocks[read / BLOCK - 1];
            if std::mem::take(&mut reading.block) != known {
                return Err((
                    Kind::Fork,
                    format!("the {BLOCK} events up to s={} are read back as others", seen.s),
                ));
            }
        }
        Ok(())
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

fn chain(digest: u64, next: u64) -> u64 {
    xxh3_64_with_seed(&next.to_le_bytes(), digest)
}
