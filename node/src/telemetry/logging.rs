//! Log lines on standard error: quiet and useful at `info`.

use tracing_subscriber::EnvFilter;

use crate::config::{Format, Telemetry};

/// Lines of the libraries that tell about single connections: a client that goes away is no news at `info`, and
/// actix-http reports it as an error.
const QUIET: &str = "actix_http=off,actix_server=warn,openraft=warn,mio=warn";

/// Starts logging for the process. A second call, as tests make it, changes nothing.
pub fn init(settings: &Telemetry) {
    let filter = EnvFilter::new(format!("{QUIET},{}", settings.log));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let _already_started = match settings.format {
        Format::Text => lines.with_target(false).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}
