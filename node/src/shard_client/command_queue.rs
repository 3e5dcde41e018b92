//! Command queue from this node to the owner of one shard: one task sends the queued commands, in order, until they are
//! acknowledged.
//!
//! Spine: step 4 of 13. Previous: `node: session/actor/send`. Next: `node: shard/conversation_actor`.
//!
//! Queue: the send window, bounded by 4,096 commands and 4 MiB per shard. Further commands get `busy`. Metrics:
//! `command_queue_commands`, `command_queue_refused`.
//!
//! Several batches are sent without waiting. A refusal, a broken connection, a timeout and an owner change are handled
//! alike: the stream is abandoned. The whole unacknowledged window is then sent again, in order, under a new stream
//! number. The owner's batch streams admit a stream only from its first batch on. Client message ids make the repeats
//! harmless.
//!
//! An owner that is paused or cut off refuses nothing. The task therefore watches the routing table, and a newer epoch
//! abandons all sent batches at once.

mod queue_sender;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::ShardId;
use parking_lot::Mutex;
use protocol::{ClientMessageId, ConversationId, UserId};
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use self::queue_sender::QueueSender;
use super::command_error::CommandError;
use super::cursor_coalescer::CursorCoalescer;
use super::send_window::{SendWindow, WindowItem, WindowLimits};
use super::sender_hold::SenderHolds;
use super::{LocalShards, OwnerClient};
use crate::rpc::submit::AppliedReply;
use crate::rpc::submit::{BATCH_BYTES, BATCH_COMMANDS};
use crate::shard_client::ClientContext;
use crate::state_machine::{CommandOrigin, ShardCommand};

/// Commands without a response in a shard's command queue. Further ones are refused with `busy`.
const QUEUE_COMMANDS: usize = 4_096;
/// Bytes of these commands.
const QUEUE_BYTES: usize = 4 << 20;
/// Unacknowledged batches per command queue: enough to cover a round trip while one batch commits.
const BATCHES_IN_FLIGHT: usize = 8;
/// Time for which `read` and `recv` cursors are coalesced per shard, so that many cost one log entry.
const COALESCING: Duration = Duration::from_millis(300);
/// Time for which a refused command holds back the sender's later ones: clients repeat it within a second.
const ORDER_HOLD: Duration = Duration::from_secs(1);

/// Commands queued for one shard.
pub(crate) struct CommandQueue {
    shard: ShardId,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    window: SendWindow<QueuedCommand>,
    /// Cursors that are not in the window yet.
    cursors: CursorCoalescer<ResponseSender>,
    holds: SenderHolds,
    closed: bool,
}

/// Command without a response.
struct QueuedCommand {
    bytes: Bytes,
    /// `None` for a command whose order does not matter.
    order: Option<CommandOrder>,
    deadline: Instant,
    /// One receiver; coalesced cursors may have several.
    waiters: SmallVec<[ResponseSender; 1]>,
}

/// Sender and conversation, whose commands keep their order, and the key by which a refused one is sent again.
struct CommandOrder {
    user: UserId,
    conv: ConversationId,
    cid: ClientMessageId,
}

type ResponseSender = oneshot::Sender<Result<AppliedReply, CommandError>>;

/// Resolves with the result of a queued command.
pub(crate) type CommandFuture = oneshot::Receiver<Result<AppliedReply, CommandError>>;

// === impl Entry for Queued ===

impl WindowItem for QueuedCommand {
    type CommandSender = (UserId, ConversationId);

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn sender(&self) -> Option<(UserId, ConversationId)> {
        let order = self.order.as_ref()?;
        Some((order.user.clone(), order.conv.clone()))
    }
}

// === impl Queued ===

impl QueuedCommand {
    fn new(
        command: ShardCommand,
        waiters: SmallVec<[ResponseSender; 1]>,
        deadline: Instant,
    ) -> QueuedCommand {
        let bytes = command.encode();
        QueuedCommand {
            bytes,
            order: CommandOrder::of(command),
            deadline,
            waiters,
        }
    }

    /// Sends the result to every receiver. A closed receiver belongs to an ended session and is ignored.
    fn answer(self, result: Result<AppliedReply, CommandError>) {
        for waiter in self.waiters {
            let _ = waiter.send(result.clone());
        }
    }
}

// === impl CommandOrder ===

impl CommandOrder {
    fn of(command: ShardCommand) -> Option<CommandOrder> {
        let ShardCommand::Conversation {
            conversation: conv,
            origin: CommandOrigin { user, cid, .. },
            ..
        } = command
        else {
            return None;
        };
        // Commands without a client message id are cursors, which only move forward and need no order.
        let cid = cid?;
        Some(CommandOrder { user, conv, cid })
    }
}

// === impl CommandQueue ===

