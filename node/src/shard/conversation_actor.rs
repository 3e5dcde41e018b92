//! Actor of one conversation on the shard owner: started by the first command, stopped when idle.
//!
//! The actor caches and prechecks. Only the shard's rows, written by the state machine in log order, are authoritative.
//! All state of the actor is a `PrecheckCache`, which a new actor builds again.

use std::rc::Rc;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use protocol::ConversationId;
use tracing::debug;

use super::apply_results::{self, answer_of};
use super::context::ShardContext;
use super::inbound_batch::PendingCommand;
use super::messages::{ApplyResults, Passivate, ProposeCommands};
use super::precheck::{self, PrecheckCache};
use super::queries::rows;
use crate::rpc::submit::CommandReply;
use crate::state_machine::ShardOutcome;

/// Mailbox capacity: more messages than the shard sends at once (one per inbound batch and one per applied batch).
const MAILBOX: usize = 4096;

pub(crate) struct ConversationActor {
    conv: ConversationId,
    core: Rc<ShardContext>,
    memory: PrecheckCache,
}

// === impl ConversationActor ===

impl ConversationActor {
    /// Starts the actor on the shard's thread.
    pub(crate) fn launch(conv: ConversationId, core: Rc<ShardContext>) -> Addr<ConversationActor> {
        ConversationActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            ConversationActor {
                conv,
                core,
                memory: PrecheckCache::default(),
            }
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
            Ok(Ok(exists)) => actor.memory.activated(exists),
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
        for pending in commands.0 {
            // A late command of a failed stream must not be answered before an earlier command that was lost.
            let alive = pending.alive();
            if let Some(answer) = precheck::too_large(pending.bytes.len()).filter(|_| alive) {
                self.core.shared.client.metrics.prechecked.inc();
                pending.answer(answer);
                continue;
            }
            match self.memory.answers(&pending.header) {
                Some(answer) if alive => known.push((pending, answer)),
                _ => {
                    // Commands of a failed stream go the same way; they are dropped before they are proposed.
                    self.memory.proposed(&pending.header);
                    self.core.propose(pending);
                }
            }
        }
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

impl Handler<ApplyResults> for ConversationActor {
    type Result = ();

    fn handle(&mut self, results: ApplyResults, _: &mut Context<Self>) {
        let (core, memory) = (&self.core, &mut self.memory);
        results.each(|pending, outcome| {
            if let ShardOutcome::Conversation(applied) = &outcome {
                for event in &applied.events {
                    memory.published(event);
                }
            }
            memory.decided(&pending.header, &answer_of(&outcome));
            apply_results::on_applied(core, pending, outcome);
        });
    }
}

impl Handler<Passivate> for ConversationActor {
    type Result = ();

    fn handle(&mut self, _: Passivate, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
