//! A worker: takes a share of the clients from a coordinator, does with them what it is told, and tells what they saw
//! and measured.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::link::{self, Out};
use super::message::{Final, Hello, Order, Reached, Standing, Stretch, Tick, VERSION, Word};
use super::{Error, Share};
use crate::cli::{self, Cli, Command};
use crate::client::Common;
use crate::clock::{Clock, Nanos};
use crate::crew::Crew;
use crate::dial::{Dialer, permitted};
use crate::measure::nodes::Usage;
use crate::oracle::ConvIx;
use crate::pacing::Pace;
use crate::run::{self, STEADY, set_up};
use crate::scenario::{Plan, Setup};

/// How long to try to reach the coordinator: it may be started last.
const COORDINATOR: Duration = Duration::from_secs(60);
/// Between two ticks.
const TICK: Duration = Duration::from_millis(200);
/// Neither end of a link is silent for longer, or it is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(20);
/// Questions for the time; the answer that took least counts.
const PINGS: usize = 16;
/// Digests of one tick.
const DIGESTS: usize = 200_000;

/// What a worker tells several times a second.
struct Teller {
    common: Rc<Common>,
    /// Conversations that other workers see, too.
    shared: Vec<ConvIx>,
    /// Violations that were told.
    violations: usize,
}

/// The worker after it was told what to do.
struct Worker {
    args: Box<cli::Run>,
    setup: Setup,
    share: Share,
    plan: Plan,
    common: Rc<Common>,
    teller: Rc<RefCell<Teller>>,
    out: Out,
    crew: Option<Crew>,
    rss_before_kib: u64,
    before: Cell<Usage>,
    used: Cell<Usage>,
}

