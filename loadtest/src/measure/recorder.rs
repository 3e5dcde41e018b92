//! Latencies and rates: per phase one histogram from send to ack and one from send to delivery, and one entry per
//! second.
//!
//! A message belongs to the phase in which it was due. A fault's phase therefore shows the effect on the messages that
//! met the fault.

mod percentiles;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub(crate) use self::percentiles::Percentiles;
use super::merge::{Buckets, MergedSeconds};
use super::written::WrittenSecond;
use crate::clock::{Nanos, SECOND};

/// Recorder of all message measurements of a process.
pub(crate) struct Recorder {
    phases: Vec<RunPhase>,
    seconds: Vec<Second>,
    /// Latencies of the acks in the current second.
    current: Histogram<u64>,
    tally: Second,
    errors: BTreeMap<String, u64>,
    /// Latencies of requests other than sends, by name.
    others: BTreeMap<Cow<'static, str>, Histogram<u64>>,
    /// Number of deliveries to clients that are late by their own behavior.
    late: u64,
    /// Name of the current part of the load, and of the fault beside it. Together they name a phase.
    part: String,
    beside: String,
    /// Completed seconds, in a worker process; `None` elsewhere.
    closed: Option<Vec<ClosedSecond>>,
    /// Seconds of the workers, in their coordinator; `None` elsewhere.
    joined: Option<MergedSeconds>,
    /// Receiver of phase changes, in a coordinator; `None` elsewhere.
    phases_to: Option<mpsc::UnboundedSender<PhaseMarker>>,
    /// Counts of the hostile sessions, by name.
    pub(crate) hostile: BTreeMap<String, u64>,
}

/// Part of the run between two faults or two load changes.
pub(crate) struct RunPhase {
    pub(crate) name: String,
    pub(crate) from: Nanos,
    pub(crate) ack: Histogram<u64>,
    pub(crate) deliver: Histogram<u64>,
}

/// Phase of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PhaseMarker {
    pub(crate) name: String,
    pub(crate) from: Nanos,
    /// `true` for a part of the load, `false` for a phase beside it, such as a fault.
    pub(crate) part: bool,
}

/// Counts of one second of the run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(into = "WrittenSecond", from = "WrittenSecond")]
pub(crate) struct Second {
    pub(crate) at: u64,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
    pub(crate) errors: u64,
    pub(crate) ack_p50_us: u64,
    pub(crate) ack_p99_us: u64,
    pub(crate) ack_max_us: u64,
}

/// Completed second with its ack latencies in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClosedSecond {
    pub(crate) second: Second,
    pub(crate) acks: Buckets,
}

/// Measurements of a process except for its seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) phases: Vec<MeasuredPhase>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) others: BTreeMap<String, Buckets>,
}

/// [`RunPhase`] in serialized form, for another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MeasuredPhase {
    pub(crate) name: String,
    pub(crate) from: Nanos,
    pub(crate) ack: Buckets,
    pub(crate) deliver: Buckets,
}

/// Ten minutes in microseconds: a longer latency is counted as this one.
const CEILING_US: u64 = 600_000_000;

