//! The coordinator: gathers the workers and leads them through a run.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::door::gather;
use super::heard::{Heard, Seat, listen};
use super::link::{self, Out};
use super::logs::Logs;
use super::message::Order;
use super::{Error, Share};
use crate::cli::TeamArgs;
use crate::client::Common;
use crate::clock::{Nanos, SECOND};
use crate::measure::nodes::Usage;
use crate::oracle::{ConvIx, Kind};
use crate::report::{HarnessReport, WorkerReport};
use crate::run::STEADY;
use crate::scenario::Plan;

/// The workers of a run, and what they told.
pub(crate) struct Team {
    common: Rc<Common>,
    patience: Duration,
    outs: Vec<Out>,
    heard: Rc<Heard>,
    /// The first conversation's name.
    first: String,
}

/// How long before the load begins all are told when.
const AHEAD: Nanos = SECOND / 2;
/// How long the answer to a simple question may take.
const ANSWER: Duration = Duration::from_secs(30);

// === impl Team ===

impl Team {
    /// Waits for the workers, and has them connect their clients and set up the plan's conversations.
    pub(crate) async fn assemble(
        args: &TeamArgs,
        line: Vec<String>,
        common: Rc<Common>,
        plan: &Plan,
        patience: Duration,
    ) -> Result<Team, Error> {
        let workers = args.workers.unwrap_or(1);
        let (streams, listener) = gather(args, patience).await?;
        drop(listener);
        let seats = streams.iter().map(|(_, address)| Seat {
            address: address.clone(),
            ..Seat::default()
        });
        let share = |worker| Share { worker, workers };
        let seen_by = (0..)
            .zip(&plan.conversations)
            .map(|(conv, planned)| (conv as ConvIx, share(0).seen_by(&planned.members)));
        let heard = Rc::new(Heard {
            common: common.clone(),
            seats: RefCell::new(seats.collect()),
            logs: RefCell::new(Logs::new(seen_by)),
            failed: RefCell::default(),
            news: Notify::new(),
        });
        let mut outs = Vec::new();
        for (worker, (stream, _)) in streams.into_iter().enumerate() {
            let (reader, out) = link::split(stream);
            let assign = Order::Assign {
                line: line.clone(),
                nodes: common.nodes.borrow().clone(),
                run: common.world.borrow().payload.run(),
                share: share(worker as u32),
            };
            out.say(&assign).await;
            tokio::task::spawn_local(listen(worker, reader, out.clone(), heard.clone()));
            outs.push(out);
        }
        common.world.borrow_mut().recorder.coordinate();
        let mut team = Team {
            common,
            patience,
            outs,
            heard,
            first: String::new(),
        };
        team.until("its clock set", ANSWER, |seat| seat.clock_error.is_some())
            .await?;
        team.tell(&Order::Connect).await;
        team.until("its clients online", patience, |seat| seat.connected)
            .await?;
        team.tell(&Order::Create).await;
        team.until("its conversations made", patience, |seat| seat.created.is_some())
            .await?;
        let names = team.names(plan)?;
        for name in &names {
            team.common.world.borrow_mut().oracle.conversation(name);
        }
        team.first = names.first().cloned().unwrap_or_default();
        team.tell(&Order::Enter { names }).await;
        team.until("its clients in their conversations", patience, |seat| {
            seat.entered
        })
        .await?;
        Ok(team)
    }

    /// All conversations' names in the plan's order.
    fn names(&self, plan: &Plan) -> Result<Vec<String>, Error> {
        let mut names = vec![String::new(); plan.conversations.len()];
        for (worker, seat) in self.heard.seats.borrow_mut().iter_mut().enumerate() {
            for (number, name) in seat.created.take().unwrap_or_default() {
                match names.get_mut(number as usize) {
                    Some(known) if known.is_empty() => *known = name,
                    _ => {
                        return Err(self.gone(
                            worker,
                            format!("made conversation {number}, which is not its own"),
                        ));
                    }
                }
            }
        }
        let missing = names.iter().position(String::is_empty);
        missing.map_or(Ok(names), |number| {
            Err(self.gone(0, format!("or another left conversation {number} out")))
        })
    }

