//! Tables of the page that only some runs have: other operations, reconnections, storms, the search for the highest
//! rate, and the memory trend.

use super::RunReport;
use super::html::{number, table};
use crate::measure::Percentiles;

// === impl RunReport ===

impl RunReport {
    pub(super) fn annotations(&self, out: &mut String) {
        let back = &self.reconnects;
        let returns = [("lost to ready", back.online), ("lost to caught up", back.level)];
        let named = self
            .operations
            .iter()
            .map(|(name, times)| (name.as_str(), *times));
        let rows = named.chain(returns).filter(|(_, times)| times.count > 0);
        let rows: Vec<_> = rows.map(|(name, times)| row(name.to_owned(), times)).collect();
        let head = ["milliseconds", "count", "p50", "p90", "p99", "p99.9", "max"];
        table(out, "Other operations", &head, &rows);

        if back.lost > 0 {
            let counts = [back.lost, back.resumed, back.synced].map(|count| count.to_string());
            let head = ["connections lost", "sessions resumed", "caught up by sync"];
            table(out, "Reconnects", &head, &[counts.to_vec()]);
        }
        let storms = back.storms.iter().map(|storm| {
            vec![
                format!("{:.1} s", storm.at_s),
                storm.clients.to_string(),
                format!("{:.2} s", storm.level_after_s),
            ]
        });
        let head = ["storm at", "clients cut", "all caught up after"];
        table(out, "Storms", &head, &storms.collect::<Vec<_>>());

        let probes = self.find_max.iter().flat_map(|found| &found.probes).map(|probe| {
            let mut cells = row(format!("{:.0}/s", probe.rate), probe.ack);
            cells.push(format!("{:.0}", probe.harness_cpu_percent));
            cells.push(probe.why.clone().unwrap_or_else(|| "held".to_owned()));
            cells
        });
        let head = [
            "rate",
            "acked",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max ms",
            "harness CPU %",
            "verdict",
        ];
        table(out, "The highest rate", &head, &probes.collect::<Vec<_>>());

        self.many_part(out);

        let memory = self.memory.iter().map(|memory| {
            vec![
                self.target.nodes.get(memory.node).cloned().unwrap_or_default(),
                number(memory.last_kib as f64 / 1024.0),
                format!("{:+.1}", memory.kib_per_hour / 1024.0),
                format!("{:.0}", memory.until_s - memory.from_s),
            ]
        });
        let head = ["node", "MiB at the end", "MiB an hour", "over the last s"];
        table(out, "Memory", &head, &memory.collect::<Vec<_>>());
    }
}

fn row(name: String, times: Percentiles) -> Vec<String> {
    let us = [
        times.p50_us,
        times.p90_us,
        times.p99_us,
        times.p999_us,
        times.max_us,
    ];
    let mut cells = vec![name, times.count.to_string()];
    cells.extend(us.map(|us| number(us as f64 / 1000.0)));
    cells
}
