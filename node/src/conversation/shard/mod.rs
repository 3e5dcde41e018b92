//! The actor of a shard that this node owns, for as long as the epoch lasts.
//!
//! It is what the links hand their batches to: it lets them in by the numbering of their `streams`, sorts the commands
//! by conversation and gives each [conversation's actor](super::actor) its share in one message. What the log decided
//! comes back through it, in log order, and goes to the same actors.
//!
//! It owns the conversations' actors: starts them on demand, forgets those that were idle, and starts one anew when it
//! died, for all that an actor holds can be read again.

pub(crate) mod batch;
pub(crate) mod core;
mod enrol;
pub(crate) mod messages;
mod propose;
pub(crate) mod streams;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, SpawnHandle, StreamHandler, WrapFuture,
    fut::ActorFutureExt,
};
use cluster::{Committed, Owned, ProposeError};
use futures::stream;
use protocol::ConvId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use self::batch::Batch;
use self::core::Core;
use self::messages::{Enrol, Passivate, Publish, Round, Settle, Submit, Typed, Withdraw};
use super::actor::ConversationActor;
use super::committed::{self, answer_of};
use super::publish::Peek;
use super::retention;
use super::settings::Settings;
use super::shared::Shared;
use super::timeline::Outcome;
use crate::rpc::Refused;
use crate::rpc::submit::Answer;
use crate::user::login::sweep;
use crate::user::{activity, directory, hook_pump, outbox_pump};

/// How often idle conversations are looked for, at the latest.
const SWEEP: Duration = Duration::from_secs(5);
/// And so many times, at least, within the time that counts as idle.
const SWEEPS: u32 = 4;

/// The actor of one shard.
pub(crate) struct ShardActor {
    core: Rc<Core>,
    results: Option<mpsc::Receiver<Round>>,
    conversations: HashMap<ConvId, Live>,
    /// Counted up at each sweep.
    sweep: u64,
    tasks: Vec<JoinHandle<()>>,
}

/// A conversation's actor.
struct Live {
    addr: Addr<ConversationActor>,
    /// The sweep in which it last had something to do.
    used: u64,
}

// === impl ShardActor ===

impl ShardActor {
    /// Starts the actor on its arbiter. The address works at once.
    pub(crate) fn launch(
        owned: Owned,
        shared: &Arc<Shared>,
        users: Arc<directory::Shared>,
        end: CancellationToken,
    ) -> Addr<ShardActor> {
        let arbiter = shared.arbiter(owned.shard).clone();
        let shared = shared.clone();
        ShardActor::start_in_arbiter(&arbiter, move |ctx| {
            ctx.set_mailbox_capacity(shared.settings.shard_mailbox);
            let (core, results) = Core::new(owned.shard, owned.epoch, owned.proposer, shared, users, end);
            ShardActor {
                core,
                results: Some(results),
                conversations: HashMap::new(),
                sweep: 0,
                tasks: Vec::new(),
            }
        })
    }

    /// The live actor of a conversation, started if need be.
    fn conversation(&mut self, conv: &ConvId) -> &mut Live {
        let known = self.conversations.get(conv);
        let dead = known.is_some_and(|live| !live.addr.connected());
        if dead {
            // Its mailbox is gone, and the drop of every command in it broke the stream that brought it.
            error!(shard = self.core.shard.0, %conv, "conversation actor died, rebuilding it");
            self.core.shared.metrics.actors_rebuilt.inc();
            self.conversations.remove(conv);
        }
        let (core, sweep) = (&self.core, self.sweep);
        let metrics = &core.shared.metrics;
        self.conversations.entry(conv.clone()).or_insert_with(|| {
            metrics.actors.inc();
            Live {
                addr: ConversationActor::launch(conv.clone(), core.clone()),
                used: sweep,
            }
        })
    }

