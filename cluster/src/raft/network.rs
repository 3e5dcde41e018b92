//! Sending side of a group: requests of one group to one other replica.
//!
//! Spine: step 8 of 13. Previous: `storage: writer`. Next: `cluster: transport`.
//!
//! Queue: the outgoing queue of the connection class `raft`, 64 MiB per peer for all groups, with at most 32 appends of
//! one group in flight. An append beyond the bound fails and Raft repeats it. Metrics: `transport_class_bytes`,
//! `transport_full`.
//!
//! Appends are pipelined: up to [`PIPELINE`] are in flight, answered in order. On the wire a request is the shard
//! (`u16`) and the request's [record](super::codec).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::Either;
use futures::{Stream, StreamExt, stream};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::ShardId;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::ids::NodeId;
use crate::raft::snapshot::{CHUNK_BYTES, ImportStep, SnapshotData};
use crate::raft::{Snapshot, TypeConfig, Vote, codec};
use crate::transport::{self, ConnectionClass, Transport};

/// Maximum number of appends of one group in flight to one replica.
const PIPELINE: usize = 32;
/// Time limit of one step of a snapshot transfer, which includes the write to the other disk.
const SNAPSHOT_STEP: Duration = Duration::from_secs(10);

/// Requests of the Raft and snapshot connections. The numbers are part of the wire protocol: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum RaftMethod {
    /// Entries, or a heartbeat without any.
    Append = 1,
    /// Vote request of a candidate.
    Vote = 2,
    /// Pre-vote request of a node: the receiver answers as to a vote request but records nothing.
    PreVote = 3,
    /// Leadership transfer to the receiver.
    TransferLeader = 4,
    /// Step of a snapshot transfer; the response to the last one is a [`SnapshotResponse`].
    Snapshot = 5,
    /// Request of a shard owner for the newest term that the replica has voted in or received; the response is a `u64`.
    Promised = 6,
}

/// Factory of the [`GroupNetwork`]s of one group.
pub(crate) struct Factory {
    pub(crate) shard: ShardId,
    pub(crate) transport: Arc<dyn Transport>,
    /// Time without a response after which the append stream is restarted.
    pub(crate) append_deadline: Duration,
    /// Rate limit of a snapshot in bytes per second.
    pub(crate) snapshot_rate: u64,
}

/// Client of one group's replica on another node.
pub(crate) struct GroupNetwork {
    shard: ShardId,
    target: NodeId,
    transport: Arc<dyn Transport>,
    append_deadline: Duration,
    snapshot_rate: u64,
}

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;

// === impl RaftMethod ===

impl RaftMethod {
    pub(crate) fn from_wire(number: u16) -> Option<RaftMethod> {
        [
            RaftMethod::Append,
            RaftMethod::Vote,
            RaftMethod::PreVote,
            RaftMethod::TransferLeader,
            RaftMethod::Snapshot,
            RaftMethod::Promised,
        ]
        .into_iter()
        .find(|&method| method as u16 == number)
    }
}

// === impl Factory ===

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = GroupNetwork;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> GroupNetwork {
        GroupNetwork {
            shard: self.shard,
            target: NodeId(target),
            transport: self.transport.clone(),
            append_deadline: self.append_deadline,
            snapshot_rate: self.snapshot_rate,
        }
    }
}

// === impl GroupNetwork ===

impl GroupNetwork {
    fn start<Q: Serialize>(
        &self,
        method: RaftMethod,
        request: &Q,
        deadline: Duration,
    ) -> impl Future<Output = RpcResult<Bytes>> + Send + 'static + use<Q> {
        // Snapshots have a connection of their own, so that a chunk never delays appends and heartbeats.
        let class = if method == RaftMethod::Snapshot {
            ConnectionClass::Snapshot
        } else {
            ConnectionClass::Raft
        };
        match frame(self.shard, request) {
            // The transport queues the request here, not when the future is polled: the pipeline keeps its order.
            Ok(body) => {
                let answer = self
                    .transport
                    .call(self.target, class, method as u16, body, deadline);
                Either::Left(async move { answer.await.map_err(into_rpc_error) })
            }
            Err(error) => Either::Right(std::future::ready(Err(unreachable(&error.to_string())))),
        }
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: RaftMethod,
        request: &Q,
        deadline: Duration,
    ) -> RpcResult<A> {
        answer(&self.start(method, request, deadline).await?)
    }

    async fn send_snapshot(&self, vote: Vote, snapshot: Snapshot) -> RpcResult<SnapshotResponse<TypeConfig>> {
        let SnapshotData::Local(state) = snapshot.snapshot else {
            return Err(unreachable("only a local snapshot can be sent"));
        };
        let failed = |error: storage::Error| unreachable(&error.to_string());
        let stopped = |error: std::io::Error| unreachable(&error.to_string());
        let mut export = blocking(move || state.export())
            .await
            .map_err(stopped)?
            .map_err(failed)?;
        let applied = export
            .applied()
            .ok_or_else(|| unreachable("no entry is applied yet"))?;
        // The receiver drops the remains of an interrupted transfer here.
        self.start(RaftMethod::Snapshot, &ImportStep::Begin, SNAPSHOT_STEP)
            .await?;
        let (mut number, mut sent, started) = (0, 0, Instant::now());
        loop {
            let chunk;
            // The export moves to the blocking thread and back: reading rows may wait for the disk.
            (export, chunk) = blocking(move || {
                let chunk = export.next_chunk(CHUNK_BYTES);
                (export, chunk)
            })
            .await
            .map_err(stopped)?;
            let Some(rows) = chunk.map_err(failed)? else { break };
            sent += rows.len() as u64;
            self.start(
                RaftMethod::Snapshot,
                &ImportStep::Chunk { number, rows },
                SNAPSHOT_STEP,
            )
            .await?;
            number += 1;
            // The limit applies to the whole transfer. Without it a snapshot would displace appends on the disk and the
            // network.
            let due = Duration::from_millis(sent.saturating_mul(1000) / self.snapshot_rate.max(1));
            tokio::time::sleep_until(started + due).await;
        }
        let finish = ImportStep::Finish {
            chunks: number,
            applied,
            vote,
        };
        self.call(RaftMethod::Snapshot, &finish, SNAPSHOT_STEP).await
    }
}

