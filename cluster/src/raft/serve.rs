//! Step 8 of the life of a message, receiving side: requests of the Raft and snapshot lanes.
//!
//! Appends of one peer and group go through one stream, in order, so that a batch of them costs one flush and not one
//! flush each. A stream ends at the first conflict or higher vote; what was behind it is refused and sent again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use openraft::raft::{AppendEntriesRequest, SnapshotResponse, StreamAppendResult};
use parking_lot::Mutex;
use serde::Serialize;
use storage::ShardId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::blocking::blocking;
use crate::raft::group::Group;
use crate::raft::network::Method;
use crate::raft::snapshot::{Imports, SnapshotData, Step};
use crate::raft::state_machine::Applied;
use crate::raft::{Raft, Snapshot, SnapshotMeta, TypeConfig, codec};
use crate::transport::Reply;
use crate::types::NodeId;

/// Appends of one peer and group waiting here; the sender keeps fewer under way.
const LANE: usize = 256;

/// Serves the groups of this node.
pub(crate) struct Server {
    imports: Arc<Imports>,
    tasks: TaskTracker,
    started: Instant,
    lanes: Mutex<HashMap<(NodeId, ShardId), Appends>>,
}

/// The appends of one peer and group.
struct Appends {
    lane: mpsc::Sender<Append>,
    /// When the last came.
    last: Instant,
}

type Append = (AppendEntriesRequest<TypeConfig>, Reply);

// === impl Server ===

impl Server {
    pub(crate) fn new(imports: Imports, tasks: TaskTracker) -> Server {
        Server {
            imports: Arc::new(imports),
            tasks,
            started: Instant::now(),
            lanes: Mutex::default(),
        }
    }

    /// Takes one request; `find` gives the group of a shard, if this node has it.
    pub(crate) fn handle(
        &self,
        from: NodeId,
        method: u16,
        mut body: Bytes,
        reply: Reply,
        find: impl FnOnce(ShardId) -> Option<Group>,
    ) {
        let (Some(method), Ok(shard)) = (Method::from_wire(method), body.try_get_u16()) else {
            return reply.send(Err(Bytes::from_static(b"malformed raft request")));
        };
        let shard = ShardId(shard);
        let Some(group) = find(shard) else {
            return reply.send(Err(Bytes::from_static(b"no replica of this shard here")));
        };
        if method == Method::Promised {
            // At once: reads wait for it.
            return reply.send(Ok(Bytes::copy_from_slice(&group.promised().to_be_bytes())));
        }
        let raft = group.raft();
        if method == Method::Append {
            return self.append(from, shard, raft, &body, reply);
        }
        let imports = self.imports.clone();
        self.tasks.spawn(async move {
            let answer = match method {
                Method::Vote => run(&body, |q| async move { raft.vote(q).await.map_err(other) }).await,
                Method::PreVote => run(&body, |q| async move { raft.pre_vote(q).await.map_err(other) }).await,
                Method::TransferLeader => {
                    run(&body, |q| async move {
                        raft.handle_transfer_leader(q).await.map_err(other)
                    })
                    .await
                }
                Method::Snapshot => snapshot_step(&imports, raft, from, shard, &body).await,
                Method::Append | Method::Promised => Err(other("answered above")),
            };
            reply.send(answer.map_err(|error| Bytes::from(error.to_string())));
        });
    }

    /// How long no leader of the group has been heard here.
    pub(crate) fn quiet(&self, shard: ShardId) -> Duration {
        let lanes = self.lanes.lock();
        let of_shard = lanes.iter().filter(|((_, of), _)| *of == shard);
        let last = of_shard.map(|(_, appends)| appends.last).max();
        last.unwrap_or(self.started).elapsed()
    }

    /// Forgets a group that is gone.
    pub(crate) fn forget(&self, shard: ShardId) {
        self.lanes.lock().retain(|&(_, of), _| of != shard);
    }

    /// Forgets every group: ends the lanes, so that nobody waits for them.
    pub(crate) fn forget_all(&self) {
        self.lanes.lock().clear();
    }

