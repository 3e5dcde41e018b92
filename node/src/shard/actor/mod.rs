//! Actor of a shard owned by this node, alive for one epoch.
//!
//! Path of a message: step 5 of 13.
//!
//! Inbound: it admits batches by their batch streams, groups the commands by conversation and sends each
//! [conversation's actor](super::conversation_actor) its share in one message. Outbound: it updates the precheck caches
//! of the same actors and [acts on the results](super::apply_results), in log order.
//!
//! It owns the conversation actors: starts them on demand, stops idle ones and replaces one that panicked, whose state
//! can be read again.

mod sweep;

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use actix::fut::ActorFutureExt;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use cluster::{BatchResult, OwnedShard, ProposeError, Proposer};
use protocol::{ConversationId, ErrorCode};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::apply_results;
use super::background::{
    activity_dispatcher, erasure, login_gc, outbox_dispatcher, retention, webhook_dispatcher,
};
use super::batch::AppliedBatch;
use super::context::ShardContext;
use super::conversation_actor::ConversationActor;
use super::inbound_batch::{InboundBatch, PendingCommand};
use super::messages::{EphemeralEvent, ProposeCommands, RegisterNode, SubmitBatch, UnregisterNode};
use super::pending_header::PendingHeader;
use super::precheck::PrecheckCache;
use super::shard_deps::ShardDeps;
use crate::presence::registry;
use crate::rpc::RpcError;
use crate::state_machine::ShardOutcome;

/// Mailbox capacity of a shard's actor in messages (batches, registrations).
const MAILBOX: usize = 1_024;

/// Actor of one shard under one epoch.
pub(crate) struct ShardActor {
    core: Rc<ShardContext>,
    /// `None` while the batcher has it.
    proposer: Option<Proposer>,
    conversations: HashMap<ConversationId, ActorEntry>,
    /// Number of the current sweep; +1 each time.
    sweep: u64,
    tasks: Vec<JoinHandle<()>>,
    #[cfg(test)]
    panics_in: Option<ConversationId>,
}

/// Entry of a running conversation actor.
struct ActorEntry {
    addr: Addr<ConversationActor>,
    /// Shared with the actor.
    cache: Rc<RefCell<PrecheckCache>>,
    /// Sweep in which the actor last got a message.
    used: u64,
}

// === impl ShardActor ===

