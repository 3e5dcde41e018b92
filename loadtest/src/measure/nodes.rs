//! Resource usage of the nodes: CPU and memory from `/proc` for local processes, fsyncs and log entries from
//! `/metrics`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::written::WrittenUsage;
use crate::server_internals::metric;

/// Counters of a node at one time. Reports contain the difference between two.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(into = "WrittenUsage", from = "WrittenUsage")]
pub(crate) struct Usage {
    /// Process id; 0 for a node that another program started.
    pub(crate) pid: u32,
    /// CPU time since the process start, in microseconds.
    pub(crate) cpu_us: u64,
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
    /// `true` if the node answered `/metrics`. The fields below are valid only then.
    pub(crate) metrics: bool,
    pub(crate) fsyncs: u64,
    /// Number of log entries made durable.
    pub(crate) entries: u64,
    /// `true` if the node syncs before it acknowledges.
    pub(crate) durable: bool,
    /// Number of takeovers of shards since the process start.
    pub(crate) takeovers: u64,
    pub(crate) owned_shards: u64,
    pub(crate) sessions: u64,
    /// Number of queries answered as a shard owner, from this node and from others. Each is one RPC.
    pub(crate) questions: u64,
    /// Number of read and delivered cursors that clients moved.
    pub(crate) cursors: u64,
    /// Number of commands sent for the cursors, after merging.
    pub(crate) cursor_commands: u64,
}

// === impl Usage ===

impl Usage {
    /// Reads CPU and memory of a process. Both are zero if it does not exist.
    pub(crate) fn of_process(pid: u32) -> Usage {
        Usage {
            pid,
            ..Usage::read(&format!("/proc/{pid}")).unwrap_or_default()
        }
    }

    /// Reads CPU and memory of the harness.
    pub(crate) fn of_self() -> Usage {
        Usage::read("/proc/self").unwrap_or_default()
    }

    fn read(folder: &str) -> Option<Usage> {
        let stat = fs::read_to_string(Path::new(folder).join("stat")).ok()?;
        // The second field is the program's name in parentheses. It may contain spaces, so fields are counted after it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let status = fs::read_to_string(Path::new(folder).join("status")).ok()?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Usage {
            // The resolution is one clock tick, usually 10 ms.
            cpu_us: ticks * 1_000_000 / rustix::param::clock_ticks_per_second(),
            rss_kib: rss.trim().trim_end_matches("kB").trim().parse().ok()?,
            ..Usage::default()
        })
    }

    /// Returns the CPU time in microseconds; `None` if the process cannot be read. Every running process has memory.
    pub(crate) fn cpu(&self) -> Option<u64> {
        (self.rss_kib > 0).then_some(self.cpu_us)
    }

    /// Returns the resident memory in KiB; `None` if the process cannot be read.
    pub(crate) fn rss(&self) -> Option<u64> {
        (self.rss_kib > 0).then_some(self.rss_kib)
    }

    /// Returns one value of the node's metrics; `None` if it did not answer.
    pub(crate) fn reported(&self, of: impl FnOnce(&Usage) -> u64) -> Option<u64> {
        self.metrics.then(|| of(self))
    }

    /// Adds the values of the node's `/metrics`.
    pub(crate) fn with_metrics(mut self, text: &str) -> Usage {
        self.metrics = true;
        self.fsyncs = sum(text, metric::FSYNCS) as u64;
        self.entries = sum(text, metric::LOG_ENTRIES) as u64;
        self.durable = sum(text, metric::FSYNC_ENABLED) > 0.0;
        self.takeovers = sum(text, metric::TAKEOVERS) as u64;
        self.owned_shards = sum(text, metric::OWNED_SHARDS) as u64;
        self.sessions = sum(text, metric::SESSIONS) as u64;
        self.questions = sum(text, metric::QUERIES) as u64;
        self.cursors = sum(text, metric::CURSORS_MOVED) as u64;
        self.cursor_commands = sum(text, metric::CURSOR_COMMANDS) as u64;
        self
    }

    /// Returns the usage since `before`; `None` if the process was replaced in between. The usage of the old process up
    /// to its end is unknown.
    pub(crate) fn since(self, before: Usage) -> Option<Usage> {
        (self.pid == before.pid).then_some(Usage {
            cpu_us: self.cpu_us.saturating_sub(before.cpu_us),
            // A difference to an unknown value is unknown, and must not appear as a measured zero.
            metrics: self.metrics && before.metrics,
            fsyncs: self.fsyncs.saturating_sub(before.fsyncs),
            entries: self.entries.saturating_sub(before.entries),
            takeovers: self.takeovers.saturating_sub(before.takeovers),
            questions: self.questions.saturating_sub(before.questions),
            cursors: self.cursors.saturating_sub(before.cursors),
            cursor_commands: self.cursor_commands.saturating_sub(before.cursor_commands),
            ..self
        })
    }
}

/// Sums every series whose name ends in `name`.
pub(crate) fn sum(metrics: &str, name: &str) -> f64 {
    let of_name = |line: &&str| {
        line.split(['{', ' '])
            .next()
            .is_some_and(|series| series.ends_with(name))
    };
    // By suffix: the node's registry puts a prefix before some of the names.
    let lines = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter(of_name);
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_cpu_and_memory() {
        let mut spin = 1u64;
        while Usage::of_self().cpu_us == 0 {
            spin = spin.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        }
        assert!(Usage::of_process(std::process::id()).rss_kib > 500, "{spin}");
        assert_eq!(Usage::of_process(u32::MAX).rss_kib, 0);
    }

    #[test]
    fn metrics_are_found_by_the_end_of_their_name() {
        let text = "# HELP x\nrookery_storage_fsyncs_total 12\nrookery_storage_entries_total{shard=\"1\"} 5\nrookery_storage_entries_total{shard=\"2\"} 6.0\nrookery_storage_fsync_enabled 1\n# EOF";
        let usage = Usage::default().with_metrics(text);
        assert_eq!((usage.fsyncs, usage.entries, usage.durable), (12, 11, true));
        let later = Usage { fsyncs: 20, ..usage };
        assert_eq!(later.since(usage).map(|usage| usage.fsyncs), Some(8));
        assert!(
            Usage { pid: 2, ..later }.since(usage).is_none(),
            "restarted in between"
        );
    }
}
