//! State machine of the meta group: the cluster map, and beside it the history of failovers.

use bytes::Bytes;
use storage::Transaction;

use crate::ids::META_TABLE;
use crate::shard::cluster_map::{ClusterMap, KEY};
use crate::shard::failover;
use crate::shard::map_change::MapChange;
use crate::state_machine::{CommittedBatch, StateMachine, StateMachineError, UndecodableCommand};

/// State machine of the meta group: applies [`MapChange`]s and notes of failovers.
#[derive(Debug)]
pub(crate) struct MapStateMachine;

// === impl MapStateMachine ===

impl StateMachine for MapStateMachine {
    fn apply(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError> {
        let stored = tx.get(META_TABLE, KEY)?;
        let mut map = match stored.as_deref().map(ClusterMap::decode) {
            None => ClusterMap::default(),
            Some(Ok(map)) => map,
            Some(Err(error)) => {
                return Err(StateMachineError::Undecodable(UndecodableCommand {
                    kind: None,
                    version: stored.as_deref().and_then(<[u8]>::first).copied().unwrap_or(0),
                    reason: error.to_string(),
                }));
            }
        };
        let before = map.version;
        let mut outcomes = Vec::with_capacity(batch.commands.len());
        for command in batch.commands {
            if failover::is_notes(command) {
                failover::append(tx, command)?;
                outcomes.push(Bytes::new());
                continue;
            }
            outcomes.push(map.apply(MapChange::decode(command)?).encode());
        }
        // Refused changes leave the rows as they are.
        if map.version != before {
            map.save(tx);
        }
        Ok(outcomes)
    }
}
