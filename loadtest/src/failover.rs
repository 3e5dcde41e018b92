//! How long a shard acks nothing when its owner is killed, stopped or drained. One probe per shard sends a few
//! messages a second through a node that is not hit; the time of a shard is from the fault to the first ack of
//! a message that was sent after it. The oracle judges all along.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli;
use crate::client::{Command, Common};
use crate::clock::Nanos;
use crate::crew::Crew;
use crate::fault::{self, Fault, How, Needs, Whom};
use crate::links::{Effect, Installed};
use crate::local::Local;
use crate::measure::latency::{Percentiles, Second, histogram};
use crate::oracle::ConvIx;
use crate::pacing::{Arrival, Pace};
use crate::run::{Error, SET_UP, common};
use crate::scenario::{Conversation, Plan};
use crate::target::Target;

/// `failover.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    schema: u32,
    pub(crate) how: String,
    settings: Vec<String>,
    pub(crate) rounds: Vec<Round>,
    /// Fault to first new ack, over all shards of all rounds that lost their owner.
    pub(crate) affected: Percentiles,
    /// The same for the shards whose owner was not hit.
    pub(crate) unaffected: Percentiles,
    /// The longest that any message waited for its ack, and how many there were.
    pub(crate) longest_us: u64,
    pub(crate) acked: u64,
    pub(crate) violations: u64,
    /// One line per second.
    pub(crate) seconds: Vec<Second>,
}

/// One fault.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) node: u64,
    /// Seconds of the run: when the fault began, and when the node was back.
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
    /// Milliseconds per shard whose owner was hit.
    pub(crate) affected_ms: Vec<f64>,
    unaffected_ms: Vec<f64>,
    /// Shards that acked nothing within the round.
    pub(crate) silent: usize,
    /// What went wrong with the fault itself.
    problem: Option<String>,
}

/// Several conversations are made per shard, so that by chance every shard gets one.
const CONVERSATIONS_PER_SHARD: u32 = 8;
/// How long to wait for the first ack of a shard before it counts as silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures it. `true` if every shard came back and every promise was kept.
pub(crate) async fn failover(args: &cli::Failover) -> Result<bool, Error> {
    if args.target.local.is_none() {
        return Err(Error::Usage(
            "failover needs --local: only processes of our own are killed".to_owned(),
        ));
    }
    let needs = Needs {
        doors: args.how.is_of_links(),
        ..Needs::default()
    };
    let target = Target::open(&args.target, needs, &[]).await?;
    let common = common(&target, &args.target.token, 128, 0)?;
    let ticking = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let world = &mut *common.world.borrow_mut();
            world.recorder.tick(world.clock.now());
        }
    };
    let kept = tokio::select! {
        kept = measure(args, &target, &common) => kept,
        never = ticking => never,
    };
    target.close(!matches!(kept, Ok(true))).await;
    kept
}

async fn measure(args: &cli::Failover, target: &Target, common: &Rc<Common>) -> Result<bool, Error> {
    let Some(local) = &target.local else {
        return Ok(false);
    };
    let shards = fault::cluster(&target.nodes[0]).await.map_or(32, |view| {
        view.shards
            .iter()
            .filter(|shard| shard.shard.is_some())
            .count()
            .max(1)
    }) as u32;
    let clients = shards * CONVERSATIONS_PER_SHARD;
    let alone = |client| Conversation {
        kind: "group",
        members: vec![client],
        speakers: 1,
        absent: 0,
    };
    let plan = Plan {
        clients,
        conversations: (0..clients).map(alone).collect(),
        ..Plan::default()
    };
    let crew = Crew::assemble(common.clone(), plan, args.seed, SET_UP).await?;
    let probes = one_per_shard(&crew, target).await;
    eprintln!("{} of {shards} shards have a probe", probes.len());

    let pace = Pace::Open {
        rate: args.probes.into(),
        arrival: Arrival::Constant,
    };
    for (client, _) in probes.values() {
        crew.handles()[*client].tell(Command::Pace {
            pace: pace.clone(),
            share: 1.0,
        });
    }
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let Some((node, owned)) = busiest(target).await else {
            break;
        };
        let round = round(args, local, &crew, common, target, &probes, node, &owned).await?;
        let mut sorted = round.affected_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        eprintln!(
            "round {}: node {node}, {} shards, p50 {middle:.0} ms, max {:.0} ms, {} silent",
            number + 1,
            sorted.len(),
            sorted.last().copied().unwrap_or(0.0),
            round.silent
        );
        rounds.push(round);
        if common.world.borrow().oracle.counts().violations > 0 {
            break;
        }
    }
    crew.pace(&Pace::Silent);
    crew.settle(PATIENCE).await;
    if common.world.borrow().oracle.counts().violations == 0 {
        crew.reread(Duration::from_secs(60)).await;
    }
    let world = &mut *common.world.borrow_mut();
    world.oracle.finish();
    crew.quit();
    finish(args, target, rounds, world)
}

/// Picks one conversation for each shard: shard → (client, conversation).
async fn one_per_shard(crew: &Crew, target: &Target) -> HashMap<u16, (usize, ConvIx)> {
    let mut probes = HashMap::new();
    for (client, (name, conv)) in crew.conversations().iter().enumerate() {
        let view = fault::owner(&target.nodes[0], name).await;
        if let Some(shard) = view.and_then(|view| view.shard) {
            probes.entry(shard).or_insert((client, *conv));
        }
    }
    probes
}

