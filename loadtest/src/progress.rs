//! What a person sees while a run goes on: one bar for each of its phases (set-up, load, every fault, settling, reading
//! back), the current rates on the load's. Nothing is drawn where standard error is no terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::measure::latency::Second;

/// The bars of one run. Dropping it leaves the finished ones on the screen.
pub(crate) struct Progress {
    bars: MultiProgress,
    load: ProgressBar,
}

/// One phase that is under way.
pub(crate) struct Step {
    bar: ProgressBar,
}

const UNKNOWN: &str = "{spinner} {prefix:<14} {elapsed:>5} {wide_msg}";
const TIMED: &str = "{spinner} {prefix:<14} {elapsed:>5} {bar:24} {wide_msg}";
const DONE: &str = "\u{2713} {prefix:<14} {elapsed:>5} {wide_msg}";

// === impl Progress ===

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress {
            bars: MultiProgress::new(),
            load: ProgressBar::hidden(),
        }
    }

    /// A phase of unknown length begins.
    pub(crate) fn step(&self, name: &str) -> Step {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style(UNKNOWN));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Step { bar }
    }

    /// A phase that lasts for a known time begins.
    pub(crate) fn timed(&self, name: &str, length: Duration) -> Step {
        let step = self.step(name);
        step.bar.set_length(length.as_millis().max(1) as u64);
        step.bar.set_style(style(TIMED));
        step
    }

    /// The load begins.
    pub(crate) fn load(&mut self, length: Duration) {
        self.load = self.timed("load", length).bar;
    }

    /// How far the load is, and what it does.
    pub(crate) fn tick(&self, elapsed: Duration, online: usize, second: &Second, violations: u64) {
        let length = self.load.length().unwrap_or(0);
        self.load.set_position((elapsed.as_millis() as u64).min(length));
        let mut line = format!(
            "{online} online  {}/s sent  {}/s acked  {}/s delivered  ack p50 {:.1} p99 {:.1} ms",
            second.sent,
            second.acked,
            second.delivered,
            second.ack_p50_us as f64 / 1e3,
            second.ack_p99_us as f64 / 1e3,
        );
        if second.errors > 0 {
            line.push_str(&format!("  {} errors/s", second.errors));
        }
        if violations > 0 {
            line.push_str(&format!("  {violations} VIOLATIONS"));
        }
        self.load.set_message(line);
    }

    /// The load has ended.
    pub(crate) fn loaded(&self) {
        done(&self.load);
    }
}

// === impl Step ===

impl Step {
    /// Says what is going on.
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// So much of the step's time has gone.
    pub(crate) fn at(&self, gone: Duration) {
        self.bar.set_position(gone.as_millis() as u64);
    }

    /// Waits for the time of the step, while the bar fills.
    pub(crate) async fn wait(&self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            let gone = time.saturating_sub(left).as_millis() as u64;
            self.bar.set_position(gone);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(200))).await;
        }
    }

    /// The phase is over.
    pub(crate) fn done(self) {
        done(&self.bar);
    }
}

fn done(bar: &ProgressBar) {
    bar.set_style(style(DONE));
    bar.abandon();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one() {
        for template in [UNKNOWN, TIMED, DONE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
