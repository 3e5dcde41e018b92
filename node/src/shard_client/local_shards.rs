//! Shards that this node owns, as reached by the client without a detour over the network.

use bytes::Bytes;
use cluster::ShardId;
use protocol::UserId;
use tokio::sync::oneshot;

use crate::rpc::RpcError;
use crate::rpc::submit::{BatchSeq, CommandReplies};

/// Access to the shards of this node. The node's service implements it, so that the client depends on no actor.
pub(crate) trait LocalShards: Send + Sync {
    /// Enqueues a batch at the owner of the shard before the method returns, so batches keep their order. The receiver
    /// resolves with the responses, or with the refusal of a node that does not own the shard.
    fn submit(
        &self,
        shard: ShardId,
        position: BatchSeq,
        commands: Vec<Bytes>,
    ) -> oneshot::Receiver<Result<CommandReplies, RpcError>>;

    /// Returns, per user in the given order, true if the user has a connected session on any node. `None` if this node
    /// does not own the shard, or not all nodes have registered their sessions yet.
    fn live(&self, shard: ShardId, users: &[&UserId]) -> Option<Vec<bool>>;
}
