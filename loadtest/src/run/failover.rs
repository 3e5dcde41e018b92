//! Failover measurement: the time for which a shard acknowledges nothing after its owner is killed, stopped or drained.
//!
//! One probe per shard sends a few messages per second through a node without a fault. A shard's time runs from the
//! fault to the first ack of a message that was due after the fault. The oracle checks all events throughout.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use protocol::ConversationKind;

use super::{Error, run_number};
use crate::args;
use crate::clock::{Nanos, RunClock};
use crate::cluster::{LoadTarget, LocalProcesses, cluster_view, shard_owner};
use crate::load::{ClientPool, Connector, HarnessCommand, SharedRun};
use crate::measure::{FailoverReport, FailoverRound, Percentiles, RunContext, histogram};
use crate::network_proxy::{FaultGuard, NetworkFault};
use crate::oracle::ConvIx;
use crate::pacing::{ArrivalProcess, LoadPace};
use crate::setup::SETUP_TIMEOUT;
use crate::spec::{Fault, FaultKind, FaultNeeds, FaultTarget, PlannedConversation, ScenarioPlan};

/// Number of conversations per shard. Conversations are hashed to shards, so one per shard would leave shards without
/// any.
const CONVERSATIONS_PER_SHARD: u32 = 8;
/// Longest wait for the first ack of a shard. A shard without one by then counts as silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the measurement. Returns `true` if every shard recovered and the oracle found no violation.
pub(crate) async fn failover(args: &args::FailoverArgs) -> Result<bool, Error> {
    if args.target.local.is_none() {
        return Err(Error::Usage(
            "failover needs --local: the harness injects faults only into its own processes".to_owned(),
        ));
    }
    let needs = FaultNeeds {
        proxies: args.how.is_of_links(),
        ..FaultNeeds::default()
    };
    let target = LoadTarget::open(&args.target, needs, &[]).await?;
    let common = SharedRun::new(
        run_number(),
        RunClock::start(),
        target.nodes.clone(),
        &args.target.token,
        128,
        0,
        Connector::new(Vec::new(), None, 64),
    )
    .map_err(Error::Timer)?;
    // The recorder closes a second only when it is called, also while a fault stops all acks.
    let ticking = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let context = &mut *common.context.borrow_mut();
            context.recorder.tick(context.clock.now());
        }
    };
    let passed = tokio::select! {
        passed = measure(args, &target, &common) => passed,
        never = ticking => never,
    };
    // After a failure the files of the nodes are preserved for the investigation.
    target.close(!matches!(passed, Ok(true))).await;
    passed
}

async fn measure(
    args: &args::FailoverArgs,
    target: &LoadTarget,
    common: &Rc<SharedRun>,
) -> Result<bool, Error> {
    let Some(local) = &target.local else {
        return Ok(false);
    };
    // 32 is the default number of shards. It is a fallback only: `one_per_shard` asks for each conversation's real
    // shard.
    let shards = cluster_view(&target.admin_nodes[0]).await.map_or(32, |view| {
        view.shards
            .iter()
            .filter(|shard| shard.shard.is_some())
            .count()
            .max(1)
    }) as u32;
    let clients = shards * CONVERSATIONS_PER_SHARD;
    // One member each: no deliveries to others, so the ack alone is measured.
    let alone = |client| PlannedConversation {
        kind: ConversationKind::Group,
        members: vec![client],
        speakers: 1,
        absent: 0,
    };
    let plan = ScenarioPlan {
        clients,
        conversations: (0..clients).map(alone).collect(),
        ..ScenarioPlan::default()
    };
    let pool = ClientPool::assemble(common.clone(), plan, args.seed, SETUP_TIMEOUT).await?;
    let probes = one_per_shard(&pool, target).await;
    eprintln!("{} of {shards} shards have a probe", probes.len());

    let pace = LoadPace::Open {
        rate: args.probes.into(),
        arrival: ArrivalProcess::Constant,
    };
    for (client, _) in probes.values() {
        pool.handles()[*client].send(HarnessCommand::Pace {
            pace: pace.clone(),
            share: 1.0,
        });
    }
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        // Shards still move right after a round, and `busiest` would select by a transient distribution.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let Some((node, owned)) = busiest(target).await else {
            break;
        };
        let round = round(args, local, &pool, common, target, &probes, node, &owned).await?;
        let mut sorted = round.affected_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        eprintln!(
            "round {}: node {node}, {} shards, p50 {middle:.0} ms, max {:.0} ms, {} without a new ack",
            number + 1,
            sorted.len(),
            sorted.last().copied().unwrap_or(0.0),
            round.silent
        );
        rounds.push(round);
        // A violation decides the result. Further faults would only bury its history.
        if common.context.borrow().oracle.counts().violations > 0 {
            break;
        }
    }
    pool.pace(&LoadPace::Silent);
    pool.quiesce(PATIENCE).await;
    if common.context.borrow().oracle.counts().violations == 0 {
        pool.reread(Duration::from_secs(60)).await;
    }
    let context = &mut *common.context.borrow_mut();
    context.oracle.finish();
    pool.quit();
    finish(args, target, rounds, context)
}

