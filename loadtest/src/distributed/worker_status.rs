//! Status of the workers at the coordinator: their progress, their counts, and the logs that are compared.

use std::cell::RefCell;
use std::rc::Rc;

use protocol::ConversationId;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Notify;

use super::digest_log::{DigestLogs, Wrong};
use super::message::{CoordinatorMessage, MetricsDelta, WorkerMessage, WorkerProgress, WorkerResult};
use super::message_stream::{self, Out};
use super::worker::COORDINATOR_TIMEOUT;
use crate::clock::Nanos;
use crate::load::SharedRun;
use crate::oracle::{JudgedCounts, ViolationKind};

/// Status of all workers, and the notification of its changes.
pub(super) struct WorkerTable {
    pub(super) common: Rc<SharedRun>,
    pub(super) workers: RefCell<Vec<WorkerStatus>>,
    pub(super) logs: RefCell<DigestLogs>,
    pub(super) failed: RefCell<Option<(usize, String)>>,
    pub(super) updates: Notify,
}

/// Status of one worker, from its messages.
#[derive(Debug, Default)]
pub(super) struct WorkerStatus {
    pub(super) address: String,
    pub(super) clock_error: Option<Nanos>,
    pub(super) connected: bool,
    pub(super) created: Option<Vec<(u32, ConversationId)>>,
    pub(super) entered: bool,
    pub(super) is_probed: bool,
    pub(super) inboxes: bool,
    pub(super) online: usize,
    pub(super) left: Option<u64>,
    pub(super) counts: JudgedCounts,
    pub(super) standing: Option<WorkerProgress>,
    pub(super) reread: bool,
    pub(super) last: Option<Box<WorkerResult>>,
}

/// Processes the messages of one worker until its connection ends.
pub(super) async fn listen(worker: usize, mut reader: OwnedReadHalf, out: Out, table: Rc<WorkerTable>) {
    let why = loop {
        match tokio::time::timeout(
            COORDINATOR_TIMEOUT,
            message_stream::read(&mut reader, message_stream::MOST),
        )
        .await
        {
            Ok(Ok(WorkerMessage::Ping { sent })) => {
                // Read immediately before the reply: the worker derives its clock from it.
                let now = table.common.context.borrow().clock.now();
                out.say(&CoordinatorMessage::Pong { sent, now }).await;
            }
            Ok(Ok(message)) => table.on_message(worker, message),
            Ok(Err(error)) => break error.to_string(),
            Err(_) => break format!("sent nothing for {COORDINATOR_TIMEOUT:?}"),
        }
    };
    table.fail(worker, why);
}

// === impl WorkerTable ===

impl WorkerTable {
    fn on_message(&self, worker: usize, message: WorkerMessage) {
        {
            let status = &mut self.workers.borrow_mut()[worker];
            match message {
                WorkerMessage::Ping { .. } => {}
                WorkerMessage::Set { error } => status.clock_error = Some(error),
                WorkerMessage::Connected => status.connected = true,
                WorkerMessage::Created { names } => status.created = Some(names),
                WorkerMessage::Entered => status.entered = true,
                WorkerMessage::Standing(standing) => status.standing = Some(standing),
                WorkerMessage::Probed => status.is_probed = true,
                WorkerMessage::Inboxes => status.inboxes = true,
                WorkerMessage::Reread => status.reread = true,
                WorkerMessage::Failed { why } => {
                    // The first failure is the cause, and later ones are its consequences.
                    self.failed.borrow_mut().get_or_insert((worker, why));
                }
                WorkerMessage::Tick(tick) => {
                    status.take(&tick);
                    self.tick(worker, tick);
                }
                WorkerMessage::Final(mut last) => {
                    // Before the result is recorded: its last violations must count when the run is judged.
                    let tick = std::mem::take(&mut last.tick);
                    status.take(&tick);
                    self.tick(worker, tick);
                    status.last = Some(last);
                }
            }
        }
        // The block above ends the mutable borrow of the workers, which `sum` would conflict with.
        self.sum();
        self.updates.notify_waiters();
    }

    fn tick(&self, worker: usize, tick: MetricsDelta) {
        let context = &mut *self.common.context.borrow_mut();
        for second in &tick.seconds {
            context.recorder.join_second(second);
        }
        context.oracle.adopt(tick.violations);
        let logs = &mut *self.logs.borrow_mut();
        for range in &tick.stretches {
            match logs.reported(worker as u32, range) {
                Ok(()) => {}
                Err(Wrong::Fork { conv, s, detail }) => {
                    context
                        .oracle
                        .violate(ViolationKind::Fork, Some(conv), None, s, detail);
                }
                Err(Wrong::Nonsense { conv, s, detail }) => {
                    let detail = format!("{detail} (conversation {conv}, s={s})");
                    self.failed.borrow_mut().get_or_insert((worker, detail));
                }
                Err(Wrong::Behind { worker: slow }) => {
                    let detail = "is too far behind the other workers to compare their logs";
                    self.failed
                        .borrow_mut()
                        .get_or_insert((slow as usize, detail.to_owned()));
                }
            }
        }
    }

    /// Adds up the workers' counts, in the places that the rest of the run reads.
    fn sum(&self) {
        let statuses = self.workers.borrow();
        self.common
            .online
            .set(statuses.iter().map(|status| status.online).sum());
        // A worker without a tick counts as unlimited, or the load would end before it starts.
        let left = statuses.iter().map(|status| status.left.unwrap_or(u64::MAX));
        self.common.budget.set(left.fold(0, u64::saturating_add));
        let counts = statuses
            .iter()
            .map(|status| status.counts)
            .fold(JudgedCounts::default(), JudgedCounts::plus);
        self.common.context.borrow_mut().oracle.on_event(counts);
    }

    fn fail(&self, worker: usize, why: String) {
        self.failed.borrow_mut().get_or_insert((worker, why));
        self.updates.notify_waiters();
    }
}

// === impl WorkerStatus ===

impl WorkerStatus {
    fn take(&mut self, tick: &MetricsDelta) {
        self.online = tick.online;
        self.left = Some(tick.left);
        self.counts = tick.counts;
    }
}
