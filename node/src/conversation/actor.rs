//! The actor of one conversation, on the node that owns its shard: started by the first command, forgotten when idle.
//!
//! A cache and a gate, never the authority: what is true is in the shard's rows, written by the
//! [rules](super::timeline) in log order. All it holds is a `Memory`, which a new actor builds again.

use std::rc::Rc;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use protocol::ConvId;
use tracing::debug;

use super::committed::{self, answer_of};
use super::publish::{self, Memory, Peek};
use super::reads::rows;
use super::shard::batch::Pending;
use super::shard::core::Core;
use super::shard::messages::{Passivate, Publish, Settle};
use super::timeline::Outcome;
use crate::rpc::submit::Answer;

/// More messages than the shard lets in at once (one per batch and one per round).
const MAILBOX: usize = 4096;

/// One conversation.
pub(crate) struct ConversationActor {
    conv: ConvId,
    core: Rc<Core>,
    memory: Memory,
}

// === impl ConversationActor ===

impl ConversationActor {
    /// Starts the actor on the shard's thread.
    pub(crate) fn launch(conv: ConvId, core: Rc<Core>) -> Addr<ConversationActor> {
        ConversationActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            ConversationActor {
                conv,
                core,
                memory: Memory::default(),
            }
        })
    }
}

impl ConversationActor {
    /// Gives answers that are right only if no other node has owned the shard before they were asked for.
    fn answer_while_owner(&self, known: Vec<(Pending, Answer)>, ctx: &mut Context<Self>) {
        let core = self.core.clone();
        let proof = async move {
            match core.shared.cluster() {
                Some(cluster) => cluster.readable(core.shard, core.epoch).await.is_ok(),
                None => false,
            }
        };
        ctx.spawn(proof.into_actor(self).map(move |proved, actor, _| {
            let core = &actor.core;
            for (pending, answer) in known {
                if proved && pending.alive() {
                    core.shared.metrics.prechecked.inc();
                    pending.answer(answer);
                } else {
                    pending.fail(core.shared.not_owner(core.shard));
                }
            }
        }));
    }
}

impl Actor for ConversationActor {
    type Context = Context<Self>;

    /// Reads the row; commands wait for it in the mailbox.
    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(state) = self
            .core
            .shared
            .cluster()
            .map(|cluster| cluster.state(self.core.shard))
        else {
            return;
        };
        let (conv, pool) = (self.conv.clone(), self.core.shared.reads.clone());
        let read = async move { pool.run(move || rows::exists(&state, &conv)).await };
        ctx.wait(read.into_actor(self).map(|found, actor, _| match found {
            Ok(Ok(exists)) => actor.memory.activated(exists),
            // The rules decide without the help of this actor.
            Ok(Err(error)) => debug!(conv = %actor.conv, %error, "conversation activated without its row"),
            Err(refused) => debug!(conv = %actor.conv, ?refused, "conversation activated without its row"),
        }));
    }
}

impl Handler<Publish> for ConversationActor {
    type Result = ();

    fn handle(&mut self, commands: Publish, ctx: &mut Context<Self>) {
        let mut known = Vec::new();
        for pending in commands.0 {
            let bytes = pending.bytes.clone();
            // Not ahead of an earlier command that is lost.
            let alive = pending.alive();
            if let Some(answer) = publish::too_large(bytes.len()).filter(|_| alive) {
                self.core.shared.metrics.prechecked.inc();
                pending.answer(answer);
                continue;
            }
            let peek = Peek::read(&bytes).ok();
            let answer = peek.as_ref().and_then(|peek| self.memory.answers(peek));
            match answer {
                Some(answer) if alive => known.push((pending, answer)),
                _ => {
                    if let Some(peek) = &peek {
                        self.memory.proposed(peek);
                    }
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
impl Handler<super::shard::messages::Panic> for ConversationActor {
    type Result = ();

    fn handle(&mut self, _: super::shard::messages::Panic, _: &mut Context<Self>) {
        panic!("a test wants this actor to die");
    }
}

impl Handler<Settle> for ConversationActor {
    type Result = ();

    fn handle(&mut self, settle: Settle, _: &mut Context<Self>) {
        let (core, memory) = (&self.core, &mut self.memory);
        settle.each(|pending, outcome| {
            if let Outcome::Done(applied) = &outcome {
                for event in &applied.events {
                    memory.published(event);
                }
            }
            if let Ok(peek) = Peek::read(&pending.bytes) {
                memory.decided(&peek, &answer_of(&outcome));
            }
            committed::settle(core, pending, outcome);
        });
    }
}

impl Handler<Passivate> for ConversationActor {
    type Result = ();

    fn handle(&mut self, _: Passivate, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