impl ShardActor {
    /// Starts the actor on its arbiter. The address is usable at once.
    pub(crate) fn launch(
        owned: OwnedShard,
        shared: &Arc<ShardDeps>,
        users: Arc<registry::SharedPresenceRegistry>,
        end: CancellationToken,
    ) -> Addr<ShardActor> {
        let arbiter = shared.arbiter(owned.shard).clone();
        let shared = shared.clone();
        ShardActor::start_in_arbiter(&arbiter, move |ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            ShardActor {
                core: ShardContext::new(owned.shard, owned.epoch, shared, users, end),
                proposer: Some(owned.proposer),
                conversations: HashMap::new(),
                sweep: 0,
                tasks: Vec::new(),
                #[cfg(test)]
                panics_in: None,
            }
        })
    }

    /// Returns the actor of a conversation; starts it if it is not running.
    fn conversation(&mut self, conv: &ConversationId) -> &mut ActorEntry {
        let known = self.conversations.get(conv);
        let dead = known.is_some_and(|live| !live.addr.connected());
        if dead {
            // The commands in its mailbox were dropped, which has failed their batch streams; their queues resend them.
            error!(shard = self.core.shard.0, %conv, "conversation actor panicked, restarting it");
            self.core.shared.client.metrics.actors_rebuilt.inc();
            self.conversations.remove(conv);
        }
        let (core, sweep) = (&self.core, self.sweep);
        let metrics = &core.shared.client.metrics;
        self.conversations.entry(conv.clone()).or_insert_with(|| {
            metrics.actors.inc();
            let cache: Rc<RefCell<PrecheckCache>> = Rc::default();
            ActorEntry {
                addr: ConversationActor::launch(conv.clone(), core.clone(), cache.clone()),
                cache,
                used: sweep,
            }
        })
    }

    /// Proposes the next batch. The one after it is built once this one is decided, without the streams that it failed.
    fn propose_next(&mut self, proposer: Proposer, ctx: &mut Context<Self>) {
        // A future of the actor, so that outcomes are passed on in log order and on the shard's thread.
        let next = super::batch::propose_next(self.core.clone(), proposer).into_actor(self);
        let _: SpawnHandle = ctx.spawn(next.map(|(proposer, applied), actor, ctx| {
            actor.on_decided(applied);
            actor.propose_next(proposer, ctx);
        }));
    }

    fn on_decided(&mut self, batch: AppliedBatch) {
        match batch.result {
            Ok(committed) => self.committed(batch.commands, committed),
            Err(error) => {
                debug!(shard = self.core.shard.0, %error, "batch failed");
                // Only commands with `Unknown` may have been applied; all others are certainly not in the log.
                let refused = match error {
                    ProposeError::Unknown => RpcError::Broken { unknown: true },
                    ProposeError::NoRoom | ProposeError::NoTime => RpcError::Busy,
                    ProposeError::NotOwner | ProposeError::Stopped => {
                        self.core.shared.client.not_owner(self.core.shard)
                    }
                };
                for pending in batch.commands {
                    pending.fail(refused.clone());
                }
            }
        }
    }

    /// Acts on the outcomes of one log entry, in log order.
    fn committed(&mut self, commands: Vec<PendingCommand>, committed: BatchResult) {
        self.core
            .shared
            .client
            .metrics
            .committed
            .inc_by(commands.len() as u64);
        debug_assert_eq!(
            commands.len(),
            committed.outcomes.len(),
            "one outcome per command"
        );
        for (pending, outcome) in commands.into_iter().zip(&committed.outcomes) {
            // An unreadable outcome refuses its command instead of failing the whole entry.
            let outcome = ShardOutcome::decode(outcome)
                .unwrap_or_else(|why| ShardOutcome::Refused(ErrorCode::Internal, why));
            let conv = pending.header.conversation().cloned();
            // Contained: a defect that one conversation meets must not end the actor of all others. The caught command
            // is dropped, which fails its batch stream, so that its queue sends it again.
            if catch_unwind(AssertUnwindSafe(|| self.on_applied(pending, outcome))).is_ok() {
                continue;
            }
            self.results_lost(conv);
        }
    }

    /// Makes up for the results of a command that panicked.
    fn results_lost(&self, conv: Option<ConversationId>) {
        error!(shard = self.core.shard.0, conv = ?conv, "results of a command panicked");
        self.core.shared.client.metrics.actors_rebuilt.inc();
        // Its events may be lost between commit and fan-out: every node then detects a gap and registers again.
        self.core.interest.borrow_mut().skip();
        // Its wake-ups may be lost, too; the rows that they announce are committed.
        self.core.outbox_wake.notify_one();
        self.core.hook_wake.notify_one();
        self.core.erasure_wake.notify_one();
        let Some(conv) = conv else { return };
        // The cache may be half updated. An empty one prechecks nothing, and so contradicts no row.
        if let Some(live) = self.conversations.get(&conv) {
            live.cache.borrow_mut().forget();
        }
        self.core.watch(conv);
    }

    /// Updates the precheck cache of the command's conversation, then responds and fans out.
    fn on_applied(&mut self, pending: PendingCommand, outcome: ShardOutcome) {
        let sweep = self.sweep;
        // A stopped actor has no cache to update; commands without a conversation have no actor.
        let conv = pending.header.conversation();
        if let Some(live) = conv.and_then(|conv| self.conversations.get_mut(conv)) {
            live.used = sweep;
            // Before the response: its client may send a command that the outdated cache would refuse, such as the
            // first message of a user who has just been invited.
            live.cache.borrow_mut().applied(&pending.header, &outcome);
        }
        #[cfg(test)]
        if self
            .panics_in
            .take_if(|conv| Some(&*conv) == pending.header.conversation())
            .is_some()
        {
            panic!("panic requested by a test");
        }
        apply_results::on_applied(&self.core, pending, outcome);
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        debug!(shard = self.core.shard.0, epoch = self.core.epoch, "shard active");
        ctx.run_interval(sweep::interval(&self.core.shared.settings), |actor, _| {
            actor.sweep()
        });
        let ended = self.core.end.clone().cancelled_owned();
        let _: SpawnHandle = ctx.spawn(ended.into_actor(self).map(|(), _, ctx| ctx.stop()));
        // Queued before any other command of this epoch: no message may be applied before the webhooks are on.
        webhook_dispatcher::announce(&self.core);
        if let Some(proposer) = self.proposer.take() {
            self.propose_next(proposer, ctx);
        }
        self.tasks
            .push(actix::spawn(outbox_dispatcher::run(self.core.clone())));
        self.tasks
            .push(actix::spawn(activity_dispatcher::run(self.core.clone())));
        self.tasks
            .push(actix::spawn(super::background::presence_maintenance::run(
                self.core.clone(),
            )));
        self.tasks.push(actix::spawn(retention::run(self.core.clone())));
        self.tasks.push(actix::spawn(login_gc::run(self.core.clone())));
        self.tasks.push(actix::spawn(erasure::run(self.core.clone())));
        self.tasks
            .push(actix::spawn(webhook_dispatcher::run(self.core.clone())));
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        debug!(
            shard = self.core.shard.0,
            epoch = self.core.epoch,
            "shard inactive"
        );
        // The tasks hold the context and would go on for an epoch that is over.
        for task in &self.tasks {
            task.abort();
        }
        self.core
            .shared
            .client
            .metrics
            .actors
            .dec_by(self.conversations.len() as i64);
        self.conversations.clear();
        let refused = self.core.shared.client.not_owner(self.core.shard);
        self.core.batch.fail(&refused);
    }
}

