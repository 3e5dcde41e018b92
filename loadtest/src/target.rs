//! What is loaded: nodes that somebody else runs, or a local cluster made for the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{TargetArgs, Wire};
use crate::disk;
use crate::fault::Needs;
use crate::http;
use crate::local::{self, Local};
use crate::measure::nodes::Usage;
use crate::oracle::Retention;

/// The nodes, and the processes behind them if they are ours.
pub(crate) struct Target {
    /// HTTP and WebSocket addresses, host:port.
    pub(crate) nodes: Vec<String>,
    pub(crate) local: Option<Local>,
    pub(crate) settings: Vec<String>,
    /// Processes of nodes that aren't ours, as far as they are known.
    pids: Vec<u32>,
    /// Whether they have `/metrics`.
    metrics: bool,
    /// Removed after the run.
    temporary: Option<PathBuf>,
}

/// What a load needs of a local cluster: rates far above a person's, and no reason to throttle the harness. A
/// setting that is given on the command line wins.
const LOAD_SETTINGS: [(&str, &str); 9] = [
    ("limits.sends_per_s", "1000000"),
    ("limits.added_by_one_per_day", "0"),
    ("limits.added_per_day", "0"),
    ("limits.burst", "1000000"),
    ("limits.queries_per_s", "1000000"),
    ("limits.query_burst", "1000000"),
    ("limits.unacked_sends", "1024"),
    ("limits.outbox_frames", "4096"),
    // All of the harness is one address.
    ("server.unauthenticated_per_address", "1000000"),
];

// === impl Target ===

impl Target {
    /// Starts the local cluster with what the run's faults need and the settings that it wants, or takes the nodes as they
    /// are.
    pub(crate) async fn open(
        args: &TargetArgs,
        needs: Needs,
        wanted: &[String],
    ) -> Result<Target, local::Error> {
        let Some(count) = args.local else {
            return Ok(Target {
                nodes: args.nodes.clone(),
                local: None,
                settings: Vec::new(),
                pids: args.pids.clone(),
                metrics: args.wire == Wire::Rookery,
                temporary: None,
            });
        };
        let mut settings = args.settings.clone();
        let reserve = disk::RESERVE.to_string();
        let small = [
            ("storage.reserve_bytes", reserve.as_str()),
            ("storage.wal_bytes", "33554432"),
            ("storage.log_buffer_bytes", "4194304"),
            ("storage.state_buffer_bytes", "4194304"),
        ];
        let small = small.iter().filter(|_| needs.small_disks).copied();
        let lifted = LOAD_SETTINGS.into_iter().filter(|_| !needs.rates_of_people);
        let wanted = wanted.iter().filter_map(|setting| setting.split_once('='));
        for (key, value) in wanted.chain(lifted).chain(small) {
            if !settings
                .iter()
                .any(|setting| setting.split('=').next() == Some(key))
            {
                settings.push(format!("{key}={value}"));
            }
        }
        let temporary = args.data.is_none();
        let data = args
            .data
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join(format!("rookery-loadtest-{}", std::process::id())));
        let local = Local::start(count, &data, args.http_base, &settings, needs).await?;
        let nodes = local.nodes().iter().map(|node| node.http.clone()).collect();
        Ok(Target {
            nodes,
            local: Some(local),
            settings,
            pids: Vec::new(),
            metrics: true,
            temporary: temporary.then_some(data),
        })
    }

    /// What the nodes let go by age or number.
    pub(crate) fn retention(&self) -> Retention {
        match self.local {
            Some(_) => Retention::of_settings(&self.settings),
            None => Retention::unknown(),
        }
    }

    /// Where the local cluster has its data.
    pub(crate) fn data(&self) -> Option<&Path> {
        Some(self.local.as_ref()?.root())
    }

    /// Reads every node's counters; of one that doesn't answer, those of its process.
    pub(crate) async fn usage(&self) -> Vec<Usage> {
        let readings = self.readings().await.into_iter().enumerate();
        readings
            .map(|(position, reading)| reading.unwrap_or_else(|| self.process(position)))
            .collect()
    }

    /// Reads every node's counters, all at once; `None` is a node that doesn't answer.
    pub(crate) async fn readings(&self) -> Vec<Option<Usage>> {
        let readings = self.nodes.iter().enumerate().map(|(position, node)| async move {
            let process = self.process(position);
            if !self.metrics {
                return (process.rss_kib > 0).then_some(process);
            }
            let metrics = http::get(node, "/metrics").await.ok()?;
            Some(process.with_metrics(&metrics))
        });
        futures::future::join_all(readings).await
    }

    fn process(&self, position: usize) -> Usage {
        let local = self.local.as_ref();
        let ours = local.and_then(|local| local.pid(local.nodes()[position].id));
        let pid = ours.or_else(|| self.pids.get(position).copied());
        pid.map_or_else(Usage::default, Usage::of_process)
    }

    /// Stops what was started. `keep` leaves the data for a look.
    pub(crate) async fn close(self, keep: bool) {
        if let Some(local) = self.local {
            local.stop().await;
        }
        match self.temporary {
            Some(data) if keep => eprintln!("the nodes' data and logs are kept in {}", data.display()),
            Some(data) => {
                // The last files may still be on their way out.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _ = std::fs::remove_dir_all(data);
            }
            None => {}
        }
    }
}
