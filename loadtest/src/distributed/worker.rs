//! Worker of a distributed run: runs a slice of the clients as the coordinator directs, and reports their events and
//! measurements.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Error;
use super::budget::budget;
use super::message::{
    CoordinatorMessage, VERSION, ViewProgress, WorkerHello, WorkerMessage, WorkerProgress, WorkerResult,
};
use super::message_stream::{self, Out};
use super::status_reporter::{StatusReporter, report};
use crate::args::{self, Cli, CliCommand};
use crate::clock::{Nanos, RunClock};
use crate::load::{ClientPool, Connector, SharedRun, permitted};
use crate::measure::Usage;
use crate::oracle::ConvIx;
use crate::pacing::LoadPace;
use crate::setup::{Setup, setup_timeout};
use crate::spec::{ClientSlice, STEADY, ScenarioPlan};

/// Longest time to reach the coordinator, which may be started last.
const COORDINATOR: Duration = Duration::from_secs(60);
/// Timeout of a connection without any frame, in either direction.
pub(super) const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(20);
/// Number of time requests; the response with the shortest round trip counts.
const PINGS: usize = 16;

/// Worker with an assigned slice.
struct WorkerProcess {
    args: Box<args::RunArgs>,
    setup: Setup,
    share: ClientSlice,
    plan: ScenarioPlan,
    common: Rc<SharedRun>,
    reporter: Rc<RefCell<StatusReporter>>,
    out: Out,
    pool: Option<ClientPool>,
    rss_before_kib: u64,
    before: Cell<Usage>,
    used: Cell<Usage>,
}

/// Runs a worker until the verdict. Returns `true` if every promise was kept, at all workers.
pub(crate) async fn work(args: &args::WorkerArgs) -> Result<bool, Error> {
    let mut stream = reach(&args.coordinator).await?;
    let gone = |error: message_stream::Error| Error::Coordinator(error.to_string());
    let hello = WorkerHello {
        version: VERSION.to_owned(),
        secret: args.secret.clone().unwrap_or_default(),
    };
    message_stream::write(&mut stream, &hello).await.map_err(gone)?;
    eprintln!("waiting for the coordinator {}", args.coordinator);
    let (line, nodes, run, share) = match message_stream::read(&mut stream, message_stream::MOST)
        .await
        .map_err(gone)?
    {
        CoordinatorMessage::Assign {
            line,
            nodes,
            run,
            share,
        } => (line, nodes, run, share),
        CoordinatorMessage::Abort { why } => {
            return Err(Error::Coordinator(format!("refused this worker: {why}")));
        }
        other => {
            return Err(Error::Coordinator(format!(
                "sent an unexpected first message: {other:?}"
            )));
        }
    };
    // Before the split: the time requests need the bare connection, without queues in between.
    let (clock, error) = set(&mut stream).await.map_err(gone)?;
    let (mut reader, out) = message_stream::split(stream);
    out.say(&WorkerMessage::Set { error }).await;

    // Before the clients exist, so that their memory is measured as well.
    let rss_before_kib = Usage::of_self().rss_kib;
    let cli = Cli::try_parse_from(line).map_err(|error| Error::Usage(error.to_string()))?;
    let CliCommand::Run(job) = cli.command else {
        return Err(Error::Coordinator(
            "sent a command line that is not a run".to_owned(),
        ));
    };
    let setup = Setup::new(&job).map_err(Error::Usage)?;
    let plan = setup.plan.clone();
    // The worker's own limit has precedence over its part of the run's limit.
    let rate = args.connections.connect_rate;
    let theirs = job
        .connections
        .connect_rate
        .map(|rate| rate / f64::from(share.workers));
    permitted(u64::from(plan.clients.div_ceil(share.workers.max(1)))).map_err(Error::Usage)?;
    let dialer = Connector::new(args.connections.sources(), rate.or(theirs), 64);
    let own = plan.clients.div_ceil(share.workers.max(1));
    let common = SharedRun::new(run, clock, nodes, &job.target.token, setup.size, own, dialer)
        .map_err(Error::Timer)?;
    {
        let context = &mut *common.context.borrow_mut();
        context.oracle.judge_only(share);
        context.recorder.keep_seconds();
    }
    common.reads.set(job.load.reads(false) / f64::from(share.workers));
    common.budget.set(budget(&plan, share, job.load.messages));
    let reporter = Rc::new(RefCell::new(StatusReporter {
        common: common.clone(),
        shared: Vec::new(),
        violations: 0,
    }));
    eprintln!(
        "worker {} of {}: {} clients, clock within {:.3} ms",
        share.worker + 1,
        share.workers,
        (0..plan.clients).filter(|client| share.owns(*client)).count(),
        error as f64 / 1e6
    );
    let mut worker = WorkerProcess {
        args: job,
        setup,
        share,
        plan,
        common,
        reporter,
        out,
        pool: None,
        rss_before_kib,
        before: Cell::default(),
        used: Cell::default(),
    };

    // A task reads the connection, because commands like `Reread` block the worker for long.
    let (orders, mut inbox) = mpsc::channel(64);
    let (end, ended) = oneshot::channel();
    let phases = worker.common.clone();
    tokio::task::spawn_local(async move {
        let why = loop {
            match tokio::time::timeout(
                COORDINATOR_TIMEOUT,
                message_stream::read(&mut reader, message_stream::MOST),
            )
            .await
            {
                Ok(Ok(CoordinatorMessage::Abort { why })) => break format!("aborted the run: {why}"),
                Ok(Ok(CoordinatorMessage::Pong { .. })) => {}
                // Immediately, even while a command is running: phases must start at the same time everywhere.
                Ok(Ok(CoordinatorMessage::Phase(marker))) => {
                    phases.context.borrow_mut().recorder.begin(marker)
                }
                Ok(Ok(order)) => {
                    // The reader ends with the verdict: the closed connection that follows is no error.
                    let last = matches!(order, CoordinatorMessage::Verdict { .. });
                    if orders.send(order).await.is_err() || last {
                        return;
                    }
                }
                Ok(Err(error)) => break error.to_string(),
                Err(_) => break format!("sent nothing for {COORDINATOR_TIMEOUT:?}"),
            }
        };
        let _ = end.send(why);
    });
    // Ticks run beside the commands as well; they also keep the connection from timing out.
    tokio::task::spawn_local(report(worker.reporter.clone(), worker.out.clone()));
    let out = worker.out.clone();
    let passed = tokio::select! {
        passed = worker.execute(&mut inbox) => passed,
        Ok(why) = ended => Err(Error::Coordinator(why)),
    };
    // Reported, so that the coordinator names the cause instead of a lost connection.
    if let Err(error) = &passed {
        out.say(&WorkerMessage::Failed {
            why: error.to_string(),
        })
        .await;
        out.flush().await;
    }
    if let Some(pool) = &worker.pool {
        pool.quit();
    }
    passed
}

