//! Receiving side of the groups: requests of the Raft and snapshot connections.
//!
//! Path of a message: step 8 of 13.
//!
//! Appends of one peer and group pass through one stream, in order, so that several share one flush. A stream ends at
//! the first conflict or higher vote; the appends behind it are refused, and the leader sends them again.

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
use crate::ids::NodeId;
use crate::raft::group::Group;
use crate::raft::network::RaftMethod;
use crate::raft::snapshot::{ImportStep, Imports, SnapshotData};
use crate::raft::state_machine::AppliedPosition;
use crate::raft::{Raft, Snapshot, SnapshotMeta, TypeConfig, codec};
use crate::transport::Responder;

/// Maximum number of queued appends of one peer and group; the sender's pipeline is smaller.
const APPEND_QUEUE: usize = 256;

/// Server of Raft requests for all groups of this node.
pub(crate) struct RpcServer {
    imports: Arc<Imports>,
    tasks: TaskTracker,
    started: Instant,
    queues: Mutex<HashMap<(NodeId, ShardId), Appends>>,
    /// Sender and time of the last leadership transfer of each group.
    transfers: Mutex<HashMap<ShardId, (NodeId, Instant)>>,
}

/// Append queue of one peer and group.
struct Appends {
    queue: mpsc::Sender<Append>,
    /// Time of the last append.
    last: Instant,
}

type Append = (AppendEntriesRequest<TypeConfig>, Responder);

// === impl RpcServer ===

impl RpcServer {
    pub(crate) fn new(imports: Imports, tasks: TaskTracker) -> RpcServer {
        RpcServer {
            imports: Arc::new(imports),
            tasks,
            started: Instant::now(),
            queues: Mutex::default(),
            transfers: Mutex::default(),
        }
    }

    /// Handles one request. `find` returns the group of a shard, if this node has a replica.
    pub(crate) fn handle(
        &self,
        from: NodeId,
        method: u16,
        mut body: Bytes,
        reply: Responder,
        find: impl FnOnce(ShardId) -> Option<Group>,
    ) {
        let (Some(method), Ok(shard)) = (RaftMethod::from_wire(method), body.try_get_u16()) else {
            return reply.send(Err(Bytes::from_static(b"malformed raft request")));
        };
        let shard = ShardId(shard);
        let Some(group) = find(shard) else {
            return reply.send(Err(Bytes::from_static(b"no replica of this shard here")));
        };
        // Answered on the connection's own task, without the group's task or the disk: every consistent read waits for
        // it.
        if method == RaftMethod::Promised {
            return reply.send(Ok(Bytes::copy_from_slice(&group.promised().to_be_bytes())));
        }
        let raft = group.raft();
        // Queued here instead of in a task: tasks would not keep the order of arrival.
        if method == RaftMethod::Append {
            return self.append(from, shard, raft, &body, reply);
        }
        if method == RaftMethod::TransferLeader {
            self.transfers.lock().insert(shard, (from, Instant::now()));
        }
        let imports = self.imports.clone();
        self.tasks.spawn(async move {
            let answer = match method {
                RaftMethod::Vote => run(&body, |q| async move { raft.vote(q).await.map_err(other) }).await,
                RaftMethod::PreVote => {
                    run(&body, |q| async move { raft.pre_vote(q).await.map_err(other) }).await
                }
                RaftMethod::TransferLeader => {
                    run(&body, |q| async move {
                        raft.handle_transfer_leader(q).await.map_err(other)
                    })
                    .await
                }
                RaftMethod::Snapshot => snapshot_step(&imports, raft, from, shard, &body).await,
                RaftMethod::Append | RaftMethod::Promised => Err(other("answered above")),
            };
            reply.send(answer.map_err(|error| Bytes::from(error.to_string())));
        });
    }

    /// Returns the time since the last append of any leader of the group; since the start if there was none.
    pub(crate) fn quiet(&self, shard: ShardId) -> Duration {
        let queues = self.queues.lock();
        let of_shard = queues.iter().filter(|((_, of), _)| *of == shard);
        let last = of_shard.map(|(_, appends)| appends.last).max();
        last.unwrap_or(self.started).elapsed()
    }