/// Selects one conversation for each shard. The result maps a shard to a client and its conversation.
async fn one_per_shard(pool: &ClientPool, target: &LoadTarget) -> HashMap<u16, (usize, ConvIx)> {
    let mut probes = HashMap::new();
    for (client, (name, conv)) in pool.conversations().iter().enumerate() {
        let view = shard_owner(&target.admin_nodes[0], name.as_str()).await;
        if let Some(shard) = view.and_then(|view| view.shard) {
            probes.entry(shard).or_insert((client, *conv));
        }
    }
    probes
}

/// Returns the node that owns the most shards, and those shards.
async fn busiest(target: &LoadTarget) -> Option<(u64, Vec<u16>)> {
    let view = cluster_view(&target.admin_nodes[0]).await?;
    let mut owned: HashMap<u64, Vec<u16>> = HashMap::new();
    for shard in view.shards {
        if let (Some(owner), Some(shard)) = (shard.owner, shard.shard) {
            owned.entry(owner).or_default().push(shard);
        }
    }
    owned
        .into_iter()
        .max_by_key(|(node, shards)| (shards.len(), *node))
}

#[expect(
    clippy::too_many_arguments,
    reason = "one measurement needs all of them, and nothing else calls it"
)]
async fn round(
    args: &args::FailoverArgs,
    local: &LocalProcesses,
    pool: &ClientPool,
    common: &Rc<SharedRun>,
    target: &LoadTarget,
    probes: &HashMap<u16, (usize, ConvIx)>,
    node: u64,
    owned: &[u16],
) -> Result<FailoverRound, Error> {
    // The clients leave the node first. Otherwise the measured time would include their reconnection.
    let spared = local
        .nodes()
        .iter()
        .filter(|other| other.id != node)
        .map(|other| other.http.clone())
        .collect();
    common.nodes.replace(spared);
    pool.handles()
        .iter()
        .for_each(|handle| handle.send(HarnessCommand::Move));
    // `online` drops only after the clients have processed the command; the pause avoids reading the old value.
    tokio::time::sleep(Duration::from_millis(300)).await;
    while common.online.get() < pool.handles().len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The sessions that just moved still subscribe. Their work would otherwise count as part of the fault.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let fault = Fault {
        how: args.how,
        target: FaultTarget::Node(node),
        at: Duration::ZERO,
        hold: args.hold,
    };
    // Before the fault begins: an ack of a message due in between must not be lost.
    let began = common.context.borrow().clock.now();
    common.context.borrow_mut().acks.watch(began);
    let cut = begin(&fault, local, node)?;
    let deadline = began + PATIENCE.as_nanos() as Nanos;
    let first = |conv: &ConvIx| common.context.borrow().acks.first(*conv);
    // The fault lasts for `hold` even if all shards have recovered earlier, as the settings promise.
    let held = began + args.hold.as_nanos() as Nanos;
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = common.context.borrow().clock.now();
        let all = probes.values().all(|(_, conv)| first(conv).is_some());
        if (all && now >= held) || now > deadline {
            break;
        }
    }
    let mut round = FailoverRound {
        node,
        from_s: began as f64 / 1e9,
        until_s: 0.0,
        affected_ms: Vec::new(),
        unaffected_ms: Vec::new(),
        silent: 0,
        problem: None,
    };
    for (shard, (_, conv)) in probes {
        let ms = first(conv).map(|at| (at - began) as f64 / 1e6);
        match (ms, owned.contains(shard)) {
            (Some(ms), true) => round.affected_ms.push(ms),
            (Some(ms), false) => round.unaffected_ms.push(ms),
            (None, _) => round.silent += 1,
        }
    }
    let healed = match cut {
        None => fault.heal(local, &[node]).await,
        Some(cut) => {
            // A cut without a connection proves nothing about failover, so the run fails.
            if cut.touched() == 0 {
                round.problem = Some("the cut affected no traffic".to_owned());
            }
            drop(cut);
            local.ready(node).await
        }
    };
    if let Err(error) = healed {
        eprintln!("{error}");
        round.problem = Some(error.to_string());
    }
    round.until_s = common.context.borrow().clock.now() as f64 / 1e9;
    common.nodes.replace(target.nodes.clone());
    Ok(round)
}