async fn reach(coordinator: &str) -> Result<TcpStream, Error> {
    let began = Instant::now();
    loop {
        match TcpStream::connect(coordinator).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) if began.elapsed() > COORDINATOR => {
                return Err(Error::Unreachable(coordinator.to_owned(), error));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Sets the clock by the coordinator's, and returns its maximum error. The error is half of the shortest round trip.
async fn set(stream: &mut TcpStream) -> Result<(RunClock, Nanos), message_stream::Error> {
    let own = RunClock::start();
    let mut best = (Nanos::MAX, RunClock::start());
    for _ in 0..PINGS {
        let sent = own.now();
        message_stream::write(stream, &WorkerMessage::Ping { sent }).await?;
        let CoordinatorMessage::Pong { now, .. } = message_stream::read(stream, message_stream::MOST).await?
        else {
            continue; // orders begin when the clock is set
        };
        let took = own.now() - sent;
        if took < best.0 {
            best = (took, RunClock::set(now + took / 2));
        }
    }
    Ok((best.1, best.0 / 2))
}

// === impl WorkerProcess ===

impl WorkerProcess {
    /// Executes commands until the verdict.
    async fn execute(&mut self, inbox: &mut mpsc::Receiver<CoordinatorMessage>) -> Result<bool, Error> {
        while let Some(order) = inbox.recv().await {
            match order {
                CoordinatorMessage::Verdict { passed } => return Ok(passed),
                order => self.carry_out(order).await?,
            }
        }
        // The reader has ended. Its branch of the select reports the reason.
        std::future::pending().await
    }

    async fn carry_out(&mut self, order: CoordinatorMessage) -> Result<(), Error> {
        let patience = setup_timeout(&self.args, self.plan.clients);
        match order {
            CoordinatorMessage::Connect => {
                let (common, plan, seed) = (self.common.clone(), self.plan.clone(), self.setup.seed);
                self.pool = Some(ClientPool::connect(common, plan, seed, self.share, patience).await?);
                self.out.say(&WorkerMessage::Connected).await;
            }
            CoordinatorMessage::Create => {
                let names = self.pool()?.create(patience).await?;
                self.out.say(&WorkerMessage::Created { names }).await;
            }
            CoordinatorMessage::Enter { names } => {
                if let Some(pool) = &mut self.pool {
                    pool.enter(names, patience).await?;
                    self.reporter.borrow_mut().shared = pool.shared();
                }
                self.out.say(&WorkerMessage::Entered).await;
            }
            CoordinatorMessage::Begin { at, part } => {
                {
                    let recorder = &mut self.common.context.borrow_mut().recorder;
                    match part {
                        Some(part) => recorder.part(&part, at),
                        None => recorder.phase(STEADY, at),
                    }
                }
                let clock = self.common.context.borrow().clock;
                tokio::time::sleep_until(clock.instant(at)).await;
                // Measured from here on: the setup does not belong to the load.
                self.before.set(Usage::of_self());
                self.pool()?.behave();
                self.pool()?.pace(&self.setup.pace);
            }
            CoordinatorMessage::ProbeAll { patience_ms } => {
                // Behaviors would drop connections, and absent clients cannot send.
                self.pool()?.stop_behaviors();
                self.pool()?.probe_all(Duration::from_millis(patience_ms)).await;
                self.out.say(&WorkerMessage::Probed).await;
            }
            CoordinatorMessage::StopSending => {
                self.pool()?.stop_behaviors();
                self.pool()?.pace(&LoadPace::Silent);
                let used = Usage::of_self();
                self.used.set(used.since(self.before.get()).unwrap_or(used));
            }
            CoordinatorMessage::Stand => {
                let unanswered = self.pool()?.unanswered().await;
                let standing = self.standing(unanswered);
                self.out.say(&WorkerMessage::Standing(standing)).await;
            }
            CoordinatorMessage::Inboxes { patience_ms } => {
                self.pool()?.inboxes(Duration::from_millis(patience_ms)).await;
                self.out.say(&WorkerMessage::Inboxes).await;
            }
            CoordinatorMessage::Reread { patience_ms } => {
                self.pool()?.reread(Duration::from_millis(patience_ms)).await;
                self.out.say(&WorkerMessage::Reread).await;
            }
            CoordinatorMessage::Finish => self.finish().await,
            CoordinatorMessage::Assign { .. }
            | CoordinatorMessage::Pong { .. }
            | CoordinatorMessage::Phase(_)
            | CoordinatorMessage::Verdict { .. }
            | CoordinatorMessage::Abort { .. } => {}
        }
        Ok(())
    }

    fn standing(&self, unanswered: usize) -> WorkerProgress {
        let oracle = &self.common.context.borrow().oracle;
        let reached = |conv: &ConvIx| {
            let (frontier, slowest) = oracle.reached(*conv);
            ViewProgress {
                conv: *conv,
                frontier,
                slowest,
            }
        };
        WorkerProgress {
            // The coordinator cannot judge conversations that only this worker sees. Any that lags counts as
            // unanswered.
            unanswered: unanswered.max(usize::from(!oracle.level())),
            reached: self.reporter.borrow().shared.iter().map(reached).collect(),
        }
    }

    fn pool(&self) -> Result<&ClientPool, Error> {
        let order = || {
            Error::Coordinator(
                "sent a message that requires connected clients before they were connected".to_owned(),
            )
        };
        self.pool.as_ref().ok_or_else(order)
    }

    async fn finish(&self) {
        {
            let context = &mut *self.common.context.borrow_mut();
            if context.oracle.counts().violations == 0 {
                context.oracle.finish();
            }
            context.recorder.close();
        }
        // The remaining digests precede the result, which is the worker's last message.
        let tick = loop {
            let tick = self.reporter.borrow_mut().tick();
            if tick.stretches.is_empty() {
                break tick;
            }
            self.out.say(&WorkerMessage::Tick(tick)).await;
        };
        let last = {
            let context = self.common.context.borrow();
            let broken = context.oracle.counts().violations > 0;
            // The history is large, and of use only beside a violation.
            let lines = context
                .oracle
                .history()
                .lines()
                .rev()
                .take(if broken { 500 } else { 0 });
            let mut history: Vec<String> = lines.cloned().collect();
            history.reverse();
            WorkerResult {
                tick,
                measured: context.recorder.measured(),
                returned: context.recovery.returned(),
                late: context.oracle.late(),
                usage: self.used.get(),
                rss_before_kib: self.rss_before_kib,
                clients: self.pool.as_ref().map_or(0, ClientPool::own) as u64,
                history,
            }
        };
        self.out.say(&WorkerMessage::Final(Box::new(last))).await;
    }
}
