//! `rookery cluster`: a local cluster of separate processes.
//!
//! New nodes are started one by one, because node ids follow the order of joining and node N shall use `DIR/node-N`.
//! Nodes with data are started together, because none of them can serve without a quorum.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::children::{Process, log_file};
use super::{Error, SettingArgs, banner, mqtt_port, probe};
use crate::config::{Config, ConfigSources, WebPages, load};
use crate::lifecycle::shutdown;

/// Maximum time until all nodes are ready.
const READY: Duration = Duration::from_secs(120);
/// Maximum time for the nodes to stop.
const STOP: Duration = Duration::from_secs(30);

/// Arguments of `rookery cluster`.
#[derive(Args)]
pub(super) struct LocalCluster {
    /// The number of nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// The directory for everything: one directory per node, and cluster.json.
    #[arg(long, value_name = "DIR", default_value = "./rookery-cluster")]
    data: PathBuf,
    /// The HTTP port of the first node; the other nodes use the following ports.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_base: u16,
    /// The first node's port for other nodes; the other nodes use the following ports. Default: the HTTP port + 1000.
    #[arg(long, value_name = "PORT")]
    cluster_base: Option<u16>,
    /// The port at which other nodes reach the first node, if a proxy is between them; the other nodes use the
    /// following ports.
    #[arg(long, value_name = "PORT")]
    advertise_base: Option<u16>,
    /// Stops when standard input ends, so that the cluster of a test harness ends with it.
    #[arg(long, hide = true)]
    with_parent: bool,
    #[command(flatten)]
    set: SettingArgs,
}

/// Start parameters of one node.
struct ClusterPlan {
    id: usize,
    dir: PathBuf,
    http: String,
    mqtt: String,
    between: String,
    /// Address at which other nodes reach the node.
    advertised: String,
    /// Address for probes: `https://` is before it if the nodes have a certificate.
    probed: String,
    /// Set if the node has data from an earlier run.
    known: bool,
}

// === impl LocalCluster ===

impl LocalCluster {
    pub(super) async fn run(self) -> Result<(), Error> {
        std::fs::create_dir_all(&self.data)?;
        let data = self.data.canonicalize()?;
        let plans = self.plans(&data);
        let mut page = false;
        for plan in &plans {
            page = self.write_config(plan, &plans)?.server.web == WebPages::Chat;
        }
        // Removed first: a harness that waits for the file must not read the state of an earlier run.
        let state = data.join("cluster.json");
        if state.exists() {
            std::fs::remove_file(&state)?;
        }
        let mut processes = Vec::new();
        // Pinned across both waits: a signal during the start must not be missed by the second one.
        let mut over = pin!(shutdown::over(self.with_parent));
        let started = tokio::select! {
            started = start(&plans, &mut processes) => started,
            () = &mut over => {
                stop(processes).await;
                return Ok(());
            }
        };
        if let Err(error) = started {
            stop(processes).await;
            return Err(error);
        }
        let nodes: Vec<_> = plans
            .iter()
            .zip(&processes)
            .map(|(plan, process)| json!({ "id": plan.id, "pid": process.pid, "http": plan.http, "mqtt": plan.mqtt }))
            .collect();
        // Renamed into place, so that a reader never finds a partial file.
        let unfinished = data.join("cluster.json.new");
        std::fs::write(&unfinished, json!({ "nodes": nodes }).to_string())?;
        std::fs::rename(&unfinished, &state)?;
        let https: Vec<_> = plans.iter().map(|plan| plan.http.clone()).collect();
        let mqtts: Vec<_> = plans.iter().map(|plan| plan.mqtt.clone()).collect();
        banner::cluster(
            self.schemes(),
            &https,
            &mqtts,
            &self.data.display().to_string(),
            page,
        );

        tokio::select! {
            () = watch(&mut processes, &plans) => {}
            () = &mut over => {}
        }
        shutdown::or_again(stop(processes)).await;
        Ok(())
    }

    /// Returns the schemes of the nodes' URLs.
    fn schemes(&self) -> banner::Schemes {
        let has_tls = self.set.set.iter().any(|(key, _)| key == "server.tls_cert_file");
        banner::Schemes::of(has_tls)
    }

    fn plans(&self, data: &Path) -> Vec<ClusterPlan> {
        let between = self.cluster_base.unwrap_or(self.http_base.saturating_add(1_000));
        let advertised = self.advertise_base.unwrap_or(between);
        let mqtt = mqtt_port(self.http_base);
        (1..=self.nodes)
            .map(|id| {
                let dir = data.join(format!("node-{id}"));
                let known = dir.join("data").exists();
                let http = format!("127.0.0.1:{}", self.http_base.saturating_add(id - 1));
                let probed = match self.schemes().http {
                    "https" => format!("https://{http}"),
                    _ => http.clone(),
                };
                ClusterPlan {
                    id: usize::from(id),
                    http,
                    probed,
                    mqtt: format!("127.0.0.1:{}", mqtt.saturating_add(id - 1)),
                    between: format!("127.0.0.1:{}", between.saturating_add(id - 1)),
                    advertised: format!("127.0.0.1:{}", advertised.saturating_add(id - 1)),
                    dir,
                    known,
                }
            })
            .collect()
    }

