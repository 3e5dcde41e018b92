//! `rookery backup create`: reads every shard through one node, or from the data directory of a stopped one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use http_body_util::BodyExt;

use super::now_ms;
use super::report::{bytes, seconds};
use crate::backup::{
    BackupDirectory, BackupError, BackupTarget, FrameDecoder, Manifest, ShardCollector, ShardEntry,
    collect_from_data,
};
use crate::cli::node_client::NodeClient;
use crate::cli::{Error, ctl};

/// Attempts to read a shard: its owner may change, or the node may be restarted meanwhile.
const ATTEMPTS: u32 = 6;
/// Pause before the second attempt; it doubles with each one.
const RETRY: Duration = Duration::from_millis(500);

/// Arguments of `rookery backup create`.
#[derive(Args)]
pub(super) struct Create {
    /// Directory of the backups, which is created if it does not exist, or `s3://BUCKET/PREFIX`. The credentials of a
    /// bucket are taken from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, its server from AWS_REGION or
    /// AWS_ENDPOINT_URL.
    #[arg(value_name = "TARGET")]
    target: BackupTarget,
    /// Address of the port for operators of a node: `http://HOST:PORT`. May be repeated: the first node that can be reached
    /// is asked. The admin token, of the role operate, is taken from `--token-file` or ROOKERY_ADMIN_TOKEN.
    #[arg(
        long,
        env = "ROOKERY_URL",
        value_delimiter = ',',
        default_values = ctl::DEFAULT_URLS,
        value_parser = ctl::http_url
    )]
    url: Vec<String>,
    /// File with the admin token of the node.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Data directory of a stopped node, read instead of a running cluster.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Includes key material: signing keys and pepper of `[login]`, refresh and device tokens, API keys. Everyone who
    /// can read the backup can then sign tokens of any user.
    #[arg(long)]
    include_keys: bool,
    /// Maximum bytes per second that are read from the cluster, as `8MiB`; default: as fast as `cluster.snapshot_rate`
    /// permits. Lower it if the backup costs the clients too much.
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<u64>,
}

/// Pace of a transfer, over all shards.
struct Pace {
    rate: Option<u64>,
    received: u64,
    began: Instant,
}

/// Cluster as its node describes it.
struct ClusterShape {
    cluster: String,
    shards: u16,
}

// === impl Create ===

impl Create {
    pub(super) async fn run(self) -> Result<(), Error> {
        let began = Instant::now();
        let (manifest, new_bytes, directory) = match &self.data {
            Some(data) => {
                let directory = BackupDirectory::create(&self.target)?;
                let backup = collect_from_data(&directory, data, self.include_keys, now_ms)?;
                for (shard, entries) in &backup.unapplied {
                    eprintln!(
                        "rookery: shard {shard}: the log has {entries} entries behind the rows, which are not in the \
                         backup; start the node and stop it again to apply them"
                    );
                }
                (backup.manifest, backup.new_bytes, directory)
            }
            None => {
                // Before the directory is created: without an answer there will be no backup.
                let (client, shape) = self.reach().await?;
                let directory = BackupDirectory::create(&self.target)?;
                let (manifest, new_bytes) = self.collect(&client, &shape, &directory).await?;
                (manifest, new_bytes, directory)
            }
        };
        let name = directory.add_backup(&manifest)?;
        let (rows, size) = manifest.size();
        println!(
            "backup {name} of cluster {}: {} shards, {rows} rows, {}, {} of it new, in {}",
            manifest.cluster,
            manifest.shards.len(),
            bytes(size),
            bytes(new_bytes),
            seconds(began.elapsed()),
        );
        if !self.include_keys {
            eprintln!(
                "rookery: without keys (--include-keys): a restored cluster with [login] has other user ids for its login \
                 identifiers"
            );
        }
        Ok(())
    }

