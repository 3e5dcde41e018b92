//! Selection of the charts of a report and of a comparison.

use super::plot::{Across, Band, Chart, ChartLine, Scale, Unit};
use super::{PercentilePoint, RunReport};
use crate::fault::FaultOutcome;
use crate::measure::{Sample, Second};

// === impl RunReport ===

impl RunReport {
    /// Returns all charts over time, and the percentile curves.
    pub(super) fn charts(&self) -> Vec<Chart> {
        let bands = self.bands();
        // From the load on: the set-up's connections would hide the scale of the rest.
        let span = self.began_s().floor()..self.seconds.last().map_or(1.0, |second| second.at as f64 + 1.0);
        let over_time = |title, note, unit, scale, lines| Chart {
            title,
            note,
            unit,
            across: Across::Seconds,
            scale,
            span: span.clone(),
            lines,
            bands: bands.clone(),
        };
        vec![
            over_time(
                "Send to ack",
                "Messages per second of the schedule, measured from the scheduled time.",
                Unit::Milliseconds,
                Scale::Logarithmic,
                vec![
                    self.latency("p50", |second| second.ack_p50_us),
                    self.latency("p99", |second| second.ack_p99_us),
                    self.latency("max", |second| second.ack_max_us),
                ],
            ),
            over_time(
                "Throughput",
                "Messages scheduled, acknowledged, and applied by other clients.",
                Unit::PerSecond,
                Scale::Linear,
                vec![
                    self.rate("sent", |second| second.sent),
                    self.rate("acked", |second| second.acked),
                    self.rate("delivered", |second| second.delivered),
                ],
            ),
            Chart {
                title: "Percentiles of the whole load",
                note: "Latency of the slowest tenth, hundredth and thousandth.",
                unit: Unit::Milliseconds,
                across: Across::Nines,
                scale: Scale::Logarithmic,
                span: nines(&[&self.curves.ack, &self.curves.deliver]),
                lines: vec![
                    curve("send to ack", &self.curves.ack),
                    curve("send to delivery", &self.curves.deliver),
                ],
                bands: Vec::new(),
            },
            over_time(
                "Errors",
                "Refusals, lost connections and resyncs, counted by the clients.",
                Unit::PerSecond,
                Scale::Linear,
                vec![self.rate("errors", |second| second.errors)],
            ),
            over_time(
                "CPU of each node",
                "100 % is one core. A gap: the node did not respond or was restarted.",
                Unit::Percent,
                Scale::Linear,
                self.per_node(|sample| sample.cpu_percent),
            ),
            over_time(
                "Memory of each node",
                "Resident.",
                Unit::Mebibytes,
                Scale::Linear,
                self.per_node(|sample| Some(sample.rss_kib? as f64 / 1024.0)),
            ),
            over_time(
                "The harness itself",
                "The harness has one thread: near 100 % it limits the result.",
                Unit::Percent,
                Scale::Linear,
                vec![ChartLine {
                    name: "CPU".to_owned(),
                    // With workers this process only coordinates. Their CPU is in a table.
                    points: match self.harness.workers.is_empty() {
                        true => self.own.iter().map(|own| (own.at_s, own.cpu_percent)).collect(),
                        false => Vec::new(),
                    },
                }],
            ),
            over_time(
                "Fsyncs of each node",
                "One fsync makes the queued messages of all shards durable.",
                Unit::PerSecond,
                Scale::Linear,
                self.per_node(|sample| sample.fsyncs_per_s),
            ),
            over_time(
                "Owners",
                "Shards owned by each node: every step is a takeover.",
                Unit::Count,
                Scale::Linear,
                self.per_node(|sample| Some(sample.owned_shards? as f64))
                    .into_iter()
                    .map(steps)
                    .collect(),
            ),
        ]
    }

    /// Returns the charts of this report and another one, each with both lines.
    pub(super) fn charts_beside(&self, other: &RunReport) -> Vec<Chart> {
        let both = |line: fn(&RunReport) -> ChartLine| {
            let named = |name: &str, line: ChartLine| ChartLine {
                name: name.to_owned(),
                ..line
            };
            // Both lines start at the load's begin, since the set-ups take different times.
            vec![
                named("A", self.since_load(line(self))),
                named("B", other.since_load(line(other))),
            ]
        };
        let longest = self.elapsed_s.max(other.elapsed_s).ceil() + 1.0;
        let over_time = |title, unit, scale, lines| Chart {
            title,
            note: "Seconds since the load began.",
            unit,
            across: Across::Seconds,
            scale,
            span: 0.0..longest,
            lines,
            bands: Vec::new(),
        };
        let curves = |title, of: fn(&RunReport) -> &Vec<PercentilePoint>| Chart {
            title,
            note: "Of the whole load.",
            unit: Unit::Milliseconds,
            across: Across::Nines,
            scale: Scale::Logarithmic,
            span: nines(&[of(self), of(other)]),
            lines: vec![curve("A", of(self)), curve("B", of(other))],
            bands: Vec::new(),
        };
        use Scale::{Linear, Logarithmic};
        vec![
            curves("Send to ack", |report| &report.curves.ack),
            curves("Send to delivery", |report| &report.curves.deliver),
            over_time(
                "p99 of send to ack",
                Unit::Milliseconds,
                Logarithmic,
                both(|report| report.latency("", |second| second.ack_p99_us)),
            ),
            over_time(
                "Acked",
                Unit::PerSecond,
                Linear,
                both(|report| report.rate("", |second| second.acked)),
            ),
            over_time(
                "CPU of all nodes",
                Unit::Percent,
                Linear,
                both(|report| report.all_nodes(|sample| sample.cpu_percent)),
            ),
            over_time(
                "Memory of all nodes",
                Unit::Mebibytes,
                Linear,
                both(|report| report.all_nodes(|sample| Some(sample.rss_kib? as f64 / 1024.0))),
            ),
            over_time(
                "Fsyncs of all nodes",
                Unit::PerSecond,
                Linear,
                both(|report| report.all_nodes(|sample| sample.fsyncs_per_s)),
            ),
        ]
    }