    /// Returns the time since the last append of a node to the group; `None` if there was none.
    pub(crate) fn since_append(&self, from: NodeId, shard: ShardId) -> Option<Duration> {
        let queues = self.queues.lock();
        queues.get(&(from, shard)).map(|appends| appends.last.elapsed())
    }

    /// Returns the time since the last transfer of the group's leadership, if it came from that node.
    pub(crate) fn handed_over(&self, from: NodeId, shard: ShardId) -> Option<Duration> {
        let transfers = self.transfers.lock();
        let (sender, at) = transfers.get(&shard)?;
        (*sender == from).then(|| at.elapsed())
    }

    /// Removes the append queues of a stopped group; their tasks end.
    pub(crate) fn forget(&self, shard: ShardId) {
        self.queues.lock().retain(|&(_, of), _| of != shard);
    }

    /// Removes the append queues of all groups; their tasks end, so that a shutdown does not wait for them.
    pub(crate) fn forget_all(&self) {
        self.queues.lock().clear();
    }

    fn append(&self, from: NodeId, shard: ShardId, raft: Raft, body: &Bytes, reply: Responder) {
        let request: AppendEntriesRequest<TypeConfig> = match codec::decode(body) {
            Ok(request) => request,
            Err(error) => return reply.send(Err(Bytes::from(error.to_string()))),
        };
        // Held until the request is queued, so that requests keep their order of arrival.
        let mut queues = self.queues.lock();
        let appends = queues.entry((from, shard)).or_insert_with(|| Appends {
            queue: self.open_appends(raft.clone()),
            last: Instant::now(),
        });
        appends.last = Instant::now();
        match appends.queue.try_send((request, reply)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full((_, reply))) => {
                // The leader resends after this refusal; waiting here would block the peer's other groups.
                reply.send(Err(Bytes::from_static(b"append queue full")));
            }
            Err(mpsc::error::TrySendError::Closed(append)) => {
                // The group was stopped and started again, which ended the task of the old queue.
                let fresh = self.open_appends(raft);
                if let Err(error) = fresh.try_send(append) {
                    error
                        .into_inner()
                        .1
                        .send(Err(Bytes::from_static(b"append queue closed")));
                }
                appends.queue = fresh;
            }
        }
    }

    fn open_appends(&self, raft: Raft) -> mpsc::Sender<Append> {
        let (sender, receiver) = mpsc::channel(APPEND_QUEUE);
        self.tasks.spawn(append_task(raft, receiver));
        sender
    }
}

/// Passes one peer's appends to the group, stream after stream.
async fn append_task(raft: Raft, mut appends: mpsc::Receiver<Append>) {
    loop {
        let (requests, stream) = mpsc::channel(APPEND_QUEUE);
        let stream = futures::stream::unfold(stream, |mut stream| async move {
            stream.recv().await.map(|request| (request, stream))
        });
        let mut results = Box::pin(raft.stream_append(Box::pin(stream)));
        let mut waiting: VecDeque<Responder> = VecDeque::new();
        loop {
            tokio::select! {
                // Bounded by the results as well: appends that wait for the disk must not pile up in memory.
                append = appends.recv(), if waiting.len() < APPEND_QUEUE => {
                    let Some((request, reply)) = append else { return };
                    waiting.push_back(reply);
                    // Never waits: the channel holds as many requests as may wait for results.
                    if requests.send(request).await.is_err() {
                        break;
                    }
                }
                result = results.next() => {
                    // A conflict, a higher vote or an error ends openraft's stream; what follows needs a new one.
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
        // These appends were not handled. Without a refusal the leader would wait for its timeout before it resends.
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
        ImportStep::Begin => blocking(move || imports.begin(shard, from)).await??,
        ImportStep::Chunk { number, rows } => {
            blocking(move || imports.add(shard, from, number, &rows)).await??;
        }
        ImportStep::Finish {
            chunks,
            applied,
            vote,
        } => {
            let import = imports.take(shard, from, chunks)?;
            // The complete import leaves the table first: a repeated last step then fails instead of installing twice.
            let position: AppliedPosition = codec::decode(&applied)?;
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