// === impl Recorder ===

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder {
            // Present from the start, so that every due time belongs to a phase.
            phases: vec![RunPhase::new("set-up", 0)],
            seconds: Vec::new(),
            current: histogram(),
            tally: Second::default(),
            errors: BTreeMap::new(),
            others: BTreeMap::new(),
            late: 0,
            part: String::new(),
            beside: String::new(),
            closed: None,
            joined: None,
            phases_to: None,
            hostile: BTreeMap::new(),
        }
    }

    /// Stores every completed second, for [`Recorder::closed`].
    pub(crate) fn keep_seconds(&mut self) {
        self.closed = Some(Vec::new());
    }

    /// Completes the current second, at the end of the run.
    pub(crate) fn close(&mut self) {
        self.tick((self.tally.at + 1) * SECOND);
    }

    /// Returns and removes the seconds that have ended since the last call.
    pub(crate) fn closed(&mut self) -> Vec<ClosedSecond> {
        self.closed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Switches to merging: the seconds come from the workers.
    pub(crate) fn coordinate(&mut self) {
        self.joined = Some(MergedSeconds::default());
    }

    /// Sends every new phase and part to `to`.
    pub(crate) fn record_phases(&mut self, to: mpsc::UnboundedSender<PhaseMarker>) {
        self.phases_to = Some(to);
    }

    /// Adds a second of another process.
    pub(crate) fn join_second(&mut self, closed: &ClosedSecond) {
        if let Some(joined) = &mut self.joined {
            joined.add(closed);
        }
    }

    /// Completes the merge. The workers have reported all their seconds.
    pub(crate) fn joined(&mut self) {
        if let Some(joined) = &mut self.joined {
            self.seconds.extend(joined.until(u64::MAX));
        }
    }

    /// Begins a phase: a fault, or its end.
    pub(crate) fn phase(&mut self, name: &str, from: Nanos) {
        self.begin(PhaseMarker {
            name: name.to_owned(),
            from,
            part: false,
        });
    }

    /// Begins a part of the load. A fault beside it continues.
    pub(crate) fn part(&mut self, name: &str, from: Nanos) {
        self.begin(PhaseMarker {
            name: name.to_owned(),
            from,
            part: true,
        });
    }

    /// Begins a phase or a part, and announces it to the workers.
    pub(crate) fn begin(&mut self, marker: PhaseMarker) {
        if let Some(phases) = &self.phases_to {
            // The receiver ends with the run. A phase after that concerns no worker.
            let _ = phases.send(marker.clone());
        }
        let PhaseMarker { name, from, part } = marker;
        // Part and fault are independent: the end of a fault must not end the part of the load.
        *(if part { &mut self.part } else { &mut self.beside }) = name;
        self.divide(from);
    }

    fn divide(&mut self, from: Nanos) {
        let names = [self.part.as_str(), self.beside.as_str()];
        let names = names.into_iter().filter(|name| !name.is_empty());
        let name = names.collect::<Vec<_>>().join(", ");
        self.phases.push(RunPhase::new(&name, from));
    }

    pub(crate) fn sent(&mut self) {
        self.tally.sent += 1;
    }

    /// Records the ack of a message that was due at `due`.
    pub(crate) fn acked(&mut self, due: Nanos, now: Nanos) {
        // From the due time, not the send time: a stalled harness must not hide latency (coordinated omission).
        let micros = micros(due, now);
        self.current.saturating_record(micros);
        self.tally.acked += 1;
        self.phase_of(due).ack.saturating_record(micros);
    }

    /// Counts an ack without a latency: the client was absent by its own behavior in between.
    pub(crate) fn acked_late(&mut self) {
        self.tally.acked += 1;
    }

    /// Records that a receiver applied a message that was due at `due`. The sender is no receiver.
    pub(crate) fn delivered(&mut self, due: Nanos, now: Nanos) {
        self.tally.delivered += 1;
        self.phase_of(due).deliver.saturating_record(micros(due, now));
    }

    /// Counts a delivery without a latency: the client is late by its own behavior.
    pub(crate) fn delivered_late(&mut self) {
        self.tally.delivered += 1;
        self.late += 1;
    }

    /// Records the response to a request other than a send that was due at `due`.
    pub(crate) fn done(&mut self, what: &'static str, due: Nanos, now: Nanos) {
        let times = self.others.entry(what.into()).or_insert_with(histogram);
        times.saturating_record(micros(due, now));
    }

    /// Counts a refusal or failure by name.
    pub(crate) fn error(&mut self, name: &str) {
        self.tally.errors += 1;
        // Not `entry`: thousands of equal errors must not allocate their name each time.
        match self.errors.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.errors.insert(name.to_owned(), 1)),
        }
    }

    /// Closes the seconds that have ended, and returns the last one.
    pub(crate) fn tick(&mut self, now: Nanos) -> Second {
        if let Some(joined) = &mut self.joined {
            // One second of grace: a worker's report arrives late, and would otherwise yield a second entry for its
            // second.
            self.seconds
                .extend(joined.until((now / SECOND).saturating_sub(1)));
            return self.seconds.last().copied().unwrap_or_default();
        }
        if now / SECOND > self.tally.at {
            let at = self.tally.at;
            let second = self.tally.with_figures(&self.current);
            self.seconds.push(second);
            if let Some(closed) = &mut self.closed {
                let acks = Buckets::of(&self.current);
                closed.push(ClosedSecond { second, acks });
            }
            // No entries for skipped seconds: a stalled harness leaves a gap in the plot instead of false zeros.
            self.tally = Second {
                at: (now / SECOND).max(at + 1),
                ..Second::default()
            };
            self.current.reset();
        }
        self.seconds.last().copied().unwrap_or_default()
    }

    pub(super) fn phase_mut(&mut self, ix: usize) -> Option<&mut RunPhase> {
        self.phases.get_mut(ix)
    }

    pub(super) fn other_buckets(&self) -> BTreeMap<String, Buckets> {
        let others = self.others.iter();
        others
            .map(|(name, times)| (name.to_string(), Buckets::of(times)))
            .collect()
    }

    /// Latencies of requests other than sends.
    pub(super) fn others_mut(&mut self) -> &mut BTreeMap<Cow<'static, str>, Histogram<u64>> {
        &mut self.others
    }

    pub(super) fn add_errors(&mut self, name: &str, count: u64) {
        *self.errors.entry(name.to_owned()).or_default() += count;
    }

    pub(crate) fn phases(&self) -> &[RunPhase] {
        &self.phases
    }

    pub(crate) fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    /// Returns the number of deliveries to receivers other than the sender.
    pub(crate) fn deliveries(&self) -> u64 {
        // Late deliveries are in no histogram.
        let timed: u64 = self.phases.iter().map(|phase| phase.deliver.len()).sum();
        timed + self.late
    }

    /// Returns the percentiles of requests other than sends, by name.
    pub(crate) fn others(&self) -> BTreeMap<String, Percentiles> {
        let others = self.others.iter();
        others
            .map(|(what, times)| (what.to_string(), Percentiles::of(times)))
            .collect()
    }

    /// Returns the number of errors under all names.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(crate) fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    fn phase_of(&mut self, due: Nanos) -> &mut RunPhase {
        let ix = self
            .phases
            .iter()
            .rposition(|phase| phase.from <= due)
            .unwrap_or(0);
        &mut self.phases[ix]
    }
}

// === impl RunPhase ===

impl RunPhase {
    fn new(name: &str, from: Nanos) -> RunPhase {
        RunPhase {
            name: name.to_owned(),
            from,
            ack: histogram(),
            deliver: histogram(),
        }
    }
}

// === impl Second ===

impl Second {
    /// Returns the same second with the percentiles of its acks.
    pub(super) fn with_figures(self, acks: &Histogram<u64>) -> Second {
        Second {
            ack_p50_us: acks.value_at_quantile(0.5),
            ack_p99_us: acks.value_at_quantile(0.99),
            ack_max_us: acks.max(),
            ..self
        }
    }
}

/// A histogram of microseconds with three significant digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, CEILING_US, 3).expect("the bounds are constants that hdrhistogram accepts")
}

fn micros(from: Nanos, to: Nanos) -> u64 {
    to.saturating_sub(from) / 1000
}
