//! What the actors of a shard are told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Message;
use bytes::Bytes;
use cluster::NodeId;

use super::batch::{BatchReply, Pending};
use super::streams::StreamId;
use crate::conversation::recent::About;
use crate::conversation::timeline::{Outcome, Published};
use crate::rpc::register::{Register, Unregister};

/// To the shard: a batch of a lane.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Submit {
    /// The lane's stream.
    pub(crate) from: StreamId,
    /// The batch's number in it.
    pub(crate) number: u64,
    /// The commands.
    pub(crate) commands: Vec<Bytes>,
    /// Who waits.
    pub(crate) reply: BatchReply,
}

/// To the shard: a node wants deliveries.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Enrol {
    /// The node.
    pub(crate) node: NodeId,
    /// What it wants.
    pub(crate) wants: Register,
    /// Who waits.
    pub(crate) reply: cluster::Reply,
}

/// To the shard: a node wants some deliveries no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Withdraw {
    /// The node.
    pub(crate) node: NodeId,
    /// What it wants no more.
    pub(crate) what: Unregister,
    /// Who waits.
    pub(crate) reply: cluster::Reply,
}

/// To the shard: an event that is in no log, for everybody who listens.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Typed(pub(crate) About, pub(crate) Published);

/// To the shard: the log has decided a round of commands.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Round {
    /// The commands, as they were proposed.
    pub(crate) commands: Vec<Pending>,
    /// What became of them.
    pub(crate) result: Result<cluster::Committed, cluster::ProposeError>,
}

/// To a conversation: commands of one batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Publish(pub(crate) Vec<Pending>);

/// To a conversation: what became of some of its commands, in log order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Settle {
    commands: VecDeque<(Pending, Outcome)>,
    /// Set when this is dropped before all of it was handled: events were lost.
    lost: Arc<AtomicBool>,
    handled: bool,
}

/// To a conversation that had nothing to do for a while: forget everything.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Passivate;

/// To a conversation, or to the shard for one of its conversations: die.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Panic(pub(crate) protocol::ConvId);

// === impl Settle ===

impl Settle {
    pub(crate) fn new(lost: &Arc<AtomicBool>) -> Settle {
        Settle {
            commands: VecDeque::new(),
            lost: lost.clone(),
            handled: false,
        }
    }

    pub(crate) fn push(&mut self, pending: Pending, outcome: Outcome) {
        self.commands.push_back((pending, outcome));
    }

    /// Hands out everything, in order.
    pub(crate) fn each(mut self, mut settle: impl FnMut(Pending, Outcome)) {
        while let Some((pending, outcome)) = self.commands.pop_front() {
            settle(pending, outcome);
        }
        self.handled = true;
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if !self.handled {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}
