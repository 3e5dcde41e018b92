//! State machine of the meta group, whose only row is the cluster map.

use bytes::Bytes;
use storage::Transaction;

use crate::ids::META_TABLE;
use crate::shard::cluster_map::{ClusterMap, KEY, MapChangeResult};
use crate::state_machine::{CommittedBatch, StateMachine};

/// State machine of the meta group: applies [`MapChange`](crate::shard::MapChange)s.
#[derive(Debug)]
pub(crate) struct MapStateMachine;

// === impl MapStateMachine ===

impl StateMachine for MapStateMachine {
    fn apply(&self, tx: &mut Transaction, batch: &CommittedBatch<'_>) -> Result<Vec<Bytes>, storage::Error> {
        let stored = tx.get(META_TABLE, KEY)?;
        let mut map = match stored.as_deref().map(ClusterMap::decode) {
            None => ClusterMap::default(),
            Some(Ok(map)) => map,
            Some(Err(error)) => {
                // Refused on every replica alike. An error would stop the meta group's replica on each node.
                let refused = MapChangeResult::Refused {
                    reason: error.to_string(),
                }
                .encode();
                return Ok(vec![refused; batch.commands.len()]);
            }
        };
        let before = map.version;
        let outcomes = batch
            .commands
            .iter()
            .map(|command| match postcard::from_bytes(command) {
                Ok(change) => map.apply(change).encode(),
                Err(error) => MapChangeResult::Refused {
                    reason: error.to_string(),
                }
                .encode(),
            })
            .collect();
        // Refused changes leave the rows as they are.
        if map.version != before {
            tx.put(META_TABLE, KEY, &map.encode());
        }
        Ok(outcomes)
    }
}
