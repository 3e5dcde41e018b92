//! Clock faults: wall clocks that are set ahead or behind, or run too fast, and are set right again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{FaultEffect, FaultError, FaultRun, bitten};
use crate::measure::sum;
use crate::oracle::ViolationKind;
use crate::server_internals::metric;
use crate::spec::FaultKind;
use crate::wire;

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// Gained seconds per second: one second per minute.
const DRIFT: f64 = 1.0 / 60.0;
/// Interval at which a drifting clock is set.
const STEP: Duration = Duration::from_millis(500);
/// Time for which a corrected clock is observed.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// Largest lead of a conversation's time over the true time, in milliseconds: the clock bound of docs/delivery.md, and
/// one second for its detection.
const AHEAD_MS: i64 = 11_000;

// === impl FaultRun: clocks ===

impl FaultRun<'_> {
    /// Sets the clocks of the nodes, holds the deviation, and sets them right again.
    pub(super) async fn jump(&self) -> FaultEffect {
        let ahead = self.ahead(Duration::ZERO);
        // Nothing has happened yet if the first clock cannot be set, hence `Skipped`.
        for node in self.nodes {
            self.local.set_clock(*node, ahead).map_err(FaultError::Skipped)?;
        }
        let mut furthest = i64::MIN;
        let held = Instant::now();
        while held.elapsed() < self.fault.hold {
            tokio::time::sleep(STEP.min(self.fault.hold)).await;
            // Set again in every step: a drifting clock needs it, and a constant lead is unaffected.
            for node in self.nodes {
                let ahead = self.ahead(held.elapsed());
                self.local
                    .set_clock(*node, ahead)
                    .map_err(FaultError::Indeterminate)?;
            }
            let newest = self.newest_ahead().await;
            self.judge(newest, furthest);
            furthest = furthest.max(newest.map_or(i64::MIN, |(ahead, _)| ahead));
        }
        // Computed before the clocks are read: a drift continues during the requests.
        let expected = self.ahead(held.elapsed()) * 1000.0;
        let mut seen = Vec::new();
        for node in self.nodes {
            seen.push(self.clock(*node).await.unwrap_or_default());
        }
        for node in self.nodes {
            self.local
                .set_clock(*node, 0.0)
                .map_err(FaultError::Indeterminate)?;
        }
        // The correction is a jump as well, and the more dangerous one: time runs backwards.
        tokio::time::sleep(self.fault.hold.min(AFTERWARDS)).await;
        self.all_ready().await?;
        let newest = self.newest_ahead().await;
        self.judge(newest, furthest);
        let after = newest.map(|(ahead, _)| ahead);
        let words = |ahead: Option<i64>| {
            ahead.map_or_else(
                || "unknown".to_owned(),
                |ms| format!("{:.1} s", ms as f64 / 1000.0),
            )
        };
        bitten(
            seen.iter()
                .all(|ms| *ms as f64 / expected > 0.5 && *ms as f64 / expected < 1.5),
            &format!(
                "the nodes' clocks were ahead by {seen:?} ms, the conversation's time by {} at most, and by {} afterwards",
                words((furthest > i64::MIN).then_some(furthest)),
                words(after)
            ),
        )
    }

    /// Returns the intended lead of the clocks over the true time in seconds, at the time `since` the start.
    fn ahead(&self, since: Duration) -> f64 {
        match self.fault.how {
            FaultKind::ClockAhead => 10.0 * DAY,
            FaultKind::ClockBehind => -10.0 * DAY,
            FaultKind::ClockDrift => since.as_secs_f64() * DRIFT,
            _ => HOUR,
        }
    }

    /// Returns by how many milliseconds a node's wall clock is ahead of the majority's, as the node itself measures it. The
    /// time in the node's responses is the majority's already.
    async fn clock(&self, node: u64) -> Option<i64> {
        let metrics = self.metrics(node).await?;
        Some(sum(&metrics, metric::CLOCK_SKEW_MS) as i64)
    }

    /// Returns the lead of the conversation's newest event over the true time, in milliseconds, and its seq.
    async fn newest_ahead(&self) -> Option<(i64, u64)> {
        // Read from a node with a correct clock, in case a wrong clock impairs the others.
        let node = self
            .local
            .nodes()
            .iter()
            .find(|node| !self.nodes.contains(&node.id))?;
        let mut session = self.session(node.id, self.creator, "clock").await.ok()?;
        let answer = session.ask(&wire::newest(self.conversation?, 1)).await.ok()?;
        let newest = answer["events"].as_array()?.last()?;
        Some((newest["ts"].as_i64()? - now_ms()?, newest["s"].as_u64()?))
    }

    /// Reports a violation if the lead exceeds its bound for the first time.
    fn judge(&self, newest: Option<(i64, u64)>, furthest: i64) {
        if let Some((ahead, s)) = newest
            && ahead > AHEAD_MS
            && furthest <= AHEAD_MS
        {
            let detail = format!("its ts is {:.1} s ahead of the true time", ahead as f64 / 1000.0);
            self.violate(ViolationKind::TimeAhead, None, s, detail);
        }
    }
}

/// Returns this machine's wall-clock time in milliseconds, which counts as the true time.
fn now_ms() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}
