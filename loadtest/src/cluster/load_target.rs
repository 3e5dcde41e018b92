//! Target of the load: nodes of an existing cluster, or a local cluster that is started for the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::local_processes::{Error, LocalProcesses};
use super::sized_disk::RESERVE;
use crate::args::TargetArgs;
use crate::http;
use crate::measure::Usage;
use crate::oracle::RetentionSettings;
use crate::spec::FaultNeeds;

/// Nodes under load, and their processes if the run has started them.
pub(crate) struct LoadTarget {
    /// HTTP and WebSocket addresses, host:port.
    pub(crate) nodes: Vec<String>,
    /// Addresses for operators, host:port, in the order of `nodes`.
    pub(crate) admin_nodes: Vec<String>,
    pub(crate) local: Option<LocalProcesses>,
    pub(crate) settings: Vec<String>,
    /// Process ids of existing nodes, as given on the command line.
    pids: Vec<u32>,
    /// `true` if the nodes serve `/metrics`.
    metrics: bool,
    /// Data directory to remove after the run; `None` if it was given on the command line.
    temporary: Option<PathBuf>,
}

/// Settings of a local cluster for a load: limits far above those for real users, so that the harness is not throttled.
/// Settings of the command line have precedence.
const LOAD_SETTINGS: [(&str, &str); 5] = [
    ("limits.sends_per_second", "1000000"),
    ("limits.queries_per_second", "1000000"),
    ("limits.additions_per_day", "0"),
    ("limits.outbound_queue_size", "4MiB"),
    // All clients of the harness share one address.
    ("server.unauthenticated_per_address", "1000000"),
];

// === impl LoadTarget ===

impl LoadTarget {
    /// Starts a local cluster with the requirements of the faults and the wanted settings, or uses the existing nodes.
    pub(crate) async fn open(
        args: &TargetArgs,
        needs: FaultNeeds,
        wanted: &[String],
    ) -> Result<LoadTarget, Error> {
        let Some(count) = args.local else {
            let admin_nodes = match &args.admin_nodes[..] {
                [] => &args.nodes,
                given if given.len() == args.nodes.len() => &args.admin_nodes,
                _ => return Err(Error::AdminNodes(args.nodes.len())),
            };
            return Ok(LoadTarget {
                nodes: args.nodes.clone(),
                admin_nodes: admin_nodes.clone(),
                local: None,
                settings: Vec::new(),
                pids: args.pids.clone(),
                metrics: !args.broker,
                temporary: None,
            });
        };
        let mut settings = args.settings.clone();
        let reserve = format!("{}B", RESERVE);
        // Small disks need small logs and buffers, which a small cache has, or they would be full before the fault.
        let small = [
            ("storage.free_space_reserve", reserve.as_str()),
            ("storage.cache_size", "32MiB"),
        ];
        let small = small.iter().filter(|_| needs.small_disks).copied();
        let lifted = LOAD_SETTINGS.into_iter().filter(|_| !needs.rates_of_people);
        let wanted = wanted.iter().filter_map(|setting| setting.split_once('='));
        // The first value of a key wins: the command line, then the plan, then the defaults.
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
        let local = LocalProcesses::start(count, &data, args.http_base, &settings, needs).await?;
        // A local cluster has one port for clients and operators.
        let nodes: Vec<_> = local.nodes().iter().map(|node| node.http.clone()).collect();
        Ok(LoadTarget {
            admin_nodes: nodes.clone(),
            nodes,
            local: Some(local),
            settings,
            pids: Vec::new(),
            metrics: true,
            temporary: temporary.then_some(data),
        })
    }

    /// Returns the nodes' retention settings; unknown for existing nodes.
    pub(crate) fn retention(&self) -> RetentionSettings {
        match self.local {
            Some(_) => RetentionSettings::of_settings(&self.settings),
            None => RetentionSettings::unknown(),
        }
    }

    /// Returns the directory that holds the local cluster's files; `None` for existing nodes.
    pub(crate) fn data(&self) -> Option<&Path> {
        Some(self.local.as_ref()?.root())
    }

    /// Reads the usage of every node. For a node without metrics, only that of its process is known.
    pub(crate) async fn usage(&self) -> Vec<Usage> {
        let readings = self.readings().await.into_iter().enumerate();
        readings
            .map(|(position, reading)| reading.unwrap_or_else(|| self.process(position)))
            .collect()
    }

    /// Reads the usage of every node concurrently; `None` for a node that does not answer.
    pub(crate) async fn readings(&self) -> Vec<Option<Usage>> {
        let readings = self
            .admin_nodes
            .iter()
            .enumerate()
            .map(|(position, node)| async move {
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

    /// Stops a local cluster. With `keep`, its data is retained for inspection.
    pub(crate) async fn close(self, keep: bool) {
        if let Some(local) = self.local {
            local.stop().await;
        }
        match self.temporary {
            Some(data) if keep => eprintln!("the data and logs of the nodes are in {}", data.display()),
            Some(data) => {
                // A process that is ending may still create files, which would make the removal fail.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _ = std::fs::remove_dir_all(data);
            }
            None => {}
        }
    }
}
