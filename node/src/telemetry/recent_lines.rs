//! Last warnings and errors of the process, for reports to operators. Bounded in number and size.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Number of lines that are kept.
const LINES: usize = 200;
/// Maximum bytes of one line; the rest is cut off.
const LINE_BYTES: usize = 1_024;

/// Lines of this process, the oldest first.
static RECENT: Mutex<VecDeque<RecentLine>> = Mutex::new(VecDeque::new());

/// Warning or error of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecentLine {
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// Level of the line: `WARN` or `ERROR`.
    pub(crate) level: &'static str,
    /// Message, and the fields behind it.
    pub(crate) text: String,
}

/// Layer that keeps the last warnings and errors.
pub(super) struct RecentLines;

/// Writer of an event's fields into one line.
#[derive(Default)]
struct LineText {
    message: String,
    fields: String,
}

/// Returns the last warnings and errors, the oldest first.
pub(crate) fn recent_lines() -> Vec<RecentLine> {
    RECENT.lock().iter().cloned().collect()
}

// === impl RecentLines ===

impl<S: Subscriber> Layer<S> for RecentLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            _ => return,
        };
        let mut text = LineText::default();
        event.record(&mut text);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = RecentLine {
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            level,
            text: text.cut(),
        };
        let mut recent = RECENT.lock();
        if recent.len() == LINES {
            recent.pop_front();
        }
        recent.push_back(line);
    }
}

// === impl LineText ===

impl LineText {
    fn cut(self) -> String {
        let mut text = self.message + &self.fields;
        text.truncate(text.floor_char_boundary(LINE_BYTES));
        text
    }

    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // A string takes everything.
        let _infallible = match field.name() {
            "message" => self.message.write_fmt(value),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for LineText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn only_the_last_warnings_and_errors_are_recorded() {
        let subscriber = tracing_subscriber::registry().with(RecentLines);
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..LINES {
                tracing::warn!(n, "earlier");
            }
            tracing::info!("not kept");
            tracing::error!(reason = "r", n = 3, "disk poisoned");
            tracing::warn!("{}", "é".repeat(LINE_BYTES));
        });
        let lines = recent_lines();
        assert_eq!(lines.len(), LINES);
        let [.., error, long] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(
            (error.level, error.text.as_str()),
            ("ERROR", "disk poisoned reason=\"r\" n=3")
        );
        assert_eq!((long.level, long.text.len()), ("WARN", LINE_BYTES));
        assert!(lines.iter().all(|line| line.text != "not kept"));
        assert!(lines.is_sorted_by_key(|line| line.at_ms));
    }
}