    /// Forgets conversations that were idle, and those used longest ago when there are too many.
    fn sweep(&mut self) {
        self.sweep += 1;
        let settings = &self.core.shared.settings;
        let idle = settings.actor_idle.div_duration_f64(sweep_every(settings)).ceil() as u64;
        let shards = self.core.shared.lanes().len().max(1);
        let most = (settings.actors / shards).max(64);
        let mut oldest: Vec<u64> = Vec::new();
        if self.conversations.len() > most {
            oldest = self.conversations.values().map(|live| live.used).collect();
            oldest.sort_unstable();
        }
        let excess = self.conversations.len().saturating_sub(most);
        let before = excess.checked_sub(1).and_then(|at| oldest.get(at)).copied();
        let sweep = self.sweep;
        let mut gone = 0;
        self.conversations.retain(|_, live| {
            let tired = live.used + idle < sweep
                || before.is_some_and(|before| live.used <= before && live.used + 1 < sweep);
            if tired {
                gone += 1;
                // If it can't be told, the drop of its last address stops it.
                let _ = live.addr.try_send(Passivate);
            }
            !tired
        });
        self.core.shared.metrics.actors.dec_by(gone);
    }

    /// The log has decided.
    fn committed(&mut self, commands: Vec<batch::Pending>, committed: Committed) {
        self.core.shared.metrics.committed.inc_by(commands.len() as u64);
        debug_assert_eq!(
            commands.len(),
            committed.outcomes.len(),
            "one outcome per command"
        );
        let mut shares: Vec<(ConvId, Settle)> = Vec::new();
        let mut at: HashMap<ConvId, usize> = HashMap::new();
        for (pending, outcome) in commands.into_iter().zip(&committed.outcomes) {
            let outcome = Outcome::decode(outcome).unwrap_or_else(Outcome::Bad);
            let Some(conv) = pending.conv.clone() else {
                committed::settle(&self.core, pending, outcome);
                continue;
            };
            let share = *at.entry(conv).or_insert_with_key(|conv| {
                shares.push((conv.clone(), Settle::new(&self.core.lost_events)));
                shares.len() - 1
            });
            shares[share].1.push(pending, outcome);
        }
        for (conv, share) in shares {
            let sweep = self.sweep;
            let sent = match self.conversations.get_mut(&conv) {
                Some(live) => {
                    live.used = sweep;
                    live.addr.try_send(share).map_err(|refused| refused.into_inner())
                }
                None => Err(share),
            };
            if let Err(share) = sent {
                // The actor died meanwhile. What it would have remembered it reads again; the rest is done here.
                share.each(|pending, outcome| committed::settle(&self.core, pending, outcome));
            }
        }
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        debug!(shard = self.core.shard.0, epoch = self.core.epoch, "shard active");
        if let Some(mut results) = self.results.take() {
            ctx.add_stream(stream::poll_fn(move |cx| results.poll_recv(cx)));
        }
        ctx.run_interval(sweep_every(&self.core.shared.settings), |actor, _| actor.sweep());
        let ended = self.core.end.clone().cancelled_owned();
        let _: SpawnHandle = ctx.spawn(ended.into_actor(self).map(|(), _, ctx| ctx.stop()));
        hook_pump::announce(&self.core);
        self.tasks.push(actix::spawn(propose::run(self.core.clone())));
        self.tasks.push(actix::spawn(outbox_pump::run(self.core.clone())));
        self.tasks.push(actix::spawn(activity::run(self.core.clone())));
        self.tasks
            .push(actix::spawn(directory::keep::run(self.core.clone())));
        self.tasks.push(actix::spawn(retention::run(self.core.clone())));
        self.tasks.push(actix::spawn(sweep::run(self.core.clone())));
        self.tasks.push(actix::spawn(hook_pump::run(self.core.clone())));
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        debug!(
            shard = self.core.shard.0,
            epoch = self.core.epoch,
            "shard inactive"
        );
        for task in &self.tasks {
            task.abort();
        }
        self.core
            .shared
            .metrics
            .actors
            .dec_by(self.conversations.len() as i64);
        self.conversations.clear();
        self.core.clear();
    }
}

impl Handler<Submit> for ShardActor {
    type Result = ();

