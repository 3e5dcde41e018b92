//! Collection of one shard into a directory of backups.

use bytes::Bytes;
use storage::{ArchiveChunk, RowSummary};

use super::BackupError;
use super::directory::BackupDirectory;
use super::frame::{Frame, ShardEnd, ShardHead};
use super::shard_entry::{RowSet, RowTotals, ShardEntry};
use crate::state_machine::TABLES;

/// Shard that is being collected.
pub(crate) struct ShardCollector<'d> {
    directory: &'d BackupDirectory,
    head: Option<ShardHead>,
    rows: Collected,
    keys: Collected,
    ended: Option<ShardEnd>,
    /// Bytes of the chunks that the directory did not hold before.
    pub(crate) new_bytes: u64,
}

#[derive(Default)]
struct Collected {
    summary: RowSummary,
    set: RowSet,
}

// === impl ShardCollector ===

impl<'d> ShardCollector<'d> {
    pub(crate) fn new(directory: &'d BackupDirectory) -> ShardCollector<'d> {
        ShardCollector {
            directory,
            head: None,
            rows: Collected::default(),
            keys: Collected::default(),
            ended: None,
            new_bytes: 0,
        }
    }

    /// Adds a frame, in the order of the response. Blocks on the disk.
    ///
    /// # Errors
    /// [`BackupError::Response`] for a frame that is damaged or not in its place.
    pub(crate) fn add(&mut self, frame: Frame) -> Result<(), BackupError> {
        if self.ended.is_some() || self.head.is_some() == matches!(frame, Frame::Head(_)) {
            return Err(BackupError::Response("a frame is not in its place".to_owned()));
        }
        match frame {
            Frame::Head(head) => self.head = Some(head),
            Frame::Rows(chunk) => self.add_chunk(&chunk, false)?,
            Frame::Keys(chunk) => self.add_chunk(&chunk, true)?,
            Frame::End(end) => self.ended = Some(end),
        }
        Ok(())
    }

    /// Returns the head of the response, and the entry of the manifest.
    ///
    /// # Errors
    /// [`BackupError::Response`]: the response ended early, or rows were lost on the way.
    pub(crate) fn finish(self, taken_ms: u64) -> Result<(ShardHead, ShardEntry), BackupError> {
        let (Some(head), Some(end)) = (self.head, self.ended) else {
            return Err(BackupError::Response("it ended early".to_owned()));
        };
        let Collected { summary, set: rows } = self.rows;
        let Collected {
            summary: key_summary,
            set: keys,
        } = self.keys;
        let received = ShardEnd {
            rows: summary.into(),
            keys: end.keys.map(|_| RowTotals::from(key_summary)),
        };
        if received != end || (end.keys.is_none() && key_summary.rows > 0) {
            return Err(BackupError::Response(
                "its rows do not match their digest".to_owned(),
            ));
        }
        let totals = |set: RowSet, totals: RowTotals| RowSet { totals, ..set };
        let entry = ShardEntry {
            shard: head.shard,
            taken_ms,
            index: head.index,
            term: head.term,
            feature_level: head.feature_level,
            digest: head.digest,
            rows: totals(rows, end.rows),
            keys: end.keys.map(|end| totals(keys, end)),
        };
        Ok((head, entry))
    }

    fn add_chunk(&mut self, chunk: &Bytes, is_key: bool) -> Result<(), BackupError> {
        // Every row is decoded: a chunk that cannot be restored must fail the backup and not the restore.
        let summary = ArchiveChunk::read(TABLES, chunk).map_err(|e| BackupError::Response(e.to_string()))?;
        let (entry, is_new) = self.directory.add_chunk(chunk, is_key)?;
        let collected = if is_key { &mut self.keys } else { &mut self.rows };
        collected.summary = collected.summary.and(summary);
        collected.set.chunks.push(entry);
        if is_new {
            self.new_bytes += entry.bytes;
        }
        Ok(())
    }
}
