//! The report of a run out of what was measured, and its verdict.

use super::Error;
use crate::cli::Run;
use crate::client::World;
use crate::clock::Nanos;
use crate::fault::Injected;
use crate::findmax::Found;
use crate::many::ManyReport;
use crate::measure::latency::Percentiles;
use crate::measure::nodes::Usage;
use crate::measure::series::{Own, Sample};
use crate::report::{self, Cost, Curves, HarnessReport, Memory, NodeReport, PhaseReport, Report};
use crate::scenario::Setup;
use crate::target::Target;

/// What was measured over a run.
pub(super) struct Figures {
    pub(super) began: Nanos,
    pub(super) ended: Nanos,
    pub(super) usage: Vec<Option<Usage>>,
    /// Before the first client.
    pub(super) empty: Vec<Usage>,
    pub(super) clients: u32,
    pub(super) harness: HarnessReport,
    pub(super) faults: Vec<Injected>,
    pub(super) samples: Vec<Sample>,
    pub(super) found: Option<Found>,
    pub(super) many: Vec<ManyReport>,
    pub(super) own: Vec<Own>,
    pub(super) disk: Option<Percentiles>,
}

fn summary(args: &Run, setup: &Setup, target: &Target, world: &World, figures: Figures) -> Report {
    let elapsed_s = (figures.ended - figures.began) as f64 / 1e9;
    let counts = world.oracle.counts();
    let delivered = world.recorder.deliveries();
    let durable = figures.usage.iter().flatten().any(|usage| usage.durable);
    let known = figures
        .usage
        .iter()
        .flatten()
        .any(|usage| usage.fsyncs > 0 || usage.entries > 0);
    let nodes: Vec<NodeReport> = target
        .nodes
        .iter()
        .zip(figures.usage.iter().zip(&figures.empty))
        .map(|(node, (usage, empty))| NodeReport::new(node, *usage, empty.rss(), elapsed_s, counts.acked))
        .collect();
    Report {
        schema: 1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: setup.name.clone(),
        parameters: setup.parameters.clone(),
        seed: setup.seed,
        target: report::Target {
            nodes: target.nodes.clone(),
            local: target.local.is_some(),
            settings: target.settings.clone(),
            guarantee: args
                .target
                .guarantee
                .as_deref()
                .unwrap_or(match (durable, known) {
                    (true, _) => "fsync on a majority",
                    (false, true) => "memory of a majority",
                    (false, false) => "unknown",
                })
                .to_owned(),
        },
        elapsed_s,
        counts,
        delivered,
        acks_per_s: counts.acked as f64 / elapsed_s,
        deliveries_per_s: delivered as f64 / elapsed_s,
        phases: world.recorder.phases().iter().map(PhaseReport::from).collect(),
        memory: Memory::of(&figures.samples, target.nodes.len(), &figures.faults),
        faults: figures.faults,
        errors: world.recorder.errors().clone(),
        cost: Cost::new(
            &nodes,
            &figures.harness,
            counts.acked,
            delivered,
            u64::from(figures.clients),
        ),
        nodes,
        operations: world.recorder.others(),
        reconnects: world.recovery.figures(),
        find_max: figures.found,
        conversations: figures.many,
        hostile: world.recorder.hostile.clone(),
        missing: setup.missing(world.recorder.errors()),
        harness: figures.harness.over(elapsed_s),
        violations: world.oracle.violations().to_vec(),
        late_sights: world.oracle.late(),
        seconds: world.recorder.seconds().to_vec(),
        samples: figures.samples,
        curves: Curves::of(world.recorder.phases()),
        own: figures.own,
        fdatasync: figures.disk,
    }
}

/// Shows and writes the report. `true` if every promise was kept.
pub(super) fn conclude(
    args: &Run,
    setup: &Setup,
    target: &Target,
    world: &mut World,
    figures: Figures,
) -> Result<bool, Error> {
    world.recorder.tick(world.clock.now());
    let report = summary(args, setup, target, world, figures);
    print!("{}", report.table());
    if let Some(folder) = &args.report {
        report.write(folder, world.oracle.history())?;
    } else if !report.violations.is_empty() {
        report.write(
            &std::env::temp_dir().join(format!("rookery-violation-{}", std::process::id())),
            world.oracle.history(),
        )?;
    }
    match report.missing {
        Some(missing) if report.violations.is_empty() => Err(Error::Nothing(missing)),
        _ => Ok(report.kept()),
    }
}