    fn bands(&self) -> Vec<Band> {
        let installed = self
            .faults
            // A skipped fault had no effect to mark.
            .iter()
            .filter(|fault| fault.outcome != FaultOutcome::Skipped);
        installed
            .map(|fault| Band {
                name: fault.fault.split('@').next().unwrap_or_default().to_owned(),
                from: fault.from_s,
                until: fault.until_s,
            })
            .collect()
    }

    fn latency(&self, name: &str, of: fn(&Second) -> u64) -> ChartLine {
        // NaN: a second without an ack has no latency.
        let value = |second: &Second| match second.acked {
            0 => f64::NAN,
            _ => of(second) as f64 / 1000.0,
        };
        self.line(name, value)
    }

    fn rate(&self, name: &str, of: fn(&Second) -> u64) -> ChartLine {
        self.line(name, |second| of(second) as f64)
    }

    fn line(&self, name: &str, value: impl Fn(&Second) -> f64) -> ChartLine {
        let began = self.began_s();
        // Includes the second in which the load began.
        let load = self
            .seconds
            .iter()
            .filter(|second| (second.at + 1) as f64 > began);
        ChartLine {
            name: name.to_owned(),
            points: load.map(|second| (second.at as f64, value(second))).collect(),
        }
    }

    fn per_node(&self, value: impl Fn(&Sample) -> Option<f64>) -> Vec<ChartLine> {
        let lines = self.target.nodes.iter().enumerate().map(|(node, name)| {
            let samples = self.samples.iter().filter(|sample| sample.node == node);
            ChartLine {
                name: name.clone(),
                points: samples
                    .map(|sample| (sample.at_s, value(sample).unwrap_or(f64::NAN)))
                    .collect(),
            }
        });
        lines.collect()
    }

    fn all_nodes(&self, value: impl Fn(&Sample) -> Option<f64>) -> ChartLine {
        let nodes = self.target.nodes.len().max(1);
        // Samples are taken for all nodes at once, so each chunk is one time.
        let moments = self.samples.chunks(nodes).filter_map(|moment| {
            let at = moment.first()?.at_s;
            let known: Vec<f64> = moment.iter().filter_map(&value).collect();
            // A sum without any value is unknown, not zero.
            let sum = if known.is_empty() {
                f64::NAN
            } else {
                known.iter().sum()
            };
            Some((at, sum))
        });
        ChartLine {
            name: String::new(),
            points: moments.collect(),
        }
    }

    fn since_load(&self, mut line: ChartLine) -> ChartLine {
        let began = self.began_s().floor();
        line.points.iter_mut().for_each(|(x, _)| *x -= began);
        line
    }

    /// Returns the start of the load: the second phase, after the set-up.
    fn began_s(&self) -> f64 {
        self.phases.get(1).map_or(0.0, |phase| phase.from_s)
    }
}

/// Converts a line to steps: a count does not change gradually.
fn steps(line: ChartLine) -> ChartLine {
    let ends = line.points.windows(2).map(|pair| (pair[1].0, pair[0].1));
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (point, end) in line.points.iter().zip(ends.map(Some).chain([None])) {
        points.push(*point);
        points.extend(end);
    }
    ChartLine { points, ..line }
}

/// Returns the range of an axis in whole nines, up to the end of the longest curve.
fn nines(curves: &[&Vec<PercentilePoint>]) -> std::ops::Range<f64> {
    let last = curves.iter().filter_map(|curve| curve.last());
    let most = last.map(|point| nines_of(point.percentile)).fold(1.0, f64::max);
    0.0..(most - 0.01).ceil()
}

fn nines_of(percentile: f64) -> f64 {
    // The 100th percentile would be infinitely far to the right.
    -(1.0 - percentile / 100.0).max(1e-9).log10()
}

pub(super) fn curve(name: &str, points: &[PercentilePoint]) -> ChartLine {
    ChartLine {
        name: name.to_owned(),
        points: points
            .iter()
            .map(|point| (nines_of(point.percentile), point.us as f64 / 1000.0))
            .collect(),
    }
}