    /// The first conversation's name.
    pub(crate) fn first(&self) -> &str {
        &self.first
    }

    /// Has the load begin everywhere at once, with its first part if it has several; returns when.
    pub(crate) async fn begin(&self, part: Option<String>) -> Nanos {
        let at = self.common.world.borrow().clock.now() + AHEAD;
        self.tell(&Order::Begin {
            at,
            part: part.clone(),
        })
        .await;
        let (phases, mut told) = mpsc::unbounded_channel();
        {
            let recorder = &mut self.common.world.borrow_mut().recorder;
            match part {
                Some(part) => recorder.part(&part, at),
                None => recorder.phase(STEADY, at),
            }
            recorder.tell_phases(phases);
        }
        let everybody = self.outs.clone();
        tokio::task::spawn_local(async move {
            while let Some(told) = told.recv().await {
                let phase = Order::Phase(told);
                for out in &everybody {
                    out.say(&phase).await;
                }
            }
        });
        let clock = self.common.world.borrow().clock;
        tokio::time::sleep_until(clock.instant(at)).await;
        at
    }

    /// Has everybody speak until every conversation has acked a message from now.
    pub(crate) async fn everywhere(&self, patience: Duration) -> Result<(), Error> {
        let patience_ms = patience.as_millis() as u64;
        self.tell(&Order::Everywhere { patience_ms }).await;
        self.until("been answered everywhere", patience + ANSWER, |seat| {
            seat.everywhere
        })
        .await
    }

    /// Has nobody send anything more.
    pub(crate) async fn silence(&self) {
        self.tell(&Order::Silence).await;
    }

    /// Waits until every message is answered and everybody has got to the end of every log that anybody knows.
    pub(crate) async fn settle(&self, patience: Duration) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            self.heard
                .seats
                .borrow_mut()
                .iter_mut()
                .for_each(|seat| seat.standing = None);
            self.tell(&Order::Stand).await;
            self.until("told how far it is", ANSWER, |seat| seat.standing.is_some())
                .await?;
            let taken = self
                .heard
                .seats
                .borrow_mut()
                .iter_mut()
                .map(|seat| seat.standing.take())
                .collect::<Vec<_>>();
            let unanswered: usize = taken.iter().flatten().map(|standing| standing.unanswered).sum();
            let reached: Vec<_> = taken
                .into_iter()
                .flatten()
                .map(|standing| standing.reached)
                .collect();
            let behind = Logs::behind(&reached);
            if self.settled(unanswered, &behind, began.elapsed() > patience, patience) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn settled(
        &self,
        unanswered: usize,
        behind: &[(ConvIx, u64, u64)],
        late: bool,
        patience: Duration,
    ) -> bool {
        let oracle = &mut self.common.world.borrow_mut().oracle;
        if (unanswered == 0 && behind.is_empty()) || oracle.counts().violations > 0 {
            return true;
        }
        if late && unanswered > 0 {
            let detail = format!(
                "{unanswered} messages have no answer, or not everybody has all, {patience:?} after the last one was due"
            );
            oracle.violate(Kind::Wedged, None, None, 0, detail);
        }
        for (conv, slowest, end) in behind.iter().filter(|_| late) {
            let detail = format!("a member has s={slowest}, another worker's have s={end}");
            oracle.violate(Kind::MissedAtEnd, Some(*conv), None, *slowest, detail);
        }
        late
    }

    /// Has every client read its inbox.
    pub(crate) async fn inboxes(&self, patience: Duration) -> Result<(), Error> {
        let patience_ms = patience.as_millis() as u64;
        self.tell(&Order::Inboxes { patience_ms }).await;
        self.until("read its inboxes", patience + ANSWER, |seat| seat.inboxes)
            .await
    }

    /// Has every log read again by the worker that made it.
    pub(crate) async fn reread(&self, patience: Duration) -> Result<(), Error> {
        let patience_ms = patience.as_millis() as u64;
        self.tell(&Order::Reread { patience_ms }).await;
        self.until("read its logs again", patience + ANSWER, |seat| seat.reread)
            .await
    }

