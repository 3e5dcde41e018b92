//! Snapshots of a replica: building one from its rows, and installing one of another replica.

use std::io;

use openraft::storage::RaftSnapshotBuilder;

use super::{AppliedPosition, StateMachineStore};
use crate::blocking::blocking;
use crate::raft::snapshot::{self, SnapshotData};
use crate::raft::{Snapshot, SnapshotMeta, TypeConfig, codec};

/// Snapshot builder. The rows themselves are the snapshot, so it only syncs them and returns the position up to which
/// the log may be purged.
pub(crate) struct SnapshotBuilder {
    snapshot: Snapshot,
}

// === impl SnapshotBuilder ===

impl SnapshotBuilder {
    pub(super) fn new(snapshot: Snapshot) -> SnapshotBuilder {
        SnapshotBuilder { snapshot }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let SnapshotData::Local(state) = &self.snapshot.snapshot else {
            return Err(io::Error::other("a received snapshot cannot be built"));
        };
        // The log may be purged up to here afterwards, so the rows must survive a power cut from now on.
        let state = state.clone();
        let rows = state.clone();
        blocking(move || rows.sync()).await?.map_err(io::Error::other)?;
        Ok(Snapshot {
            meta: self.snapshot.meta.clone(),
            snapshot: SnapshotData::Local(state),
        })
    }
}

// === impl StateMachineStore: snapshots ===

impl StateMachineStore {
    pub(super) fn snapshot(&self) -> Snapshot {
        let meta = SnapshotMeta {
            last_log_id: self.applied.last,
            last_membership: self.applied.membership.clone(),
        };
        Snapshot {
            meta,
            snapshot: SnapshotData::Local(self.state.clone()),
        }
    }

    /// Replaces the rows and the position by those of a snapshot.
    pub(super) async fn install(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (import, applied) = match snapshot {
            SnapshotData::Received { import, applied } => (import, applied),
            // openraft installs the replica's own position at start; its rows are already in place.
            SnapshotData::Local(_) if meta.last_log_id == self.applied.last => return Ok(()),
            SnapshotData::Local(other) => snapshot::copy(other, self.state.clone()).await?,
        };
        // Decoded before the rows become visible: a snapshot with a damaged position must not be installed.
        let position: AppliedPosition = codec::decode(&applied)?;
        blocking(move || import.finish(applied))
            .await?
            .map_err(io::Error::other)?;
        tracing::info!(shard = %self.shard, index = meta.last_log_id.map(|l| l.index), "snapshot installed");
        let replaced = self.applied.owner;
        self.applied = position;
        let standing = self.applied.standing();
        *self.standing.lock() = standing;
        self.copies.reached(standing.applied);
        // The snapshot may skip takeovers; an owner deposed by a skipped one must be deactivated here.
        if replaced != self.applied.owner {
            self.watcher.taken_over(self.shard, self.applied.owner, replaced);
        }
        self.watcher.changed(self.shard);
        Ok(())
    }
}