impl RaftNetworkV2<TypeConfig> for GroupNetwork {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<TypeConfig>> {
        let result: StreamAppendResult<TypeConfig> =
            self.call(RaftMethod::Append, &request, option.hard_ttl()).await?;
        Ok(result.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        // openraft's limit can be shorter than an fsync of a slow disk, and a timeout restarts the whole stream.
        let deadline = self.append_deadline.max(option.hard_ttl());
        let answers = with_entries(input)
            .map(move |request| self.start(RaftMethod::Append, &request, deadline))
            .buffered(PIPELINE)
            .map(|result| answer(&result?));
        Box::pin(async move { Ok(Box::pin(answers) as BoxStream<'s, _>) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        self.call(RaftMethod::Vote, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        self.call(RaftMethod::PreVote, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // A cancelled transfer leaves an unfinished import at the receiver, which expires there.
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => Ok(sent?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        self.call(RaftMethod::TransferLeader, &request, option.hard_ttl())
            .await
    }
}

/// Removes appends without entries from the stream. They only carry the commit index, which the next append or
/// heartbeat carries, too. Sent immediately they would cost a request and a response per message and replica, while the
/// leader applies and acknowledges the message. An append that ends the stream is sent, because openraft waits for its
/// response. Responses are cumulative, so none is missing for the omitted ones.
fn with_entries<S>(input: S) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    stream::unfold(input.fuse(), |mut input| async {
        let mut bare = None;
        while let Some(request) = input.next().await {
            if !request.entries.is_empty() {
                return Some((request, input));
            }
            // Only the newest is kept: its commit index includes those of the others.
            bare = Some(request);
        }
        bare.map(|request| (request, input))
    })
}

fn frame<Q: Serialize>(shard: ShardId, request: &Q) -> std::io::Result<Bytes> {
    let record = codec::encode(request)?;
    let mut body = BytesMut::with_capacity(2 + record.len());
    body.put_u16(shard.0);
    body.put_slice(&record);
    Ok(body.freeze())
}

fn answer<A: DeserializeOwned>(bytes: &Bytes) -> RpcResult<A> {
    codec::decode(bytes).map_err(|error| unreachable(&error.to_string()))
}

/// Maps a transport error. openraft pauses after `Unreachable`, for a connection that is down, and retries after
/// `Network`, for one that has just broken.
fn into_rpc_error(error: transport::Error) -> RPCError<TypeConfig> {
    match error {
        transport::Error::Lost | transport::Error::Timeout => {
            RPCError::Network(NetworkError::from_string(error))
        }
        transport::Error::Refused(reason) => unreachable(&String::from_utf8_lossy(&reason)),
        transport::Error::Unreachable | transport::Error::Full | transport::Error::Closed => {
            unreachable(&error.to_string())
        }
    }
}

fn unreachable(reason: &str) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(reason))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::channel::mpsc;
    use openraft::EntryPayload;

    use super::*;
    use crate::raft::{Entry, LogId};

    fn request(commit: u64, entries: &[u64]) -> AppendEntriesRequest<TypeConfig> {
        let at = |index| LogId::new_term_index(1, index);
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: entries.first().and_then(|first| first.checked_sub(1)).map(at),
            entries: entries
                .iter()
                .map(|&index| Entry {
                    log_id: at(index),
                    payload: EntryPayload::Blank,
                })
                .collect(),
            leader_commit: Some(at(commit)),
        }
    }

    #[test]
    fn a_commit_rides_on_the_next_append() {
        let (requests, input) = mpsc::unbounded();
        let mut sent = Box::pin(with_entries(input));
        for next in [request(1, &[2]), request(2, &[]), request(3, &[])] {
            requests.unbounded_send(next).unwrap();
        }
        let first = sent.next().now_or_never().unwrap().unwrap();
        assert_eq!(first.entries.len(), 1);
        assert!(
            sent.next().now_or_never().is_none(),
            "nothing but a commit to send"
        );
        requests.unbounded_send(request(4, &[3, 4])).unwrap();
        let second = sent.next().now_or_never().unwrap().unwrap();
        assert_eq!(
            (second.entries.len(), second.leader_commit),
            (2, request(4, &[]).leader_commit)
        );
    }

    #[test]
    fn the_last_append_of_a_stream_is_sent_without_entries_too() {
        let requests = [request(1, &[2]), request(2, &[]), request(3, &[])];
        let sent = with_entries(stream::iter(requests)).collect::<Vec<_>>();
        let sent = sent.now_or_never().unwrap();
        let sizes: Vec<_> = sent.iter().map(|request| request.entries.len()).collect();
        assert_eq!(sizes, [1, 0]);
        assert_eq!(sent[1].leader_commit, request(3, &[]).leader_commit);
    }
}
