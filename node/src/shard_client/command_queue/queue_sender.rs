//! Task that sends a shard's queued commands to its owner, resends them after failover and expires overdue ones.
//!
//! Path of a message: step 4 of 13.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cluster::{NodeId, Route};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tracing::debug;

use super::CommandQueue;
use crate::rpc::submit::{BatchHeader, BatchSeq, CommandReplies};
use crate::rpc::{self, RpcError};
use crate::shard_client::ClientContext;
use crate::shard_client::LocalShards;
use crate::shard_client::backoff::Backoff;
use crate::shard_client::command_error::CommandError;
use crate::shard_client::owner_client::{HINTS_AT_ONCE, OwnerCallError, OwnerClient, decode};

/// Batch that was sent, resolves with its responses.
type InFlightBatch = BoxFuture<'static, (BatchSeq, Result<CommandReplies, BatchError>)>;

/// Reason for missing responses to a batch.
#[derive(Debug)]
enum BatchError {
    /// The shard owner refused the batch, or it was not sent.
    NotTaken(Option<RpcError>),
    /// The batch may have been applied.
    Unknown,
}

/// Sender task of one command queue.
pub(super) struct QueueSender {
    queue: Arc<CommandQueue>,
    shared: Arc<ClientContext>,
    owners: OwnerClient,
    local: Arc<dyn LocalShards>,
    flights: FuturesUnordered<InFlightBatch>,
    /// Epoch under which the current stream is sent.
    epoch: u64,
    backoff: Backoff,
    /// End of the pause in which nothing is sent.
    pause: Option<Instant>,
}

// === impl QueueSender ===

impl QueueSender {
    pub(super) fn new(
        queue: Arc<CommandQueue>,
        shared: Arc<ClientContext>,
        owners: OwnerClient,
        local: Arc<dyn LocalShards>,
    ) -> QueueSender {
        QueueSender {
            queue,
            shared,
            owners,
            local,
            flights: FuturesUnordered::new(),
            epoch: 0,
            backoff: Backoff::default(),
            pause: None,
        }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let queue = self.queue.clone();
        let mut routes = self.owners.cluster().routes();
        loop {
            queue.flush(false, &self.shared);
            self.send();
            let Some(timer) = self.next_timer() else {
                // Nothing is queued: only a new command or `close` can change that.
                if queue.state.lock().closed {
                    return;
                }
                queue.wake.notified().await;
                continue;
            };
            tokio::select! {
                // Biased: responses are handled before an owner change, which would resend commands that are answered
                // already.
                biased;
                Some((tag, result)) = self.flights.next() => self.on_response(tag, result),
                Ok(()) = routes.changed() => self.rerouted(),
                () = queue.wake.notified() => {}
                () = tokio::time::sleep_until(timer.into()) => self.timed_out(),
            }
        }
    }

    /// Sends batches as the window allows, unless a pause is running.
    fn send(&mut self) {
        if let Some(pause) = self.pause {
            if Instant::now() < pause {
                return;
            }
            self.pause = None;
        }
        while self.queue.state.lock().window.waiting() {
            let route = self.owners.route(self.queue.shard);
            let Some(owner) = destination(&route) else {
                self.pause = Some(Instant::now() + self.backoff.next());
                return;
            };
            // A newer owner admits no stream from its middle, so batches sent under the old epoch are sent again.
            if self.flights.is_empty() {
                self.epoch = route.epoch;
            } else if route.epoch > self.epoch {
                self.restart(None);
                self.epoch = route.epoch;
            }
            let mut commands = Vec::new();
            // The lock is released before the batch is sent, so that sessions can queue commands meanwhile.
            let Some(tag) = self
                .queue
                .state
                .lock()
                .window
                .launch(|queued| commands.push(queued.bytes.clone()))
            else {
                return;
            };
            self.shared.metrics.queue_batches.inc();
            self.flights.push(self.send_batch(owner, tag, commands));
        }
    }

    /// Sends a batch to its owner; it is enqueued when the method returns, so batches keep their order.
    fn send_batch(&self, owner: NodeId, tag: BatchSeq, commands: Vec<Bytes>) -> InFlightBatch {
        let shard = self.queue.shard;
        // Calls to this node skip the transport and share the command bytes.
        if owner == self.owners.cluster().node_id() {
            let answers = self.local.submit(shard, tag, commands);
            return Box::pin(async move {
                let result = match answers.await {
                    Ok(Ok(answers)) => Ok(answers),
                    Ok(Err(refused)) => Err(BatchError::of(refused)),
                    // The actor dropped the reply without a result.
                    Err(_) => Err(BatchError::Unknown),
                };
                (tag, result)
            });
        }
        let head = BatchHeader {
            shard: shard.0,
            incarnation: self.shared.incarnation,
            stream: tag.stream,
            number: tag.number,
        };
        let body = rpc::submit::encode(&head, &commands);
        // Called directly: hints in refusals are followed in `on_response`, for those of this node, too.
        let call = self
            .owners
            .cluster()
            .call(owner, rpc::SUBMIT, body, rpc::CALL_TIMEOUT);
        Box::pin(async move {
            let response = call.await.map_err(OwnerCallError::of);
            let result = match response.and_then(|body| decode(&body)) {
                Ok(answers) => Ok(answers),
                Err(OwnerCallError::Refused(refused)) => Err(BatchError::of(refused)),
                Err(OwnerCallError::NotSent) => Err(BatchError::NotTaken(None)),
                // The request may have been received: only a repetition under the same client message ids is safe.
                Err(OwnerCallError::Lost | OwnerCallError::Malformed(_)) => Err(BatchError::Unknown),
            };
            (tag, result)
        })
    }

