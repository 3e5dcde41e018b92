//! What is done to wall clocks: set ahead or behind, or made to run too fast, and right again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Deed, Done, Trouble, bitten};
use crate::fault::How;
use crate::measure::nodes::sum;
use crate::oracle::Kind;

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// A second a minute.
const DRIFT: f64 = 1.0 / 60.0;
/// How often a clock that drifts is set.
const STEP: Duration = Duration::from_millis(500);
/// How long a clock that is right again is watched.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// How far a conversation's time may be ahead of the true one: the bound on clocks of docs/delivery.md, and a second in
/// which nodes find out.
const AHEAD_MS: i64 = 11_000;

// === impl Deed: clocks ===

impl Deed<'_> {
    /// Sets the clocks of the nodes, holds them so, and sets them right again.
    pub(super) async fn jump(&self) -> Done {
        let ahead = self.ahead(Duration::ZERO);
        for node in self.nodes {
            self.local.set_clock(*node, ahead).map_err(Trouble::Skipped)?;
        }
        let mut furthest = i64::MIN;
        let held = Instant::now();
        while held.elapsed() < self.fault.hold {
            tokio::time::sleep(STEP.min(self.fault.hold)).await;
            for node in self.nodes {
                let ahead = self.ahead(held.elapsed());
                self.local
                    .set_clock(*node, ahead)
                    .map_err(Trouble::Indeterminate)?;
            }
            let newest = self.newest_ahead().await;
            self.judge(newest, furthest);
            furthest = furthest.max(newest.map_or(i64::MIN, |(ahead, _)| ahead));
        }
        let expected = self.ahead(held.elapsed()) * 1000.0;
        let mut seen = Vec::new();
        for node in self.nodes {
            seen.push(self.clock(*node).await.unwrap_or_default());
        }
        for node in self.nodes {
            self.local.set_clock(*node, 0.0).map_err(Trouble::Indeterminate)?;
        }
        // Back again is a jump too, and the nastier one.
        tokio::time::sleep(self.fault.hold.min(AFTERWARDS)).await;
        self.all_ready().await?;
        let newest = self.newest_ahead().await;
        self.judge(newest, furthest);
        let after = newest.map(|(ahead, _)| ahead);
        let words = |ahead: Option<i64>| {
            ahead.map_or_else(
                || "not known".to_owned(),
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

    /// How far the clocks are to be ahead of the true time, so long after the fault began, in seconds.
    fn ahead(&self, since: Duration) -> f64 {
        match self.fault.how {
            How::ClockAhead => 10.0 * DAY,
            How::ClockBehind => -10.0 * DAY,
            How::ClockDrift => since.as_secs_f64() * DRIFT,
            _ => HOUR,
        }
    }

    /// Returns by how many milliseconds a node's wall clock is ahead of the majority's, as the node itself measures it. What
    /// the node tells its clients is the majority's time already.
    async fn clock(&self, node: u64) -> Option<i64> {
        let metrics = self.metrics(node).await?;
        Some(sum(&metrics, "clock_skew_ms") as i64)
    }

    /// How far the time of the conversation's newest event is ahead of the true time, in milliseconds, and its place.
    async fn newest_ahead(&self) -> Option<(i64, u64)> {
        let node = self
            .local
            .nodes()
            .iter()
            .find(|node| !self.nodes.contains(&node.id))?;
        let mut session = self.session(node.id, self.creator, "clock").await.ok()?;
        let question = json!({"t": "hist", "c": self.conversation, "limit": 1});
        let answer = session.ask(&question).await.ok()?;
        let newest = answer["events"].as_array()?.last()?;
        Some((newest["ts"].as_i64()? - now_ms()?, newest["s"].as_u64()?))
    }

    /// Too far is a broken promise, and told once.
    fn judge(&self, newest: Option<(i64, u64)>, furthest: i64) {
        if let Some((ahead, s)) = newest
            && ahead > AHEAD_MS
            && furthest <= AHEAD_MS
        {
            let detail = format!("its ts is {:.1} s ahead of the true time", ahead as f64 / 1000.0);
            self.violate(Kind::TimeAhead, None, s, detail);
        }
    }
}

/// The true time, as far as this machine knows it.
fn now_ms() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}
