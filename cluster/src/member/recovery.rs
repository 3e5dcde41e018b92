//! Recovery from a lost majority: a surviving node becomes the only member of its cluster.
//!
//! A group whose majority is lost for good can neither commit nor change its members. An operator who accepts the loss
//! starts one surviving node with this recovery. Before its groups start, each gets a membership of this node alone;
//! when they lead, the other members are removed from the map, and are refused if they return. Other nodes then join as
//! new ones.
//!
//! A message that only the lost nodes had is lost, although it was acknowledged: a majority had it, to which this node
//! need not have belonged. Entries that were never acknowledged may become messages. etcd (`--force-new-cluster`) and
//! CockroachDB (`debug recover`) offer the same.

use std::sync::Arc;
use std::time::Duration;

use storage::Store;

use crate::config::Config;
use crate::error::Error;
use crate::ids::{NodeDuty, NodeId, shard_name};
use crate::member::Member;
use crate::member::contacts::introduction_of;
use crate::raft::LogStore;
use crate::shard::{ClusterMap, MapChange, MapChangeResult};
use crate::transport::Transport;

/// Time limit of the question whether another member runs.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Pause between two attempts to remove a member.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes this node the only voter of every group on its disk.
///
/// # Errors
/// [`Error::RecoveryRefused`] if another member runs or a shard has no replica here, and errors of the disk.
pub(super) async fn make_sole_voter_of_all(
    config: &Config,
    (me, map): (NodeId, &ClusterMap),
    store: &Store,
    transport: &dyn Transport,
) -> Result<(), Error> {
    if map.nodes.is_empty() {
        return refused("the data directory has no cluster map".to_owned());
    }
    let asks = map
        .nodes
        .values()
        .filter(|node| node.id != me && node.addr != config.advertise)
        .map(async |node| {
            let met = introduction_of(&node.addr, transport, ATTEMPT).await;
            met.is_some_and(|met| met.cluster == map.cluster).then_some(node)
        });
    // Its groups may have a majority with others that this node does not reach: two clusters would come out of one.
    if let Some(running) = futures::future::join_all(asks).await.into_iter().flatten().next() {
        return refused(format!("node {} runs at {}", running.id, running.addr));
    }
    let stored = store.shards()?;
    if let Some(missing) = map.all_shards().find(|shard| !stored.contains(shard)) {
        return refused(format!("shard {} has no replica here", shard_name(missing)));
    }
    for shard in stored {
        let made = LogStore::make_sole_voter(store.log(shard), me.0).await;
        let last = made.map_err(|error| Error::Raft {
            shard: shard_name(shard),
            reason: error.to_string(),
        })?;
        tracing::warn!(
            shard = shard_name(shard),
            last,
            "shard continues from this replica alone; what only lost nodes had is lost"
        );
    }
    Ok(())
}

/// Removes all other members from the map, until none is left or the member stops.
pub(super) async fn remove_others(member: Arc<Member>) {
    let me = member.id();
    while member.map().duty(me) != NodeDuty::Replicas {
        let stays = MapChange::SetDuty {
            node: me,
            duty: NodeDuty::Replicas,
        };
        // As below. The last member with replicas could not remove the others.
        if member.change_or_reason(stays).await.is_ok() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = member.stopping().cancelled() => return,
        }
    }
    while let Some(node) = member.others().first().copied() {
        // Anything else: the meta group has yet to elect this node, or the new map is not adopted yet.
        if let Ok(MapChangeResult::Done { .. }) = member.change(MapChange::Remove { node }).await {
            tracing::warn!(%node, "lost member removed");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = member.stopping().cancelled() => return,
        }
    }
    tracing::warn!("this node is the only member; restart it without the recovery, then add nodes");
}

fn refused(reason: String) -> Result<(), Error> {
    Err(Error::RecoveryRefused { reason })
}
