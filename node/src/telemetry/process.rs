//! Metrics of the process, with the names that Prometheus' own client libraries give them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Collector of the figures that the kernel keeps of this process. Other systems than Linux have none of them.
#[derive(Debug)]
pub(super) struct ProcessCollector;

/// Figures of the process at one moment.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has them"))]
struct ProcessFigures {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_files: usize,
    /// Limit of open files; `None` without a limit.
    max_files: Option<u64>,
    /// Time of the start in seconds since 1970.
    start_seconds: f64,
}

// === impl ProcessCollector ===

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A figure that the kernel withholds is left out: 0 would be a wrong one.
        let Some(figures) = ProcessFigures::of_this_process() else {
            return Ok(());
        };
        let cpu = encoder.encode_descriptor(
            "process_cpu",
            "CPU time in user and system mode",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        ConstCounter::new(figures.cpu_seconds).encode(cpu)?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                figures.resident_bytes as f64,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory",
                figures.virtual_bytes as f64,
            ),
            (
                "process_open_fds",
                "Open file descriptors",
                figures.open_files as f64,
            ),
            (
                "process_max_fds",
                "Limit of open file descriptors",
                figures.max_files.map_or(f64::INFINITY, |limit| limit as f64),
            ),
            (
                "process_start_time_seconds",
                "Start of the process in seconds since 1970",
                figures.start_seconds,
            ),
        ];
        for (name, help, value) in gauges {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        Ok(())
    }
}

// === impl ProcessFigures ===

impl ProcessFigures {
    #[cfg(target_os = "linux")]
    fn of_this_process() -> Option<ProcessFigures> {
        use procfs::WithCurrentSystemInfo;
        use procfs::process::{LimitValue, Process};

        let process = Process::myself().ok()?;
        let stat = process.stat().ok()?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let boot = procfs::boot_time_secs().ok()?;
        let limits = process.limits().ok()?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let start_seconds = boot as f64 + seconds(stat.starttime);
        Some(ProcessFigures {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss_bytes().get(),
            virtual_bytes: stat.vsize,
            open_files: process.fd_count().ok()?,
            max_files: match limits.max_open_files.soft_limit {
                LimitValue::Value(limit) => Some(limit),
                LimitValue::Unlimited => None,
            },
            start_seconds,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn of_this_process() -> Option<ProcessFigures> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn process_metrics_have_the_names_of_prometheus() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessCollector));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_start_time_seconds",
        ] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            let is_plausible = |value| value > 0.0 || name == "process_cpu_seconds_total";
            assert!(value.is_some_and(is_plausible), "{name} in {text}");
        }
    }
}
