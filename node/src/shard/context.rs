//! State shared by a shard's actor and its conversation actors; all of them run on one thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use cluster::{FeatureLevel, ShardId};
use parking_lot::Mutex;
use protocol::{ConversationId, UserId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::batch_streams::BatchStreams;
use super::fanout::Fanout;
use super::inbound_batch::PendingCommand;
use super::interest_table::InterestTable;
use super::recent::{Recent, RecentSubject};
use super::shard_deps::ShardDeps;
use crate::presence::registry;
use crate::rpc::submit::BATCH_BYTES;
use crate::state_machine::{EventEnvelope, MovedMember};

/// Accepted commands per shard without a response. Further batches get `busy`; the command queue sends them again.
const MAX_COMMANDS: usize = 16_384;

pub(crate) struct ShardContext {
    pub(crate) shard: ShardId,
    pub(crate) epoch: u64,
    pub(crate) shared: Arc<ShardDeps>,
    pub(crate) streams: Arc<Mutex<BatchStreams>>,
    /// Number of commands without a response.
    pub(crate) load: Arc<AtomicUsize>,
    /// Checked commands for the next batch.
    queued: RefCell<VecDeque<PendingCommand>>,
    pub(crate) queued_wake: Notify,
    pub(crate) interest: RefCell<InterestTable>,
    /// Recent unlogged events for new subscribers.
    pub(crate) recent: RefCell<Recent>,
    /// Presence of the shard's users.
    pub(crate) users: Arc<registry::SharedPresenceRegistry>,
    fanout: Rc<Fanout>,
    /// Set when events were lost between commit and fan-out; every node must then detect a gap.
    pub(crate) lost_events: Arc<AtomicBool>,
    /// Wakes the outbox task: there may be new entries.
    pub(crate) outbox_wake: Notify,
    /// Conversations with messages of which the members' shards are to be notified.
    watched: RefCell<Vec<ConversationId>>,
    pub(crate) watched_wake: Notify,
    /// Wakes the webhook task: there may be queued webhooks.
    pub(crate) hook_wake: Notify,
    pub(crate) end: CancellationToken,
}

// === impl ShardContext ===

impl ShardContext {
    pub(crate) fn new(
        shard: ShardId,
        epoch: u64,
        shared: Arc<ShardDeps>,
        users: Arc<registry::SharedPresenceRegistry>,
        end: CancellationToken,
    ) -> Rc<ShardContext> {
        let fanout = Fanout::of_this_thread(&shared);
        let core = Rc::new(ShardContext {
            shard,
            epoch,
            shared,
            streams: Arc::default(),
            load: Arc::default(),
            queued: RefCell::default(),
            queued_wake: Notify::new(),
            interest: RefCell::default(),
            recent: RefCell::default(),
            users,
            fanout: fanout.clone(),
            lost_events: Arc::default(),
            outbox_wake: Notify::new(),
            watched: RefCell::default(),
            watched_wake: Notify::new(),
            hook_wake: Notify::new(),
            end,
        });
        fanout.add(&core);
        core
    }

    /// Returns the feature level of the cluster: only kinds of it may enter the log.
    pub(crate) fn feature_level(&self) -> FeatureLevel {
        let cluster = self.shared.client.cluster();
        cluster.map_or(FeatureLevel::default(), |cluster| cluster.feature_level())
    }

    /// Returns true if `more` commands fit within the shard's bound.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.load.load(Ordering::Relaxed) + more <= MAX_COMMANDS
    }

    /// Appends a command to the next batch.
    pub(crate) fn propose(&self, pending: PendingCommand) {
        self.queued.borrow_mut().push_back(pending);
        self.queued_wake.notify_one();
    }

    /// Removes and returns the commands of the next batch; commands of failed streams are dropped.
    pub(crate) fn next_batch(&self) -> Vec<PendingCommand> {
        let (most, most_bytes) = (self.shared.settings.batch_commands, BATCH_BYTES);
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut queued = self.queued.borrow_mut();
        while let Some(pending) = queued.pop_front() {
            // Dropping the command fails its batch, so its queue gets a response.
            if !pending.alive() {
                continue;
            }
            bytes += pending.bytes.len();
            // The first command always fits: one above the byte bound would otherwise block the shard.
            if !batch.is_empty() && (batch.len() >= most || bytes > most_bytes) {
                queued.push_front(pending);
                break;
            }
            batch.push(pending);
        }
        batch
    }

    /// Fails everything that is not proposed yet.
    pub(crate) fn clear(&self) {
        // Failed explicitly: a plain drop would send `Broken`, without the hint at the new owner.
        let queued = std::mem::take(&mut *self.queued.borrow_mut());
        let refused = self.shared.client.not_owner(self.shard);
        for pending in queued {
            pending.fail(refused.clone());
        }
    }

    /// Sends an event to every interested node.
    pub(crate) fn publish(&self, event: EventEnvelope) {
        self.fanout.publish(self, event);
    }

    /// Sends an unlogged event to every interested node, and keeps it for new subscribers.
    pub(crate) fn say(&self, about: RecentSubject, event: EventEnvelope) {
        let envelope = Arc::new(event.clone());
        self.recent.borrow_mut().note(about, envelope, Instant::now());
        self.publish(event);
    }

    /// Announces a new membership to the nodes with sessions of the user.
    pub(crate) fn joined(&self, user: &UserId, conv: &ConversationId) {
        self.fanout.joined(self, user, conv);
    }

    /// Announces a conversation's new activity to the nodes with sessions of the user.
    pub(crate) fn active(&self, moved: MovedMember) {
        self.fanout.active(self, moved);
    }

    /// Queues a notification of the members' shards about messages in the conversation.
    pub(crate) fn watch(&self, conv: ConversationId) {
        self.watched.borrow_mut().push(conv);
        self.watched_wake.notify_one();
    }

    /// Removes and returns the conversations queued by [`watch`](Self::watch).
    pub(crate) fn take_watched(&self) -> Vec<ConversationId> {
        std::mem::take(&mut *self.watched.borrow_mut())
    }

    /// Makes every node detect a gap if events were lost.
    pub(crate) fn admit_loss(&self) {
        if self.lost_events.swap(false, Ordering::Relaxed) {
            self.interest.borrow_mut().skip();
        }
    }
}
