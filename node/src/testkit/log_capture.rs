//! Capture of the log: an unexpected WARN or ERROR fails the test.

use std::fmt::Debug;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Unexpected lines of this process so far.
static ALARMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Guard that fails the test on drop if the process has logged an unexpected WARN or ERROR.
pub struct LogCapture(());

struct AlarmLayer;

#[derive(Default)]
struct EventText(String);

// === impl LogCapture ===

impl LogCapture {
    /// Begins the capture for the whole process.
    pub fn start() -> LogCapture {
        // Only the first call of a process installs the layer.
        let _installed = tracing_subscriber::registry().with(AlarmLayer).try_init();
        LogCapture(())
    }
}

impl Drop for LogCapture {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let alarms = ALARMS.lock().unwrap();
            assert!(alarms.is_empty(), "unexpected warnings: {alarms:#?}");
        }
    }
}

// === impl AlarmLayer, EventText ===

impl<S: Subscriber> Layer<S> for AlarmLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        // These crates log ordinary events at WARN and ERROR; the server leaves them out of its log too.
        let loud = ["openraft", "actix_http"]
            .iter()
            .any(|target| metadata.target().starts_with(target));
        // Tests stop receivers of webhooks and make them refuse, and check the effects.
        let provoked = metadata.target().starts_with("node::webhook");
        if *metadata.level() <= Level::WARN && !loud && !provoked {
            let mut text = EventText(format!("{} {}:", metadata.level(), metadata.target()));
            event.record(&mut text);
            // Tests remove a node while it runs, which the other nodes log, use all connections up, and stop a node to
            // which clients connect ("No workers" of actix-server), and leave certificates half-written.
            let expected = [
                "removed from the cluster",
                "connection limit reached",
                "No workers",
                "certificate files refused",
            ];
            if !expected.iter().any(|part| text.0.contains(part)) {
                ALARMS.lock().unwrap().push(text.0);
            }
        }
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}