/// The node that owns most shards, and which they are.
async fn busiest(target: &Target) -> Option<(u64, Vec<u16>)> {
    let view = fault::cluster(&target.nodes[0]).await?;
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
    args: &cli::Failover,
    local: &Local,
    crew: &Crew,
    common: &Rc<Common>,
    target: &Target,
    probes: &HashMap<u16, (usize, ConvIx)>,
    node: u64,
    owned: &[u16],
) -> Result<Round, Error> {
    // The clients leave the node first: what is measured is the shard, not the client's way to another node.
    let spared = local
        .nodes()
        .iter()
        .filter(|other| other.id != node)
        .map(|other| other.http.clone())
        .collect();
    common.nodes.replace(spared);
    crew.handles()
        .iter()
        .for_each(|handle| handle.tell(Command::Move));
    tokio::time::sleep(Duration::from_millis(300)).await;
    while common.online.get() < crew.handles().len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    let fault = Fault {
        how: args.how,
        whom: Whom::Node(node),
        at: Duration::ZERO,
        hold: args.hold,
    };
    let began = common.world.borrow().clock.now();
    common.world.borrow_mut().acks.watch(began);
    let cut = begin(&fault, local, node)?;
    let deadline = began + PATIENCE.as_nanos() as Nanos;
    let first = |conv: &ConvIx| common.world.borrow().acks.first(*conv);
    let held = began + args.hold.as_nanos() as Nanos;
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = common.world.borrow().clock.now();
        let all = probes.values().all(|(_, conv)| first(conv).is_some());
        if (all && now >= held) || now > deadline {
            break;
        }
    }
    let mut round = Round {
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
            if cut.touched() == 0 {
                round.problem = Some("the cut met nothing".to_owned());
            }
            drop(cut);
            local.ready(node).await
        }
    };
    if let Err(error) = healed {
        eprintln!("{error}");
        round.problem = Some(error.to_string());
    }
    round.until_s = common.world.borrow().clock.now() as f64 / 1e9;
    common.nodes.replace(target.nodes.clone());
    Ok(round)
}

/// Does it to the node: to its process, or to what it and the others say to each other.
fn begin(fault: &Fault, local: &Local, node: u64) -> Result<Option<Installed>, Error> {
    if fault.how != How::Cut {
        fault.begin(local, &[node])?;
        return Ok(None);
    }
    let links = local
        .links()
        .ok_or_else(|| Error::Usage("the links between the nodes are not the harness's".to_owned()))?;
    let all: Vec<u64> = local.nodes().iter().map(|node| node.id).collect();
    Ok(Some(
        links.install(fault.how.ways(false, &[node], &all), Effect::Cut),
    ))
}

fn finish(
    args: &cli::Failover,
    target: &Target,
    rounds: Vec<Round>,
    world: &mut crate::client::World,
) -> Result<bool, Error> {
    let percentiles = |of: fn(&Round) -> &Vec<f64>| {
        let mut figures = histogram();
        rounds
            .iter()
            .flat_map(of)
            .for_each(|ms| figures.saturating_record((ms * 1000.0) as u64));
        Percentiles::of(&figures)
    };
    let how = args.how.to_string();
    // The longest that any message waited in any phase: the drain's promise is about this one.
    let longest_us = world
        .recorder
        .phases()
        .iter()
        .map(|phase| phase.ack.max())
        .max()
        .unwrap_or(0);
    let report = Report {
        schema: 1,
        how: how.clone(),
        settings: target.settings.clone(),
        affected: percentiles(|round| &round.affected_ms),
        unaffected: percentiles(|round| &round.unaffected_ms),
        rounds,
        longest_us,
        acked: world.oracle.counts().acked,
        violations: world.oracle.counts().violations,
        seconds: world.recorder.seconds().to_vec(),
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
        "longest send to ack: {:.1} ms over {} messages",
        report.longest_us as f64 / 1000.0,
        report.acked
    );
    for violation in world.oracle.violations() {
        println!(
            "VIOLATION {:?} at s={}: {}",
            violation.kind, violation.s, violation.detail
        );
    }
    let silent: usize = report.rounds.iter().map(|round| round.silent).sum();
    println!("{silent} silent, {} violations", report.violations);
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

/// The first ack of each conversation for a message that was due after a moment.
#[derive(Debug, Default)]
pub(crate) struct FirstAcks {
    since: Option<Nanos>,
    first: HashMap<ConvIx, Nanos>,
}

// === impl FirstAcks ===

impl FirstAcks {
    /// Begins anew.
    pub(crate) fn watch(&mut self, since: Nanos) {
        self.since = Some(since);
        self.first.clear();
    }

    /// A message that was due at `due` is acked.
    pub(crate) fn acked(&mut self, conv: ConvIx, due: Nanos, now: Nanos) {
        if self.since.is_some_and(|since| due >= since) {
            self.first.entry(conv).or_insert(now);
        }
    }

    pub(crate) fn first(&self, conv: ConvIx) -> Option<Nanos> {
        self.first.get(&conv).copied()
    }
}
