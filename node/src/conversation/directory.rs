//! Where the cluster's calls become messages to actors: which shards are owned here, and who runs them.
//!
//! Everything here is called from the cluster's own threads (or, for calls to oneself, from the caller's) and returns at
//! once: it decodes, finds the actor and leaves a message. A full mailbox is a refusal, never a wait.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cluster::{LinkState, NodeId, Owned, Reply, Service, ShardId};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tracing::debug;

use super::reads;
use super::shard::ShardActor;
use super::shard::batch::BatchReply;
use super::shard::messages::{Enrol, Submit, Withdraw};
use super::shard::streams::StreamId;
use super::shared::{Active, Shared};
use super::typing;
use crate::rpc::{self, Refused};
use crate::session::Sessions;
use crate::user::directory as users;

/// The node's ears in the cluster.
pub(crate) struct Directory {
    shared: Arc<Shared>,
    /// Shards that were given to this node before it was ready for them.
    early: Mutex<Option<Vec<Owned>>>,
}

// === impl Directory ===

impl Directory {
    pub(crate) fn new(shared: Arc<Shared>) -> Directory {
        Directory {
            shared,
            early: Mutex::new(Some(Vec::new())),
        }
    }

    /// The cluster member runs: shards can be served.
    pub(crate) fn open(&self) {
        for owned in self.early.lock().take().into_iter().flatten() {
            activate(&self.shared, owned);
        }
    }

    fn question<Q: DeserializeOwned>(
        &self,
        body: &Bytes,
        reply: Reply,
        shard: impl FnOnce(&Q) -> u16,
        deliver: impl FnOnce(Active, Q, Reply) -> Result<(), Reply>,
    ) {
        let question: Q = match rpc::decode(body) {
            Ok(question) => question,
            Err(error) => return refuse(reply, &Refused::Bad(error.to_string())),
        };
        let shard = ShardId(shard(&question));
        match self.shared.active(shard) {
            Some(active) => {
                if let Err(reply) = deliver(active, question, reply) {
                    refuse(reply, &Refused::Busy);
                }
            }
            None => refuse(reply, &self.shared.not_owner(shard)),
        }
    }
}

impl Service for Directory {
    fn activated(&self, owned: Owned) {
        let mut early = self.early.lock();
        match &mut *early {
            Some(early) => early.push(owned),
            None => {
                drop(early);
                activate(&self.shared, owned);
            }
        }
    }

    fn deactivated(&self, shard: ShardId, epoch: u64) {
        if let Some(early) = &mut *self.early.lock() {
            early.retain(|owned| owned.shard != shard || owned.epoch != epoch);
        }
        self.shared.end_active(shard, epoch);
    }

    fn call(&self, from: NodeId, method: u16, body: Bytes, reply: Reply) {
        match method {
            rpc::SUBMIT => match rpc::submit::decode(&body) {
                Ok((head, commands)) => {
                    let id = StreamId {
                        node: from,
                        incarnation: head.incarnation,
                        stream: head.stream,
                    };
                    let reply = BatchReply::Remote(reply);
                    let submitted = Submit {
                        from: id,
                        number: head.number,
                        commands,
                        reply,
                    };
                    submit(&self.shared, ShardId(head.shard), submitted);
                }
                Err(error) => refuse(reply, &Refused::Bad(error.to_string())),
            },
            rpc::REGISTER => self.question(
                &body,
                reply,
                |q: &rpc::register::Register| q.shard,
                |active, wants, reply| {
                    let sent = active.addr.try_send(Enrol {
                        node: from,
                        wants,
                        reply,
                    });
                    sent.map_err(|error| error.into_inner().reply)
                },
            ),
            rpc::UNREGISTER => {
                self.question(
                    &body,
                    reply,
                    |q: &rpc::register::Unregister| q.shard,
                    |active, what, reply| {
                        let sent = active.addr.try_send(Withdraw {
                            node: from,
                            what,
                            reply,
                        });
                        sent.map_err(|error| error.into_inner().reply)
                    },
                );
            }
            rpc::ATTEND => users::serve::attend(&self.shared, from, &body, reply),
            rpc::BEAT => users::serve::beat(&self.shared, from, &body, reply),
            rpc::NEWS => self.shared.news.news(from, &body, reply),
            rpc::PRESENCE => users::serve::presence(&self.shared, &body, reply),
            _ if Sessions::serves(method) => match self.shared.sessions() {
                Some(sessions) => sessions.call(method, &body, reply),
                None => refuse(reply, &Refused::Busy),
            },
            _ => reads::serve::serve(&self.shared, method, body, reply),
        }
    }

    fn cast(&self, from: NodeId, link: u64, kind: u16, body: Bytes) {
        match kind {
            rpc::DELIVER => self.shared.inlet.frame(from, link, body),
            rpc::POSITIONS => match rpc::decode(&body) {
                Ok(positions) => self.shared.inlet.positions(positions),
                Err(error) => debug!(%from, %error, "positions can't be read"),
            },
            rpc::TYPING => typing::serve(&self.shared, from, &body),
            _ => debug!(%from, kind, "cast of an unknown kind"),
        }
    }

    fn link(&self, peer: NodeId, state: LinkState) {
        // A broken link shows in the numbers of the deliveries, or in their silence.
        debug!(%peer, ?state, "fan-out link");
    }
}

/// Hands a batch to the shard's actor, or refuses it.
pub(crate) fn submit(shared: &Shared, shard: ShardId, submit: Submit) {
    match shared.active(shard) {
        Some(active) => {
            if let Err(error) = active.addr.try_send(submit) {
                error.into_inner().reply.send(Err(Refused::Busy));
            }
        }
        None => submit.reply.send(Err(shared.not_owner(shard))),
    }
}

fn activate(shared: &Arc<Shared>, owned: Owned) {
    let (shard, epoch) = (owned.shard, owned.epoch);
    let end = shared.stop.child_token();
    let users = users::Shared::new(shared.settings.users.clone(), Instant::now());
    let users = Arc::new(users);
    let addr = ShardActor::launch(owned, shared, users.clone(), end.clone());
    let active = Active {
        epoch,
        addr,
        users,
        end,
    };
    shared.set_active(shard, active);
}

fn refuse(reply: Reply, refused: &Refused) {
    reply.send(Err(rpc::encode(refused)));
}
