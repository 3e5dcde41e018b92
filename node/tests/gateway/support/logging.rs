//! A WARN or an ERROR that no test expects fails the test.

use std::fmt::Debug;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// What alarmed so far, in this process.
static ALARMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// While it lives nothing alarming may be logged; checked at its end.
pub(crate) struct Quiet(());

struct Alarms;

#[derive(Default)]
struct Text(String);

// === impl Quiet ===

impl Quiet {
    /// Starts to listen.
    pub(crate) fn expected() -> Quiet {
        // Only the first of the process installs it.
        let _installed = tracing_subscriber::registry().with(Alarms).try_init();
        Quiet(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let alarms = ALARMS.lock().unwrap();
            assert!(alarms.is_empty(), "unexpected warnings: {alarms:#?}");
        }
    }
}

// === impl Alarms, Text ===

impl<S: Subscriber> Layer<S> for Alarms {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        // Those two call ordinary things by loud names; the server leaves them out of its log too.
        let loud = ["openraft", "actix_http"]
            .iter()
            .any(|target| metadata.target().starts_with(target));
        // Tests stop receivers of posts and make them refuse, and look at what comes of it.
        let provoked = metadata.target().starts_with("node::webhook");
        if *metadata.level() <= Level::WARN && !loud && !provoked {
            let mut text = Text(format!("{} {}:", metadata.level(), metadata.target()));
            event.record(&mut text);
            // So do tests that remove a node while it runs; the others say that they refuse it.
            if !text.0.contains("removed from the cluster") {
                ALARMS.lock().unwrap().push(text.0);
            }
        }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}
