//! The rows that one batch works on: each is read and decoded once, and written once, however many commands of the
//! batch touch it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use protocol::{Cid, ConvId, UserId};
use storage::{Error, Table};

use super::door::RowsMut;
use super::keys;
use super::outcome::{Applied, Effect, OutboxId};
use super::rows::{
    ConvRow, DedupRow, EventKind, EventRow, HooksRow, IntentRow, MemberRow, News, OutboxRow, Row,
};

/// The working set of a batch.
pub(super) struct Work<'a, T> {
    pub(super) rows: &'a mut T,
    /// What happens is said to happen at this time.
    pub(super) now_ms: u64,
    /// What ends by time ends by this one: a majority's clocks have reached it.
    pub(super) reached_ms: u64,
    index: u64,
    outbox: u32,
    convs: HashMap<ConvId, Slot<ConvRow>>,
    members: HashMap<(ConvId, UserId), Slot<MemberRow>>,
    hooks: Option<Slot<HooksRow>>,
}

/// The time of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    pub(super) now_ms: u64,
    pub(super) reached_ms: u64,
}

struct Slot<R> {
    row: Option<R>,
    dirty: bool,
}

// === impl Time ===

impl From<u64> for Time {
    /// All clocks agree.
    fn from(now_ms: u64) -> Time {
        Time {
            now_ms,
            reached_ms: now_ms,
        }
    }
}

// === impl Work ===

impl<'a, T: RowsMut> Work<'a, T> {
    pub(super) fn new(rows: &'a mut T, index: u64, time: Time) -> Work<'a, T> {
        Work {
            rows,
            now_ms: time.now_ms,
            reached_ms: time.reached_ms,
            index,
            outbox: 0,
            convs: HashMap::new(),
            members: HashMap::new(),
            hooks: None,
        }
    }

    /// Returns a copy of the conversation's row; a change counts once it is given to [`Work::set_conv`].
    pub(super) fn conv(&mut self, conv: &ConvId) -> Result<Option<ConvRow>, Error> {
        let slot = match self.convs.entry(conv.clone()) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => {
                let row = self.rows.get(Table::Conversation, conv.as_str().as_bytes())?;
                let row = row.map(|row| ConvRow::decode(&row)).transpose()?;
                slot.insert(Slot { row, dirty: false })
            }
        };
        Ok(slot.row.clone())
    }

    pub(super) fn set_conv(&mut self, conv: &ConvId, row: ConvRow) {
        self.convs.insert(
            conv.clone(),
            Slot {
                row: Some(row),
                dirty: true,
            },
        );
    }

