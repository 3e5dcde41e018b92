//! `rookery audit`: comparison of the replicas of every shard, by the digests of what they have applied or row by row, and
//! the rebuild of a replica that differs.

mod rows;
mod samples;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use self::samples::{ReplicaSamples, describe};
use super::node_client::NodeClient;
use super::{Error, ctl};

/// Pause between two samples of all nodes.
const INTERVAL: Duration = Duration::from_millis(100);

/// Arguments of `rookery audit`.
#[derive(Args)]
pub(super) struct Audit {
    /// Addresses of the ports for operators of all nodes, repeated or with commas: `http://HOST:PORT`. With `--rows` one
    /// suffices. The admin token is taken from `--token-file` or ROOKERY_ADMIN_TOKEN.
    #[arg(long, required = true, value_delimiter = ',', value_parser = ctl::http_url)]
    url: Vec<String>,
    /// File with the admin token of the nodes.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Time in which replicas must be found at one index, or be equal again after a repair, in seconds. While clients write
    /// it takes longer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// Lets every replica read all of its rows at one index of the log, which also finds what a disk has changed.
    #[arg(long)]
    rows: bool,
    /// Deletes a replica that differs from a majority and lets it be filled again, one after the other. Implies `--rows`.
    #[arg(long)]
    repair: bool,
}

// === impl Audit ===

impl Audit {
    pub(super) async fn run(self) -> Result<(), Error> {
        let mut clients = Vec::new();
        for url in &self.url {
            clients.push(NodeClient::new(url, self.token_file.as_deref())?);
        }
        let patience = Duration::from_secs(self.wait);
        if self.rows || self.repair {
            return rows::audit(&clients[0], patience, self.repair).await;
        }
        let given_up = Instant::now() + patience;
        let mut samples = ReplicaSamples::default();
        loop {
            for client in &clients {
                samples.add(&client.json("/v1/cluster").await?);
            }
            if let Some(difference) = samples.difference() {
                return Err(Error::Audit(difference.describe()));
            }
            let uncompared = samples.uncompared();
            if uncompared.is_empty() {
                println!(
                    "the replicas of {} shards are equal at one index",
                    samples.replicas.len()
                );
                return Ok(());
            }
            if Instant::now() > given_up {
                return Err(Error::Audit(format!(
                    "no difference, but some replicas were never at one index with another one: {}; \
                     give every node by --url, and repeat while fewer clients write",
                    describe(&uncompared)
                )));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
