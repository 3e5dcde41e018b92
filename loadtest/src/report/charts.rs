//! Which charts a report has, and which two reports have together.

use super::plot::{Across, Band, Chart, Line, Scale, Unit};
use super::{Point, Report};
use crate::fault::Outcome;
use crate::measure::latency::Second;
use crate::measure::series::Sample;

// === impl Report ===

impl Report {
    /// Everything over time, and the percentile curve.
    pub(super) fn charts(&self) -> Vec<Chart> {
        let bands = self.bands();
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
                "Each second's messages, from the time at which they were due.",
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
                "What was due, what was acked, and what other clients applied.",
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
                note: "How long the slowest tenth, hundredth, thousandth waited.",
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
                "Refusals, lost connections and resyncs, as the clients saw them.",
                Unit::PerSecond,
                Scale::Linear,
                vec![self.rate("errors", |second| second.errors)],
            ),
            over_time(
                "CPU of each node",
                "100 % is one core. A gap: the node didn't answer, or was started anew.",
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
                "One thread: near 100 % it is the harness that is measured.",
                Unit::Percent,
                Scale::Linear,
                vec![Line {
                    name: "CPU".to_owned(),
                    // With workers this process only coordinates; they have a table.
                    points: match self.harness.workers.is_empty() {
                        true => self.own.iter().map(|own| (own.at_s, own.cpu_percent)).collect(),
                        false => Vec::new(),
                    },
                }],
            ),
            over_time(
                "Fsyncs of each node",
                "Each makes the messages of all shards durable that waited for it.",
                Unit::PerSecond,
                Scale::Linear,
                self.per_node(|sample| sample.fsyncs_per_s),
            ),
            over_time(
                "Owners",
                "Shards that each node owns: every step is a change of owners.",
                Unit::Count,
                Scale::Linear,
                self.per_node(|sample| Some(sample.owned_shards? as f64))
                    .into_iter()
                    .map(steps)
                    .collect(),
            ),
        ]
    }

    /// This report's lines beside another's.
    pub(super) fn charts_beside(&self, other: &Report) -> Vec<Chart> {
        let both = |line: fn(&Report) -> Line| {
            let named = |name: &str, line: Line| Line {
                name: name.to_owned(),
                ..line
            };
            // Runs begin their load at different times; beside each other they begin together.
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
        let curves = |title, of: fn(&Report) -> &Vec<Point>| Chart {
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
            .iter()
            .filter(|fault| fault.outcome != Outcome::Skipped);
        installed
            .map(|fault| Band {
                name: fault.fault.split('@').next().unwrap_or_default().to_owned(),
                from: fault.from_s,
                until: fault.until_s,
            })
            .collect()
    }

    fn latency(&self, name: &str, of: fn(&Second) -> u64) -> Line {
        // A second without an ack has no latency.
        let value = |second: &Second| match second.acked {
            0 => f64::NAN,
            _ => of(second) as f64 / 1000.0,
        };
        self.line(name, value)
    }

    fn rate(&self, name: &str, of: fn(&Second) -> u64) -> Line {
        self.line(name, |second| of(second) as f64)
    }

    fn line(&self, name: &str, value: impl Fn(&Second) -> f64) -> Line {
        let began = self.began_s();
        let load = self
            .seconds
            .iter()
            .filter(|second| (second.at + 1) as f64 > began);
        Line {
            name: name.to_owned(),
            points: load.map(|second| (second.at as f64, value(second))).collect(),
        }
    }

    fn per_node(&self, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Line> {
        let lines = self.target.nodes.iter().enumerate().map(|(node, name)| {
            let samples = self.samples.iter().filter(|sample| sample.node == node);
            Line {
                name: name.clone(),
                points: samples
                    .map(|sample| (sample.at_s, value(sample).unwrap_or(f64::NAN)))
                    .collect(),
            }
        });
        lines.collect()
    }

    fn all_nodes(&self, value: impl Fn(&Sample) -> Option<f64>) -> Line {
        let nodes = self.target.nodes.len().max(1);
        let moments = self.samples.chunks(nodes).filter_map(|moment| {
            let at = moment.first()?.at_s;
            let known: Vec<f64> = moment.iter().filter_map(&value).collect();
            let sum = if known.is_empty() {
                f64::NAN
            } else {
                known.iter().sum()
            };
            Some((at, sum))
        });
        Line {
            name: String::new(),
            points: moments.collect(),
        }
    }

    fn since_load(&self, mut line: Line) -> Line {
        let began = self.began_s().floor();
        line.points.iter_mut().for_each(|(x, _)| *x -= began);
        line
    }

    /// When the load began: the phase after the set-up.
    fn began_s(&self) -> f64 {
        self.phases.get(1).map_or(0.0, |phase| phase.from_s)
    }
}

/// A line that keeps its value until the next: what is counted doesn't slope.
fn steps(line: Line) -> Line {
    let ends = line.points.windows(2).map(|pair| (pair[1].0, pair[0].1));
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (point, end) in line.points.iter().zip(ends.map(Some).chain([None])) {
        points.push(*point);
        points.extend(end);
    }
    Line { points, ..line }
}

/// Whole nines, as far as the longest curve reaches.
fn nines(curves: &[&Vec<Point>]) -> std::ops::Range<f64> {
    let last = curves.iter().filter_map(|curve| curve.last());
    let most = last.map(|point| nines_of(point.percentile)).fold(1.0, f64::max);
    0.0..(most - 0.01).ceil()
}

fn nines_of(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-9).log10()
}

pub(super) fn curve(name: &str, points: &[Point]) -> Line {
    Line {
        name: name.to_owned(),
        points: points
            .iter()
            .map(|point| (nines_of(point.percentile), point.us as f64 / 1000.0))
            .collect(),
    }
}
