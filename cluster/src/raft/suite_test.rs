//! openraft's own conformance suite, run on this log store and state machine over RocksDB.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use storage::{ShardId, Store, TableCatalog, Transaction};

use crate::ids::ShardOwner;
use crate::raft::TypeConfig;
use crate::raft::log_store::LogStore;
use crate::raft::state_machine::{ApplyObserver, StateMachineStore};
use crate::state_machine::{CommittedBatch, StateMachine, StateMachineError};

struct Builder;

struct Silent;

/// Owns the temporary directory and closes the store on drop, before the directory is deleted.
struct Guard {
    store: Store,
    _directory: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.store.close();
    }
}

impl StateMachine for Silent {
    fn apply(
        &self,
        _: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError> {
        Ok(batch.commands.to_vec())
    }
}

impl ApplyObserver for Silent {
    fn taken_over(&self, _: ShardId, _: ShardOwner, _: ShardOwner) {}
    fn changed(&self, _: ShardId) {}
    fn applied(&self, _: Duration) {}
}

impl StoreBuilder<TypeConfig, LogStore, StateMachineStore, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, StateMachineStore), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(TableCatalog::new(&[]), &storage::Config::small(directory.path())).unwrap();
        let shard = ShardId(3);
        let log = LogStore::open(store.log(shard)).unwrap();
        // The suite applies entries that it never appended: they count as flushed.
        let flushed = tokio::sync::watch::channel(u64::MAX).1;
        let machine = StateMachineStore::open(
            shard,
            store.state(shard),
            Arc::new(Silent),
            Arc::new(Silent),
            flushed,
            crate::ids::FeatureLevel::SUPPORTED,
        );
        Ok((
            Guard {
                store,
                _directory: directory,
            },
            log,
            machine.unwrap(),
        ))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_store_passes_openrafts_own_suite() {
    Suite::test_all(Builder).await.unwrap();
}
