//! `rookery backup`: backups of a cluster in a directory or a bucket, and `rookery restore`.

mod create;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use self::create::Create;
use self::report::{bytes, seconds};
use super::Error;
use crate::backup::{BackupDirectory, BackupTarget, restore, verify};

/// Arguments of `rookery backup`.
#[derive(Args)]
pub(super) struct Backup {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Subcommand)]
enum BackupCommand {
    /// Adds a backup of a running cluster, or of a stopped node, to a directory or bucket. Stores only what is not there yet.
    Create(Create),
    /// Reads every file of a backup and compares lengths, checksums and rows. Needs no node.
    Verify(Verify),
    /// Lists the backups of a directory, the oldest first.
    List(List),
    /// Removes old backups, and the files that no other backup needs.
    Prune(Prune),
}

/// Arguments of `rookery backup verify`.
#[derive(Args)]
struct Verify {
    /// Directory of the backups, or `s3://BUCKET/PREFIX`.
    #[arg(value_name = "TARGET")]
    target: BackupTarget,
    /// Name of a backup, as `list` prints it; default: the newest one.
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
}

/// Arguments of `rookery backup list`.
#[derive(Args)]
struct List {
    /// Directory of the backups, or `s3://BUCKET/PREFIX`.
    #[arg(value_name = "TARGET")]
    target: BackupTarget,
}

/// Arguments of `rookery backup prune`.
#[derive(Args)]
struct Prune {
    /// Directory of the backups, or `s3://BUCKET/PREFIX`.
    #[arg(value_name = "TARGET")]
    target: BackupTarget,
    /// Number of the newest backups that stay.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

/// Arguments of `rookery restore`.
#[derive(Args)]
pub(super) struct Restore {
    /// Directory of the backups, or `s3://BUCKET/PREFIX`.
    #[arg(value_name = "TARGET")]
    target: BackupTarget,
    /// Data directory to write: it must be empty or not exist.
    #[arg(long, value_name = "NEWDIR")]
    data: PathBuf,
    /// Name of a backup, as `rookery backup list` prints it; default: the newest one.
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
}

// === impl Backup ===

impl Backup {
    pub(super) async fn run(self) -> Result<(), Error> {
        match self.command {
            BackupCommand::Create(create) => create.run().await,
            BackupCommand::Verify(verify) => verify.run(),
            BackupCommand::List(list) => list.run(),
            BackupCommand::Prune(prune) => prune.run(),
        }
    }
}

// === impl Verify, List, Prune ===

impl Verify {
    fn run(self) -> Result<(), Error> {
        let began = Instant::now();
        let verified = verify(&BackupDirectory::open(&self.target)?, self.backup.as_deref())?;
        let (rows, size) = verified.manifest.size();
        println!(
            "backup {} is whole: {} shards, {rows} rows, {}, read in {}",
            verified.name,
            verified.manifest.shards.len(),
            bytes(size),
            seconds(began.elapsed()),
        );
        Ok(())
    }
}

impl List {
    fn run(self) -> Result<(), Error> {
        let directory = BackupDirectory::open(&self.target)?;
        for name in directory.backups()? {
            let (_, manifest) = directory.backup(Some(&name))?;
            let (rows, size) = manifest.size();
            println!(
                "{name}  cluster {}  {} shards  {rows} rows  {}  {}",
                manifest.cluster,
                manifest.shards.len(),
                bytes(size),
                if manifest.includes_keys {
                    "with keys"
                } else {
                    "without keys"
                },
            );
        }
        Ok(())
    }
}

impl Prune {
    fn run(self) -> Result<(), Error> {
        let directory = BackupDirectory::create(&self.target)?;
        let names = directory.backups()?;
        let keep = usize::try_from(self.keep).unwrap_or(usize::MAX);
        let old = &names[..names.len().saturating_sub(keep)];
        for name in old {
            directory.remove_backup(name)?;
        }
        let (files, size) = directory.sweep()?;
        println!("removed {} backups, {files} files, {}", old.len(), bytes(size));
        Ok(())
    }
}

// === impl Restore ===

impl Restore {
    pub(super) fn run(self) -> Result<(), Error> {
        let began = Instant::now();
        let directory = BackupDirectory::open(&self.target)?;
        // Never 0, which means no cluster.
        let cluster = rand::random::<u64>() | 1;
        let restored = restore(&directory, self.backup.as_deref(), &self.data, cluster)?;
        let (rows, size) = restored.manifest.size();
        println!(
            "restored backup {} of cluster {} into {}: {} shards, {rows} rows, {}, in {}",
            restored.name,
            restored.manifest.cluster,
            self.data.display(),
            restored.manifest.shards.len(),
            bytes(size),
            seconds(began.elapsed()),
        );
        let corrected = restored.corrected;
        println!(
            "corrected in users' shards: {} memberships, {} blocks, {} positions, {} devices",
            corrected.memberships, corrected.blocks, corrected.positions, corrected.devices,
        );
        println!(
            "new cluster {:016x}, with one node: start it with this storage.dir, then let others join it",
            restored.cluster,
        );
        if !restored.manifest.includes_keys {
            eprintln!(
                "rookery: the backup holds no keys: a cluster with [login] makes new ones, with other user ids for its \
                 login identifiers, and back ends need new API keys"
            );
        }
        Ok(())
    }
}

/// Returns the time in milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