    /// Returns a copy of the row of a member, present or former; a change counts once it is given to
    /// [`Work::set_member`].
    pub(super) fn member(&mut self, conv: &ConvId, user: &UserId) -> Result<Option<MemberRow>, Error> {
        let slot = match self.members.entry((conv.clone(), user.clone())) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => {
                let row = self.rows.get(Table::Member, &keys::member(conv, user))?;
                let row = row.map(|row| MemberRow::decode(&row)).transpose()?;
                slot.insert(Slot { row, dirty: false })
            }
        };
        Ok(slot.row.clone())
    }

    pub(super) fn set_member(&mut self, conv: &ConvId, user: &UserId, row: MemberRow) {
        self.members.insert(
            (conv.clone(), user.clone()),
            Slot {
                row: Some(row),
                dirty: true,
            },
        );
    }

    /// Returns a copy of the row about the hook; a change counts once it is given to [`Work::set_hooks`].
    pub(super) fn hooks(&mut self) -> Result<HooksRow, Error> {
        if self.hooks.is_none() {
            let row = self.rows.get(Table::Outbox, &keys::HOOKS)?;
            let row = row.map(|row| HooksRow::decode(&row)).transpose()?;
            self.hooks = Some(Slot { row, dirty: false });
        }
        let row = self.hooks.as_ref().and_then(|slot| slot.row.clone());
        Ok(row.unwrap_or_default())
    }

    pub(super) fn set_hooks(&mut self, row: HooksRow) {
        self.hooks = Some(Slot {
            row: Some(row),
            dirty: true,
        });
    }

    /// Has the hook told of a message, later.
    pub(super) fn intend(&mut self, conv: &ConvId, s: u64, mut hooks: HooksRow) {
        let id = OutboxId {
            index: self.index,
            n: self.outbox,
        };
        self.outbox += 1;
        let conv = conv.clone();
        self.rows
            .put(Table::Outbox, &keys::intent(id), &IntentRow { conv, s }.encode());
        hooks.waiting += 1;
        self.set_hooks(hooks);
    }

    /// Writes what changed. Call it once, after the last command.
    pub(super) fn finish(self) {
        if let Some(Slot {
            row: Some(row),
            dirty: true,
        }) = &self.hooks
        {
            self.rows.put(Table::Outbox, &keys::HOOKS, &row.encode());
        }
        for ((conv, user), slot) in &self.members {
            if let (true, Some(row)) = (slot.dirty, &slot.row) {
                self.rows
                    .put(Table::Member, &keys::member(conv, user), &row.encode());
            }
        }
        for (conv, slot) in &self.convs {
            if let (true, Some(row)) = (slot.dirty, &slot.row) {
                self.rows
                    .put(Table::Conversation, conv.as_str().as_bytes(), &row.encode());
            }
        }
    }

    /// Returns the result of the first time that `user` used `cid` in `conv`.
    pub(super) fn first_result(
        &mut self,
        conv: &ConvId,
        user: &UserId,
        cid: &Cid,
    ) -> Result<Option<Applied>, Error> {
        let key = keys::dedup(&keys::dedup_scope(Some(conv), user), cid);
        let Some(row) = self.rows.get(Table::Dedup, &key)? else {
            return Ok(None);
        };
        let DedupRow { s, mn, ts, .. } = DedupRow::decode(&row)?;
        Ok(Some(Applied {
            s,
            mn,
            ts,
            dup: true,
            events: Vec::new(),
            effect: Effect::None,
        }))
    }

    /// Keeps the first result of `cid`. `member` is the row of `user`, which the caller goes on to write.
    pub(super) fn keep_result(
        &mut self,
        conv: &ConvId,
        user: &UserId,
        member: &mut MemberRow,
        cid: &Cid,
        (s, mn, ts): (u64, u64, u64),
    ) -> Result<(), Error> {
        let scope = keys::dedup_scope(Some(conv), user);
        member.dedups.add(
            self.rows,
            &scope,
            cid,
            DedupRow {
                k: 0,
                ts,
                s,
                mn,
                conv: None,
            },
            self.reached_ms,
        )
    }

    /// Writes an event into the log and returns its tail as it is to be fanned out.
    pub(super) fn put_event(
        &mut self,
        conv: &ConvId,
        s: u64,
        kind: EventKind,
        mn: u64,
        author: &UserId,
        tail: String,
    ) -> Bytes {
        self.rows.put(
            Table::Message,
            &keys::message(conv, s),
            &EventRow::encode(kind, mn, author, &tail),
        );
        tail.into()
    }

    /// Returns the event at `s`.
    pub(super) fn event(&self, conv: &ConvId, s: u64) -> Result<Option<EventRow>, Error> {
        let row = self.rows.get(Table::Message, &keys::message(conv, s))?;
        row.map(|row| EventRow::decode(&row)).transpose()
    }

    /// Tells the user's shard, later, what changed. Returns the entry's id, which is the version.
    pub(super) fn tell_user(&mut self, conv: &ConvId, user: &UserId, news: News, at_ms: u64) -> OutboxId {
        let id = OutboxId {
            index: self.index,
            n: self.outbox,
        };
        self.outbox += 1;
        let row = OutboxRow {
            conv: conv.clone(),
            user: user.clone(),
            news,
            at_ms,
        };
        self.rows.put(Table::Outbox, &id.key(), &row.encode());
        id
    }
}
