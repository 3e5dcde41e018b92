//! Backup of the data directory of a stopped node.

use std::path::Path;

use cluster::ShardId;
use storage::{RowSummary, ShardState, SnapshotExport, Store, TableId};

use super::BackupError;
use super::collector::ShardCollector;
use super::directory::BackupDirectory;
use super::frame::{Frame, ShardEnd, ShardHead};
use super::manifest::Manifest;
use crate::state_machine::{TABLES, is_key_material};

/// Backup of a data directory.
pub(crate) struct DataBackup {
    pub(crate) manifest: Manifest,
    pub(crate) new_bytes: u64,
    /// Shards whose log has entries behind the applied ones, with their number. They may be acknowledged and are not in
    /// the backup.
    pub(crate) unapplied: Vec<(u16, u64)>,
}

/// Collects every shard of a data directory, which no node may have open.
///
/// # Errors
/// The directory is in use or holds no replica of some shard.
pub(crate) fn collect_from_data(
    directory: &BackupDirectory,
    data: &Path,
    includes_keys: bool,
    now_ms: impl Fn() -> u64,
) -> Result<DataBackup, BackupError> {
    // A store creates what is missing, but a wrong path must not become a data directory.
    if !data.join("FORMAT").is_file() {
        let reason = format!("{} is no data directory: file FORMAT is missing", data.display());
        return Err(BackupError::Refused(reason));
    }
    let store = Store::open(TABLES, &storage::Config::small(data))?;
    let collected = collect(directory, &store, includes_keys, now_ms);
    store.close();
    collected
}

fn collect(
    directory: &BackupDirectory,
    store: &Store,
    includes_keys: bool,
    now_ms: impl Fn() -> u64,
) -> Result<DataBackup, BackupError> {
    let Some((cluster, shards)) = cluster::stored_cluster(store)? else {
        return Err(BackupError::Refused(
            "the data directory belongs to no cluster: no node was started with it".to_owned(),
        ));
    };
    let mut backup = DataBackup {
        manifest: Manifest::new(format!("{cluster:016x}"), includes_keys, now_ms()),
        new_bytes: 0,
        unapplied: Vec::new(),
    };
    for shard in (0..shards).map(ShardId) {
        let mut collector = ShardCollector::new(directory);
        let taken_ms = now_ms();
        collect_shard(
            &mut collector,
            &store.state(shard),
            cluster,
            shards,
            includes_keys,
        )?;
        backup.new_bytes += collector.new_bytes;
        let (_, entry) = collector.finish(taken_ms)?;
        let last = store.log(shard).bounds()?.map_or(0, |(_, last)| last);
        if last > entry.index {
            backup.unapplied.push((shard.0, last - entry.index));
        }
        backup.manifest.shards.push(entry);
    }
    backup.manifest.ended_ms = now_ms();
    Ok(backup)
}

fn collect_shard(
    collector: &mut ShardCollector<'_>,
    state: &ShardState,
    cluster: u64,
    shards: u16,
    includes_keys: bool,
) -> Result<(), BackupError> {
    let mut export = state.export()?;
    let position = cluster::position(state.shard(), export.applied().as_ref())?;
    let head = ShardHead::new(cluster, shards, state.shard().0, &position);
    collector.add(Frame::Head(head))?;
    let open = |table: TableId, key: &[u8]| !is_key_material(table, key);
    let rows = collect_rows(&mut export, &open, |chunk| collector.add(Frame::Rows(chunk)))?;
    let mut end = ShardEnd {
        rows: rows.into(),
        keys: None,
    };
    if includes_keys {
        export.rewind();
        let keys = collect_rows(&mut export, &is_key_material, |chunk| {
            collector.add(Frame::Keys(chunk))
        })?;
        end.keys = Some(keys.into());
    }
    collector.add(Frame::End(end))
}

fn collect_rows(
    export: &mut SnapshotExport,
    keep: &dyn Fn(TableId, &[u8]) -> bool,
    mut each: impl FnMut(bytes::Bytes) -> Result<(), BackupError>,
) -> Result<RowSummary, BackupError> {
    let mut total = RowSummary::default();
    while let Some(chunk) = export.next_archive_chunk(keep)? {
        total = total.and(chunk.summary);
        each(chunk.bytes.into())?;
    }
    Ok(total)
}
