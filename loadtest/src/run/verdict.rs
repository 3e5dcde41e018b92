//! Report of a run, built from its measurements, and its verdict.

use super::Error;
use crate::args::RunArgs;
use crate::clock::Nanos;
use crate::cluster::LoadTarget;
use crate::fault::Injected;
use crate::measure::{FoundMax, HarnessSample, ManyReport, Percentiles, RunContext, Sample, Usage};
use crate::report::{
    self, Curves, HarnessReport, MemoryTrend, MessageCost, NodeReport, PhaseReport, RunReport,
};
use crate::setup::Setup;

/// Measurements of a run.
pub(super) struct RunMeasurements {
    pub(super) began: Nanos,
    pub(super) ended: Nanos,
    pub(super) usage: Vec<Option<Usage>>,
    /// Use of the nodes before the first client.
    pub(super) empty: Vec<Usage>,
    pub(super) clients: u32,
    pub(super) harness: HarnessReport,
    pub(super) faults: Vec<Injected>,
    pub(super) samples: Vec<Sample>,
    pub(super) found: Option<FoundMax>,
    pub(super) many: Vec<ManyReport>,
    pub(super) own: Vec<HarnessSample>,
    pub(super) disk: Option<Percentiles>,
}

fn summary(
    args: &RunArgs,
    setup: &Setup,
    target: &LoadTarget,
    context: &RunContext,
    figures: RunMeasurements,
) -> RunReport {
    let elapsed_s = (figures.ended - figures.began) as f64 / 1e9;
    let counts = context.oracle.counts();
    let delivered = context.recorder.deliveries();
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
    RunReport {
        schema: 1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: setup.name.clone(),
        parameters: setup.parameters.clone(),
        seed: setup.seed,
        target: report::TargetReport {
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
        phases: context.recorder.phases().iter().map(PhaseReport::from).collect(),
        memory: MemoryTrend::of(&figures.samples, target.nodes.len(), &figures.faults),
        faults: figures.faults,
        errors: context.recorder.errors().clone(),
        cost: MessageCost::new(
            &nodes,
            &figures.harness,
            counts.acked,
            delivered,
            u64::from(figures.clients),
        ),
        nodes,
        operations: context.recorder.others(),
        reconnects: context.recovery.figures(),
        find_max: figures.found,
        conversations: figures.many,
        hostile: context.recorder.hostile.clone(),
        missing: setup.missing(context.recorder.errors()),
        harness: figures.harness.over(elapsed_s),
        violations: context.oracle.violations().to_vec(),
        late_sights: context.oracle.late(),
        seconds: context.recorder.seconds().to_vec(),
        samples: figures.samples,
        curves: Curves::of(context.recorder.phases()),
        own: figures.own,
        fdatasync: figures.disk,
    }
}

/// Prints and writes the report. Returns `true` if every promise was kept.
pub(super) fn conclude(
    args: &RunArgs,
    setup: &Setup,
    target: &LoadTarget,
    context: &mut RunContext,
    figures: RunMeasurements,
) -> Result<bool, Error> {
    // Completes the last seconds, which the report would miss otherwise.
    context.recorder.tick(context.clock.now());
    let report = summary(args, setup, target, context, figures);
    print!("{}", report.table());
    if let Some(folder) = &args.report {
        report.write(folder, context.oracle.history())?;
    } else if !report.violations.is_empty() {
        // Without a report directory, a violation is still written: its history cannot be reproduced.
        report.write(
            &std::env::temp_dir().join(format!("rookery-violation-{}", std::process::id())),
            context.oracle.history(),
        )?;
    }
    match report.missing {
        // A run that measured nothing proves nothing, so it is an error and not a success.
        Some(missing) if report.violations.is_empty() => Err(Error::Nothing(missing)),
        _ => Ok(report.retained()),
    }
}
