//! Restoration: a backup becomes the data directory of the only member of a new cluster.
//!
//! The directory is written under another name and renamed at the end, so that no node can start with a part of it.

use std::fs;
use std::path::{Path, PathBuf};

use cluster::{FeatureLevel, ShardId};
use storage::{RowSummary, Store};

use super::BackupError;
use super::directory::BackupDirectory;
use super::local_files::sync_directory;
use super::manifest::Manifest;
use super::shard_entry::ShardEntry;
use super::verify::check_totals;
use crate::state_machine::{CorrectedRows, TABLES, correct_user_rows};

/// Block cache of the store, bytes.
const CACHE: usize = 128 << 20;
/// Free space below which nothing more is written, as in a node.
const RESERVE: u64 = 256 << 20;

/// Result of a restoration.
#[derive(Debug)]
pub(crate) struct RestoredBackup {
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
    /// Id of the new cluster.
    pub(crate) cluster: u64,
    pub(crate) corrected: CorrectedRows,
}

/// Restores a backup, the newest one without a name, into a directory that does not exist or is empty.
///
/// # Errors
/// The backup is damaged, of a newer build, or the directory cannot be written. The directory does not exist then.
pub(crate) fn restore(
    directory: &BackupDirectory,
    name: Option<&str>,
    data: &Path,
    cluster: u64,
) -> Result<RestoredBackup, BackupError> {
    let (name, manifest) = directory.backup(name)?;
    let newest = manifest.shards.iter().map(|shard| shard.feature_level).max();
    if newest > Some(FeatureLevel::SUPPORTED.0) {
        return Err(BackupError::Refused(format!(
            "the backup has feature level {}, this build supports {}: use a newer build",
            newest.unwrap_or_default(),
            FeatureLevel::SUPPORTED
        )));
    }
    let staged = free_path_beside(data)?;
    let corrected = fill(directory, &manifest, &staged, cluster).inspect_err(|_| {
        // Best effort: what is left is refused by the next attempt, with its name.
        let _removed = fs::remove_dir_all(&staged);
    })?;
    if data.exists() {
        // Empty, as `free_path_beside` has checked.
        fs::remove_dir(data).map_err(BackupError::file(data))?;
    }
    fs::rename(&staged, data).map_err(BackupError::file(data))?;
    // The new name is durable only with its directory.
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))?;
    Ok(RestoredBackup {
        name,
        manifest,
        cluster,
        corrected,
    })
}

/// Returns the path under which the data directory is written, beside its own, which must be free.
fn free_path_beside(data: &Path) -> Result<PathBuf, BackupError> {
    let refused =
        |path: &Path, reason: &str| Err(BackupError::Refused(format!("{} {reason}", path.display())));
    match fs::read_dir(data).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return refused(data, "is not empty: restore into a new directory"),
        Ok(false) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(BackupError::file(data)(error)),
    }
    let Some(name) = data.file_name() else {
        return refused(data, "has no name");
    };
    let mut staged = name.to_owned();
    staged.push(".restoring");
    let staged = data.with_file_name(staged);
    if staged.exists() {
        return refused(&staged, "is left from an interrupted restore: remove it");
    }
    Ok(staged)
}

fn fill(
    directory: &BackupDirectory,
    manifest: &Manifest,
    staged: &Path,
    cluster: u64,
) -> Result<CorrectedRows, BackupError> {
    let store = Store::open(TABLES, &storage::Config::new(staged, CACHE, RESERVE))?;
    for shard in &manifest.shards {
        restore_shard(directory, &store, shard)?;
    }
    let shards: Vec<_> = manifest
        .shards
        .iter()
        .map(|shard| (store.state(ShardId(shard.shard)), shard.index))
        .collect();
    let corrected = correct_user_rows(&shards, manifest.ended_ms)?;
    // Last: without it no node takes the directory for that of a member.
    let count = u16::try_from(manifest.shards.len()).unwrap_or(u16::MAX);
    cluster::found_cluster(&store, cluster, count)?;
    store.close();
    Ok(corrected)
}

fn restore_shard(directory: &BackupDirectory, store: &Store, entry: &ShardEntry) -> Result<(), BackupError> {
    let shard = ShardId(entry.shard);
    let mut import = store.state(shard).import()?;
    for (is_key, set) in entry.row_sets() {
        let mut total = RowSummary::default();
        for bytes in directory.chunks(set, is_key) {
            total = total.and(import.add_archived(&bytes?)?);
        }
        check_totals(directory, entry.shard, set, total)?;
    }
    import.complete();
    Ok(cluster::restore_shard(store, shard, import, &entry.position())?)
}