impl Handler<SubmitBatch> for ShardActor {
    type Result = ();

    fn handle(&mut self, submit: SubmitBatch, _: &mut Context<Self>) {
        let SubmitBatch {
            from,
            number,
            commands,
            reply,
        } = submit;
        // Checked before `admit`: a refusal that used up the batch seq would let the next batch overtake this one.
        if !self.core.batch.has_room(commands.len()) {
            return reply.send(Err(RpcError::Busy));
        }
        if !self.core.streams.lock().admit(from, number) {
            return reply.send(Err(RpcError::OutOfOrder));
        }
        let level = self.core.feature_level();
        let commands = InboundBatch::open(
            from,
            number,
            commands,
            |bytes| PendingHeader::validate(bytes, level),
            reply,
            &self.core.streams,
            &self.core.batch.load,
        );
        let mut shares: Vec<(ConversationId, Vec<PendingCommand>)> = Vec::new();
        for pending in commands {
            let Some(conv) = pending.header.conversation() else {
                self.core.batch.push(pending);
                continue;
            };
            // Searched from the end: commands of one conversation tend to follow each other.
            match shares.iter_mut().rfind(|(known, _)| known == conv) {
                Some((_, share)) => share.push(pending),
                None => shares.push((conv.clone(), vec![pending])),
            }
        }
        for (conv, share) in shares {
            let sweep = self.sweep;
            let live = self.conversation(&conv);
            live.used = sweep;
            if let Err(refused) = live.addr.try_send(ProposeCommands(share)) {
                // Dropping the commands fails their batch stream, so the queue resends them in order.
                debug!(%conv, error = %refused, "conversation cannot accept commands");
            }
        }
    }
}

impl Handler<RegisterNode> for ShardActor {
    type Result = ();

    fn handle(&mut self, registration: RegisterNode, _: &mut Context<Self>) {
        super::register::register(&self.core, registration);
    }
}

impl Handler<UnregisterNode> for ShardActor {
    type Result = ();

    fn handle(&mut self, withdraw: UnregisterNode, _: &mut Context<Self>) {
        let UnregisterNode { node, what, reply } = withdraw;
        self.core
            .interest
            .borrow_mut()
            .unregister(node, what.registration, &what.convs, &what.users);
        reply.send(Ok(crate::rpc::encode(&())));
    }
}

impl Handler<EphemeralEvent> for ShardActor {
    type Result = ();

    fn handle(&mut self, EphemeralEvent(about, event): EphemeralEvent, _: &mut Context<Self>) {
        self.core.fanout.publish_recent(&self.core, about, event);
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
impl Handler<super::messages::Panic> for ShardActor {
    type Result = ();

    fn handle(&mut self, panic: super::messages::Panic, _: &mut Context<Self>) {
        let _ = self.conversation(&panic.0.clone()).addr.try_send(panic);
    }
}

#[cfg(test)]
impl Handler<super::messages::PanicInResults> for ShardActor {
    type Result = ();

    fn handle(&mut self, panic: super::messages::PanicInResults, _: &mut Context<Self>) {
        self.panics_in = Some(panic.0);
    }
}
