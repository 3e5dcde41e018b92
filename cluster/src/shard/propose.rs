//! Step 6 of the life of a message: the shard's queue, from which batches go into the log.
//!
//! One entry is in flight per shard, and the next one takes everything that queued meanwhile: under load a batch grows
//! by itself, at rest nothing waits for company.
//!
//! The commands come from the conversation's actor on this node; the entry goes to the shard's
//! [Raft group](crate::raft).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::{ShardId, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Stamp};
use crate::config::Config;
use crate::error::{Full, ProposeError};
use crate::metrics::Metrics;
use crate::raft::group::Group;
use crate::raft::{Answer, Proposal};
use crate::service::Committed;
use crate::shard::{META, batch};

/// Runs once: on a cluster thread and in log order, or at once on the caller's when the epoch is over already.
pub type Done = Box<dyn FnOnce(Result<Committed, ProposeError>) + Send>;

/// Puts commands into a shard's log, for as long as the epoch lasts. Cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    queue: Arc<Queue>,
}

struct Queue {
    shard: ShardId,
    epoch: u64,
    max_waiting: usize,
    max_commands: usize,
    max_bytes: usize,
    waiting: Mutex<Waiting>,
    wake: Notify,
    over: CancellationToken,
    metrics: Metrics,
}

#[derive(Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    commands: usize,
    closed: bool,
}

struct Submission {
    commands: Vec<Bytes>,
    done: Done,
}

// === impl Proposer ===

impl Proposer {
    pub(crate) fn new(shard: ShardId, epoch: u64, config: &Config, metrics: Metrics) -> Proposer {
        let queue = Queue {
            shard,
            epoch,
            max_waiting: config.queue_commands,
            max_commands: config.batch_commands,
            max_bytes: config.batch_bytes,
            waiting: Mutex::default(),
            wake: Notify::new(),
            over: CancellationToken::new(),
            metrics,
        };
        Proposer {
            queue: Arc::new(queue),
        }
    }

    /// Enqueues the commands behind all earlier ones; they are proposed together.
    ///
    /// # Errors
    /// [`Full`] gives them back, with `done` dropped, when the queue's bound is reached.
    pub fn submit(&self, commands: Vec<Bytes>, done: Done) -> Result<(), Full> {
        let mut waiting = self.queue.waiting.lock();
        if waiting.closed {
            drop(waiting);
            done(Err(ProposeError::NotOwner));
            return Ok(());
        }
        if waiting.commands > 0 && waiting.commands + commands.len() > self.queue.max_waiting {
            return Err(Full(commands));
        }
        waiting.commands += commands.len();
        waiting.submissions.push_back(Submission { commands, done });
        drop(waiting);
        self.queue.wake.notify_one();
        Ok(())
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.queue.epoch
    }

    /// Ends the epoch: what waits is certainly not applied, what is in flight is unknown.
    pub(crate) fn close(&self) {
        let submissions = {
            let mut waiting = self.queue.waiting.lock();
            waiting.closed = true;
            waiting.commands = 0;
            std::mem::take(&mut waiting.submissions)
        };
        self.queue.over.cancel();
        for submission in submissions {
            (submission.done)(Err(ProposeError::NotOwner));
        }
    }

    /// Proposes what is submitted, batch by batch, until [`close`](Self::close).
    pub(crate) async fn run(self, group: Group, store: Store, clock: Clock) {
        let queue = &self.queue;
        loop {
            if queue.over.is_cancelled() {
                return;
            }
            let batch = queue.take();
            if batch.is_empty() {
                tokio::select! {
                    () = queue.wake.notified() => continue,
                    () = queue.over.cancelled() => return,
                }
            }
            if let Err(error) = store.room() {
                tracing::debug!(shard = queue.shard.0, %error, "refused a batch");
                refuse(batch, ProposeError::NoRoom);
                continue;
            }
            let Some(stamp) = queue.stamp(&clock, &group) else {
                tracing::debug!(shard = queue.shard.0, "refused a batch: too few clocks are known");
                refuse(batch, ProposeError::NoTime);
                continue;
            };
            let commands: Vec<Bytes> = batch.iter().flat_map(|s| s.commands.iter().cloned()).collect();
            let count = commands.len();
            let proposal = Proposal::Batch {
                epoch: queue.epoch,
                now_ms: stamp.now_ms,
                reached_ms: stamp.reached_ms,
                commands: batch::pack(&commands),
            };
            drop(commands);
            let result = tokio::select! {
                biased;
                result = group.propose(proposal) => result,
                () = queue.over.cancelled() => Err(ProposeError::Unknown),
            };
            queue.metrics.proposed(count, result.is_ok());
            if matches!(result, Ok((_, Answer::Untimely))) {
                // Nothing may follow it under this epoch: a sender's later command would overtake the refused one.
                self.close();
            }
            answer(batch, result);
        }
    }
}

impl fmt::Debug for Proposer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Proposer(shard {}, epoch {})",
            self.queue.shard.0, self.queue.epoch
        )
    }
}

// === impl Queue ===

impl Queue {
    /// The time of a batch. The map has none, and has to change where too few clocks are known, too.
    fn stamp(&self, clock: &Clock, group: &Group) -> Option<Stamp> {
        let stamp = clock.stamp(|| group.voters().into_iter().collect());
        let none = Stamp {
            now_ms: 0,
            reached_ms: 0,
        };
        stamp.or((self.shard == META).then_some(none))
    }

    /// Takes everything that waits, up to the bounds of one entry but at least one submission.
    fn take(&self) -> Vec<Submission> {
        let mut waiting = self.waiting.lock();
        let (mut batch, mut commands, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = waiting.submissions.front() {
            let size: usize = next.commands.iter().map(Bytes::len).sum();
            if !batch.is_empty()
                && (commands + next.commands.len() > self.max_commands || bytes + size > self.max_bytes)
            {
                break;
            }
            commands += next.commands.len();
            bytes += size;
            batch.extend(waiting.submissions.pop_front());
        }
        waiting.commands -= commands;
        batch
    }
}

/// Gives each submission the outcomes of its own commands.
fn answer(batch: Vec<Submission>, result: Result<(u64, Answer), ProposeError>) {
    let (index, mut outcomes) = match result {
        Ok((index, Answer::Outcomes(outcomes))) => (index, outcomes.into_iter()),
        Ok((_, Answer::StaleEpoch | Answer::Untimely)) => return refuse(batch, ProposeError::NotOwner),
        Ok((_, Answer::Nothing)) => return refuse(batch, ProposeError::Unknown),
        Err(error) => return refuse(batch, error),
    };
    for submission in batch {
        let own: Vec<Bytes> = outcomes.by_ref().take(submission.commands.len()).collect();
        (submission.done)(Ok(Committed { index, outcomes: own }));
    }
}

fn refuse(batch: Vec<Submission>, error: ProposeError) {
    for submission in batch {
        (submission.done)(Err(error));
    }
}
