//! Logging to standard error; quiet while the node serves at `info`. The last warnings and errors are kept as well.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use super::recent_lines::RecentLines;
use crate::config::{Format, TelemetryConfig};

/// Filters for libraries that log normal events as errors: actix-http a client that disconnects, openraft its own
/// orderly stop. Real errors are returned to this server, which logs them once.
const QUIET: &str = "actix_http=off,actix_server=warn,openraft=off,mio=warn";

/// Initializes logging for the process. Further calls, as in tests, have no effect.
pub fn init(settings: &TelemetryConfig) {
    // The user's directives come last and override the built-in ones.
    let filter = EnvFilter::new(format!("{QUIET},{}", settings.log));
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        // Told on standard error, by a macro that panics if it is closed.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match settings.format {
        Format::Text => lines.with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let _already_started = registry().with(filter).with(lines).with(RecentLines).try_init();
}