    /// Writes the configuration of a node, and checks it as the node does.
    fn write_config(&self, plan: &ClusterPlan, plans: &[ClusterPlan]) -> Result<Config, Error> {
        std::fs::create_dir_all(&plan.dir)?;
        // Started one after another, so that each gets the number of its plan: the first waits for nobody. The others
        // have all, because any of them may be down at a restart.
        let count = if plan.id == 1 { 1 } else { plans.len() };
        let seeds: Vec<_> = plans
            .iter()
            .take(count)
            .map(|other| other.advertised.as_str())
            .collect();
        let scheme = self.schemes().http;
        let web_nodes: Vec<_> = plans
            .iter()
            .filter(|other| other.id != plan.id)
            .map(|other| format!("{scheme}://{}", other.http))
            .collect();
        let mut settings = json!({
            "server": { "listen": plan.http, "admin": "", "web": "chat", "web_nodes": web_nodes },
            "mqtt": { "listen": plan.mqtt },
            "auth": { "dev_tokens": true },
            "cluster": {
                "listen": plan.between,
                "advertise": plan.advertised,
                "seeds": seeds,
            },
            "storage": { "dir": plan.dir.join("data").display().to_string() },
        });
        for (key, value) in &self.set.set {
            if let Some((section, name)) = key.split_once('.') {
                let table = settings
                    .as_object_mut()
                    .map(|all| all.entry(section).or_insert_with(|| json!({})));
                if let Some(table) = table.and_then(Value::as_object_mut) {
                    table.insert(name.to_owned(), typed(value));
                }
            }
        }
        let text = toml::to_string(&settings).map_err(|error| Error::Children(error.to_string()))?;
        let path = plan.dir.join("node.toml");
        std::fs::write(
            &path,
            format!(
                "# Node {} of a local cluster, written by `rookery cluster`.\n{text}",
                plan.id
            ),
        )?;
        Ok(load(&ConfigSources {
            file: Some(&path),
            set: self.set.set.clone(),
            ..ConfigSources::default()
        })?)
    }
}

/// Parses a number or truth value as such, anything else as text or a list of texts.
fn typed(value: &str) -> Value {
    toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|table| serde_json::to_value(table.get("value")?).ok())
        .unwrap_or_else(|| json!(value))
}

async fn start(plans: &[ClusterPlan], processes: &mut Vec<Process>) -> Result<(), Error> {
    let deadline = Instant::now() + READY;
    for plan in plans.iter().filter(|plan| plan.known) {
        processes.push(Process::start(plan.id, &plan.dir)?);
    }
    for plan in plans.iter().filter(|plan| !plan.known) {
        processes.push(Process::start(plan.id, &plan.dir)?);
        // The id is assigned at the join: the next node must not start before this one has its id.
        wait_until(processes, plans, deadline, async || knows_itself(plan).await).await?;
    }
    // The state file pairs plans and processes by position.
    processes.sort_by_key(|process| process.id);
    wait_until(processes, plans, deadline, async || {
        for plan in plans {
            if !is_ready(plan, plans.len()).await {
                return false;
            }
        }
        true
    })
    .await
}

/// Waits until the condition holds. Fails if a process exits or the deadline passes.
async fn wait_until(
    processes: &mut [Process],
    plans: &[ClusterPlan],
    deadline: Instant,
    condition: impl AsyncFn() -> bool,
) -> Result<(), Error> {
    while !condition().await {
        for process in &mut *processes {
            if let Some(how) = process.ended() {
                let log = plans
                    .iter()
                    .find(|plan| plan.id == process.id)
                    .map(|plan| log_file(&plan.dir));
                let log = log.unwrap_or_default();
                // The last log line usually names the cause.
                let last = std::fs::read_to_string(&log).unwrap_or_default();
                let last = last.lines().last().unwrap_or_default();
                return Err(Error::Children(format!(
                    "node {} exited ({how}): {last}\nsee {}",
                    process.id,
                    log.display()
                )));
            }
        }
        if Instant::now() > deadline {
            return Err(Error::Children(format!(
                "not all nodes were ready within {} s",
                READY.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Returns `true` if the node has joined, with the id of its directory.
async fn knows_itself(plan: &ClusterPlan) -> bool {
    match probe::get(&plan.probed, "/v1/cluster").await {
        Some(answer) => serde_json::from_str::<Value>(&answer.body)
            .is_ok_and(|status| status["node"].as_u64() == Some(plan.id as u64)),
        None => false,
    }
}

/// Returns `true` if the node is ready and sees all other nodes.
async fn is_ready(plan: &ClusterPlan, nodes: usize) -> bool {
    let ready = probe::get(&plan.probed, "/readyz")
        .await
        .is_some_and(|answer| answer.status == 200);
    ready
        && probe::get(&plan.probed, "/v1/cluster")
            .await
            .is_some_and(|answer| {
                serde_json::from_str::<Value>(&answer.body)
                    .is_ok_and(|status| status["nodes"].as_array().is_some_and(|seen| seen.len() == nodes))
            })
}

/// Reports nodes that exit, and never returns. The cluster continues without them, and they can be started by hand.
async fn watch(processes: &mut [Process], plans: &[ClusterPlan]) {
    loop {
        for process in &mut *processes {
            if process.runs()
                && let Some(how) = process.ended()
            {
                let dir = plans
                    .iter()
                    .find(|plan| plan.id == process.id)
                    .map(|plan| plan.dir.clone());
                let config = dir.unwrap_or_default().join("node.toml");
                println!(
                    "node {} exited ({how}); restart it with: rookery node --config {}",
                    process.id,
                    config.display()
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn stop(processes: Vec<Process>) {
    // All at once: in sequence, each node could take the whole deadline.
    futures::future::join_all(processes.into_iter().map(|process| process.stop(STOP))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_the_command_line_keep_their_type() {
        assert_eq!(typed("2000"), json!(2000));
        assert_eq!(typed("true"), json!(true));
        assert_eq!(typed("[\"a\", \"b\"]"), json!(["a", "b"]));
        assert_eq!(typed("warn,cluster=debug"), json!("warn,cluster=debug"));
    }
}
