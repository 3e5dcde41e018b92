//! Copies of owned shards that backups read chunk by chunk.
//!
//! A copy keeps old versions of rows from compaction, so their number is bounded and an idle one expires.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Responder, ShardId};
use parking_lot::Mutex;
use storage::{SnapshotExport, TableId};
use tokio::time::Instant;

use super::queries::serve::readable;
use super::shard_deps::ShardDeps;
use crate::rpc::{self, ExportRows, ExportedRows, RpcError};
use crate::state_machine::is_key_material;

/// Maximum number of copies on a node. A backup has one at a time.
const COPIES: usize = 8;
/// Time after which a copy that nobody reads is dropped.
const IDLE: Duration = Duration::from_secs(60);

/// Open copies of this node. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ShardExports {
    open: Arc<Mutex<HashMap<u64, Arc<Mutex<OpenExport>>>>>,
}

struct OpenExport {
    export: SnapshotExport,
    /// Kind of the rows that were read last.
    keys: bool,
    touched: Instant,
}

// === impl ShardExports ===

impl ShardExports {
    /// Serves a request in a task of its own.
    pub(crate) fn call(&self, shared: &Arc<ShardDeps>, body: &Bytes, reply: Responder) {
        let request: ExportRows = match rpc::decode(body) {
            Ok(request) => request,
            Err(error) => return reply.send(Err(rpc::encode(&RpcError::Bad(error.to_string())))),
        };
        let (exports, shared) = (self.clone(), shared.clone());
        let runtime = shared.reads.runtime().clone();
        runtime.spawn(async move {
            let answer = exports.serve(&shared, request).await;
            reply.send(match answer {
                Ok(answer) => Ok(rpc::encode(&answer)),
                Err(refused) => Err(rpc::encode(&refused)),
            });
        });
    }

    async fn serve(&self, shared: &Arc<ShardDeps>, request: ExportRows) -> Result<ExportedRows, RpcError> {
        match request {
            ExportRows::Open { shard } => self.open(shared, ShardId(shard)).await,
            ExportRows::Next { copy, keys } => {
                let Some(export) = self.open.lock().get(&copy).cloned() else {
                    return Ok(ExportedRows::Unknown);
                };
                shared.reads.run(move || export.lock().next(keys)).await?
            }
            ExportRows::Close { copy } => {
                self.open.lock().remove(&copy);
                Ok(ExportedRows::Closed)
            }
        }
    }

    async fn open(&self, shared: &Arc<ShardDeps>, shard: ShardId) -> Result<ExportedRows, RpcError> {
        if self.open.lock().len() >= COPIES {
            return Err(RpcError::Busy);
        }
        // Proved like a query, so that the copy contains every write acknowledged before.
        let state = readable(shared, shard).await?;
        let export = shared.reads.run(move || state.export()).await?;
        let export = export.map_err(|error| RpcError::Failed(error.to_string()))?;
        let position = cluster::position(shard, export.applied().as_ref())
            .map_err(|error| RpcError::Failed(error.to_string()))?;
        // Random, so that a request for a copy of an earlier process finds none.
        let copy: u64 = rand::random();
        let open = OpenExport {
            export,
            keys: false,
            touched: Instant::now(),
        };
        self.open.lock().insert(copy, Arc::new(Mutex::new(open)));
        shared.reads.runtime().spawn(self.clone().expire(copy));
        Ok(ExportedRows::Opened { copy, position })
    }

    /// Drops a copy once it is idle.
    async fn expire(self, copy: u64) {
        loop {
            tokio::time::sleep(IDLE).await;
            let mut open = self.open.lock();
            let Some(export) = open.get(&copy) else { return };
            // A locked copy is being read.
            let is_idle = export
                .try_lock()
                .is_some_and(|export| export.touched.elapsed() >= IDLE);
            if is_idle {
                open.remove(&copy);
                tracing::info!("copy of a shard expired: its backup was given up");
                return;
            }
        }
    }
}

// === impl OpenExport ===

impl OpenExport {
    fn next(&mut self, keys: bool) -> Result<ExportedRows, RpcError> {
        if self.keys != keys {
            self.export.rewind();
            self.keys = keys;
        }
        let keep = |table: TableId, key: &[u8]| is_key_material(table, key) == keys;
        let chunk = self.export.next_archive_chunk(&keep);
        self.touched = Instant::now();
        let chunk = chunk.map_err(|error| RpcError::Failed(error.to_string()))?;
        Ok(chunk.map_or(ExportedRows::End, |chunk| ExportedRows::Chunk {
            bytes: chunk.bytes.into(),
            rows: chunk.summary.rows,
            digest: chunk.summary.digest,
        }))
    }
}
