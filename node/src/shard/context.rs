//! State shared by a shard's actor and its conversation actors; all of them run on one thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use cluster::{FeatureLevel, ShardId};
use parking_lot::Mutex;
use protocol::ConversationId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::batch::BatchQueue;
use super::batch_streams::BatchStreams;
use super::fanout::Fanout;
use super::interest_table::InterestTable;
use super::recent::Recent;
use super::shard_deps::ShardDeps;
use crate::presence::registry;

pub(crate) struct ShardContext {
    pub(crate) shard: ShardId,
    pub(crate) epoch: u64,
    pub(crate) shared: Arc<ShardDeps>,
    pub(crate) streams: Arc<Mutex<BatchStreams>>,
    /// Checked commands for the next batches.
    pub(crate) batch: BatchQueue,
    pub(crate) interest: RefCell<InterestTable>,
    /// Recent unlogged events for new subscribers.
    pub(crate) recent: RefCell<Recent>,
    /// Presence of the shard's users.
    pub(crate) users: Arc<registry::SharedPresenceRegistry>,
    pub(crate) fanout: Rc<Fanout>,
    /// Wakes the outbox task: there may be new entries.
    pub(crate) outbox_wake: Notify,
    /// Conversations with messages of which the members' shards are to be notified.
    watched: RefCell<Vec<ConversationId>>,
    pub(crate) watched_wake: Notify,
    /// Wakes the webhook task: there may be queued webhooks.
    pub(crate) hook_wake: Notify,
    /// Wakes the erasure task: a user is to be erased.
    pub(crate) erasure_wake: Notify,
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
            batch: BatchQueue::default(),
            interest: RefCell::default(),
            recent: RefCell::default(),
            users,
            fanout: fanout.clone(),
            outbox_wake: Notify::new(),
            watched: RefCell::default(),
            watched_wake: Notify::new(),
            hook_wake: Notify::new(),
            erasure_wake: Notify::new(),
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

    /// Queues a notification of the members' shards about messages in the conversation.
    pub(crate) fn watch(&self, conv: ConversationId) {
        self.watched.borrow_mut().push(conv);
        self.watched_wake.notify_one();
    }

    /// Removes and returns the conversations queued by [`watch`](Self::watch).
    pub(crate) fn take_watched(&self) -> Vec<ConversationId> {
        std::mem::take(&mut *self.watched.borrow_mut())
    }
}
