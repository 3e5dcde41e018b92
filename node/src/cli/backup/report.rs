//! Figures in the output of the commands.

use std::time::Duration;

/// Returns a number of bytes with a unit.
pub(super) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

/// Returns a duration in seconds, with tenths.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