impl CommandQueue {
    pub(crate) fn new(shard: ShardId) -> CommandQueue {
        let bounds = WindowLimits {
            entries: QUEUE_COMMANDS,
            bytes: QUEUE_BYTES,
            batch_entries: BATCH_COMMANDS,
            batch_bytes: BATCH_BYTES,
            flights: BATCHES_IN_FLIGHT,
        };
        let state = State {
            window: SendWindow::new(bounds),
            cursors: CursorCoalescer::new(COALESCING),
            holds: SenderHolds::default(),
            closed: false,
        };
        CommandQueue {
            shard,
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }

    /// Queues a command, or refuses it at once.
    pub(crate) fn push(
        &self,
        command: ShardCommand,
        shared: &ClientContext,
    ) -> Result<CommandFuture, CommandError> {
        let now = Instant::now();
        let (waiter, ticket) = oneshot::channel();
        // Queued under the lock and before returning: the order of the calls is the order of the window.
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(CommandError::unavailable());
            }
            // The window does not bound cursors until they are flushed.
            if state.cursors.len() >= QUEUE_COMMANDS {
                return Err(CommandError::busy(
                    "too many cursor moves are queued for this shard",
                ));
            }
            match state.cursors.add(command, waiter) {
                Ok(()) => {
                    shared.metrics.cursors.inc();
                }
                Err((command, waiter)) => {
                    let queued =
                        QueuedCommand::new(command, [waiter].into(), now + shared.settings.command_timeout);
                    state
                        .enqueue(queued, now, shared)
                        .map_err(|(_, refusal)| refusal)?;
                }
            }
        }
        self.wake.notify_one();
        Ok(ticket)
    }

    /// Moves cursors whose pause is over, or all of them, into the window.
    fn flush(&self, all: bool, shared: &ClientContext) {
        let now = Instant::now();
        let mut state = self.state.lock();
        for (command, waiters) in state.cursors.take(now, all) {
            shared.metrics.cursors_sent.inc();
            let queued = QueuedCommand::new(command, waiters, now + shared.settings.command_timeout);
            if let Err((queued, refusal)) = state.enqueue(queued, now, shared) {
                queued.answer(Err(refusal));
            }
        }
    }

    /// Refuses new commands from now on, and flushes the collected cursors.
    pub(crate) fn close(&self, shared: &ClientContext) {
        // Closed first, so that no cursor is added behind the flush.
        self.state.lock().closed = true;
        self.flush(true, shared);
        self.wake.notify_one();
    }

    /// Returns true if no command is without a response.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.window.oldest().is_none() && state.cursors.len() == 0
    }

    /// Sends until the queue is closed and empty, or the node stops; then everything left is refused.
    pub(crate) async fn run(
        self: Arc<Self>,
        shared: Arc<ClientContext>,
        owners: OwnerClient,
        local: Arc<dyn LocalShards>,
    ) {
        let stop = shared.stop.clone();
        let queue = self.clone();
        let runner = QueueSender::new(self, shared, owners, local);
        tokio::select! {
            () = runner.run() => {}
            () = stop.cancelled() => {}
        }
        // Answered explicitly: a dropped receiver would report an unknown outcome even for commands that were never
        // sent.
        for expired in queue.state.lock().window.expire(|_| true) {
            let refusal = if expired.unknown {
                CommandError::unknown()
            } else {
                CommandError::unavailable()
            };
            expired.entry.answer(Err(refusal));
        }
    }
}

// === impl State ===

impl State {
    fn enqueue(
        &mut self,
        queued: QueuedCommand,
        now: Instant,
        shared: &ClientContext,
    ) -> Result<(), (QueuedCommand, CommandError)> {
        // Refused before it enters the window: it would overtake the refused command of the same sender.
        if let Some(CommandOrder { user, conv, cid }) = &queued.order
            && !self.holds.admits(user, conv, cid, now)
        {
            shared.metrics.queue_rejected.inc();
            let refusal =
                CommandError::busy("an earlier command of this sender was refused: send it again first");
            return Err((queued, refusal));
        }
        if let Err(queued) = self.window.push(queued) {
            shared.metrics.queue_rejected.inc();
            // The hold starts under the same lock as the refusal, so the sender's next command cannot pass in between.
            self.hold(&queued, now, ORDER_HOLD);
            return Err((
                queued,
                CommandError::busy("too many commands are queued for this shard"),
            ));
        }
        shared.metrics.queued_commands.inc();
        Ok(())
    }

    fn hold(&mut self, queued: &QueuedCommand, now: Instant, lasts: Duration) {
        if let Some(CommandOrder { user, conv, cid }) = &queued.order {
            self.holds.refuse(user, conv, cid, now, lasts);
        }
    }
}
