//! Log lines on standard error: quiet and useful at `info`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Format, Telemetry};

/// Libraries that call ordinary things by loud names: a client that goes away is an error to actix-http, and its own
/// orderly stop is one to openraft. What matters of it is returned to this server, which logs it once.
const QUIET: &str = "actix_http=off,actix_server=warn,openraft=off,mio=warn";

/// Starts logging for the process. A second call, as tests make it, changes nothing.
pub fn init(settings: &Telemetry) {
    let filter = EnvFilter::new(format!("{QUIET},{}", settings.log));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let _already_started = match settings.format {
        Format::Text => lines.with_target(false).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}
