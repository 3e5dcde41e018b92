//! Actor of one conversation on the shard owner: started by the first command, stopped when idle.
//!
//! Spine: step 5 of 13. Previous: `node: shard_client/command_queue`. Next: `node: shard/batch`.
//!
//! Queue: the mailbox of the shard's actor, bounded by 1,024 messages, and its commands without a response, by 16,384.
//! Further batches get `Busy`, and the command queue of their node sends them again. Metric: `command_queue_restarts`.
//!
//! The actor prechecks commands and passes them to the shard's batch. Only the shard's rows, written by the state
//! machine in log order, are authoritative. All state is a `PrecheckCache`, which a new actor builds again. The shard's
//! actor shares the cache and updates it with the outcomes; both run on one thread.

use std::cell::RefCell;
use std::rc::Rc;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use protocol::ConversationId;
use tracing::debug;

use super::context::ShardContext;
use super::inbound_batch::PendingCommand;
use super::messages::{Passivate, ProposeCommands};
use super::precheck::{self, PrecheckCache};
use super::queries::rows;
use crate::rpc::submit::CommandReply;

/// Mailbox capacity: more messages than the shard sends at once, which is one per inbound batch.
const MAILBOX: usize = 4096;

pub(crate) struct ConversationActor {
    conv: ConversationId,
    core: Rc<ShardContext>,
    cache: Rc<RefCell<PrecheckCache>>,
}

// === impl ConversationActor ===

impl ConversationActor {
    /// Starts the actor on the shard's thread.
    pub(crate) fn launch(
        conv: ConversationId,
        core: Rc<ShardContext>,
        cache: Rc<RefCell<PrecheckCache>>,
    ) -> Addr<ConversationActor> {
        ConversationActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            ConversationActor { conv, core, cache }
        })
    }
}

impl ConversationActor {
    /// Sends cached responses after a proof that no other node owned the shard when the commands arrived. Without the
    /// proof the commands fail with `NotOwner`.
    fn answer_while_owner(&self, known: Vec<(PendingCommand, CommandReply)>, ctx: &mut Context<Self>) {
        let core = self.core.clone();
        let proof = async move {
            match core.shared.client.cluster() {
                Some(cluster) => cluster.readable(core.shard, core.epoch).await.is_ok(),
                None => false,
            }
        };
        // Spawned instead of `ctx.wait`: the proof takes a round trip and must not hold up other commands.
        ctx.spawn(proof.into_actor(self).map(move |proved, actor, _| {
            let core = &actor.core;
            for (pending, answer) in known {
                // Checked again: an earlier command of the stream may have been lost during the proof.
                if proved && pending.alive() {
                    core.shared.client.metrics.prechecked.inc();
                    pending.answer(answer);
                } else {
                    pending.fail(core.shared.client.not_owner(core.shard));
                }
            }
        }));
    }
}

impl Actor for ConversationActor {
    type Context = Context<Self>;

    /// Reads the conversation's row; commands stay in the mailbox meanwhile.
    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(state) = self
            .core
            .shared
            .client
            .cluster()
            .map(|cluster| cluster.state(self.core.shard))
        else {
            return;
        };
        // Read in the pool, because this thread serves all actors of the shard.
        let (conv, pool) = (self.conv.clone(), self.core.shared.reads.clone());
        let read = async move { pool.run(move || rows::exists(&state, &conv)).await };
        ctx.wait(read.into_actor(self).map(|found, actor, _| match found {
            Ok(Ok(exists)) => actor.cache.borrow_mut().activated(exists),
            // Not fatal: the state machine decides without the precheck.
            Ok(Err(error)) => {
                debug!(conv = %actor.conv, %error, "conversation started without reading its row")
            }
            Err(refused) => {
                debug!(conv = %actor.conv, ?refused, "conversation started without reading its row")
            }
        }));
    }
}

impl Handler<ProposeCommands> for ConversationActor {
    type Result = ();

    fn handle(&mut self, commands: ProposeCommands, ctx: &mut Context<Self>) {
        let mut known = Vec::new();
        let mut cache = self.cache.borrow_mut();
        for pending in commands.0 {
            // A late command of a failed stream must not be answered before an earlier command that was lost.
            let alive = pending.alive();
            if let Some(answer) = precheck::too_large(pending.bytes.len()).filter(|_| alive) {
                self.core.shared.client.metrics.prechecked.inc();
                pending.answer(answer);
                continue;
            }
            match cache.answers(&pending.header) {
                Some(answer) if alive => known.push((pending, answer)),
                _ => {
                    // Commands of a failed stream go the same way; they are dropped before they are proposed.
                    cache.proposed(&pending.header);
                    self.core.batch.push(pending);
                }
            }
        }
        drop(cache);
        if !known.is_empty() {
            self.answer_while_owner(known, ctx);
        }
    }
}

#[cfg(test)]
impl Handler<super::messages::Panic> for ConversationActor {
    type Result = ();

    fn handle(&mut self, _: super::messages::Panic, _: &mut Context<Self>) {
        panic!("panic requested by a test");
    }
}

impl Handler<Passivate> for ConversationActor {
    type Result = ();

    fn handle(&mut self, _: Passivate, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
