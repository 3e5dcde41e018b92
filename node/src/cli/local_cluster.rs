//! `rookery cluster`: a local cluster of real processes.
//!
//! New nodes are started one by one, because the cluster counts them in the order in which they join and node N is to
//! be `DIR/node-N`. Nodes that have been there before are started together: none can serve without the others.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::children::{Process, log_file};
use super::{Error, Set, banner, probe};
use crate::config::{Sources, load};
use crate::shutdown;

/// How long the nodes may take to be ready.
const READY: Duration = Duration::from_secs(120);
/// How long they may take to stop.
const STOP: Duration = Duration::from_secs(30);

/// `rookery cluster`.
#[derive(Args)]
pub(super) struct LocalCluster {
    /// Number of nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// Where everything is kept: a directory per node, and cluster.json.
    #[arg(long, value_name = "DIR", default_value = "./rookery-cluster")]
    data: PathBuf,
    /// HTTP port of the first node; the others follow.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_base: u16,
    /// Port between nodes of the first node; the others follow. Default: the HTTP port + 1000.
    #[arg(long, value_name = "PORT")]
    cluster_base: Option<u16>,
    /// Port that the first node tells the others to connect to, for something between them; the others follow.
    #[arg(long, value_name = "PORT")]
    advertise_base: Option<u16>,
    /// Stops when standard input ends: a harness's cluster ends with it.
    #[arg(long, hide = true)]
    with_parent: bool,
    #[command(flatten)]
    set: Set,
}

/// What a node is started with.
struct Plan {
    id: usize,
    dir: PathBuf,
    http: String,
    between: String,
    /// Where the others connect to it.
    advertised: String,
    /// It has data already.
    known: bool,
}

// === impl LocalCluster ===

impl LocalCluster {
    pub(super) async fn run(self) -> Result<(), Error> {
        std::fs::create_dir_all(&self.data)?;
        let data = self.data.canonicalize()?;
        let plans = self.plans(&data);
        for plan in &plans {
            self.write_config(plan, &plans)?;
        }
        let state = data.join("cluster.json");
        if state.exists() {
            std::fs::remove_file(&state)?;
        }
        let mut processes = Vec::new();
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
            .map(|(plan, process)| json!({ "id": plan.id, "pid": process.pid, "http": plan.http }))
            .collect();
        // Whoever waits for the file must find it whole.
        let unfinished = data.join("cluster.json.new");
        std::fs::write(&unfinished, json!({ "nodes": nodes }).to_string())?;
        std::fs::rename(&unfinished, &state)?;
        let https: Vec<_> = plans.iter().map(|plan| plan.http.clone()).collect();
        banner::cluster(&https, &self.data.display().to_string());

        tokio::select! {
            () = watch(&mut processes, &plans) => {}
            () = &mut over => {}
        }
        shutdown::or_again(stop(processes)).await;
        Ok(())
    }

    fn plans(&self, data: &Path) -> Vec<Plan> {
        let between = self.cluster_base.unwrap_or(self.http_base.saturating_add(1_000));
        let advertised = self.advertise_base.unwrap_or(between);
        (1..=self.nodes)
            .map(|id| {
                let dir = data.join(format!("node-{id}"));
                let known = dir.join("data").exists();
                Plan {
                    id: usize::from(id),
                    http: format!("127.0.0.1:{}", self.http_base.saturating_add(id - 1)),
                    between: format!("127.0.0.1:{}", between.saturating_add(id - 1)),
                    advertised: format!("127.0.0.1:{}", advertised.saturating_add(id - 1)),
                    dir,
                    known,
                }
            })
            .collect()
    }

    /// Writes the node's configuration, after a check that the node would refuse nothing in it.
    fn write_config(&self, plan: &Plan, plans: &[Plan]) -> Result<(), Error> {
        std::fs::create_dir_all(&plan.dir)?;
        let others: Vec<_> = plans
            .iter()
            .filter(|other| other.id != plan.id)
            .map(|other| other.advertised.as_str())
            .collect();
        let mut settings = json!({
            "server": { "http": plan.http },
            "auth": { "dev_tokens": true },
            "cluster": {
                "listen": plan.between,
                "advertise": plan.advertised,
                "bootstrap": plan.id == 1,
                "join": if plan.id == 1 { vec![] } else { others },
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
        load(&Sources {
            file: Some(&path),
            set: self.set.set.clone(),
            ..Sources::default()
        })?;
        Ok(())
    }
}

/// A number or a truth value as such, everything else as text or a list of texts.
fn typed(value: &str) -> Value {
    toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|table| serde_json::to_value(table.get("value")?).ok())
        .unwrap_or_else(|| json!(value))
}

async fn start(plans: &[Plan], processes: &mut Vec<Process>) -> Result<(), Error> {
    let deadline = Instant::now() + READY;
    for plan in plans.iter().filter(|plan| plan.known) {
        processes.push(Process::start(plan.id, &plan.dir)?);
    }
    for plan in plans.iter().filter(|plan| !plan.known) {
        processes.push(Process::start(plan.id, &plan.dir)?);
        wait_until(processes, plans, deadline, async || knows_itself(plan).await).await?;
    }
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

/// Waits for a condition, as long as all processes run.
async fn wait_until(
    processes: &mut [Process],
    plans: &[Plan],
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
                let last = std::fs::read_to_string(&log).unwrap_or_default();
                let last = last.lines().last().unwrap_or_default();
                return Err(Error::Children(format!(
                    "node {} ended ({how}): {last}\nsee {}",
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

/// Whether the node belongs to the cluster, under the number of its directory.
async fn knows_itself(plan: &Plan) -> bool {
    match probe::get(&plan.http, "/v1/cluster").await {
        Some(answer) => serde_json::from_str::<Value>(&answer.body)
            .is_ok_and(|status| status["node"].as_u64() == Some(plan.id as u64)),
        None => false,
    }
}

/// Whether the node is ready and sees all others.
async fn is_ready(plan: &Plan, nodes: usize) -> bool {
    let ready = probe::get(&plan.http, "/readyz")
        .await
        .is_some_and(|answer| answer.status == 200);
    ready
        && probe::get(&plan.http, "/v1/cluster").await.is_some_and(|answer| {
            serde_json::from_str::<Value>(&answer.body)
                .is_ok_and(|status| status["nodes"].as_array().is_some_and(|seen| seen.len() == nodes))
        })
}

/// Reports nodes that end, for ever: a cluster goes on without them, and they may be started again by hand.
async fn watch(processes: &mut [Process], plans: &[Plan]) {
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
                    "node {} ended ({how}); again: rookery node --config {}",
                    process.id,
                    config.display()
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn stop(processes: Vec<Process>) {
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