    /// Returns the first node that can be reached, and what it tells of its cluster.
    async fn reach(&self) -> Result<(NodeClient, ClusterShape), Error> {
        for url in &self.url {
            let client = NodeClient::new(url, self.token_file.as_deref())?;
            match ClusterShape::of(&client).await {
                Ok(shape) => return Ok((client, shape)),
                Err(Error::Unreachable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unreachable(self.url.join(", ")))
    }

    async fn collect(
        &self,
        client: &NodeClient,
        shape: &ClusterShape,
        directory: &BackupDirectory,
    ) -> Result<(Manifest, u64), Error> {
        let mut manifest = Manifest::new(shape.cluster.clone(), self.include_keys, now_ms());
        let mut pace = Pace::of(self.rate);
        let mut new_bytes = 0;
        for shard in 0..shape.shards {
            let (mut attempt, mut pause) = (1, RETRY);
            let (entry, bytes) = loop {
                match self
                    .collect_shard(client, shape, directory, shard, &mut pace)
                    .await
                {
                    Ok(collected) => break collected,
                    Err(error) if attempt < ATTEMPTS && is_passing(&error) => {
                        eprintln!("rookery: shard {shard}: {error}; trying again");
                        tokio::time::sleep(pause).await;
                        (attempt, pause) = (attempt + 1, pause * 2);
                    }
                    Err(error) => return Err(error),
                }
            };
            manifest.shards.push(entry);
            new_bytes += bytes;
        }
        manifest.ended_ms = now_ms();
        Ok((manifest, new_bytes))
    }

    async fn collect_shard(
        &self,
        client: &NodeClient,
        shape: &ClusterShape,
        directory: &BackupDirectory,
        shard: u16,
        pace: &mut Pace,
    ) -> Result<(ShardEntry, u64), Error> {
        // Before the request: everything that was acknowledged until now is in the rows.
        let taken_ms = now_ms();
        let path = format!("/v1/admin/backups/shards/{shard}?keys={}", self.include_keys);
        let mut body = client.get(&path).await?.into_body();
        let broken = |reason: String| Error::Backup(BackupError::Response(reason));
        let (mut decoder, mut collector) = (FrameDecoder::default(), ShardCollector::new(directory));
        while let Some(part) = body.frame().await {
            let part = part.map_err(|error| broken(error.to_string()))?;
            let bytes = part.data_ref().map_or(&[][..], |data| &data[..]);
            decoder.push(bytes);
            pace.received(bytes.len()).await;
            while let Some(frame) = decoder.next().map_err(broken)? {
                collector.add(frame)?;
            }
        }
        if !decoder.is_empty() {
            return Err(broken("it ended within a frame".to_owned()));
        }
        let new_bytes = collector.new_bytes;
        let (head, entry) = collector.finish(taken_ms)?;
        if (&head.cluster, head.shards, head.shard) != (&shape.cluster, shape.shards, shard) {
            return Err(broken("it is of another cluster or shard".to_owned()));
        }
        Ok((entry, new_bytes))
    }
}

// === impl Pace ===

impl Pace {
    fn of(rate: Option<u64>) -> Pace {
        Pace {
            rate,
            received: 0,
            began: Instant::now(),
        }
    }

    /// Waits until the rate permits more. Meanwhile the connection is not read, so that the node sends no more, either.
    async fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
        if let Some(rate) = self.rate {
            let due = Duration::from_millis(self.received.saturating_mul(1_000) / rate);
            tokio::time::sleep(due.saturating_sub(self.began.elapsed())).await;
        }
    }
}

/// Parses a rate in bytes per second.
fn rate(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>()?.as_u64() {
        0 => Err("must be greater than 0".to_owned()),
        rate => Ok(rate),
    }
}

// === impl ClusterShape ===

impl ClusterShape {
    async fn of(client: &NodeClient) -> Result<ClusterShape, Error> {
        let status = client.json("/v1/cluster").await?;
        let cluster = status["cluster"].as_str().filter(|id| id.len() == 16);
        let shards = status["shards"].as_array().map(Vec::len);
        let shards = shards.and_then(|count| u16::try_from(count).ok());
        match (cluster, shards) {
            (Some(cluster), Some(shards)) if shards > 0 => Ok(ClusterShape {
                cluster: cluster.to_owned(),
                shards,
            }),
            _ => Err(Error::Refused {
                url: client.url().to_owned(),
                reason: "the node does not describe a cluster".to_owned(),
            }),
        }
    }
}

/// Returns true if a further attempt may succeed.
fn is_passing(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable(_) | Error::Refused { .. } | Error::Backup(BackupError::Response(_))
    )
}
