//! `--find-max`: search for the highest rate at which latency and errors stay within limits.
//!
//! Each rate is held for a fixed time in the open loop, so a cluster that falls behind shows it in the latency. Between
//! two rates all messages are answered.

use std::time::{Duration, Instant};

use crate::args::FindMax;
use crate::load::{ClientPool, SharedRun};
use crate::measure::{FoundMax, Percentiles, RateProbe, Usage};
use crate::pacing::search::Search;
use crate::pacing::{ArrivalProcess, LoadPace};
use crate::progress::ProgressBars;

/// Longest wait for the answers to a probe's last messages.
const DRAIN: Duration = Duration::from_secs(20);
/// Percent of one core above which the harness may limit the rate itself.
const HARNESS_BUSY: f64 = 90.0;

// === impl FindMax: search ===

impl FindMax {
    /// Runs the search. Ends early on a violation.
    pub(crate) async fn search(
        &self,
        first: f64,
        arrival: ArrivalProcess,
        pool: &ClientPool,
        common: &SharedRun,
        progress: &ProgressBars,
    ) -> FoundMax {
        let mut search = Search::new(first, self.precision);
        let mut probes = Vec::new();
        let broken = || common.context.borrow().oracle.counts().violations > 0;
        // Warm-up: the first messages measure connection and cache setup, not the rate. The result is ignored.
        self.probe("warming up", first, arrival, pool, common, progress)
            .await;
        while let (Some(rate), false) = (search.next(), broken()) {
            let mut held = false;
            // Two attempts: one failure may come from another process on this machine.
            for _ in 0..2 {
                let name = format!("{rate:.0}/s");
                let probe = self.probe(&name, rate, arrival, pool, common, progress).await;
                held = probe.held;
                probes.push(probe);
                if held || broken() {
                    break;
                }
            }
            search.judge(held);
        }
        FoundMax {
            limit_p99_us: self.limit_p99.as_micros() as u64,
            limit_errors: self.limit_errors,
            held: search.held(),
            probes,
        }
    }

    async fn probe(
        &self,
        name: &str,
        rate: f64,
        arrival: ArrivalProcess,
        pool: &ClientPool,
        common: &SharedRun,
        progress: &ProgressBars,
    ) -> RateProbe {
        let step = progress.timed(name, self.probe);
        // The borrow ends before the first await: the clients borrow the same state between two awaits.
        let (sent, errors) = {
            let context = &mut *common.context.borrow_mut();
            context
                .recorder
                .part(&format!("{rate:.0}/s"), context.clock.now());
            (context.oracle.counts().sent, context.recorder.error_count())
        };
        let (before, began) = (Usage::of_self(), Instant::now());
        pool.pace(&LoadPace::Open {
            rate: rate.into(),
            arrival,
        });
        // Polled, not one sleep: a violation must end the probe, and the recorder has to close each second.
        while began.elapsed() < self.probe && common.context.borrow().oracle.counts().violations == 0 {
            let left = self.probe.saturating_sub(began.elapsed());
            tokio::time::sleep(left.min(Duration::from_millis(200))).await;
            step.at(began.elapsed());
            let context = &mut *common.context.borrow_mut();
            context.recorder.tick(context.clock.now());
        }
        let used = Usage::of_self().cpu_us.saturating_sub(before.cpu_us);
        let cpu = used as f64 / 1e4 / began.elapsed().as_secs_f64();
        // The probe's own messages only: the next rate must not inherit a backlog from this one.
        pool.pace(&LoadPace::Silent);
        let drained = pool.drained(DRAIN).await;
        let context = common.context.borrow();
        let phase = context.recorder.phases().last();
        let of = |pick: fn(&crate::measure::RunPhase) -> Percentiles| phase.map(pick).unwrap_or_default();
        let mut probe = RateProbe {
            rate,
            held: false,
            why: None,
            sent: context.oracle.counts().sent - sent,
            errors: context.recorder.error_count() - errors,
            ack: of(|phase| Percentiles::of(&phase.ack)),
            deliver: of(|phase| Percentiles::of(&phase.deliver)),
            harness_cpu_percent: cpu,
        };
        probe.why = self.verdict(&probe, drained);
        probe.held = probe.why.is_none();
        let p99 = probe.ack.p99_us as f64 / 1000.0;
        step.say(match &probe.why {
            None => format!("passed: p99 {p99:.1} ms"),
            Some(why) => format!("failed: {why}"),
        });
        step.done();
        probe
    }

    /// Returns the limit that the probe exceeded; `None` if the rate held.
    fn verdict(&self, probe: &RateProbe, drained: bool) -> Option<String> {
        let busy = if probe.harness_cpu_percent > HARNESS_BUSY {
            format!(
                " (the harness used {:.0} % of its core and may be the bottleneck)",
                probe.harness_cpu_percent
            )
        } else {
            String::new()
        };
        // Unanswered messages have no latency. Without this count, a cluster that answers nothing would have a good
        // p99.
        let unanswered = probe.sent.saturating_sub(probe.ack.count);
        let failed = (probe.errors + unanswered) as f64 / probe.sent.max(1) as f64;
        if probe.sent == 0 {
            Some("nothing was sent".to_owned())
        } else if failed > self.limit_errors {
            let errors = probe.errors;
            Some(format!(
                "{errors} errors and {unanswered} unanswered of {}{busy}",
                probe.sent
            ))
        } else if Duration::from_micros(probe.ack.p99_us) > self.limit_p99 {
            Some(format!("p99 {:.1} ms{busy}", probe.ack.p99_us as f64 / 1000.0))
        } else if !drained {
            Some(format!("some messages had no response within {DRAIN:?}{busy}"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(sent: u64, acked: u64, errors: u64, p99_ms: u64) -> RateProbe {
        RateProbe {
            rate: 100.0,
            held: false,
            why: None,
            sent,
            errors,
            ack: Percentiles {
                count: acked,
                p99_us: p99_ms * 1000,
                ..Percentiles::default()
            },
            deliver: Percentiles::default(),
            harness_cpu_percent: 10.0,
        }
    }

    #[test]
    fn a_rate_holds_within_both_limits_and_not_otherwise() {
        let find = FindMax {
            find_max: true,
            limit_p99: Duration::from_millis(50),
            limit_errors: 0.001,
            probe: Duration::from_secs(1),
            precision: 0.05,
        };
        assert_eq!(find.verdict(&probe(1000, 1000, 1, 50), true), None);
        assert!(
            find.verdict(&probe(1000, 1000, 2, 50), true)
                .unwrap()
                .contains("errors")
        );
        assert!(
            find.verdict(&probe(1000, 998, 0, 50), true)
                .unwrap()
                .contains("unanswered")
        );
        assert!(
            find.verdict(&probe(1000, 1000, 0, 51), true)
                .unwrap()
                .contains("p99")
        );
        assert!(find.verdict(&probe(1000, 1000, 0, 5), false).is_some());
        assert!(
            find.verdict(&probe(0, 0, 0, 0), true).is_some(),
            "nothing is no proof"
        );
    }
}
