//! Implements `cluster::Service`: tracks the shards owned by this node and dispatches RPCs to their actors.
//!
//! Path of a message: step 4 of 13.
//!
//! All methods run on the cluster's own threads, or on the caller's for calls of a node to itself. They return at once:
//! decode, find the actor, send a message. A full mailbox refuses the request; nothing blocks.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use cluster::{ConnectionState, NodeId, OwnedShard, Responder, Service, ShardId};
use parking_lot::Mutex;
use protocol::UserId;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tracing::debug;

use crate::shard::ephemeral;

use crate::admin::NodeAdmin;
use crate::auth::ApiKeys;
use crate::forwarding::RequestForwarder;
use crate::presence::registry as users;
use crate::rpc::submit::{BatchSeq, BatchStreamId, CommandReplies};
use crate::rpc::{self, QueryMethod, RpcError};
use crate::session::{SessionRegistry, UserRates};
use crate::shard::{
    ActiveShard, BatchReply, RegisterNode, ShardActor, ShardDeps, ShardExports, SubmitBatch, UnregisterNode,
};
use crate::shard_client::LocalShards;

/// Receiver of the cluster's calls on this node.
pub(crate) struct RpcDispatcher {
    shared: Arc<ShardDeps>,
    /// Empty until the sessions of the node are registered.
    sessions: OnceLock<SessionRegistry>,
    /// Empty until the rate limits of the node are registered.
    rates: OnceLock<UserRates>,
    /// Empty until the forwarder of the node is registered.
    forwarder: OnceLock<RequestForwarder>,
    /// Empty until the API keys of the node are registered.
    api_keys: OnceLock<ApiKeys>,
    /// Empty until the state of the node is registered.
    admin: OnceLock<NodeAdmin>,
    /// Copies of owned shards, read by backups.
    exports: ShardExports,
    /// Shards that were activated before [`RpcDispatcher::open`]; `None` afterwards.
    early: Mutex<Option<Vec<OwnedShard>>>,
}

// === impl RpcDispatcher ===

impl RpcDispatcher {
    pub(crate) fn new(shared: Arc<ShardDeps>) -> RpcDispatcher {
        RpcDispatcher {
            shared,
            sessions: OnceLock::new(),
            rates: OnceLock::new(),
            forwarder: OnceLock::new(),
            api_keys: OnceLock::new(),
            admin: OnceLock::new(),
            exports: ShardExports::default(),
            early: Mutex::new(Some(Vec::new())),
        }
    }

    /// Registers the sessions of this node; later calls have no effect.
    pub(crate) fn serve_sessions(&self, sessions: SessionRegistry) {
        let _set = self.sessions.set(sessions);
    }

    /// Registers the per-user rate limits; later calls have no effect.
    pub(crate) fn serve_rates(&self, rates: UserRates) {
        let _set = self.rates.set(rates);
    }

    /// Registers the forwarder of requests; later calls have no effect.
    pub(crate) fn serve_forwarded(&self, forwarder: RequestForwarder) {
        let _set = self.forwarder.set(forwarder);
    }

    /// Registers the API keys; later calls have no effect.
    pub(crate) fn serve_api_keys(&self, keys: ApiKeys) {
        let _set = self.api_keys.set(keys);
    }

    /// Registers the state of this node for operators; later calls have no effect.
    pub(crate) fn serve_admin(&self, admin: NodeAdmin) {
        let _set = self.admin.set(admin);
    }

    /// Returns the per-user rate limits of this node, or `None` until they are registered.
    pub(crate) fn rates(&self) -> Option<UserRates> {
        self.rates.get().cloned()
    }

    /// Activates the shards that arrived early. From now on shards are activated as they arrive.
    pub(crate) fn open(&self) {
        // The lock is held to the end of the loop: a concurrent `deactivated` would otherwise miss its shard.
        for owned in self.early.lock().take().into_iter().flatten() {
            activate(&self.shared, owned);
        }
    }

    /// Decodes a request and delivers it to the actor of its shard, or refuses it.
    fn question<Q: DeserializeOwned>(
        &self,
        body: &Bytes,
        reply: Responder,
        shard: impl FnOnce(&Q) -> u16,
        deliver: impl FnOnce(ActiveShard, Q, Responder) -> Result<(), Responder>,
    ) {
        let question: Q = match rpc::decode(body) {
            Ok(question) => question,
            Err(error) => return refuse(reply, &RpcError::Bad(error.to_string())),
        };
        let shard = ShardId(shard(&question));
        match self.shared.active(shard) {
            Some(active) => {
                // The reply is recovered from the refused message; dropped, it would report a lost request.
                if let Err(reply) = deliver(active, question, reply) {
                    refuse(reply, &RpcError::Busy);
                }
            }
            None => refuse(reply, &self.shared.client.not_owner(shard)),
        }
    }
}

impl Service for RpcDispatcher {
    fn activated(&self, owned: OwnedShard) {
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
        // The epoch may end before `open`; such a shard must not be activated.
        if let Some(early) = &mut *self.early.lock() {
            early.retain(|owned| owned.shard != shard || owned.epoch != epoch);
        }
        self.shared.end_active(shard, epoch);
    }

