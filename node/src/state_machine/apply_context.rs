//! Rows that one batch reads and writes: each is decoded once and written once, however many commands of the batch
//! touch it.
//!
//! Path of a message: step 9 of 13.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::ChatTable;
use bytes::Bytes;
use protocol::{ClientMessageId, ConversationId, UserId};
use storage::Error;

use super::keys;
use super::outcome::{ApplyEffect, CommandResult, OutboxId};
use super::row_store::RowWriter;
use super::rows::{
    ConvRow, DedupRow, EventKind, EventRow, MemberRow, OutboxChange, OutboxRow, QueuedWebhookRow,
    VersionedRow, WebhookPolicyRow,
};

/// Cached rows and time of one batch.
pub(super) struct ApplyContext<'a, T> {
    pub(super) rows: &'a mut T,
    /// Timestamp of new events: the proposing owner's clock, in milliseconds since the epoch.
    pub(super) now_ms: u64,
    /// Time that a majority's clocks have reached; expiry uses this one.
    pub(super) reached_ms: u64,
    index: u64,
    outbox: u32,
    convs: HashMap<ConversationId, CachedRow<ConvRow>>,
    members: HashMap<(ConversationId, UserId), CachedRow<MemberRow>>,
    hooks: Option<CachedRow<WebhookPolicyRow>>,
}

/// Both times of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    pub(super) now_ms: u64,
    pub(super) reached_ms: u64,
}

struct CachedRow<R> {
    row: Option<R>,
    dirty: bool,
}

// === impl Time ===

impl From<u64> for Time {
    /// Returns the time of a batch at which all clocks agree.
    fn from(now_ms: u64) -> Time {
        Time {
            now_ms,
            reached_ms: now_ms,
        }
    }
}

// === impl ApplyContext ===

