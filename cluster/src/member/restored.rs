//! First member of a restored cluster: what the data directory holds beside the rows of an archive.
//!
//! The directory is that of the only member of a new cluster, in which every shard begins behind the position of the
//! archive. Further nodes join it as they join any cluster, and get their replicas by snapshot transfers. Indexes
//! continue: versions of rows are log indexes, and must not occur twice.

use bytes::Bytes;
use storage::{ShardId, SnapshotImport, Store};

use crate::error::Error;
use crate::ids::{FeatureLevel, META_SHARD, NodeId, ShardPosition, shard_name};
use crate::member::join;
use crate::raft::{read_position, single_member_position, write_log};
use crate::shard::{ClusterMap, MapChange, MapChangeResult};

/// Id of the member, as that of a bootstrapping node.
const FIRST: NodeId = NodeId(1);

/// Returns the cluster id and the number of shards of the member whose store this is; `None` if it is of no member.
///
/// # Errors
/// If a record of the member is damaged.
pub fn stored_cluster(store: &Store) -> Result<Option<(u64, u16)>, Error> {
    let Some((cluster, _)) = join::identity(store)? else {
        return Ok(None);
    };
    let map = ClusterMap::load(&store.state(META_SHARD))?;
    let map = map.map_or_else(|| join::saved_map(store), Ok)?;
    Ok(Some((
        cluster,
        u16::try_from(map.shards.len()).unwrap_or(u16::MAX),
    )))
}

/// Decodes the position of an export.
///
/// # Errors
/// The replica has applied nothing, or its record is damaged.
pub fn position(shard: ShardId, applied: Option<&Bytes>) -> Result<ShardPosition, Error> {
    let empty = || failed(shard, "the replica has applied nothing");
    read_position(applied.ok_or_else(empty)?)
        .map_err(|error| failed(shard, &error.to_string()))?
        .ok_or_else(empty)
}

/// Installs the imported rows of a shard, as those of a replica at `position`. Blocks for two fsyncs.
///
/// # Errors
/// If the store refuses a write.
pub fn restore_shard(
    store: &Store,
    shard: ShardId,
    import: SnapshotImport,
    position: &ShardPosition,
) -> Result<(), Error> {
    let io = |error: std::io::Error| failed(shard, &error.to_string());
    import.finish(single_member_position(position, FIRST).map_err(io)?)?;
    write_log(&store.log(shard), position, FIRST).map_err(io)
}

/// Makes the store that of the only member of a new cluster with this id. Call it last: it completes the directory.
///
/// # Errors
/// If the store refuses a write.
pub fn found_cluster(store: &Store, cluster: u64, shards: u16) -> Result<(), Error> {
    let io = |error: std::io::Error| failed(META_SHARD, &error.to_string());
    let mut map = ClusterMap::default();
    let created = map.apply(MapChange::Create {
        cluster,
        shards,
        // The node corrects both at its start.
        addr: String::new(),
        zone: String::new(),
        supported_level: FeatureLevel::SUPPORTED,
    });
    if !matches!(created, MapChangeResult::Done { .. }) {
        return Err(failed(META_SHARD, "the cluster map could not be created"));
    }
    let position = ShardPosition {
        index: 1,
        term: 1,
        level: FeatureLevel::SUPPORTED,
        digest: 0,
    };
    let mut transaction = store.state(META_SHARD).transaction();
    map.save(&mut transaction);
    transaction.commit(single_member_position(&position, FIRST).map_err(io)?)?;
    write_log(&store.log(META_SHARD), &position, FIRST).map_err(io)?;
    join::record_member(store, cluster, FIRST, &map)
}

fn failed(shard: ShardId, reason: &str) -> Error {
    Error::Raft {
        shard: shard_name(shard),
        reason: reason.to_owned(),
    }
}
