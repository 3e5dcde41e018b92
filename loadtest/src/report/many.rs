//! Report sections on users with many conversations, and on a load beside hostile sessions.

use std::fmt::Write;

use super::html::{known, number, table};
use super::{PhaseReport, RunReport};
use crate::measure::{ManyReport, Percentiles};
use crate::spec::{BESIDE_HOSTILE, STEADY};

/// Column heads of [`row`].
pub(super) const HEAD: [&str; 14] = [
    "conversations",
    "connect to ready p50",
    "p99",
    "to the first list page p50",
    "p99",
    "to the first sync page p50",
    "p99",
    "list page p50",
    "p99",
    "sync page p50",
    "p99",
    "shows",
    "CPU of begin, list, sync",
    "KiB per subscription",
];

// === impl RunReport ===

impl RunReport {
    /// Returns p50 from send to ack without hostile sessions and beside them, in microseconds; `None` if either is
    /// missing.
    pub(super) fn beside_hostile(&self) -> Option<(u64, u64)> {
        let p50 = |name: &str| {
            let phase: &PhaseReport = self.phases.iter().find(|phase| phase.name == name)?;
            (phase.ack.count > 0).then_some(phase.ack.p50_us)
        };
        p50(STEADY).zip(p50(BESIDE_HOSTILE))
    }

    /// Adds the lines for the terminal.
    pub(super) fn many_table(&self, out: &mut String) {
        for user in &self.conversations {
            // The first column begins the line already.
            let cells = HEAD.iter().zip(row(user)).skip(1);
            let cells: Vec<_> = cells.map(|(name, cell)| format!("{name} {cell}")).collect();
            let _ = writeln!(out, "{} conversations: {}", user.conversations, cells.join(", "));
        }
        if self.hostile.is_empty() {
            return;
        }
        let did: Vec<_> = self
            .hostile
            .iter()
            .map(|(name, count)| format!("{name}: {count}"))
            .collect();
        let _ = writeln!(out, "hostile sessions: {}", did.join(", "));
        let beside = known(self.beside_hostile(), |(alone, beside)| {
            let times = beside as f64 / alone.max(1) as f64;
            format!("{}, alone {}: {times:.2} times", ms(beside), ms(alone))
        });
        let _ = writeln!(out, "send to ack p50 beside them: {beside}");
    }

    /// Adds the tables for the page.
    pub(super) fn many_part(&self, out: &mut String) {
        let rows: Vec<_> = self.conversations.iter().map(row).collect();
        table(out, "Users with many conversations", &HEAD, &rows);
        let mut did: Vec<_> = self
            .hostile
            .iter()
            .map(|(name, count)| vec![name.clone(), count.to_string()])
            .collect();
        if let Some((alone, beside)) = self.beside_hostile() {
            did.push(vec!["send to ack p50 without them".to_owned(), ms(alone)]);
            did.push(vec!["send to ack p50 beside them".to_owned(), ms(beside)]);
        }
        table(out, "Hostile sessions", &["what", "count"], &did);
    }
}

/// Returns the table row of one user.
pub(super) fn row(user: &ManyReport) -> Vec<String> {
    let mut cells = vec![user.conversations.to_string()];
    for figures in [
        &user.to_ready,
        &user.to_listed,
        &user.to_synced,
        &user.list,
        &user.sync,
    ] {
        cells.extend(p50_and_p99(figures));
    }
    cells.push(user.sync_shows.to_string());
    let cpu = [user.begin_cpu_us, user.list_cpu_us, user.sync_cpu_us];
    let cpu = cpu.map(|us| known(us, |us| ms(us as u64)));
    cells.push(cpu.join(" / "));
    cells.push(known(user.kib_per_subscription, number));
    cells
}

fn p50_and_p99(figures: &Percentiles) -> [String; 2] {
    [figures.p50_us, figures.p99_us].map(|us| known((figures.count > 0).then_some(us), ms))
}

fn ms(us: u64) -> String {
    format!("{} ms", number(us as f64 / 1000.0))
}
