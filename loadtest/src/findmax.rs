//! `--find-max`: the highest rate at which latency and errors stay within limits. Each rate is held for a while in the
//! open loop, so a cluster that falls behind shows it in the latency; in between everything is answered.

use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::client::Common;
use crate::crew::Crew;
use crate::fault::parse_duration;
use crate::measure::latency::Percentiles;
use crate::measure::nodes::Usage;
use crate::pacing::search::Search;
use crate::pacing::{Arrival, Pace};
use crate::progress::Progress;

/// How the search is asked for.
#[derive(Args, Clone, Debug)]
pub(crate) struct FindMax {
    /// Raises the rate until a limit is passed (doubling, then halving in between), and prints the last rate that held.
    /// Begins at --rate, or at 100.
    #[arg(long, conflicts_with_all = ["window", "steps", "faults", "plan", "random"])]
    pub(crate) find_max: bool,
    /// The longest that 99 of 100 messages may take from their scheduled time to the ack.
    #[arg(long, default_value = "50ms", value_parser = parse_duration, requires = "find_max")]
    limit_p99: Duration,
    /// The part of the messages that may be refused, or lose their connection, or stay unanswered.
    #[arg(long, default_value = "0.1%", value_parser = parse_part, requires = "find_max")]
    limit_errors: f64,
    /// How long each rate is held.
    #[arg(long, default_value = "10s", value_parser = parse_duration, requires = "find_max")]
    probe: Duration,
    /// How near the answer is to the truth.
    #[arg(long, default_value = "5%", value_parser = parse_part, requires = "find_max")]
    precision: f64,
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) limit_p99_us: u64,
    pub(crate) limit_errors: f64,
    /// The highest rate that held, if any did.
    pub(crate) held: Option<f64>,
    pub(crate) probes: Vec<Probe>,
}

/// One rate that was held for a while.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) rate: f64,
    pub(crate) held: bool,
    /// Why it didn't.
    pub(crate) why: Option<String>,
    pub(crate) sent: u64,
    pub(crate) errors: u64,
    pub(crate) ack: Percentiles,
    pub(crate) deliver: Percentiles,
    /// Of one core: near 100 the harness is the limit, not the cluster.
    pub(crate) harness_cpu_percent: f64,
}

/// How long the rest of a probe may take to be answered.
const DRAIN: Duration = Duration::from_secs(20);
/// Above that much of its one core the harness measures itself.
const HARNESS_BUSY: f64 = 90.0;

// === impl FindMax ===

impl FindMax {
    /// Searches. Ends early on a violation.
    pub(crate) async fn search(
        &self,
        first: f64,
        arrival: Arrival,
        crew: &Crew,
        common: &Common,
        progress: &Progress,
    ) -> Found {
        let mut search = Search::new(first, self.precision);
        let mut probes = Vec::new();
        let broken = || common.world.borrow().oracle.counts().violations > 0;
        // What the first messages meet is the start of everything, not the rate.
        self.probe("warming up", first, arrival, crew, common, progress)
            .await;
        while let (Some(rate), false) = (search.next(), broken()) {
            let mut held = false;
            // Once may be somebody else's doing on this machine.
            for _ in 0..2 {
                let name = format!("{rate:.0}/s");
                let probe = self.probe(&name, rate, arrival, crew, common, progress).await;
                held = probe.held;
                probes.push(probe);
                if held || broken() {
                    break;
                }
            }
            search.judge(held);
        }
        Found {
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
        arrival: Arrival,
        crew: &Crew,
        common: &Common,
        progress: &Progress,
    ) -> Probe {
        let step = progress.timed(name, self.probe);
        let (sent, errors) = {
            let world = &mut *common.world.borrow_mut();
            world.recorder.part(&format!("{rate:.0}/s"), world.clock.now());
            (world.oracle.counts().sent, world.recorder.error_count())
        };
        let (before, began) = (Usage::of_self(), Instant::now());
        crew.pace(&Pace::Open {
            rate: rate.into(),
            arrival,
        });
        while began.elapsed() < self.probe && common.world.borrow().oracle.counts().violations == 0 {
            let left = self.probe.saturating_sub(began.elapsed());
            tokio::time::sleep(left.min(Duration::from_millis(200))).await;
            step.at(began.elapsed());
            let world = &mut *common.world.borrow_mut();
            world.recorder.tick(world.clock.now());
        }
        let used = Usage::of_self().cpu_us.saturating_sub(before.cpu_us);
        let cpu = used as f64 / 1e4 / began.elapsed().as_secs_f64();
        crew.pace(&Pace::Silent);
        let drained = crew.drained(DRAIN).await;
        let world = common.world.borrow();
        let phase = world.recorder.phases().last();
        let of =
            |pick: fn(&crate::measure::latency::Phase) -> Percentiles| phase.map(pick).unwrap_or_default();
        let mut probe = Probe {
            rate,
            held: false,
            why: None,
            sent: world.oracle.counts().sent - sent,
            errors: world.recorder.error_count() - errors,
            ack: of(|phase| Percentiles::of(&phase.ack)),
            deliver: of(|phase| Percentiles::of(&phase.deliver)),
            harness_cpu_percent: cpu,
        };
        probe.why = self.verdict(&probe, drained);
        probe.held = probe.why.is_none();
        let p99 = probe.ack.p99_us as f64 / 1000.0;
        step.say(match &probe.why {
            None => format!("held: p99 {p99:.1} ms"),
            Some(why) => format!("failed: {why}"),
        });
        step.done();
        probe
    }

    /// Why the rate did not hold.
    fn verdict(&self, probe: &Probe, drained: bool) -> Option<String> {
        let busy = if probe.harness_cpu_percent > HARNESS_BUSY {
            format!(
                " (the harness was {:.0} % busy: it may be the limit)",
                probe.harness_cpu_percent
            )
        } else {
            String::new()
        };
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
            Some(format!("not everything was answered within {DRAIN:?}{busy}"))
        } else {
            None
        }
    }
}

/// Reads `0.1%` or `0.001`.
fn parse_part(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    let part = number.trim().parse::<f64>().ok().map(|number| number * scale);
    part.filter(|part| (0.0..=1.0).contains(part))
        .ok_or_else(|| format!("{text:?} is no part; write for example 0.1% or 0.001"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(sent: u64, acked: u64, errors: u64, p99_ms: u64) -> Probe {
        Probe {
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

    #[test]
    fn a_part_is_read_as_percent_or_as_a_number() {
        assert!((parse_part("0.1%").unwrap() - 0.001).abs() < 1e-12);
        assert_eq!(parse_part("0.05"), Ok(0.05));
        assert!(parse_part("120%").is_err() && parse_part("some").is_err());
    }
}
