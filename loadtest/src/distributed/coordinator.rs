//! Coordinator of a distributed run: accepts the workers and directs them from phase to phase.

mod end_of_run;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use protocol::ConversationId;
use tokio::sync::{Notify, mpsc};

use super::Error;
use super::digest_log::DigestLogs;
use super::message::CoordinatorMessage;
use super::message_stream::{self, Out};
use super::worker_registration::gather;
use super::worker_status::{WorkerStatus, WorkerTable, listen};
use crate::args::TeamArgs;
use crate::clock::{Nanos, SECOND};
use crate::load::SharedRun;
use crate::oracle::{ConvIx, ViolationKind};
use crate::spec::{ClientSlice, STEADY, ScenarioPlan};

/// Workers of a run, and their status.
pub(crate) struct Coordinator {
    common: Rc<SharedRun>,
    patience: Duration,
    outs: Vec<Out>,
    workers: Rc<WorkerTable>,
    first: Option<ConversationId>,
}

/// Lead of the start command over the start of the load.
const AHEAD: Nanos = SECOND / 2;
/// Timeout of commands that a worker completes immediately.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

// === impl Coordinator ===

impl Coordinator {
    /// Waits for the workers, and has them connect their clients and set up the plan's conversations.
    pub(crate) async fn assemble(
        args: &TeamArgs,
        line: Vec<String>,
        common: Rc<SharedRun>,
        plan: &ScenarioPlan,
        patience: Duration,
    ) -> Result<Coordinator, Error> {
        let workers = args.workers.unwrap_or(1);
        let (streams, listener) = gather(args, patience).await?;
        // Closed, so that a surplus worker is refused instead of waiting for an assignment.
        drop(listener);
        let statuses = streams.iter().map(|(_, address)| WorkerStatus {
            address: address.clone(),
            ..WorkerStatus::default()
        });
        let share = |worker| ClientSlice { worker, workers };
        let seen_by = (0..)
            .zip(&plan.conversations)
            .map(|(conv, planned)| (conv as ConvIx, share(0).seen_by(&planned.members)));
        let table = Rc::new(WorkerTable {
            common: common.clone(),
            workers: RefCell::new(statuses.collect()),
            logs: RefCell::new(DigestLogs::new(seen_by)),
            failed: RefCell::default(),
            updates: Notify::new(),
        });
        let mut outs = Vec::new();
        for (worker, (stream, _)) in streams.into_iter().enumerate() {
            let (reader, out) = message_stream::split(stream);
            let assign = CoordinatorMessage::Assign {
                line: line.clone(),
                nodes: common.nodes.borrow().clone(),
                run: common.context.borrow().payload.run(),
                share: share(worker as u32),
            };
            out.say(&assign).await;
            tokio::task::spawn_local(listen(worker, reader, out.clone(), table.clone()));
            outs.push(out);
        }
        common.context.borrow_mut().recorder.coordinate();
        let mut team = Coordinator {
            common,
            patience,
            outs,
            workers: table,
            first: None,
        };
        // A barrier after each step: `Enter`, for example, needs the names that all workers have created.
        team.until("synchronized its clock", RESPONSE_TIMEOUT, |status| {
            status.clock_error.is_some()
        })
        .await?;
        team.send(&CoordinatorMessage::Connect).await;
        team.until("connected its clients", patience, |status| status.connected)
            .await?;
        team.send(&CoordinatorMessage::Create).await;
        team.until("created its conversations", patience, |status| {
            status.created.is_some()
        })
        .await?;
        let names = team.names(plan)?;
        // Registered in the order of the plan: indexes must agree with those of the workers.
        for name in &names {
            team.common
                .context
                .borrow_mut()
                .oracle
                .conversation(name.as_str());
        }
        team.first = names.first().cloned();
        team.send(&CoordinatorMessage::Enter { names }).await;
        team.until("added its clients to their conversations", patience, |status| {
            status.entered
        })
        .await?;
        Ok(team)
    }

    /// Collects the names of all conversations, in the order of the plan.
    fn names(&self, plan: &ScenarioPlan) -> Result<Vec<ConversationId>, Error> {
        let mut names = vec![None; plan.conversations.len()];
        for (worker, status) in self.workers.workers.borrow_mut().iter_mut().enumerate() {
            for (number, name) in status.created.take().unwrap_or_default() {
                match names.get_mut(number as usize) {
                    Some(known) if known.is_none() => *known = Some(name),
                    _ => {
                        return Err(self.gone(
                            worker,
                            format!("created conversation {number}, which is not assigned to it"),
                        ));
                    }
                }
            }
        }
        let named = names.into_iter().enumerate().map(|(number, name)| {
            name.ok_or_else(|| {
                self.gone(
                    0,
                    format!("or another worker did not create conversation {number}"),
                )
            })
        });
        named.collect()
    }

    /// Returns the id of the first conversation; `None` for a plan without any.
    pub(crate) fn first(&self) -> Option<&ConversationId> {
        self.first.as_ref()
    }

    /// Starts the load at all workers at the same time, with its first part if it has several. Returns the start time.
    pub(crate) async fn begin(&self, part: Option<String>) -> Nanos {
        let at = self.common.context.borrow().clock.now() + AHEAD;
        self.send(&CoordinatorMessage::Begin {
            at,
            part: part.clone(),
        })
        .await;
        let (phases, mut markers) = mpsc::unbounded_channel();
        {
            let recorder = &mut self.common.context.borrow_mut().recorder;
            match part {
                Some(part) => recorder.part(&part, at),
                None => recorder.phase(STEADY, at),
            }
            // Registered after the first phase, which the start command has announced already.
            recorder.record_phases(phases);
        }
        // A task of its own: the recorder is called in places that cannot wait for a connection.
        let everybody = self.outs.clone();
        tokio::task::spawn_local(async move {
            while let Some(marker) = markers.recv().await {
                let phase = CoordinatorMessage::Phase(marker);
                for out in &everybody {
                    out.say(&phase).await;
                }
            }
        });
        let clock = self.common.context.borrow().clock;
        tokio::time::sleep_until(clock.instant(at)).await;
        at
    }

