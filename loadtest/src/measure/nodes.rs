//! What the nodes cost: CPU and memory from `/proc` where they run on this machine, fsyncs and log entries from
//! their `/metrics`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::written::WrittenUsage;

/// A node's counters at one moment; differences between two are what is reported.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(into = "WrittenUsage", from = "WrittenUsage")]
pub(crate) struct Usage {
    /// The process; 0 where it isn't ours.
    pub(crate) pid: u32,
    /// CPU time so far, in microseconds.
    pub(crate) cpu_us: u64,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
    /// The node told what follows.
    pub(crate) metrics: bool,
    pub(crate) fsyncs: u64,
    /// Log entries that were made durable.
    pub(crate) entries: u64,
    /// Whether the node syncs before it acks.
    pub(crate) durable: bool,
    /// Shards that it has become the owner of.
    pub(crate) takeovers: u64,
    /// Shards that it owns now.
    pub(crate) owned_shards: u64,
    /// Clients that are connected now.
    pub(crate) sessions: u64,
    /// Questions that it answered as an owner: asked by itself or by another node, one RPC each.
    pub(crate) questions: u64,
    /// Cursors, read and delivered, that its clients moved ...
    pub(crate) cursors: u64,
    /// ... and the commands that they became, after gathering.
    pub(crate) cursor_commands: u64,
}

// === impl Usage ===

impl Usage {
    /// Reads CPU and memory of a process; zeros where there is none.
    pub(crate) fn of_process(pid: u32) -> Usage {
        Usage {
            pid,
            ..Usage::read(&format!("/proc/{pid}")).unwrap_or_default()
        }
    }

    /// Reads CPU and memory of the harness itself.
    pub(crate) fn of_self() -> Usage {
        Usage::read("/proc/self").unwrap_or_default()
    }

    fn read(folder: &str) -> Option<Usage> {
        let stat = fs::read_to_string(Path::new(folder).join("stat")).ok()?;
        // The second field is the program's name in parentheses and may hold anything; the rest is plain.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let status = fs::read_to_string(Path::new(folder).join("status")).ok()?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Usage {
            cpu_us: ticks * 1_000_000 / rustix::param::clock_ticks_per_second(),
            rss_kib: rss.trim().trim_end_matches("kB").trim().parse().ok()?,
            ..Usage::default()
        })
    }

    /// CPU time in microseconds, where the process can be looked at: one that runs has memory.
    pub(crate) fn cpu(&self) -> Option<u64> {
        (self.rss_kib > 0).then_some(self.cpu_us)
    }

    /// Resident memory in KiB, likewise.
    pub(crate) fn rss(&self) -> Option<u64> {
        (self.rss_kib > 0).then_some(self.rss_kib)
    }

    /// A figure of the node's own, if it told any.
    pub(crate) fn reported(&self, of: impl FnOnce(&Usage) -> u64) -> Option<u64> {
        self.metrics.then(|| of(self))
    }

    /// Adds what a node's `/metrics` tells.
    pub(crate) fn with_metrics(mut self, text: &str) -> Usage {
        self.metrics = true;
        self.fsyncs = sum(text, "storage_fsyncs_total") as u64;
        self.entries = sum(text, "storage_entries_total") as u64;
        self.durable = sum(text, "storage_fsync_enabled") > 0.0;
        self.takeovers = sum(text, "rookery_takeovers_total") as u64;
        self.owned_shards = sum(text, "rookery_owned_shards") as u64;
        self.sessions = sum(text, "rookery_sessions") as u64;
        self.questions = sum(text, "conversation_reads_total") as u64;
        self.cursors = sum(text, "conversation_cursors_total") as u64;
        self.cursor_commands = sum(text, "conversation_cursors_sent_total") as u64;
        self
    }

    /// What was used since `before`, or `None` if the process is another one than it was then: what it used up to its
    /// end is not known.
    pub(crate) fn since(self, before: Usage) -> Option<Usage> {
        (self.pid == before.pid).then_some(Usage {
            cpu_us: self.cpu_us.saturating_sub(before.cpu_us),
            // A difference to what is not known is not known.
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
