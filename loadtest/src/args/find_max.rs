//! Options of the search for the highest rate.

use std::time::Duration;

use clap::Args;

use crate::spec::parse_duration;

/// Options of the search for the highest rate.
#[derive(Args, Clone, Debug)]
pub(crate) struct FindMax {
    /// Raises the rate until a limit is exceeded (doubling, then bisection), and prints the last rate within the
    /// limits. Begins at --rate, or at 100.
    #[arg(long, conflicts_with_all = ["window", "steps", "faults", "plan", "random"])]
    pub(crate) find_max: bool,
    /// Limit of the p99 latency, from the scheduled time of a message to its ack.
    #[arg(long, default_value = "50ms", value_parser = parse_duration, requires = "find_max")]
    pub(crate) limit_p99: Duration,
    /// Limit of the share of messages that are refused, lose their connection or stay unanswered.
    #[arg(long, default_value = "0.1%", value_parser = parse_part, requires = "find_max")]
    pub(crate) limit_errors: f64,
    /// Time for which each rate is held.
    #[arg(long, default_value = "10s", value_parser = parse_duration, requires = "find_max")]
    pub(crate) probe: Duration,
    /// Precision of the result, relative to the rate.
    #[arg(long, default_value = "5%", value_parser = parse_part, requires = "find_max")]
    pub(crate) precision: f64,
}

/// Parses a fraction, as `0.1%` or `0.001`.
pub(super) fn parse_part(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    let part = number.trim().parse::<f64>().ok().map(|number| number * scale);
    part.filter(|part| (0.0..=1.0).contains(part))
        .ok_or_else(|| format!("{text:?} is not a fraction; example: 0.1% or 0.001"))
}
