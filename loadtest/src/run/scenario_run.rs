//! One run of a scenario: setup, load with faults, quiescence, read-back and verdict.

use std::time::Duration;

use super::checks::{check, faults};
use super::drive::drive;
use super::load_source::LoadSource;
use super::replicas::Replicas;
use super::verdict::{RunMeasurements, conclude};
use super::{Error, run_number};
use crate::args::RunArgs;
use crate::clock::RunClock;
use crate::cluster::LoadTarget;
use crate::distributed::Coordinator;
use crate::load::{
    ClientPool, Connector, MqttPool, SharedRun, fill, later_parts, lister, measure, run_schedule,
};
use crate::measure::{Sampler, SyncProbe, Usage};
use crate::progress::ProgressBars;
use crate::setup::{Setup, setup_timeout};
use crate::spec::{FaultNeeds, FaultPlan};

/// Runs a scenario. Returns `true` if every promise was kept. `line` is the command line, which workers get.
pub(crate) async fn run(args: &RunArgs, line: Vec<String>) -> Result<bool, Error> {
    let setup = Setup::new(args).map_err(Error::Usage)?;
    let faults = faults(args, &setup)?;
    check(args, &setup, &faults)?;
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
    let of_wires = setup.plan.wires.iter().flat_map(|wire| wire.settings());
    let of_wires = of_wires.map(|(key, value)| format!("{key}={value}"));
    let wanted: Vec<String> = wanted.into_iter().chain(of_wires).collect();
    let target = LoadTarget::open(&args.target, needs, &wanted).await?;
    let passed = load(args, line, &setup, &faults, &target).await;
    // Closed in any case: local nodes must not outlive the run. Their data stays after a failure.
    target.close(!matches!(passed, Ok(true))).await;
    passed
}

async fn load(
    args: &RunArgs,
    line: Vec<String>,
    setup: &Setup,
    plan_of_faults: &FaultPlan,
    target: &LoadTarget,
) -> Result<bool, Error> {
    let plan = setup.plan.clone();
    let dialer = Connector::new(args.connections.sources(), args.connections.connect_rate, 64);
    let common = SharedRun::new(
        run_number(),
        RunClock::start(),
        target.nodes.clone(),
        &args.target.token,
        setup.size,
        plan.clients,
        dialer,
    )
    .map_err(Error::Timer)?;
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
    let patience = setup_timeout(args, clients);
    let source = match args.team.coordinator {
        None if args.target.broker => {
            LoadSource::Mqtt(MqttPool::assemble(common.clone(), plan, setup.seed, patience).await?)
        }
        None => LoadSource::Here(ClientPool::assemble(common.clone(), plan, setup.seed, patience).await?),
        Some(_) => {
            LoadSource::Team(Coordinator::assemble(&args.team, line, common.clone(), &plan, patience).await?)
        }
    };
    if let Some(hostile) = setup.plan.hostile {
        step.say(format!("{} conversations of one user", hostile.conversations));
        let lister = lister(&common);
        fill(&common, &lister, hostile.conversations, hostile.creators).await?;
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
    let compares = !args.target.broker;
    let probed = target.data().filter(|_| args.probe_disk);
    let (mut found, mut many) = (None, Vec::new());
    source.behave();
    let (faults, ended) = if let (LoadSource::Here(pool), true, Some((first, arrival))) =
        (&source, args.find.find_max, setup.first_rate())
    {
        let search = args.find.search(first, arrival, pool, &common, &progress);
        found = Some(tokio::select! {
            found = search => found,
            never = sampler.run(async || target.readings().await, clock) => match never {},
        });
        (Vec::new(), clock.now())
    } else if let Some(sizes) = &setup.plan.sizes {
        let step = progress.step("measuring");
        let measured = measure(sizes, &common, target, &step);
        many = tokio::select! {
            measured = measured => measured?,
            never = sampler.run(async || target.readings().await, clock) => match never {},
        };
        step.done();
        (Vec::new(), clock.now())
    } else {
        began = source.begin(setup).await;
        progress.load(setup.duration);
        let staged = async {
            match &source {
                LoadSource::Here(pool) => run_schedule(setup, pool, &common, began).await,
                LoadSource::Team(_) => later_parts(setup, &common, began).await,
                LoadSource::Mqtt(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            driven = drive(setup, plan_of_faults, target, source.first(), &common, &progress, began) => driven,
            never = sampler.run(async || target.readings().await, clock) => match never {},
            never = disk.run(probed) => match never {},
            never = replicas.watch(&common, &target.admin_nodes), if compares => match never {},
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
        let incomparable = replicas
            .finish(&common, &target.admin_nodes, args.load.quiesce)
            .await;
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