/// Works for a coordinator. `true` if every promise was kept, here and everywhere else.
pub(crate) async fn work(args: &cli::Worker) -> Result<bool, run::Error> {
    let mut stream = reach(&args.coordinator).await?;
    let gone = |error: link::Error| Error::Coordinator(error.to_string());
    let hello = Hello {
        version: VERSION.to_owned(),
        secret: args.secret.clone().unwrap_or_default(),
    };
    link::write(&mut stream, &hello).await.map_err(gone)?;
    eprintln!("waiting for {} to begin", args.coordinator);
    let (line, nodes, run, share) = match link::read(&mut stream, link::MOST).await.map_err(gone)? {
        Order::Assign {
            line,
            nodes,
            run,
            share,
        } => (line, nodes, run, share),
        Order::Abort { why } => return Err(Error::Coordinator(format!("refuses: {why}")).into()),
        other => return Err(Error::Coordinator(format!("began with {other:?}")).into()),
    };
    let (clock, error) = set(&mut stream).await.map_err(gone)?;
    let (mut reader, out) = link::split(stream);
    out.say(&Word::Set { error }).await;

    let rss_before_kib = Usage::of_self().rss_kib;
    let cli = Cli::try_parse_from(line).map_err(|error| run::Error::Usage(error.to_string()))?;
    let Command::Run(job) = cli.command else {
        return Err(Error::Coordinator("asks for something else than a run".to_owned()).into());
    };
    let setup = Setup::new(&job).map_err(run::Error::Usage)?;
    let plan = setup.plan.clone();
    let rate = args.connections.connect_rate;
    let theirs = job
        .connections
        .connect_rate
        .map(|rate| rate / f64::from(share.workers));
    permitted(u64::from(plan.clients.div_ceil(share.workers.max(1)))).map_err(run::Error::Usage)?;
    let dialer = Dialer::new(args.connections.sources(), rate.or(theirs), 64);
    let own = plan.clients.div_ceil(share.workers.max(1));
    let common = run::shared(run, clock, nodes, &job.target.token, setup.size, own, dialer)?;
    {
        let world = &mut *common.world.borrow_mut();
        world.oracle.judge_only(share);
        world.recorder.keep_seconds();
    }
    common.reads.set(job.load.reads(false) / f64::from(share.workers));
    common.budget.set(budget(&plan, share, job.load.messages));
    let teller = Rc::new(RefCell::new(Teller {
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
    let mut worker = Worker {
        args: job,
        setup,
        share,
        plan,
        common,
        teller,
        out,
        crew: None,
        rss_before_kib,
        before: Cell::default(),
        used: Cell::default(),
    };

    let (orders, mut inbox) = mpsc::channel(64);
    let (end, ended) = oneshot::channel();
    let phases = worker.common.clone();
    tokio::task::spawn_local(async move {
        let why = loop {
            match tokio::time::timeout(SILENCE, link::read(&mut reader, link::MOST)).await {
                Ok(Ok(Order::Abort { why })) => break format!("ended the run: {why}"),
                Ok(Ok(Order::Pong { .. })) => {}
                // At once, whatever else is being done.
                Ok(Ok(Order::Phase(told))) => phases.world.borrow_mut().recorder.begin(told),
                Ok(Ok(order)) => {
                    let last = matches!(order, Order::Verdict { .. });
                    if orders.send(order).await.is_err() || last {
                        return;
                    }
                }
                Ok(Err(error)) => break error.to_string(),
                Err(_) => break format!("has said nothing for {SILENCE:?}"),
            }
        };
        let _ = end.send(why);
    });
    tokio::task::spawn_local(tell(worker.teller.clone(), worker.out.clone()));
    let out = worker.out.clone();
    let kept = tokio::select! {
        kept = worker.obey(&mut inbox) => kept,
        Ok(why) = ended => Err(Error::Coordinator(why).into()),
    };
    if let Err(error) = &kept {
        out.say(&Word::Failed {
            why: error.to_string(),
        })
        .await;
        out.flush().await;
    }
    if let Some(crew) = &worker.crew {
        crew.quit();
    }
    kept
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

/// Sets the clock by the coordinator's: the question whose answer took least says how late it is there, within half of
/// the time that it took.
async fn set(stream: &mut TcpStream) -> Result<(Clock, Nanos), link::Error> {
    let own = Clock::start();
    let mut best = (Nanos::MAX, Clock::start());
    for _ in 0..PINGS {
        let sent = own.now();
        link::write(stream, &Word::Ping { sent }).await?;
        let Order::Pong { now, .. } = link::read(stream, link::MOST).await? else {
            continue; // orders begin when the clock is set
        };
        let took = own.now() - sent;
        if took < best.0 {
            best = (took, Clock::set(now + took / 2));
        }
    }
    Ok((best.1, best.0 / 2))
}

/// This worker's part of the messages: as large as its part of the speakers.
fn budget(plan: &Plan, share: Share, messages: Option<u64>) -> u64 {
    let Some(messages) = messages else {
        return u64::MAX;
    };
    let speakers = plan.speakers();
    let up_to = |worker: u32| {
        let below = speakers
            .keys()
            .filter(|speaker| share.worker_of(**speaker) < worker);
        (u128::from(messages) * below.count() as u128 / speakers.len().max(1) as u128) as u64
    };
    up_to(share.worker + 1) - up_to(share.worker)
}

/// Ticks for as long as the link lasts.
async fn tell(teller: Rc<RefCell<Teller>>, out: Out) {
    let mut asked = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        let tick = teller.borrow_mut().tick();
        out.say(&Word::Tick(tick)).await;
        if asked.elapsed() > Duration::from_secs(1) {
            asked = Instant::now();
            out.mention(&Word::Ping { sent: 0 }); // the answer shows that the coordinator is there
        }
    }
}

// === impl Teller ===

impl Teller {
    fn tick(&mut self) -> Tick {
        let world = &mut *self.common.world.borrow_mut();
        world.recorder.tick(world.clock.now());
        let mut room = DIGESTS;
        let mut stretches = Vec::new();
        for conv in &self.shared {
            if let Some((from, digests)) = world.oracle.untold(*conv, room).filter(|_| room > 0) {
                room -= digests.len();
                stretches.push(Stretch {
                    conv: *conv,
                    from,
                    digests,
                });
            }
        }
        let violations = world.oracle.violations()[self.violations..].to_vec();
        self.violations += violations.len();
        Tick {
            online: self.common.online.get(),
            left: self.common.budget.get(),
            counts: world.oracle.counts(),
            seconds: world.recorder.closed(),
            stretches,
            violations,
        }
    }
}

// === impl Worker ===

impl Worker {
    /// Does what it is told, until the verdict.
    async fn obey(&mut self, inbox: &mut mpsc::Receiver<Order>) -> Result<bool, run::Error> {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Verdict { kept } => return Ok(kept),
                order => self.carry_out(order).await?,
            }
        }
        // The other branch knows why.
        std::future::pending().await
    }

    async fn carry_out(&mut self, order: Order) -> Result<(), run::Error> {
        let patience = set_up(&self.args, self.plan.clients);
        match order {
            Order::Connect => {
                let (common, plan, seed) = (self.common.clone(), self.plan.clone(), self.setup.seed);
                self.crew = Some(Crew::connect(common, plan, seed, self.share, patience).await?);
                self.out.say(&Word::Connected).await;
            }
            Order::Create => {
                let names = self.crew()?.create(patience).await?;
                self.out.say(&Word::Created { names }).await;
            }
            Order::Enter { names } => {
                if let Some(crew) = &mut self.crew {
                    crew.enter(names, patience).await?;
                    self.teller.borrow_mut().shared = crew.shared();
                }
                self.out.say(&Word::Entered).await;
            }
            Order::Begin { at, part } => {
                {
                    let recorder = &mut self.common.world.borrow_mut().recorder;
                    match part {
                        Some(part) => recorder.part(&part, at),
                        None => recorder.phase(STEADY, at),
                    }
                }
                let clock = self.common.world.borrow().clock;
                tokio::time::sleep_until(clock.instant(at)).await;
                self.before.set(Usage::of_self());
                self.crew()?.behave();
                self.crew()?.pace(&self.setup.pace);
            }
            Order::Everywhere { patience_ms } => {
                self.crew()?.calm();
                self.crew()?.everywhere(Duration::from_millis(patience_ms)).await;
                self.out.say(&Word::Everywhere).await;
            }
            Order::Silence => {
                self.crew()?.calm();
                self.crew()?.pace(&Pace::Silent);
                let used = Usage::of_self();
                self.used.set(used.since(self.before.get()).unwrap_or(used));
            }
            Order::Stand => {
                let unanswered = self.crew()?.unanswered().await;
                let standing = self.standing(unanswered);
                self.out.say(&Word::Standing(standing)).await;
            }
            Order::Inboxes { patience_ms } => {
                self.crew()?.inboxes(Duration::from_millis(patience_ms)).await;
                self.out.say(&Word::Inboxes).await;
            }
            Order::Reread { patience_ms } => {
                self.crew()?.reread(Duration::from_millis(patience_ms)).await;
                self.out.say(&Word::Reread).await;
            }
            Order::Finish => self.finish().await,
            Order::Assign { .. }
            | Order::Pong { .. }
            | Order::Phase(_)
            | Order::Verdict { .. }
            | Order::Abort { .. } => {}
        }
        Ok(())
    }

    fn standing(&self, unanswered: usize) -> Standing {
        let oracle = &self.common.world.borrow().oracle;
        let reached = |conv: &ConvIx| {
            let (frontier, slowest) = oracle.reached(*conv);
            Reached {
                conv: *conv,
                frontier,
                slowest,
            }
        };
        Standing {
            // What only this worker sees it knows to be level or not.
            unanswered: unanswered.max(usize::from(!oracle.level())),
            reached: self.teller.borrow().shared.iter().map(reached).collect(),
        }
    }

    fn crew(&self) -> Result<&Crew, Error> {
        let order = || Error::Coordinator("asks for what comes after connecting before it".to_owned());
        self.crew.as_ref().ok_or_else(order)
    }

    async fn finish(&self) {
        {
            let world = &mut *self.common.world.borrow_mut();
            if world.oracle.counts().violations == 0 {
                world.oracle.finish();
            }
            world.recorder.close();
        }
        // Whatever is left of the digests goes ahead of the last word.
        let tick = loop {
            let tick = self.teller.borrow_mut().tick();
            if tick.stretches.is_empty() {
                break tick;
            }
            self.out.say(&Word::Tick(tick)).await;
        };
        let last = {
            let world = self.common.world.borrow();
            let broken = world.oracle.counts().violations > 0;
            let lines = world
                .oracle
                .history()
                .lines()
                .rev()
                .take(if broken { 500 } else { 0 });
            let mut history: Vec<String> = lines.cloned().collect();
            history.reverse();
            Final {
                tick,
                measured: world.recorder.measured(),
                returned: world.recovery.returned(),
                late: world.oracle.late(),
                usage: self.used.get(),
                rss_before_kib: self.rss_before_kib,
                clients: self.crew.as_ref().map_or(0, Crew::own) as u64,
                history,
            }
        };
        self.out.say(&Word::Final(Box::new(last))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_parts_of_the_messages_add_up() {
        let plan = crate::scenario::Scenario::Room
            .plan(&[("clients".to_owned(), 7), ("speakers".to_owned(), 3)].into())
            .unwrap();
        let part = |worker| budget(&plan, Share { worker, workers: 4 }, Some(1000));
        let parts: Vec<_> = (0..4).map(part).collect();
        assert_eq!(parts.iter().sum::<u64>(), 1000, "{parts:?}");
        assert_eq!(parts[3], 0, "a worker without speakers");
        assert_eq!(budget(&plan, Share::ALL, None), u64::MAX);
    }
}