    /// Handles the result of a batch: completes its commands, or restarts the stream.
    fn on_response(&mut self, tag: BatchSeq, result: Result<CommandReplies, BatchError>) {
        match result {
            Ok(answers) => {
                // A response to an abandoned stream: its commands were resent and get the response of the new batch.
                let Some(entries) = self.queue.state.lock().window.answered(tag) else {
                    return;
                };
                self.backoff.reset();
                debug_assert_eq!(entries.len(), answers.len(), "one answer per command");
                self.shared
                    .metrics
                    .queued_commands
                    .dec_by(entries.iter().flatten().count() as i64);
                for (queued, answer) in entries.into_iter().zip(answers) {
                    // Expired commands have left an empty slot; their sessions have got a result already.
                    if let Some(queued) = queued {
                        queued.answer(answer.result());
                    }
                }
            }
            Err(failure) => {
                debug!(shard = self.queue.shard.0, ?failure, "batch failed, resending");
                let known = self.epoch;
                let refused = match failure {
                    BatchError::NotTaken(refused) => {
                        if let Some(refused) = refused {
                            self.owners.follow(self.queue.shard, &refused);
                        }
                        Some(tag)
                    }
                    BatchError::Unknown => None,
                };
                self.restart(refused);
                // A newer owner is tried at once, but not after more than five failures in a row: hints may lead in
                // circles.
                let pause = self.backoff.next();
                let is_newer = self.owners.route(self.queue.shard).epoch > known;
                if !is_newer || self.backoff.failures() > HINTS_AT_ONCE {
                    self.pause = Some(Instant::now() + pause);
                }
            }
        }
    }

    /// Handles a change of the routing table.
    fn rerouted(&mut self) {
        let route = self.owners.route(self.queue.shard);
        if route.owner.is_some() && route.epoch > self.epoch {
            if !self.flights.is_empty() {
                debug!(
                    shard = self.queue.shard.0,
                    epoch = route.epoch,
                    "shard owner changed, resending"
                );
                // The old owner may never respond, and the new one admits the stream only from its start.
                self.restart(None);
            }
            // The backoff was for the previous owner.
            self.epoch = route.epoch;
            self.backoff.reset();
            self.pause = None;
        }
    }

    /// Expires overdue commands with everything behind them of the same senders.
    fn timed_out(&mut self) {
        let now = Instant::now();
        let mut state = self.queue.state.lock();
        // The timer also fires for pauses and cursors.
        if state.window.oldest().is_none_or(|oldest| oldest.deadline > now) {
            return;
        }
        let gone = state.window.expire(|queued| queued.deadline <= now);
        for expired in &gone {
            // Held before the lock is released: a later command of the sender must not enter the window in between.
            state.hold(&expired.entry, now, super::ORDER_HOLD);
        }
        drop(state);
        debug!(
            shard = self.queue.shard.0,
            commands = gone.len(),
            "commands expired without a response of the shard owner"
        );
        self.shared.metrics.queued_commands.dec_by(gone.len() as i64);
        self.shared.metrics.queue_rejected.inc_by(gone.len() as u64);
        // The distinction is visible to clients: `unavailable` promises that nothing was changed.
        for expired in gone {
            let refusal = if expired.unknown {
                CommandError::unknown()
            } else {
                CommandError::unavailable()
            };
            expired.entry.answer(Err(refusal));
        }
    }

    fn restart(&mut self, refused: Option<BatchSeq>) {
        self.shared.metrics.queue_restarts.inc();
        // Dropping the calls ignores their responses; the commands return to the window. For the order across a
        // failover see docs/delivery.md, "Who decides: ownership and epochs".
        self.flights.clear();
        self.queue.state.lock().window.restart(refused);
    }

    /// Returns the next time at which work is due without an event; `None` when nothing is queued.
    fn next_timer(&self) -> Option<Instant> {
        let state = self.queue.state.lock();
        let deadline = state.window.oldest().map(|oldest| oldest.deadline);
        let pause = self.pause.filter(|_| state.window.waiting());
        [deadline, pause, state.cursors.due()].into_iter().flatten().min()
    }
}

/// Returns the shard owner, or a random replica if none is known: its refusal names the owner.
fn destination(route: &Route) -> Option<NodeId> {
    use rand::seq::IndexedRandom;
    route
        .owner
        .or_else(|| route.replicas.choose(&mut rand::rng()).copied())
}

// === impl BatchError ===

impl BatchError {
    fn of(refused: RpcError) -> BatchError {
        match refused {
            // Some command may have been applied, so an expiry must not report that nothing was changed.
            RpcError::Broken { unknown: true } | RpcError::Failed(_) => BatchError::Unknown,
            refused => BatchError::NotTaken(Some(refused)),
        }
    }
}