    fn call(&self, from: NodeId, method: u16, body: Bytes, reply: Responder) {
        match method {
            rpc::SUBMIT => match rpc::submit::decode(&body) {
                Ok((head, commands)) => {
                    let id = BatchStreamId {
                        node: from,
                        incarnation: head.incarnation,
                        stream: head.stream,
                    };
                    let reply = BatchReply::Remote(reply);
                    let submitted = SubmitBatch {
                        from: id,
                        number: head.number,
                        commands,
                        reply,
                    };
                    submit(&self.shared, ShardId(head.shard), submitted);
                }
                Err(error) => refuse(reply, &RpcError::Bad(error.to_string())),
            },
            rpc::REGISTER => self.question(
                &body,
                reply,
                |q: &rpc::register::RegisterInterest| q.shard,
                |active, wants, reply| {
                    let sent = active.addr.try_send(RegisterNode {
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
                    |q: &rpc::register::UnregisterInterest| q.shard,
                    |active, what, reply| {
                        let sent = active.addr.try_send(UnregisterNode {
                            node: from,
                            what,
                            reply,
                        });
                        sent.map_err(|error| error.into_inner().reply)
                    },
                );
            }
            rpc::REGISTER_PRESENCE => super::presence_rpc::register(&self.shared, from, &body, reply),
            rpc::PRESENCE_HEARTBEAT => super::presence_rpc::heartbeat(&self.shared, from, &body, reply),
            rpc::PRESENCE_UPDATES => self.shared.updates.on_updates(from, &body, reply),
            rpc::PRESENCE => super::presence_rpc::presence(&self.shared, &body, reply),
            rpc::API_KEYS_REVOKED => {
                // A node without the keys has no copy of them.
                if let Some(keys) = self.api_keys.get() {
                    keys.forget();
                }
                reply.send(Ok(rpc::encode(&())));
            }
            rpc::EXPORT_ROWS => self.exports.call(&self.shared, &body, reply),
            rpc::LAST_SESSION => super::presence_rpc::last_session(&self.shared, &body, reply),
            // Sessions are registered during startup; until then the caller may retry.
            _ if SessionRegistry::serves(method) => match self.sessions.get() {
                Some(sessions) => sessions.call(method, &body, reply),
                None => refuse(reply, &RpcError::Busy),
            },
            _ if RequestForwarder::serves(method) => match self.forwarder.get() {
                Some(forwarder) => forwarder.call(&body, reply),
                None => refuse(reply, &RpcError::Busy),
            },
            _ if NodeAdmin::serves(method) => match self.admin.get() {
                Some(admin) => admin.call(method, &body, reply),
                None => refuse(reply, &RpcError::Busy),
            },
            _ => match QueryMethod::of(method) {
                Some(query) => crate::shard::serve_query(&self.shared, query, body, reply),
                None => refuse(reply, &RpcError::Bad(format!("method {method} is unknown"))),
            },
        }
    }

    fn cast(&self, from: NodeId, link: u64, kind: u16, body: Bytes) {
        match kind {
            rpc::DELIVER => self.shared.deliveries.frame(from, link, body),
            rpc::POSITIONS => match rpc::decode(&body) {
                Ok(positions) => self.shared.deliveries.positions(positions),
                Err(error) => debug!(%from, %error, "malformed idle heartbeat"),
            },
            rpc::TYPING => ephemeral::serve(&self.shared, from, &body),
            _ => debug!(%from, kind, "one-way message of an unknown kind"),
        }
    }

    fn link(&self, peer: NodeId, state: ConnectionState) {
        // No action: delivery seqs or missing heartbeats reveal what a broken connection lost.
        debug!(%peer, ?state, "fan-out connection changed");
    }
}

// === impl LocalShards for ShardDeps ===

impl LocalShards for ShardDeps {
    fn submit(
        &self,
        shard: ShardId,
        position: BatchSeq,
        commands: Vec<Bytes>,
    ) -> oneshot::Receiver<Result<CommandReplies, RpcError>> {
        let (reply, answers) = oneshot::channel();
        let reply = BatchReply::Local(reply);
        match self.client.cluster() {
            Some(cluster) => {
                let from = BatchStreamId::new(cluster.node_id(), self.client.incarnation, position);
                let number = position.number;
                let batch = SubmitBatch {
                    from,
                    number,
                    commands,
                    reply,
                };
                submit(self, shard, batch);
            }
            None => reply.send(Err(self.client.not_owner(shard))),
        }
        answers
    }

    fn live(&self, shard: ShardId, users: &[&UserId]) -> Option<Vec<bool>> {
        self.active(shard)?.users.look(|known| {
            let found = || users.iter().map(|user| known.live(user)).collect();
            known.is_stable(Instant::now()).then(found)
        })
    }
}

/// Sends a batch to the shard's actor, or refuses it.
fn submit(shared: &ShardDeps, shard: ShardId, submit: SubmitBatch) {
    match shared.active(shard) {
        Some(active) => {
            if let Err(error) = active.addr.try_send(submit) {
                error.into_inner().reply.send(Err(RpcError::Busy));
            }
        }
        None => submit.reply.send(Err(shared.client.not_owner(shard))),
    }
}

/// Starts the actor of an owned shard and registers it for later calls.
fn activate(shared: &Arc<ShardDeps>, owned: OwnedShard) {
    let (shard, epoch) = (owned.shard, owned.epoch);
    // A child of `stop`, so that the end of the node ends every shard.
    let end = shared.client.stop.child_token();
    // Empty for each epoch: the nodes register their sessions again with a new owner.
    let users = users::SharedPresenceRegistry::new(shared.settings.users.clone(), Instant::now());
    let users = Arc::new(users);
    let addr = ShardActor::launch(owned, shared, users.clone(), end.clone());
    let active = ActiveShard {
        epoch,
        addr,
        users,
        end,
    };
    shared.set_active(shard, active);
}

fn refuse(reply: Responder, refused: &RpcError) {
    reply.send(Err(rpc::encode(refused)));
}