impl<'a, T: RowWriter> ApplyContext<'a, T> {
    pub(super) fn new(rows: &'a mut T, index: u64, time: Time) -> ApplyContext<'a, T> {
        ApplyContext {
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

    /// Returns a copy of the conversation's row; a change takes effect with [`ApplyContext::set_conv`].
    pub(super) fn conv(&mut self, conv: &ConversationId) -> Result<Option<ConvRow>, Error> {
        let slot = match self.convs.entry(conv.clone()) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => {
                let row = self.rows.get(ChatTable::Conversation, conv.as_str().as_bytes())?;
                let row = row.map(|row| ConvRow::decode(&row)).transpose()?;
                slot.insert(CachedRow { row, dirty: false })
            }
        };
        // A copy: a command that is refused halfway must leave the cached row unchanged for the next command.
        Ok(slot.row.clone())
    }

    pub(super) fn set_conv(&mut self, conv: &ConversationId, row: ConvRow) {
        self.convs.insert(
            conv.clone(),
            CachedRow {
                row: Some(row),
                dirty: true,
            },
        );
    }

    /// Returns a copy of the row of a present or former member; a change takes effect with
    /// [`ApplyContext::set_member`].
    pub(super) fn member(
        &mut self,
        conv: &ConversationId,
        user: &UserId,
    ) -> Result<Option<MemberRow>, Error> {
        let slot = match self.members.entry((conv.clone(), user.clone())) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => {
                let row = self.rows.get(ChatTable::Member, &keys::member(conv, user))?;
                let row = row.map(|row| MemberRow::decode(&row)).transpose()?;
                slot.insert(CachedRow { row, dirty: false })
            }
        };
        Ok(slot.row.clone())
    }

    /// Returns the row of the author of a command, which holds the results of its keys. The system has one without
    /// having been a member.
    pub(super) fn author(
        &mut self,
        conv: &ConversationId,
        user: &UserId,
    ) -> Result<Option<MemberRow>, Error> {
        let row = self.member(conv, user)?;
        Ok(row.or_else(|| user.is_system().then(MemberRow::non_member)))
    }

    pub(super) fn set_member(&mut self, conv: &ConversationId, user: &UserId, row: MemberRow) {
        self.members.insert(
            (conv.clone(), user.clone()),
            CachedRow {
                row: Some(row),
                dirty: true,
            },
        );
    }

    /// Removes the row of a former member.
    pub(super) fn remove_member(&mut self, conv: &ConversationId, user: &UserId) {
        let slot = CachedRow {
            row: None,
            dirty: true,
        };
        self.members.insert((conv.clone(), user.clone()), slot);
    }

    /// Returns the index of the log entry.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Returns a copy of the webhook policy; a change takes effect with [`ApplyContext::set_hooks`].
    pub(super) fn hooks(&mut self) -> Result<WebhookPolicyRow, Error> {
        if self.hooks.is_none() {
            let row = self.rows.get(ChatTable::Webhook, &keys::HOOKS)?;
            let row = row.map(|row| WebhookPolicyRow::decode(&row)).transpose()?;
            self.hooks = Some(CachedRow { row, dirty: false });
        }
        let row = self.hooks.as_ref().and_then(|slot| slot.row.clone());
        Ok(row.unwrap_or_default())
    }

    pub(super) fn set_hooks(&mut self, row: WebhookPolicyRow) {
        self.hooks = Some(CachedRow {
            row: Some(row),
            dirty: true,
        });
    }

    /// Queues a message for the webhooks.
    pub(super) fn intend(&mut self, conv: &ConversationId, s: u64, mut hooks: WebhookPolicyRow) {
        let id = OutboxId {
            index: self.index,
            n: self.outbox,
        };
        // The counter is shared with the outbox, so that ids stay unique within the batch.
        self.outbox += 1;
        let conv = conv.clone();
        self.rows.put(
            ChatTable::Webhook,
            &keys::queued_webhook(id),
            &QueuedWebhookRow { conv, s }.encode(),
        );
        hooks.waiting += 1;
        self.set_hooks(hooks);
    }

    /// Writes all changed rows. It is called once, after the last command.
    pub(super) fn finish(self) {
        if let Some(CachedRow {
            row: Some(row),
            dirty: true,
        }) = &self.hooks
        {
            self.rows.put(ChatTable::Webhook, &keys::HOOKS, &row.encode());
        }
        // The order of a hash map differs between replicas, but each key is written once, so the result does not.
        for ((conv, user), slot) in &self.members {
            let key = keys::member(conv, user);
            match (slot.dirty, &slot.row) {
                (true, Some(row)) => self.rows.put(ChatTable::Member, &key, &row.encode()),
                (true, None) => self.rows.delete(ChatTable::Member, &key),
                (false, _) => {}
            }
        }
        for (conv, slot) in &self.convs {
            if let (true, Some(row)) = (slot.dirty, &slot.row) {
                self.rows
                    .put(ChatTable::Conversation, conv.as_str().as_bytes(), &row.encode());
            }
        }
    }

    /// Returns the first result of `cid` of `user` in `conv`; `None` if it was not used.
    pub(super) fn first_result(
        &mut self,
        conv: &ConversationId,
        user: &UserId,
        cid: &ClientMessageId,
    ) -> Result<Option<CommandResult>, Error> {
        // Dedup rows are written through at once, so a retry within the same batch is found, too.
        let key = keys::dedup(&keys::dedup_scope(Some(conv), user), cid);
        let Some(row) = self.rows.get(ChatTable::Dedup, &key)? else {
            return Ok(None);
        };
        let DedupRow { s, mn, ts, .. } = DedupRow::decode(&row)?;
        // Without events: they were fanned out the first time, and after a failover receivers read them from the log.
        Ok(Some(CommandResult {
            seq: (s > 0).then_some(s),
            mn: (mn > 0).then_some(mn),
            ts,
            dup: true,
            events: Vec::new(),
            effect: ApplyEffect::None,
        }))
    }

    /// Stores the first result of `cid`. `member` is the row of `user`, which the caller writes afterwards.
    pub(super) fn keep_result(
        &mut self,
        conv: &ConversationId,
        user: &UserId,
        member: &mut MemberRow,
        cid: &ClientMessageId,
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

    /// Writes an event to the log and returns its tail for the fan-out.
    pub(super) fn put_event(
        &mut self,
        conv: &ConversationId,
        s: u64,
        kind: EventKind,
        mn: u64,
        author: &UserId,
        tail: String,
    ) -> Bytes {
        // Written through, not cached: an event row is written once and read rarely within its batch.
        self.rows.put(
            ChatTable::Message,
            &keys::message(conv, s),
            &EventRow::encode(kind, mn, author, &tail),
        );
        tail.into()
    }

    /// Returns the event at `s`; `None` if its row is removed or never existed.
    pub(super) fn event(&self, conv: &ConversationId, s: u64) -> Result<Option<EventRow>, Error> {
        let row = self.rows.get(ChatTable::Message, &keys::message(conv, s))?;
        row.map(|row| EventRow::decode(&row)).transpose()
    }

    /// Appends a change to the outbox for the user's shard. Returns the entry's id, which is the version of the change.
    pub(super) fn append_outbox(
        &mut self,
        conv: &ConversationId,
        user: &UserId,
        change: OutboxChange,
        at_ms: u64,
    ) -> OutboxId {
        let id = OutboxId {
            index: self.index,
            n: self.outbox,
        };
        self.outbox += 1;
        let row = OutboxRow {
            conv: conv.clone(),
            user: user.clone(),
            change,
            at_ms,
        };
        self.rows.put(ChatTable::Outbox, &keys::outbox(id), &row.encode());
        id
    }
}