/// Starts the fault at the node: at its process, or at its connections to the other nodes.
fn begin(fault: &Fault, local: &LocalProcesses, node: u64) -> Result<Option<FaultGuard>, Error> {
    if fault.how != FaultKind::Cut {
        fault.begin(local, &[node])?;
        return Ok(None);
    }
    let links = local.links().ok_or_else(|| {
        Error::Usage("the nodes are not connected through the network proxy of the harness".to_owned())
    })?;
    let all: Vec<u64> = local.nodes().iter().map(|node| node.id).collect();
    Ok(Some(links.install(
        fault.how.ways(false, &[node], &all),
        NetworkFault::Cut,
    )))
}

fn finish(
    args: &args::FailoverArgs,
    target: &LoadTarget,
    rounds: Vec<FailoverRound>,
    context: &mut RunContext,
) -> Result<bool, Error> {
    let percentiles = |of: fn(&FailoverRound) -> &Vec<f64>| {
        let mut figures = histogram();
        rounds
            .iter()
            .flat_map(of)
            .for_each(|ms| figures.saturating_record((ms * 1000.0) as u64));
        Percentiles::of(&figures)
    };
    let how = args.how.to_string();
    // Maximum over all phases: the drain promises a bound for every message, in any phase.
    let longest_us = context
        .recorder
        .phases()
        .iter()
        .map(|phase| phase.ack.max())
        .max()
        .unwrap_or(0);
    let report = FailoverReport {
        schema: 1,
        how: how.clone(),
        settings: target.settings.clone(),
        affected: percentiles(|round| &round.affected_ms),
        unaffected: percentiles(|round| &round.unaffected_ms),
        rounds,
        longest_us,
        acked: context.oracle.counts().acked,
        violations: context.oracle.counts().violations,
        seconds: context.recorder.seconds().to_vec(),
    };
    let line = |name: &str, figures: &Percentiles| {
        let ms = |us: u64| us as f64 / 1000.0;
        println!(
            "{name:<28} {:>6} shards  p50 {:>8.1} ms  p90 {:>8.1} ms  p99 {:>8.1} ms  max {:>8.1} ms",
            figures.count,
            ms(figures.p50_us),
            ms(figures.p90_us),
            ms(figures.p99_us),
            ms(figures.max_us)
        );
    };
    line(&format!("{how} to first ack, affected"), &report.affected);
    line("unaffected", &report.unaffected);
    println!(
        "longest time from send to ack: {:.1} ms, of {} messages",
        report.longest_us as f64 / 1000.0,
        report.acked
    );
    for violation in context.oracle.violations() {
        println!(
            "VIOLATION {:?} at s={}: {}",
            violation.kind, violation.s, violation.detail
        );
    }
    let silent: usize = report.rounds.iter().map(|round| round.silent).sum();
    println!(
        "{silent} shards without a new ack, {} violations",
        report.violations
    );
    if let Some(folder) = &args.report {
        std::fs::create_dir_all(folder)?;
        std::fs::write(
            folder.join("failover.json"),
            serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?,
        )?;
    }
    let problems = report
        .rounds
        .iter()
        .filter(|round| round.problem.is_some())
        .count();
    Ok(silent == 0 && report.violations == 0 && problems == 0)
}
