//! Messages to the shard actor and the conversation actors.

use actix::Message;
use bytes::Bytes;
use cluster::NodeId;

use super::inbound_batch::{BatchReply, PendingCommand};
use super::recent::RecentSubject;
use crate::rpc::register::{RegisterInterest, UnregisterInterest};
use crate::rpc::submit::BatchStreamId;
use crate::state_machine::EventEnvelope;

/// To the shard: a batch of a command queue.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SubmitBatch {
    pub(crate) from: BatchStreamId,
    pub(crate) number: u64,
    pub(crate) commands: Vec<Bytes>,
    pub(crate) reply: BatchReply,
}

/// To the shard: registration of a node's interest.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RegisterNode {
    pub(crate) node: NodeId,
    pub(crate) wants: RegisterInterest,
    pub(crate) reply: cluster::Responder,
}

/// To the shard: removal of a part of a node's interest.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct UnregisterNode {
    pub(crate) node: NodeId,
    pub(crate) what: UnregisterInterest,
    pub(crate) reply: cluster::Responder,
}

/// To the shard: an unlogged event for all current subscribers.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EphemeralEvent(pub(crate) RecentSubject, pub(crate) EventEnvelope);

/// To a conversation: its commands of one inbound batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ProposeCommands(pub(crate) Vec<PendingCommand>);

/// To an idle conversation: stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Passivate;

/// To a conversation, or to the shard for one of its conversations: panic.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Panic(pub(crate) protocol::ConversationId);

/// To the shard: panic in the next results of a conversation.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PanicInResults(pub(crate) protocol::ConversationId);