    fn append(&self, from: NodeId, shard: ShardId, raft: Raft, body: &Bytes, reply: Reply) {
        let request: AppendEntriesRequest<TypeConfig> = match codec::decode(body) {
            Ok(request) => request,
            Err(error) => return reply.send(Err(Bytes::from(error.to_string()))),
        };
        let mut lanes = self.lanes.lock();
        let appends = lanes.entry((from, shard)).or_insert_with(|| Appends {
            lane: self.open_lane(raft.clone()),
            last: Instant::now(),
        });
        appends.last = Instant::now();
        match appends.lane.try_send((request, reply)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full((_, reply))) => {
                reply.send(Err(Bytes::from_static(b"append lane full")));
            }
            Err(mpsc::error::TrySendError::Closed(append)) => {
                // The group was stopped and started again: its lane is over, open another.
                let fresh = self.open_lane(raft);
                if let Err(error) = fresh.try_send(append) {
                    error
                        .into_inner()
                        .1
                        .send(Err(Bytes::from_static(b"append lane closed")));
                }
                appends.lane = fresh;
            }
        }
    }

    fn open_lane(&self, raft: Raft) -> mpsc::Sender<Append> {
        let (sender, receiver) = mpsc::channel(LANE);
        self.tasks.spawn(append_lane(raft, receiver));
        sender
    }
}

/// Feeds one peer's appends into the group, stream after stream.
async fn append_lane(raft: Raft, mut appends: mpsc::Receiver<Append>) {
    loop {
        let (requests, stream) = mpsc::channel(LANE);
        let stream = futures::stream::unfold(stream, |mut stream| async move {
            stream.recv().await.map(|request| (request, stream))
        });
        let mut results = Box::pin(raft.stream_append(Box::pin(stream)));
        let mut waiting: VecDeque<Reply> = VecDeque::new();
        loop {
            tokio::select! {
                append = appends.recv(), if waiting.len() < LANE => {
                    let Some((request, reply)) = append else { return };
                    waiting.push_back(reply);
                    if requests.send(request).await.is_err() {
                        break;
                    }
                }
                result = results.next() => {
                    let over = !matches!(result, Some(Ok(Ok(_))));
                    if let (Some(result), Some(reply)) = (result, waiting.pop_front()) {
                        let answer = result.map_err(other).and_then(|r: StreamAppendResult<TypeConfig>| codec::encode(&r));
                        reply.send(answer.map_err(|error| Bytes::from(error.to_string())));
                    }
                    if over {
                        break;
                    }
                }
            }
        }
        for reply in waiting {
            reply.send(Err(Bytes::from_static(b"append stream was reset")));
        }
    }
}

async fn run<Q, A, F>(body: &Bytes, serve: impl FnOnce(Q) -> F) -> io::Result<Bytes>
where
    Q: serde::de::DeserializeOwned,
    A: Serialize,
    F: Future<Output = io::Result<A>>,
{
    codec::encode(&serve(codec::decode(body)?).await?)
}

async fn snapshot_step(
    imports: &Arc<Imports>,
    raft: Raft,
    from: NodeId,
    shard: ShardId,
    body: &Bytes,
) -> io::Result<Bytes> {
    let imports = imports.clone();
    match codec::decode(body)? {
        Step::Begin => blocking(move || imports.begin(shard, from)).await??,
        Step::Chunk { number, rows } => {
            blocking(move || imports.add(shard, from, number, &rows)).await??;
        }
        Step::Finish {
            chunks,
            applied,
            vote,
        } => {
            let import = imports.take(shard, from, chunks)?;
            let position: Applied = codec::decode(&applied)?;
            let meta = SnapshotMeta {
                last_log_id: position.last,
                last_membership: position.membership,
            };
            let snapshot = Snapshot {
                meta,
                snapshot: SnapshotData::Received { import, applied },
            };
            let response: SnapshotResponse<TypeConfig> =
                raft.install_full_snapshot(vote, snapshot).await.map_err(other)?;
            return codec::encode(&response);
        }
    }
    Ok(Bytes::new())
}

fn other(error: impl ToString) -> io::Error {
    io::Error::other(error.to_string())
}
