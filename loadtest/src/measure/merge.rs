//! Exact merge of the measurements of several processes.
//!
//! A histogram is sent as its buckets with their counts. All histograms of this program have the same bounds, so the
//! sum of the buckets equals the histogram over all values.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::recorder::{ClosedSecond, Measured, MeasuredPhase, Recorder, RunPhase, Second, histogram};

/// Non-empty buckets of a histogram as (value, count), by rising value.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Buckets(Vec<(u64, u64)>);

/// Seconds of several processes, held until all processes have completed them.
#[derive(Debug, Default)]
pub(crate) struct MergedSeconds {
    seconds: BTreeMap<u64, (Second, BTreeMap<u64, u64>)>,
}

// === impl Buckets ===

impl Buckets {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Buckets {
        let recorded = histogram.iter_recorded();
        Buckets(
            recorded
                .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
                .collect(),
        )
    }

    /// Adds the counts to `histogram`.
    pub(crate) fn add_to(&self, histogram: &mut Histogram<u64>) {
        for (value, count) in &self.0 {
            histogram.saturating_record_n(*value, *count);
        }
    }
}

// === impl MergedSeconds ===

impl MergedSeconds {
    /// Adds one process's counts of one second.
    pub(crate) fn add(&mut self, closed: &ClosedSecond) {
        let (second, acks) = self.seconds.entry(closed.second.at).or_default();
        second.at = closed.second.at;
        second.sent += closed.second.sent;
        second.acked += closed.second.acked;
        second.delivered += closed.second.delivered;
        second.errors += closed.second.errors;
        // Buckets are summed, not percentiles: a percentile of percentiles would be wrong.
        for (value, count) in &closed.acks.0 {
            *acks.entry(*value).or_default() += count;
        }
    }

    /// Removes and returns the seconds below `at`.
    pub(crate) fn until(&mut self, at: u64) -> Vec<Second> {
        let later = self.seconds.split_off(&at);
        let over = std::mem::replace(&mut self.seconds, later);
        let figures = |(second, acks): (Second, BTreeMap<u64, u64>)| {
            let mut all = histogram();
            Buckets(acks.into_iter().collect()).add_to(&mut all);
            second.with_figures(&all)
        };
        over.into_values().map(figures).collect()
    }
}

// === impl Recorder ===

impl Recorder {
    /// Returns all measurements in serialized form, for another process.
    pub(crate) fn measured(&self) -> Measured {
        let phase = |phase: &RunPhase| MeasuredPhase {
            name: phase.name.clone(),
            from: phase.from,
            ack: Buckets::of(&phase.ack),
            deliver: Buckets::of(&phase.deliver),
        };
        Measured {
            phases: self.phases().iter().map(phase).collect(),
            errors: self.errors().clone(),
            others: self.other_buckets(),
        }
    }

    /// Adds the measurements of another process. Both have the same phases in the same order, because the coordinator
    /// announces each one. The other process may lack the last ones.
    ///
    /// Returns an error if a phase has no counterpart of the same name.
    pub(crate) fn join(&mut self, measured: &Measured) -> Result<(), String> {
        // By index, with the name as a check: a name may occur twice in a run.
        for (ix, theirs) in measured.phases.iter().enumerate() {
            let Some(ours) = self.phase_mut(ix).filter(|ours| ours.name == theirs.name) else {
                return Err(format!(
                    "measured a phase {:?} that no other worker has",
                    theirs.name
                ));
            };
            theirs.ack.add_to(&mut ours.ack);
            theirs.deliver.add_to(&mut ours.deliver);
        }
        for (name, count) in &measured.errors {
            self.add_errors(name, *count);
        }
        for (name, buckets) in &measured.others {
            let times = self.others_mut().entry(name.clone().into());
            buckets.add_to(times.or_insert_with(histogram));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn joined_histograms_are_the_histogram_over_all_values(parts in prop::collection::vec(prop::collection::vec(0u64..2_000_000_000, 0..200), 1..5)) {
            let (mut whole, mut joined) = (histogram(), histogram());
            for part in &parts {
                let mut of_part = histogram();
                for value in part {
                    of_part.saturating_record(*value);
                    whole.saturating_record(*value);
                }
                let sent = serde_json::to_string(&Buckets::of(&of_part)).unwrap();
                serde_json::from_str::<Buckets>(&sent).unwrap().add_to(&mut joined);
            }
            prop_assert_eq!(&joined, &whole);
            prop_assert_eq!((joined.len(), joined.max()), (whole.len(), whole.max()));
        }
    }

    #[test]
    fn a_second_of_two_processes_has_the_percentiles_of_both() {
        let second = |micros: u64, count: u64| {
            let mut acks = histogram();
            acks.saturating_record_n(micros, count);
            let second = Second {
                at: 3,
                acked: count,
                ..Second::default()
            };
            ClosedSecond {
                second,
                acks: Buckets::of(&acks),
            }
        };
        let mut joined = MergedSeconds::default();
        joined.add(&second(100, 98));
        joined.add(&second(5000, 2));
        assert_eq!(joined.until(3).len(), 0);
        let over = joined.until(4);
        assert_eq!(
            (over[0].acked, over[0].ack_p50_us, over[0].ack_p99_us / 1000),
            (100, 100, 5)
        );
    }

    #[test]
    fn phases_are_joined_by_their_number_and_name() {
        let (mut ours, mut theirs) = (Recorder::new(), Recorder::new());
        for recorder in [&mut ours, &mut theirs] {
            recorder.phase("steady", SECOND);
            recorder.acked(SECOND, SECOND + 5_000_000);
            recorder.error("busy");
        }
        ours.join(&theirs.measured()).unwrap();
        assert_eq!(ours.phases()[1].ack.len(), 2);
        assert_eq!(ours.errors()["busy"], 2);
        theirs.phase("kill", 2 * SECOND);
        assert!(ours.join(&theirs.measured()).is_err());
    }
}
