//! One run of a scenario: setup, load with faults, quiescence, read-back and verdict.

mod verdict;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::watch;

use crate::cli::{RunArgs, Wire};
use crate::client::{RunContext, SharedRun};
use crate::client_pool::{self, ClientPool};
use crate::clock::{Nanos, RunClock, SECOND};
use crate::connector::{Connector, permitted};
use crate::distributed::{self, Coordinator};
use crate::failover::FirstAcks;
use crate::fault::{self, FaultNeeds, Injected, Injector};
use crate::load_source::LoadSource;
use crate::local;
use crate::many;
use crate::measure::fdatasync::SyncProbe;
use crate::measure::node_samples::Sampler;
use crate::measure::nodes::Usage;
use crate::measure::recorder::Recorder;
use crate::measure::recovery::Recovery;
use crate::mqtt::{self, MqttPool};
use crate::oracle::Oracle;
use crate::pacing::PreciseTimers;
use crate::payload::Payload;
use crate::progress::ProgressBars;
use crate::replicas::Replicas;
use crate::report::{compare, dated_report};
use crate::scenario::Setup;
use crate::schedule;
use crate::session;
use crate::target::LoadTarget;

use self::verdict::{RunMeasurements, conclude};

/// Reason for which a run has no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Local(#[from] local::Error),
    #[error(transparent)]
    Pool(#[from] client_pool::Error),
    #[error(transparent)]
    Mqtt(#[from] mqtt::Error),
    #[error(transparent)]
    Team(#[from] distributed::Error),
    #[error(transparent)]
    Compare(#[from] compare::Error),
    #[error(transparent)]
    Book(#[from] dated_report::Error),
    #[error("the run is inconclusive: {0}")]
    Nothing(String),
    #[error("a measured session failed: {0}")]
    Session(#[from] session::Error),
    #[error("the timer cannot be created: {0}")]
    Timer(std::io::Error),
    #[error("the report could not be written: {0}")]
    Report(#[from] std::io::Error),
}

/// Base time limit of connecting and setting up.
pub(crate) const SET_UP: Duration = Duration::from_secs(120);

/// Name of the phase in which the load starts.
pub(crate) const STEADY: &str = "steady";

/// Returns the time limit of connecting and setting up this number of clients.
pub(crate) fn set_up(args: &RunArgs, clients: u32) -> Duration {
    let paced = args
        .connections
        .connect_rate
        .map_or(0.0, |rate| f64::from(clients) / rate.max(1e-3));
    SET_UP + Duration::from_secs_f64(paced) + Duration::from_millis(10) * clients
}

/// Runs a scenario. Returns `true` if every promise was kept. `line` is the command line, which workers get.
pub(crate) async fn run(args: &RunArgs, line: Vec<String>) -> Result<bool, Error> {
    let setup = Setup::new(args).map_err(Error::Usage)?;
    if args.find.find_max && setup.first_rate().is_none() {
        return Err(Error::Usage(
            "--find-max needs an open-loop rate and a scenario that sends messages".to_owned(),
        ));
    }
    if args.team.coordinator.is_some() {
        setup.is_for_workers().map_err(Error::Usage)?;
    }
    if args.target.wire == Wire::Mqtt && !setup.is_plain() {
        return Err(Error::Usage(
            "--wire mqtt supports only pairs, groups, room and idle at one pace: MQTT has no equivalent of the rest".to_owned(),
        ));
    }
    if args.find.find_max && (args.team.coordinator.is_some() || args.target.wire == Wire::Mqtt) {
        return Err(Error::Usage(
            "--find-max supports neither --coordinator nor --wire mqtt".to_owned(),
        ));
    }
    let faults = faults(args, &setup)?;
    if !faults.faults.is_empty() && args.target.local.is_none() {
        return Err(Error::Usage(
            "faults need --local: the harness injects faults only into its own processes".to_owned(),
        ));
    }
    if args.target.wire == Wire::Mqtt && (args.target.local.is_some() || args.team.coordinator.is_some()) {
        return Err(Error::Usage(
            "--wire mqtt needs running brokers: it supports neither --local nor --coordinator".to_owned(),
        ));
    }
    // A coordinator opens no connections of its own.
    if args.team.coordinator.is_none() {
        permitted(u64::from(setup.plan.clients)).map_err(Error::Usage)?;
    }
    let needs = FaultNeeds {
        rates_of_people: setup.plan.rates_of_people,
        ..faults.needs()
    };
    let wanted = [faults.settings.as_slice(), &setup.plan.settings].concat();
    if !wanted.is_empty() && args.target.local.is_none() {
        return Err(Error::Usage(format!(
            "needs --local: the run requires nodes with the settings {}",
            wanted.join(", ")
        )));
    }
    let target = LoadTarget::open(&args.target, needs, &wanted).await?;
    let passed = load(args, line, &setup, &faults, &target).await;
    // Closed in any case: local nodes must not outlive the run. Their data stays after a failure.
    target.close(!matches!(passed, Ok(true))).await;
    passed
}

/// Collects the faults of the run: from the plan file, the command line and the seed.
fn faults(args: &RunArgs, setup: &Setup) -> Result<fault::FaultPlan, Error> {
    let mut plan = match &args.plan {
        Some(path) => fault::FaultPlan::read(path).map_err(Error::Usage)?,
        None => fault::FaultPlan::default(),
    };
    plan = plan.with(setup.faults.clone());
    if let Some(random) = args.random {
        plan = plan.with(random.draw(setup.duration, setup.seed));
    }
    Ok(plan)
}

async fn load(
    args: &RunArgs,
    line: Vec<String>,
    setup: &Setup,
    plan_of_faults: &fault::FaultPlan,
    target: &LoadTarget,
) -> Result<bool, Error> {
    let plan = setup.plan.clone();
    let dialer = Connector::new(args.connections.sources(), args.connections.connect_rate, 64);
    let common = shared(
        run_number(),
        RunClock::start(),
        target.nodes.clone(),
        &args.target.token,
        setup.size,
        plan.clients,
        dialer,
    )?;
    common.budget.set(args.load.messages.unwrap_or(u64::MAX));
    common.context.borrow_mut().oracle.retain(target.retention());
    common
        .reads
        .set(args.load.reads(!plan_of_faults.faults.is_empty()));
    // Before the first client, for the memory that the clients add.
    let (clients, empty, own_empty) = (plan.clients, target.usage().await, Usage::of_self());
    let mut progress = ProgressBars::new();
    let step = progress.step("set-up");
    step.say(format!(
        "{clients} clients, {} conversations",
        plan.conversations.len()
    ));
    let patience = set_up(args, clients);
    let source = match args.team.coordinator {
        None if args.target.wire == Wire::Mqtt => {
            LoadSource::Mqtt(MqttPool::assemble(common.clone(), plan, setup.seed, patience).await?)
        }
        None => LoadSource::Here(ClientPool::assemble(common.clone(), plan, setup.seed, patience).await?),
        Some(_) => {
            LoadSource::Team(Coordinator::assemble(&args.team, line, common.clone(), &plan, patience).await?)
        }
    };
    if let Some(hostile) = setup.plan.hostile {
        step.say(format!("{} conversations of one user", hostile.conversations));
        let lister = schedule::lister(&common);
        many::fill(&common, &lister, hostile.conversations, hostile.creators).await?;
    }
    step.done();
    let clock = common.context.borrow().clock;

    // After the setup, so that the cost of the load alone is measured.
    let (before, own_before) = (target.usage().await, Usage::of_self());
    let mut began = clock.now();
    let mut sampler = Sampler::default();
    let mut disk = SyncProbe::new();
    let mut replicas = Replicas::default();
    // Only Rookery nodes have replicas; nodes that publish metrics publish digests as well.
    let compares = args.target.wire == Wire::Rookery;
    let probed = target.data().filter(|_| args.probe_disk);
    let (mut found, mut many) = (None, Vec::new());
    source.behave();
    let (faults, ended) = if let (LoadSource::Here(pool), true, Some((first, arrival))) =
        (&source, args.find.find_max, setup.first_rate())
    {
        let search = args.find.search(first, arrival, pool, &common, &progress);
        found = Some(tokio::select! {
            found = search => found,
            never = sampler.run(target, clock) => match never {},
        });
        (Vec::new(), clock.now())
    } else if let Some(sizes) = &setup.plan.sizes {
        let step = progress.step("measuring");
        let measured = many::measure(sizes, &common, target, &step);
        many = tokio::select! {
            measured = measured => measured?,
            never = sampler.run(target, clock) => match never {},
        };
        step.done();
        (Vec::new(), clock.now())
    } else {
        began = source.begin(setup).await;
        progress.load(setup.duration);
        let staged = async {
            match &source {
                LoadSource::Here(pool) => schedule::run(setup, pool, &common, began).await,
                LoadSource::Team(_) => schedule::later_parts(setup, &common, began).await,
                LoadSource::Mqtt(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            driven = drive(setup, plan_of_faults, target, source.first(), &common, &progress, began) => driven,
            never = sampler.run(target, clock) => match never {},
            never = disk.run(probed) => match never {},
            never = replicas.watch(&common, &target.nodes), if compares => match never {},
            never = staged => match never {},
            // The caller stops the local nodes even after this early return.
            error = source.failed() => return Err(error),
        }
    };
    // Behaviors would drop connections and prevent the checks below.
    source.stop_behaviors();
    if !faults.is_empty() && common.context.borrow().oracle.counts().violations == 0 {
        let step = progress.step("liveness");
        source.probe_all(&common, args.load.quiesce).await?;
        step.done();
    }
    source.stop_sending().await;
    // Before the checks, which would count as use of the load.
    let (after, own_after) = (target.usage().await, Usage::of_self());

    let step = progress.step("settling");
    source.quiesce(args.load.quiesce).await?;
    step.done();
    // After a violation the remaining checks are skipped: it decides the run, and they would fail for its reason.
    if common.context.borrow().oracle.counts().violations == 0 {
        let step = progress.step("inboxes");
        // At least one minute, because reading every list is slow even if the run permits only a short wait.
        source
            .inboxes(args.load.quiesce.max(Duration::from_secs(60)))
            .await?;
        step.done();
    }
    if !args.no_readback && common.context.borrow().oracle.counts().violations == 0 {
        let step = progress.step("reading back");
        source
            .reread(args.load.quiesce.max(Duration::from_secs(60)))
            .await?;
        step.done();
    }
    if compares && common.context.borrow().oracle.counts().violations == 0 {
        let step = progress.step("replicas");
        let incomparable = replicas.finish(&common, &target.nodes, args.load.quiesce).await;
        step.done();
        if let Some(why) = incomparable {
            eprintln!("the replicas could not be compared: {why}");
        }
    }
    let used = own_after.since(own_before).unwrap_or_default();
    let harness = source.finish(used, own_empty.rss_kib).await?;
    let (samples, own) = sampler.finish();
    let usage = after
        .into_iter()
        .zip(before)
        .map(|(after, before)| after.since(before))
        .collect();
    let figures = RunMeasurements {
        began,
        ended,
        usage,
        empty,
        clients,
        harness,
        faults,
        samples,
        own,
        found,
        many,
        disk: disk.figures(),
    };
    let passed = conclude(args, setup, target, &mut common.context.borrow_mut(), figures);
    source.verdict(matches!(passed, Ok(true))).await;
    passed
}

/// Returns a random number for the run, so that runs against one cluster stay separate. It does not depend on the seed.
fn run_number() -> u32 {
    rand::rng().random()
}

/// Creates the shared values of a run in a single process.
pub(crate) fn common(
    target: &LoadTarget,
    token: &str,
    size: usize,
    clients: u32,
) -> Result<Rc<SharedRun>, Error> {
    let dialer = Connector::new(Vec::new(), None, 64);
    let nodes = target.nodes.clone();
    shared(
        run_number(),
        RunClock::start(),
        nodes,
        token,
        size,
        clients,
        dialer,
    )
}

/// Creates the shared values of this number of clients.
pub(crate) fn shared(
    run: u32,
    clock: RunClock,
    nodes: Vec<String>,
    token: &str,
    size: usize,
    clients: u32,
    dialer: Connector,
) -> Result<Rc<SharedRun>, Error> {
    Ok(Rc::new(SharedRun {
        context: Rc::new(RefCell::new(RunContext {
            clock,
            received: 0,
            payload: Payload::new(run, size),
            oracle: Oracle::new(),
            recorder: Recorder::new(),
            acks: FirstAcks::default(),
            recovery: Recovery::new(),
        })),
        nodes: RefCell::new(nodes),
        token: token.to_owned(),
        instance: format!("{run:x}"),
        reads: Cell::new(0.0),
        budget: Cell::new(u64::MAX),
        online: Cell::new(0),
        alarms: PreciseTimers::new(clock).map_err(Error::Timer)?,
        dialer,
        backoff_max: Duration::from_secs(2),
        // Large runs send rare heartbeats and have small buffers: both add up over thousands of clients.
        heartbeat: if clients > 500 { 30 * SECOND } else { 4 * SECOND },
        read_buffer: match clients {
            0..=500 => 65_536,
            501..=5000 => 4096,
            _ => 2048,
        },
    }))
}

/// Runs the load with its faults, and returns its end. It ends early after a violation.
async fn drive(
    setup: &Setup,
    plan: &fault::FaultPlan,
    target: &LoadTarget,
    first: &str,
    common: &SharedRun,
    progress: &ProgressBars,
    began: Nanos,
) -> (Vec<Injected>, Nanos) {
    let now = || common.context.borrow().clock.now();
    let (end, over) = watch::channel(false);
    let faults = async {
        let Some(local) = &target.local else {
            return Vec::new();
        };
        let injector = Injector {
            local,
            conversation: first,
            creator: setup
                .plan
                .conversations
                .first()
                .and_then(|planned| planned.members.first().copied())
                .unwrap_or_default(),
            common,
            progress,
            seed: setup.seed,
            over,
            taken: RefCell::default(),
        };
        injector.carry_out(plan, began).await
    };
    let start = Instant::now();
    // Returns `true` once the load is over: every message was sent, or a promise was broken.
    let look = async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let context = &mut *common.context.borrow_mut();
        let second = context.recorder.tick(context.clock.now());
        let counts = context.oracle.counts();
        progress.tick(start.elapsed(), common.online.get(), &second, counts.violations);
        counts.violations > 0 || common.budget.get() == 0
    };
    // With a gap the load lasts as long as the faults. Otherwise it lasts for its duration, and until the last fault is
    // healed.
    let load = async { while !look().await && (plan.gap.is_some() || start.elapsed() < setup.duration) {} };
    let (mut faults, mut load) = (std::pin::pin!(faults), std::pin::pin!(load));
    let done = tokio::select! {
        injected = &mut faults => {
            // The load lasts for its duration even if the faults end earlier.
            while start.elapsed() < setup.duration && !look().await {}
            (injected, now())
        }
        () = &mut load => {
            // Faults in progress are healed, and later ones skipped. The load continues meanwhile, unless everything
            // was sent.
            end.send_replace(true);
            let ended = now();
            let watch = async {
                loop {
                    look().await;
                }
            };
            let injected = tokio::select! {
                injected = &mut faults => injected,
                never = watch => never,
            };
            // With an exhausted budget the rates count until the last message, not until the healing.
            (injected, if common.budget.get() == 0 { ended } else { now() })
        }
    };
    progress.loaded();
    done
}
