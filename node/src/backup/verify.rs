//! Verification of a backup: every file that its manifest lists, and every row in them.

use storage::{ArchiveChunk, RowSummary};

use super::BackupError;
use super::directory::BackupDirectory;
use super::manifest::Manifest;
use super::shard_entry::{RowSet, RowTotals};
use crate::state_machine::TABLES;

/// Backup without a defect.
#[derive(Debug)]
pub(crate) struct VerifiedBackup {
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
}

/// Reads every chunk of a backup, the newest one without a name.
///
/// # Errors
/// The first defect, with the file at fault.
pub(crate) fn verify(directory: &BackupDirectory, name: Option<&str>) -> Result<VerifiedBackup, BackupError> {
    let (name, manifest) = directory.backup(name)?;
    for shard in &manifest.shards {
        for (is_key, set) in shard.row_sets() {
            let mut total = RowSummary::default();
            for bytes in directory.chunks(set, is_key) {
                let rows = ArchiveChunk::read(TABLES, &bytes?)?;
                total = total.and(rows);
            }
            check_totals(directory, shard.shard, set, total)?;
        }
    }
    Ok(VerifiedBackup { name, manifest })
}

/// Compares the rows that were read with the manifest.
///
/// # Errors
/// [`BackupError::Damaged`] if they differ.
pub(super) fn check_totals(
    directory: &BackupDirectory,
    shard: u16,
    set: &RowSet,
    found: RowSummary,
) -> Result<(), BackupError> {
    if RowTotals::from(found) == set.totals {
        return Ok(());
    }
    let reason = format!(
        "the rows of shard {shard} do not match the manifest: {} rows instead of {}, or other ones",
        found.rows, set.totals.rows
    );
    Err(BackupError::damaged(&directory.path(), reason))
}
