//! One run of a scenario: set up, load, faults, settle, read back, verdict.

mod verdict;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::watch;

use crate::cli::{Run, Wire};
use crate::client::{Common, World};
use crate::clock::{Clock, Nanos, SECOND};
use crate::crew::{self, Crew};
use crate::crowd::Crowd;
use crate::dial::{Dialer, permitted};
use crate::failover::FirstAcks;
use crate::fault::{self, Injected, Injector, Needs};
use crate::local;
use crate::many;
use crate::measure::fdatasync::Probe;
use crate::measure::latency::Recorder;
use crate::measure::nodes::Usage;
use crate::measure::recovery::Recovery;
use crate::measure::series::Sampler;
use crate::mqtt::{self, Fleet};
use crate::oracle::Oracle;
use crate::pacing::Alarms;
use crate::payload::Payload;
use crate::progress::Progress;
use crate::replicas::Replicas;
use crate::report::{book, compare};
use crate::scenario::Setup;
use crate::session;
use crate::stage;
use crate::target::Target;
use crate::team::{self, Team};

use self::verdict::{Figures, conclude};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Local(#[from] local::Error),
    #[error(transparent)]
    Crew(#[from] crew::Error),
    #[error(transparent)]
    Mqtt(#[from] mqtt::Error),
    #[error(transparent)]
    Team(#[from] team::Error),
    #[error(transparent)]
    Compare(#[from] compare::Error),
    #[error(transparent)]
    Book(#[from] book::Error),
    #[error("the run has shown nothing: {0}")]
    Nothing(String),
    #[error("a measured session was {0}")]
    Session(#[from] session::Error),
    #[error("no timer: {0}")]
    Timer(std::io::Error),
    #[error("the report could not be written: {0}")]
    Report(#[from] std::io::Error),
}

/// How long connecting and setting up may take.
pub(crate) const SET_UP: Duration = Duration::from_secs(120);

/// The phase in which the load begins.
pub(crate) const STEADY: &str = "steady";

/// How long connecting and setting up so many clients may take.
pub(crate) fn set_up(args: &Run, clients: u32) -> Duration {
    let paced = args
        .connections
        .connect_rate
        .map_or(0.0, |rate| f64::from(clients) / rate.max(1e-3));
    SET_UP + Duration::from_secs_f64(paced) + Duration::from_millis(10) * clients
}

/// Runs it. `true` if every promise was kept. `line` is the command line, for workers.
pub(crate) async fn run(args: &Run, line: Vec<String>) -> Result<bool, Error> {
    let setup = Setup::new(args).map_err(Error::Usage)?;
    if args.find.find_max && setup.first_rate().is_none() {
        return Err(Error::Usage(
            "--find-max needs an open loop of a scenario that sends".to_owned(),
        ));
    }
    if args.team.coordinator.is_some() {
        setup.is_for_workers().map_err(Error::Usage)?;
    }
    if args.target.wire == Wire::Mqtt && !setup.is_plain() {
        return Err(Error::Usage(
            "--wire mqtt is for pairs, groups, room and idle at one pace: the rest is not in MQTT".to_owned(),
        ));
    }
    if args.find.find_max && (args.team.coordinator.is_some() || args.target.wire == Wire::Mqtt) {
        return Err(Error::Usage(
            "--find-max is for one process that speaks Rookery's WebSocket".to_owned(),
        ));
    }
    let faults = faults(args, &setup)?;
    if !faults.faults.is_empty() && args.target.local.is_none() {
        return Err(Error::Usage(
            "faults need --local: only processes of our own are killed".to_owned(),
        ));
    }
    if args.target.wire == Wire::Mqtt && (args.target.local.is_some() || args.team.coordinator.is_some()) {
        return Err(Error::Usage(
            "--wire mqtt takes brokers that run already, and no workers".to_owned(),
        ));
    }
    if args.team.coordinator.is_none() {
        permitted(u64::from(setup.plan.clients)).map_err(Error::Usage)?;
    }
    let needs = Needs {
        rates_of_people: setup.plan.rates_of_people,
        ..faults.needs()
    };
    let wanted = [faults.settings.as_slice(), &setup.plan.settings].concat();
    if !wanted.is_empty() && args.target.local.is_none() {
        return Err(Error::Usage(format!(
            "needs --local: it is about nodes with the settings {}",
            wanted.join(", ")
        )));
    }
    let target = Target::open(&args.target, needs, &wanted).await?;
    let kept = load(args, line, &setup, &faults, &target).await;
    target.close(!matches!(kept, Ok(true))).await;
    kept
}

/// The faults of the run, from wherever they were given.
fn faults(args: &Run, setup: &Setup) -> Result<fault::Plan, Error> {
    let mut plan = match &args.plan {
        Some(path) => fault::Plan::read(path).map_err(Error::Usage)?,
        None => fault::Plan::default(),
    };
    plan = plan.with(setup.faults.clone());
    if let Some(random) = args.random {
        plan = plan.with(random.draw(setup.duration, setup.seed));
    }
    Ok(plan)
}

async fn load(
    args: &Run,
    line: Vec<String>,
    setup: &Setup,
    plan_of_faults: &fault::Plan,
    target: &Target,
) -> Result<bool, Error> {
    let plan = setup.plan.clone();
    let dialer = Dialer::new(args.connections.sources(), args.connections.connect_rate, 64);
    let common = shared(
        run_number(),
        Clock::start(),
        target.nodes.clone(),
        &args.target.token,
        setup.size,
        plan.clients,
        dialer,
    )?;
    common.budget.set(args.load.messages.unwrap_or(u64::MAX));
    common.world.borrow_mut().oracle.retain(target.retention());
    common
        .reads
        .set(args.load.reads(!plan_of_faults.faults.is_empty()));
    let (clients, empty, own_empty) = (plan.clients, target.usage().await, Usage::of_self());
    let mut progress = Progress::new();
    let step = progress.step("set-up");
    step.say(format!(
        "{clients} clients, {} conversations",
        plan.conversations.len()
    ));
    let patience = set_up(args, clients);
    let crowd = match args.team.coordinator {
        None if args.target.wire == Wire::Mqtt => {
            Crowd::Mqtt(Fleet::assemble(common.clone(), plan, setup.seed, patience).await?)
        }
        None => Crowd::Here(Crew::assemble(common.clone(), plan, setup.seed, patience).await?),
        Some(_) => Crowd::Team(Team::assemble(&args.team, line, common.clone(), &plan, patience).await?),
    };
    if let Some(hostile) = setup.plan.hostile {
        step.say(format!("{} conversations of one user", hostile.conversations));
        let lister = stage::lister(&common);
        many::fill(&common, &lister, hostile.conversations, hostile.creators).await?;
    }
    step.done();
    let clock = common.world.borrow().clock;

    let (before, own_before) = (target.usage().await, Usage::of_self());
    let mut began = clock.now();
    let mut sampler = Sampler::default();
    let mut disk = Probe::new();
    let mut replicas = Replicas::default();
    // A broker has none; where the nodes are asked for figures, they are asked for digests.
    let compares = args.target.wire == Wire::Rookery;
    let probed = target.data().filter(|_| args.probe_disk);
    let (mut found, mut many) = (None, Vec::new());
    crowd.behave();
    let (faults, ended) = if let (Crowd::Here(crew), true, Some((first, arrival))) =
        (&crowd, args.find.find_max, setup.first_rate())
    {
        let search = args.find.search(first, arrival, crew, &common, &progress);
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
        began = crowd.begin(setup).await;
        progress.load(setup.duration);
        let staged = async {
            match &crowd {
                Crowd::Here(crew) => stage::run(setup, crew, &common, began).await,
                Crowd::Team(_) => stage::later_parts(setup, &common, began).await,
                Crowd::Mqtt(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            driven = drive(setup, plan_of_faults, target, crowd.first(), &common, &progress, began) => driven,
            never = sampler.run(target, clock) => match never {},
            never = disk.run(probed) => match never {},
            never = replicas.watch(&common, &target.nodes), if compares => match never {},
            never = staged => match never {},
            error = crowd.failed() => return Err(error),
        }
    };
    crowd.calm();
    if !faults.is_empty() && common.world.borrow().oracle.counts().violations == 0 {
        let step = progress.step("liveness");
        crowd.everywhere(&common, args.load.settle).await?;
        step.done();
    }
    crowd.silence().await;
    let (after, own_after) = (target.usage().await, Usage::of_self());

    let step = progress.step("settling");
    crowd.settle(args.load.settle).await?;
    step.done();
    if common.world.borrow().oracle.counts().violations == 0 {
        let step = progress.step("inboxes");
        crowd
            .inboxes(args.load.settle.max(Duration::from_secs(60)))
            .await?;
        step.done();
    }
    if !args.no_readback && common.world.borrow().oracle.counts().violations == 0 {
        let step = progress.step("reading back");
        crowd
            .reread(args.load.settle.max(Duration::from_secs(60)))
            .await?;
        step.done();
    }
    if compares && common.world.borrow().oracle.counts().violations == 0 {
        let step = progress.step("replicas");
        let incomparable = replicas.finish(&common, &target.nodes, args.load.settle).await;
        step.done();
        if let Some(why) = incomparable {
            eprintln!("the replicas were not compared: {why}");
        }
    }
    let used = own_after.since(own_before).unwrap_or_default();
    let harness = crowd.finish(used, own_empty.rss_kib).await?;
    let (samples, own) = sampler.finish();
    let usage = after
        .into_iter()
        .zip(before)
        .map(|(after, before)| after.since(before))
        .collect();
    let figures = Figures {
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
    let kept = conclude(args, setup, target, &mut common.world.borrow_mut(), figures);
    crowd.verdict(matches!(kept, Ok(true))).await;
    kept
}

/// Another number for each run, so that runs against one cluster don't meet: not part of what the seed reproduces.
fn run_number() -> u32 {
    rand::rng().random()
}

/// What all clients of a run share that is made by one process.
pub(crate) fn common(target: &Target, token: &str, size: usize, clients: u32) -> Result<Rc<Common>, Error> {
    let dialer = Dialer::new(Vec::new(), None, 64);
    let nodes = target.nodes.clone();
    shared(run_number(), Clock::start(), nodes, token, size, clients, dialer)
}

/// What so many clients of a run share in one process.
pub(crate) fn shared(
    run: u32,
    clock: Clock,
    nodes: Vec<String>,
    token: &str,
    size: usize,
    clients: u32,
    dialer: Dialer,
) -> Result<Rc<Common>, Error> {
    Ok(Rc::new(Common {
        world: Rc::new(RefCell::new(World {
            clock,
            heard: 0,
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
        alarms: Alarms::new(clock).map_err(Error::Timer)?,
        dialer,
        backoff_max: Duration::from_secs(2),
        heartbeat: if clients > 500 { 30 * SECOND } else { 4 * SECOND },
        read_buffer: match clients {
            0..=500 => 65_536,
            501..=5000 => 4096,
            _ => 2048,
        },
    }))
}

/// Keeps the load going for its time, with its faults, and tells when it ended. Ends early on a violation.
async fn drive(
    setup: &Setup,
    plan: &fault::Plan,
    target: &Target,
    first: &str,
    common: &Common,
    progress: &Progress,
    began: Nanos,
) -> (Vec<Injected>, Nanos) {
    let now = || common.world.borrow().clock.now();
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
    // Tells whether there is nothing left to do: all was sent, or a promise was broken.
    let look = async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let world = &mut *common.world.borrow_mut();
        let second = world.recorder.tick(world.clock.now());
        let counts = world.oracle.counts();
        progress.tick(start.elapsed(), common.online.get(), &second, counts.violations);
        counts.violations > 0 || common.budget.get() == 0
    };
    // With a gap, as long as the faults take; otherwise as long as it was told to, and until the last one has healed.
    let load = async { while !look().await && (plan.gap.is_some() || start.elapsed() < setup.duration) {} };
    let (mut faults, mut load) = (std::pin::pin!(faults), std::pin::pin!(load));
    let done = tokio::select! {
        injected = &mut faults => {
            while start.elapsed() < setup.duration && !look().await {}
            (injected, now())
        }
        () = &mut load => {
            // Faults that have begun are healed, the others skipped. The load goes on meanwhile, unless all was sent.
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
            (injected, if common.budget.get() == 0 { ended } else { now() })
        }
    };
    progress.loaded();
    done
}