    /// Has everybody judge what is missing, and joins what they measured. Returns what the workers used.
    pub(crate) async fn finish(&self) -> Result<HarnessReport, Error> {
        self.tell(&Order::Finish).await;
        self.until("said everything", ANSWER.max(self.patience), |seat| {
            seat.last.is_some()
        })
        .await?;
        let mut workers = Vec::new();
        let world = &mut *self.common.world.borrow_mut();
        for (worker, seat) in self.heard.seats.borrow_mut().iter_mut().enumerate() {
            let Some(last) = seat.last.take() else { continue };
            let joined = world.recorder.join(&last.measured);
            joined.map_err(|why| self.gone(worker, why))?;
            world.recovery.join(&last.returned);
            world.oracle.heard_late(last.late);
            for line in &last.history {
                world.oracle.retell(format!("worker {}: {line}", worker + 1));
            }
            workers.push(WorkerReport {
                worker: seat.address.clone(),
                clients: last.clients,
                cpu_us: last.usage.cpu_us,
                rss_kib: last.usage.rss_kib,
                rss_before_kib: last.rss_before_kib,
                clock_error_us: seat.clock_error.unwrap_or(0) / 1000,
            });
        }
        world.recorder.joined();
        let logs = self.heard.logs.borrow();
        let mut report = HarnessReport::of_workers(workers);
        report.events_compared = logs.compared;
        Ok(report)
    }

    /// Says the verdict to everybody, who end with it.
    pub(crate) async fn verdict(&self, kept: bool) {
        self.tell(&Order::Verdict { kept }).await;
        for out in &self.outs {
            out.flush().await;
        }
    }

    /// Waits for a worker to fail.
    pub(crate) async fn failed(&self) -> Error {
        loop {
            let news = self.heard.news.notified();
            if let Some(error) = self.failure() {
                self.abort(&error).await;
                return error;
            }
            news.await;
        }
    }

    async fn tell(&self, order: &Order) {
        for out in &self.outs {
            out.say(order).await;
        }
    }

    /// Waits until it holds for every worker. A worker that has failed ends the run for all.
    async fn until(
        &self,
        what: &'static str,
        patience: Duration,
        holds: impl Fn(&Seat) -> bool,
    ) -> Result<(), Error> {
        let all = async {
            loop {
                let news = self.heard.news.notified();
                if let Some(error) = self.failure() {
                    return Err(error);
                }
                if self.heard.seats.borrow().iter().all(&holds) {
                    return Ok(());
                }
                news.await;
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
        let failed = self.heard.failed.borrow();
        failed
            .as_ref()
            .map(|(worker, why)| self.gone(*worker, why.clone()))
    }

    fn gone(&self, worker: usize, why: String) -> Error {
        let seats = self.heard.seats.try_borrow();
        let address = seats
            .ok()
            .and_then(|seats| Some(seats.get(worker)?.address.clone()));
        Error::Worker {
            worker: worker + 1,
            address: address.unwrap_or_default(),
            why,
        }
    }

    async fn abort(&self, error: &Error) {
        let why = error.to_string();
        for out in &self.outs {
            out.mention(&Order::Abort { why: why.clone() });
        }
        // One that is gone takes nothing any more.
        let flush = futures::future::join_all(self.outs.iter().map(Out::flush));
        let _ = tokio::time::timeout(Duration::from_secs(1), flush).await;
    }
}

// === impl HarnessReport ===

impl HarnessReport {
    /// Of all workers together.
    fn of_workers(workers: Vec<WorkerReport>) -> HarnessReport {
        let sum = |of: fn(&WorkerReport) -> u64| workers.iter().map(of).sum::<u64>();
        let usage = Usage {
            cpu_us: sum(|worker| worker.cpu_us),
            rss_kib: sum(|worker| worker.rss_kib),
            ..Usage::default()
        };
        HarnessReport {
            workers: workers.clone(),
            ..HarnessReport::new(
                usage,
                sum(|worker| worker.rss_before_kib),
                sum(|worker| worker.clients),
            )
        }
    }
}
