//! What the actor of a shard and those of its conversations share; all of them run on one thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use cluster::{Proposer, ShardId};
use parking_lot::Mutex;
use protocol::{ConvId, UserId};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::batch::Pending;
use super::messages::Round;
use super::streams::Streams;
use crate::conversation::fanout::Fanout;
use crate::conversation::interest::Interest;
use crate::conversation::recent::{About, Recent};
use crate::conversation::shared::Shared;
use crate::conversation::timeline::{Moved, Published};
use crate::user::directory;

/// Rounds under way: the next is put together when the last is decided, from commands whose streams it did not break.
const ROUNDS: usize = 1;

/// One per owned shard.
pub(crate) struct Core {
    pub(crate) shard: ShardId,
    pub(crate) epoch: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) proposer: Proposer,
    pub(crate) streams: Arc<Mutex<Streams>>,
    /// Commands without an answer.
    pub(crate) load: Arc<AtomicUsize>,
    /// Checked commands that wait for the next round.
    ready: RefCell<VecDeque<Pending>>,
    pub(crate) ready_wake: Notify,
    /// A slot of this queue is reserved before a round is proposed, so that its result always has a place.
    pub(crate) rounds: mpsc::Sender<Round>,
    pub(crate) interest: RefCell<Interest>,
    /// What was said lately outside the log, for who subscribes a moment later.
    pub(crate) recent: RefCell<Recent>,
    /// Who of the shard's users is there.
    pub(crate) users: Arc<directory::Shared>,
    fanout: Rc<Fanout>,
    /// Events got lost between commit and fan-out: every node must notice a gap.
    pub(crate) lost_events: Arc<AtomicBool>,
    /// The outbox may have new entries.
    pub(crate) outbox_wake: Notify,
    /// Conversations with a message of which their members' shards are to be told.
    watched: RefCell<Vec<ConvId>>,
    pub(crate) watched_wake: Notify,
    /// There may be something to tell the hook.
    pub(crate) hook_wake: Notify,
    pub(crate) end: CancellationToken,
}

// === impl Core ===

impl Core {
    pub(crate) fn new(
        shard: ShardId,
        epoch: u64,
        proposer: Proposer,
        shared: Arc<Shared>,
        users: Arc<directory::Shared>,
        end: CancellationToken,
    ) -> (Rc<Core>, mpsc::Receiver<Round>) {
        let (rounds, results) = mpsc::channel(ROUNDS);
        let fanout = Fanout::of_this_thread(&shared);
        let core = Rc::new(Core {
            shard,
            epoch,
            shared,
            proposer,
            streams: Arc::default(),
            load: Arc::default(),
            ready: RefCell::default(),
            ready_wake: Notify::new(),
            rounds,
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
        (core, results)
    }

    /// Whether `more` commands find room.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.load.load(Ordering::Relaxed) + more <= self.shared.settings.shard_commands
    }

    /// Appends a command to the next round.
    pub(crate) fn propose(&self, pending: Pending) {
        self.ready.borrow_mut().push_back(pending);
        self.ready_wake.notify_one();
    }

    /// Takes the commands of the next round; those of broken streams are given up on the way.
    pub(crate) fn take_round(&self) -> Vec<Pending> {
        let (most, most_bytes) = (
            self.shared.settings.batch_commands,
            self.shared.settings.batch_bytes,
        );
        let mut round = Vec::new();
        let mut bytes = 0;
        let mut ready = self.ready.borrow_mut();
        while let Some(pending) = ready.pop_front() {
            if !pending.alive() {
                continue;
            }
            bytes += pending.bytes.len();
            if !round.is_empty() && (round.len() >= most || bytes > most_bytes) {
                ready.push_front(pending);
                break;
            }
            round.push(pending);
        }
        round
    }

    /// Puts a round back that the log had no room for.
    pub(crate) fn put_back(&self, round: Vec<Pending>) {
        let mut ready = self.ready.borrow_mut();
        for pending in round.into_iter().rev() {
            ready.push_front(pending);
        }
    }

    /// Gives up everything that waits.
    pub(crate) fn clear(&self) {
        let ready = std::mem::take(&mut *self.ready.borrow_mut());
        let refused = self.shared.not_owner(self.shard);
        for pending in ready {
            pending.fail(refused.clone());
        }
    }

    /// Hands an event to every node that wants it.
    pub(crate) fn publish(&self, event: Published) {
        self.fanout.publish(self, event);
    }

    /// Hands an event that is in no log to every node that wants it, and keeps it for those that come a moment later.
    pub(crate) fn say(&self, about: About, event: Published) {
        let kept = Arc::new(event.clone());
        self.recent.borrow_mut().note(about, kept, Instant::now());
        self.publish(event);
    }

    /// Tells the user's nodes of a new membership.
    pub(crate) fn joined(&self, user: &UserId, conv: &ConvId) {
        self.fanout.joined(self, user, conv);
    }

    /// Tells the user's nodes of a message.
    pub(crate) fn active(&self, moved: Moved) {
        self.fanout.active(self, moved);
    }

    /// A message is to be told to its members' shards.
    pub(crate) fn watch(&self, conv: ConvId) {
        self.watched.borrow_mut().push(conv);
        self.watched_wake.notify_one();
    }

    /// Takes the conversations with such messages.
    pub(crate) fn take_watched(&self) -> Vec<ConvId> {
        std::mem::take(&mut *self.watched.borrow_mut())
    }

    /// Lets every node see a gap if events were lost.
    pub(crate) fn admit_loss(&self) {
        if self.lost_events.swap(false, Ordering::Relaxed) {
            self.interest.borrow_mut().skip();
        }
    }
}
