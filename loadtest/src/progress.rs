//! Progress bars of a run: one per step (set-up, load, every fault, quiescing, reading back), with the current rates on
//! the load's. Nothing is drawn if standard error is no terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::measure::Second;

/// Bars of one run. A drop leaves the completed ones on the screen.
pub(crate) struct ProgressBars {
    bars: MultiProgress,
    load: ProgressBar,
}

/// Bar of a running step.
pub(crate) struct ProgressStep {
    bar: ProgressBar,
}

const UNKNOWN: &str = "{spinner} {prefix:<14} {elapsed:>5} {wide_msg}";
const TIMED: &str = "{spinner} {prefix:<14} {elapsed:>5} {bar:24} {wide_msg}";
const DONE: &str = "\u{2713} {prefix:<14} {elapsed:>5} {wide_msg}";

// === impl ProgressBars ===

impl ProgressBars {
    pub(crate) fn new() -> ProgressBars {
        ProgressBars {
            bars: MultiProgress::new(),
            load: ProgressBar::hidden(),
        }
    }

    /// Adds a step of unknown length.
    pub(crate) fn step(&self, name: &str) -> ProgressStep {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style(UNKNOWN));
        bar.set_prefix(name.to_owned());
        // A step of unknown length gets no updates, so the bar is redrawn by time.
        bar.enable_steady_tick(Duration::from_millis(200));
        ProgressStep { bar }
    }

    /// Adds a step of known length.
    pub(crate) fn timed(&self, name: &str, length: Duration) -> ProgressStep {
        let step = self.step(name);
        step.bar.set_length(length.as_millis().max(1) as u64);
        step.bar.set_style(style(TIMED));
        step
    }

    /// Starts the bar of the load.
    pub(crate) fn load(&mut self, length: Duration) {
        self.load = self.timed("load", length).bar;
    }

    /// Updates the bar of the load.
    pub(crate) fn tick(&self, elapsed: Duration, online: usize, second: &Second, violations: u64) {
        // Capped: the last messages are answered after the load's time.
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

    /// Completes the bar of the load.
    pub(crate) fn loaded(&self) {
        done(&self.load);
    }
}

// === impl ProgressStep ===

impl ProgressStep {
    /// Sets the message of the step.
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Sets the elapsed part of the step's time.
    pub(crate) fn at(&self, gone: Duration) {
        self.bar.set_position(gone.as_millis() as u64);
    }

    /// Waits for `time`, and advances the bar.
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

    pub(crate) fn done(self) {
        done(&self.bar);
    }
}

fn done(bar: &ProgressBar) {
    // `abandon` keeps the position; `finish` would show an aborted step as complete.
    bar.set_style(style(DONE));
    bar.abandon();
}

fn style(template: &str) -> ProgressStyle {
    // A wrong template must not fail a run; a test checks all of them.
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