    /// Sends in every conversation until each has acknowledged a message.
    pub(crate) async fn probe_all(&self, patience: Duration) -> Result<(), Error> {
        let patience_ms = patience.as_millis() as u64;
        self.send(&CoordinatorMessage::ProbeAll { patience_ms }).await;
        // Longer than `patience`, after which the worker itself reports a violation.
        self.until("received all responses", patience + RESPONSE_TIMEOUT, |status| {
            status.is_probed
        })
        .await
    }

    /// Stops the sending of messages at all workers.
    pub(crate) async fn stop_sending(&self) {
        self.send(&CoordinatorMessage::StopSending).await;
    }

    /// Waits until every message is acknowledged and every worker has reached the end of every log.
    pub(crate) async fn quiesce(&self, patience: Duration) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            // Cleared first: a report of the previous pass must not satisfy the wait.
            self.workers
                .workers
                .borrow_mut()
                .iter_mut()
                .for_each(|status| status.standing = None);
            self.send(&CoordinatorMessage::Stand).await;
            self.until("reported its progress", RESPONSE_TIMEOUT, |status| {
                status.standing.is_some()
            })
            .await?;
            let taken = self
                .workers
                .workers
                .borrow_mut()
                .iter_mut()
                .map(|status| status.standing.take())
                .collect::<Vec<_>>();
            let unanswered: usize = taken.iter().flatten().map(|standing| standing.unanswered).sum();
            let reached: Vec<_> = taken
                .into_iter()
                .flatten()
                .map(|standing| standing.reached)
                .collect();
            // Compared over all workers, because each worker sees the progress of its own members alone.
            let behind = DigestLogs::behind(&reached);
            if self.is_quiet(unanswered, &behind, began.elapsed() > patience, patience) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_quiet(
        &self,
        unanswered: usize,
        behind: &[(ConvIx, u64, u64)],
        late: bool,
        patience: Duration,
    ) -> bool {
        let oracle = &mut self.common.context.borrow_mut().oracle;
        // A violation decides the run, so waiting for the rest would only delay the report.
        if (unanswered == 0 && behind.is_empty()) || oracle.counts().violations > 0 {
            return true;
        }
        if late && unanswered > 0 {
            let detail = format!(
                "{unanswered} messages have no response, or some clients miss messages, {patience:?} after the last scheduled send"
            );
            oracle.violate(ViolationKind::Wedged, None, None, 0, detail);
        }
        for (conv, slowest, end) in behind.iter().filter(|_| late) {
            let detail = format!("a member is at s={slowest}, members of another worker are at s={end}");
            oracle.violate(ViolationKind::MissedAtEnd, Some(*conv), None, *slowest, detail);
        }
        late
    }

    /// Reads the conversation list of every client.
    pub(crate) async fn inboxes(&self, patience: Duration) -> Result<(), Error> {
        let patience_ms = patience.as_millis() as u64;
        self.send(&CoordinatorMessage::Inboxes { patience_ms }).await;
        self.until(
            "read its conversation lists",
            patience + RESPONSE_TIMEOUT,
            |status| status.inboxes,
        )
        .await
    }

    /// Reads every log again, at the worker that has created it.
    pub(crate) async fn reread(&self, patience: Duration) -> Result<(), Error> {
        let patience_ms = patience.as_millis() as u64;
        self.send(&CoordinatorMessage::Reread { patience_ms }).await;
        self.until("read back its logs", patience + RESPONSE_TIMEOUT, |status| {
            status.reread
        })
        .await
    }

    async fn send(&self, order: &CoordinatorMessage) {
        for out in &self.outs {
            out.say(order).await;
        }
    }

    /// Waits until `holds` is true for every worker. A failed worker aborts the run.
    async fn until(
        &self,
        what: &'static str,
        patience: Duration,
        holds: impl Fn(&WorkerStatus) -> bool,
    ) -> Result<(), Error> {
        let all = async {
            loop {
                // Before the check: an update between check and wait would not be noticed.
                let update = self.workers.updates.notified();
                if let Some(error) = self.failure() {
                    return Err(error);
                }
                if self.workers.workers.borrow().iter().all(&holds) {
                    return Ok(());
                }
                update.await;
            }
        };
        let late = Error::Late {
            what,
            waited: patience,
        };
        let done = tokio::time::timeout(patience, all).await.unwrap_or(Err(late));
        if let Err(error) = &done {
            self.abort(error).await;
        }
        done
    }

    fn failure(&self) -> Option<Error> {
        let failed = self.workers.failed.borrow();
        failed
            .as_ref()
            .map(|(worker, why)| self.gone(*worker, why.clone()))
    }

    fn gone(&self, worker: usize, why: String) -> Error {
        // Callers may hold a mutable borrow of the workers. The address is optional, a panic would hide the error.
        let statuses = self.workers.workers.try_borrow();
        let address = statuses
            .ok()
            .and_then(|statuses| Some(statuses.get(worker)?.address.clone()));
        Error::Worker {
            worker: worker + 1,
            address: address.unwrap_or_default(),
            why,
        }
    }
}
