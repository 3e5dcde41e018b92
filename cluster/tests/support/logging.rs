//! Logs of a test: printed when it fails, and a WARN or an ERROR that no test expects fails it.

use std::fmt::Debug;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// What alarmed so far, in this process.
static ALARMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What tests provoke by removing a member that runs, itself and at those that refuse it.
static REMOVALS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Alarms;

#[derive(Default)]
struct Text(String);

/// Prints from `info` on, or what `RUST_LOG` says. openraft reports every lost link as a warning: left out.
pub(crate) fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,openraft=off"));
    let printed = fmt::layer().with_test_writer().with_filter(filter);
    // Only the first member of the process installs it.
    let _ = tracing_subscriber::registry()
        .with(printed)
        .with(Alarms)
        .try_init();
}

/// Returns whether a removal of a member that runs was logged at WARN or ERROR, with such a text.
pub(crate) fn removal_says(text: &str) -> bool {
    REMOVALS.lock().iter().any(|line| line.contains(text))
}

/// Fails if anything was logged at WARN or ERROR.
pub(crate) fn nothing_alarming() {
    let alarms = ALARMS.lock();
    assert!(alarms.is_empty(), "unexpected warnings: {alarms:#?}");
}

// === impl Alarms ===

impl<S: Subscriber> Layer<S> for Alarms {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() <= Level::WARN && !metadata.target().starts_with("openraft") {
            let mut text = Text(format!("{} {}:", metadata.level(), metadata.target()));
            event.record(&mut text);
            if text.0.contains("removed from the cluster") {
                REMOVALS.lock().push(text.0);
            } else {
                ALARMS.lock().push(text.0);
            }
        }
    }
}

// === impl Text ===

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}
