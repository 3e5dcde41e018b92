//! Serialized form of measurements in `report.json`: an unknown value is `null`, never a zero that resembles a
//! measurement.

use serde::{Deserialize, Serialize};

use super::nodes::Usage;
use super::recorder::{Percentiles, Second};

/// [`Usage`]: CPU and memory are `null` without `/proc`, the others without metrics.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct WrittenUsage {
    pid: u32,
    cpu_us: Option<u64>,
    rss_kib: Option<u64>,
    fsyncs: Option<u64>,
    entries: Option<u64>,
    durable: bool,
    takeovers: Option<u64>,
    owned_shards: Option<u64>,
    sessions: Option<u64>,
    questions: Option<u64>,
    cursors: Option<u64>,
    cursor_commands: Option<u64>,
}

/// [`Percentiles`]: all are `null` for an empty histogram.
#[derive(Serialize, Deserialize)]
pub(super) struct WrittenPercentiles {
    count: u64,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
    p999_us: Option<u64>,
    max_us: Option<u64>,
}

/// [`Second`]: the latencies are `null` without an ack.
#[derive(Serialize, Deserialize)]
pub(super) struct WrittenSecond {
    at: u64,
    sent: u64,
    acked: u64,
    delivered: u64,
    errors: u64,
    ack_p50_us: Option<u64>,
    ack_p99_us: Option<u64>,
    ack_max_us: Option<u64>,
}

// === impl WrittenUsage ===

impl From<Usage> for WrittenUsage {
    fn from(usage: Usage) -> WrittenUsage {
        WrittenUsage {
            pid: usage.pid,
            cpu_us: usage.cpu(),
            rss_kib: usage.rss(),
            fsyncs: usage.reported(|usage| usage.fsyncs),
            entries: usage.reported(|usage| usage.entries),
            durable: usage.durable,
            takeovers: usage.reported(|usage| usage.takeovers),
            owned_shards: usage.reported(|usage| usage.owned_shards),
            sessions: usage.reported(|usage| usage.sessions),
            questions: usage.reported(|usage| usage.questions),
            cursors: usage.reported(|usage| usage.cursors),
            cursor_commands: usage.reported(|usage| usage.cursor_commands),
        }
    }
}

impl From<WrittenUsage> for Usage {
    fn from(written: WrittenUsage) -> Usage {
        let of = |figure: Option<u64>| figure.unwrap_or(0);
        Usage {
            pid: written.pid,
            cpu_us: of(written.cpu_us),
            rss_kib: of(written.rss_kib),
            // All metrics are read together, so one of them decides for all.
            metrics: written.fsyncs.is_some(),
            fsyncs: of(written.fsyncs),
            entries: of(written.entries),
            durable: written.durable,
            takeovers: of(written.takeovers),
            owned_shards: of(written.owned_shards),
            sessions: of(written.sessions),
            questions: of(written.questions),
            cursors: of(written.cursors),
            cursor_commands: of(written.cursor_commands),
        }
    }
}

// === impl WrittenPercentiles ===

impl From<Percentiles> for WrittenPercentiles {
    fn from(figures: Percentiles) -> WrittenPercentiles {
        let known = |us: u64| (figures.count > 0).then_some(us);
        WrittenPercentiles {
            count: figures.count,
            p50_us: known(figures.p50_us),
            p90_us: known(figures.p90_us),
            p99_us: known(figures.p99_us),
            p999_us: known(figures.p999_us),
            max_us: known(figures.max_us),
        }
    }
}

impl From<WrittenPercentiles> for Percentiles {
    fn from(written: WrittenPercentiles) -> Percentiles {
        let of = |figure: Option<u64>| figure.unwrap_or(0);
        Percentiles {
            count: written.count,
            p50_us: of(written.p50_us),
            p90_us: of(written.p90_us),
            p99_us: of(written.p99_us),
            p999_us: of(written.p999_us),
            max_us: of(written.max_us),
        }
    }
}

// === impl WrittenSecond ===

impl From<Second> for WrittenSecond {
    fn from(second: Second) -> WrittenSecond {
        let known = |us: u64| (second.acked > 0).then_some(us);
        WrittenSecond {
            at: second.at,
            sent: second.sent,
            acked: second.acked,
            delivered: second.delivered,
            errors: second.errors,
            ack_p50_us: known(second.ack_p50_us),
            ack_p99_us: known(second.ack_p99_us),
            ack_max_us: known(second.ack_max_us),
        }
    }
}

impl From<WrittenSecond> for Second {
    fn from(written: WrittenSecond) -> Second {
        let of = |figure: Option<u64>| figure.unwrap_or(0);
        Second {
            at: written.at,
            sent: written.sent,
            acked: written.acked,
            delivered: written.delivered,
            errors: written.errors,
            ack_p50_us: of(written.ack_p50_us),
            ack_p99_us: of(written.ack_p99_us),
            ack_max_us: of(written.ack_max_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_null_and_never_a_zero() {
        let foreign = serde_json::to_value(Usage::default()).unwrap();
        let usage = Usage::default().with_metrics("rookery_storage_fsyncs_total 0");
        let idle = serde_json::to_value(Percentiles::default()).unwrap();
        let quiet = serde_json::to_value(Second::default()).unwrap();
        for (written, unknown) in [
            (&foreign, "cpu_us"),
            (&foreign, "rss_kib"),
            (&foreign, "fsyncs"),
            (&foreign, "questions"),
            (&idle, "p99_us"),
            (&quiet, "ack_p50_us"),
        ] {
            assert!(written[unknown].is_null(), "{unknown} of {written}");
        }
        assert_eq!(
            serde_json::to_value(usage).unwrap()["fsyncs"],
            0,
            "a zero that was told"
        );
        let read: Usage = serde_json::from_value(foreign).unwrap();
        assert_eq!((read.cpu(), read.reported(|usage| usage.fsyncs)), (None, None));
    }
}
