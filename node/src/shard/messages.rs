//! Messages to the shard actor and the conversation actors.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Message;
use bytes::Bytes;
use cluster::NodeId;

use super::inbound_batch::{BatchReply, PendingCommand};
use super::recent::RecentSubject;
use crate::rpc::register::{RegisterInterest, UnregisterInterest};
use crate::rpc::submit::BatchStreamId;
use crate::state_machine::{EventEnvelope, ShardOutcome};

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

/// To a conversation: the outcomes of some of its commands, in log order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ApplyResults {
    commands: VecDeque<(PendingCommand, ShardOutcome)>,
    /// Set if this message is dropped before it is handled: its events are lost.
    lost: Arc<AtomicBool>,
    handled: bool,
}

/// To an idle conversation: stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Passivate;

/// To a conversation, or to the shard for one of its conversations: panic.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Panic(pub(crate) protocol::ConversationId);

// === impl ApplyResults ===

impl ApplyResults {
    pub(crate) fn new(lost: &Arc<AtomicBool>) -> ApplyResults {
        ApplyResults {
            commands: VecDeque::new(),
            lost: lost.clone(),
            handled: false,
        }
    }

    pub(crate) fn push(&mut self, pending: PendingCommand, outcome: ShardOutcome) {
        self.commands.push_back((pending, outcome));
    }

    /// Calls `apply` for each command, in log order.
    pub(crate) fn each(mut self, mut apply: impl FnMut(PendingCommand, ShardOutcome)) {
        while let Some((pending, outcome)) = self.commands.pop_front() {
            apply(pending, outcome);
        }
        // Last: a panic of the closure must count as a loss.
        self.handled = true;
    }
}

impl Drop for ApplyResults {
    fn drop(&mut self) {
        if !self.handled {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}
