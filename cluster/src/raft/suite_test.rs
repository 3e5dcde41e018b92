//! openraft's own conformance suite, run on this log store and state machine over RocksDB.

use std::sync::Arc;

use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use storage::{ShardId, Store, Transaction};

use crate::machine::{Batch, Machine};
use crate::ownership::Owner;
use crate::raft::TypeConfig;
use crate::raft::log_store::LogStore;
use crate::raft::state_machine::{StateMachine, Watcher};

struct Builder;

struct Silent;

/// Keeps the directory until the test is over, then closes the store.
struct Guard {
    store: Store,
    _directory: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.store.close();
    }
}

impl Machine for Silent {
    fn apply(&self, _: &mut Transaction, batch: &Batch<'_>) -> Result<Vec<Bytes>, storage::Error> {
        Ok(batch.commands.to_vec())
    }
}

impl Watcher for Silent {
    fn taken_over(&self, _: ShardId, _: Owner) {}
    fn changed(&self, _: ShardId) {}
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&storage::Config::small(directory.path())).unwrap();
        let shard = ShardId(3);
        let log = LogStore::open(store.log(shard)).unwrap();
        // The suite applies entries that it never appended: they count as flushed.
        let flushed = tokio::sync::watch::channel(u64::MAX).1;
        let machine = StateMachine::open(
            shard,
            store.state(shard),
            Arc::new(Silent),
            Arc::new(Silent),
            flushed,
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
