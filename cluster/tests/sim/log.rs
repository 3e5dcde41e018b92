//! Logs of a simulation, for `RUST_LOG`, with the simulated time.

use std::cell::Cell;
use std::fmt;

use tokio::time::Instant;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

struct SimulatedTime;

/// Logs what `RUST_LOG` says, from now as time zero of this thread's run.
pub(crate) fn init() {
    START.set(Some(Instant::now()));
    if std::env::var_os("RUST_LOG").is_some() {
        // Only the first run of the process installs it.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::from_default_env())
            .with_timer(SimulatedTime)
            .with_ansi(false)
            .with_test_writer()
            .try_init();
    }
}

// === impl SimulatedTime ===

impl FormatTime for SimulatedTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        match START.get() {
            Some(start) => write!(w, "{:>9.3}", start.elapsed().as_secs_f64()),
            None => w.write_str("        -"),
        }
    }
}