    fn handle(&mut self, submit: Submit, _: &mut Context<Self>) {
        let Submit {
            from,
            number,
            commands,
            reply,
        } = submit;
        if !self.core.has_room(commands.len()) {
            return reply.send(Err(Refused::Busy));
        }
        if !self.core.streams.lock().admit(from, number) {
            return reply.send(Err(Refused::OutOfOrder));
        }
        let mut shares: Vec<(ConvId, Vec<batch::Pending>)> = Vec::new();
        for mut pending in Batch::open(from, number, commands, reply, &self.core.streams, &self.core.load) {
            let bytes = pending.bytes.clone();
            let peek = match Peek::read(&bytes) {
                Ok(peek) => peek,
                Err(why) => {
                    pending.answer(answer_of(&Outcome::Bad(why)));
                    continue;
                }
            };
            if !peek.concerns_conversation() {
                self.core.propose(pending);
                continue;
            }
            let share = shares.iter().rposition(|(conv, _)| conv.as_str() == peek.conv);
            let share = match share {
                Some(share) => share,
                None => {
                    let known = self
                        .conversations
                        .get_key_value(peek.conv)
                        .map(|(conv, _)| conv.clone());
                    let Some(conv) = known.or_else(|| ConvId::parse(peek.conv).ok()) else {
                        pending.answer(Answer::refused(
                            protocol::ErrorCode::BadRequest,
                            "malformed id".to_owned(),
                        ));
                        continue;
                    };
                    shares.push((conv, Vec::new()));
                    shares.len() - 1
                }
            };
            pending.conv = Some(shares[share].0.clone());
            shares[share].1.push(pending);
        }
        for (conv, share) in shares {
            let sweep = self.sweep;
            let live = self.conversation(&conv);
            live.used = sweep;
            if let Err(refused) = live.addr.try_send(Publish(share)) {
                // Dropping the commands breaks their stream; the lane sends them again.
                debug!(%conv, error = %refused, "conversation takes no commands now");
            }
        }
    }
}

impl StreamHandler<Round> for ShardActor {
    fn handle(&mut self, round: Round, _: &mut Context<Self>) {
        self.core.admit_loss();
        match round.result {
            Ok(committed) => self.committed(round.commands, committed),
            Err(error) => {
                debug!(shard = self.core.shard.0, %error, "round without an outcome");
                let refused = match error {
                    ProposeError::Unknown => Refused::Broken { unknown: true },
                    ProposeError::NoRoom | ProposeError::NoTime => Refused::Busy,
                    ProposeError::NotOwner | ProposeError::Stopped => {
                        self.core.shared.not_owner(self.core.shard)
                    }
                };
                for pending in round.commands {
                    pending.fail(refused.clone());
                }
            }
        }
    }
}

impl Handler<Enrol> for ShardActor {
    type Result = ();

    fn handle(&mut self, enrol: Enrol, _: &mut Context<Self>) {
        self.core.admit_loss();
        enrol::enrol(&self.core, enrol);
    }
}

impl Handler<Withdraw> for ShardActor {
    type Result = ();

    fn handle(&mut self, withdraw: Withdraw, _: &mut Context<Self>) {
        let Withdraw { node, what, reply } = withdraw;
        self.core
            .interest
            .borrow_mut()
            .unregister(node, what.registration, &what.convs, &what.users);
        reply.send(Ok(crate::rpc::encode(&())));
    }
}

impl Handler<Typed> for ShardActor {
    type Result = ();

    fn handle(&mut self, Typed(about, event): Typed, _: &mut Context<Self>) {
        self.core.say(about, event);
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
impl Handler<messages::Panic> for ShardActor {
    type Result = ();

    fn handle(&mut self, panic: messages::Panic, _: &mut Context<Self>) {
        let _ = self.conversation(&panic.0.clone()).addr.try_send(panic);
    }
}

fn sweep_every(settings: &Settings) -> Duration {
    (settings.actor_idle / SWEEPS).clamp(Duration::from_millis(10), SWEEP)
}
