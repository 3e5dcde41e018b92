//! The cluster's own requests: news, admission, the map.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::FutureExt;
use storage::ShardId;

use crate::clock::exchange;
use crate::error::{CallError, CastError};
use crate::node::Node;
use crate::ownership::announce::{Method, News};
use crate::shard::META;
use crate::shard::map::{Change, Changed, Map};
use crate::transport::{self, Lane, Reply};
use crate::types::NodeId;

/// How long another member may take for one of these.
const DEADLINE: Duration = Duration::from_secs(5);

// === impl Node ===

impl Node {
    /// A request of a member or, from `NodeId(0)`, of a node that wants to become one.
    pub(crate) fn request(self: &Arc<Node>, from: NodeId, method: Method, body: Bytes, reply: Reply) {
        match method {
            Method::Who => reply.send(
                postcard::to_stdvec(&self.introduction())
                    .map(Bytes::from)
                    .map_err(|_| Bytes::new()),
            ),
            Method::Join | Method::Change | Method::PassOn => {
                let joins = method == Method::Join;
                let allowed = from != NodeId(0) || joins;
                let change = postcard::from_bytes(&body)
                    .ok()
                    .filter(|change| allowed && (!joins || matches!(change, Change::Join { .. })));
                let Some(change) = change else {
                    return reply.send(Err(Bytes::from_static(b"malformed change")));
                };
                let node = self.clone();
                self.tasks().spawn(async move {
                    let changed = if method == Method::Change {
                        node.decide(change).await
                    } else {
                        node.change(change).await
                    };
                    reply.send(changed.map(|c| c.encode()).map_err(Bytes::from));
                });
            }
            Method::Map => reply.send(Ok(self.map().encode())),
            Method::Voters => {
                let mut body = body;
                let replica = body
                    .try_get_u16()
                    .ok()
                    .and_then(|shard| self.replica(ShardId(shard)));
                let owned = replica.and_then(|replica| Some((replica.epoch()?, replica)));
                let Some((epoch, replica)) = owned else {
                    return reply.send(Err(Bytes::from_static(b"not the owner")));
                };
                let node = self.clone();
                self.tasks().spawn(async move {
                    // Who asks may let its replica go: a deposed owner's word would be of the past.
                    if node.readable(replica.group.shard(), epoch).await.is_err() {
                        return reply.send(Err(Bytes::from_static(b"not the owner any more")));
                    }
                    let voters = replica.group.applied_voters().await;
                    reply.send(match voters.as_ref().map(postcard::to_stdvec) {
                        Some(Ok(voters)) => Ok(voters.into()),
                        _ => Err(Bytes::from_static(b"no applied configuration yet")),
                    });
                });
            }
            Method::Clock if from == NodeId(0) => reply.send(Err(Bytes::from_static(b"not a member"))),
            Method::Clock => {
                // The wall first: what is looked at afterwards takes its time.
                let wall_ms = self.clock().wall_ms();
                reply.send(Ok(exchange::encode(wall_ms, self.clock().may_own())));
            }
            Method::News | Method::Synced => reply.send(Err(Bytes::from_static(b"news is one way"))),
        }
    }

    /// Has the meta group's owner change the map.
    pub(crate) async fn change(self: &Arc<Node>, change: Change) -> Result<Changed, String> {
        if self.owned_epoch(META).is_some() {
            return self.decide(change).await;
        }
        let (owner, _) = self
            .table
            .owner(META)
            .ok_or("the meta group has no known owner")?;
        if owner == self.id() {
            return Err("the meta group's owner is changing".to_owned());
        }
        self.ask_for(change, owner, Method::Change).await
    }

    /// Changes the map as the meta group's owner.
    async fn decide(&self, change: Change) -> Result<Changed, String> {
        let replica = self.replica(META);
        let proposer = replica
            .and_then(|replica| replica.proposer())
            .ok_or("this node does not own the meta group")?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        proposer
            .submit(vec![change.encode()], done)
            .map_err(|_| "the meta group is busy".to_owned())?;
        // Cut off from the others, it would wait until they are back.
        let committed = tokio::time::timeout(DEADLINE, receiver)
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())?;
        let outcome = committed.outcomes.first().ok_or("no outcome")?;
        Changed::decode(outcome).map_err(|e| e.to_string())
    }

    /// Has a member change the map, or pass the change on.
    pub(crate) async fn ask_for(
        &self,
        change: Change,
        member: NodeId,
        method: Method,
    ) -> Result<Changed, String> {
        let answer = self
            .transport
            .call(member, Lane::Rpc, method as u16, change.encode(), DEADLINE);
        match answer.await {
            Ok(outcome) => Changed::decode(&outcome).map_err(|e| e.to_string()),
            Err(transport::Error::Refused(reason)) => Err(String::from_utf8_lossy(&reason).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Has a member forgotten.
    pub(crate) async fn remove_node(self: &Arc<Node>, node: NodeId) -> Result<(), String> {
        match self.change(Change::Remove { node }).await? {
            Changed::Refused { reason } => Err(reason),
            Changed::Done { .. } | Changed::Joined { .. } => Ok(()),
        }
    }

    /// News of another member.
    pub(crate) fn heard(self: &Arc<Node>, from: NodeId, body: &[u8]) {
        let Ok(news) = postcard::from_bytes::<News>(body) else {
            tracing::debug!(%from, "news that can't be read");
            return;
        };
        self.health.says_draining(from, news.draining);
        self.named_address(from, &news.addr);
        for (shard, epoch) in news.owned {
            self.table.learn(ShardId(shard), from, epoch);
        }
        if news.map_version > self.map().version {
            let node = self.clone();
            self.tasks().spawn(async move { node.fetch_map(from).await });
        }
    }

    async fn fetch_map(self: &Arc<Node>, from: NodeId) {
        match self
            .transport
            .call(from, Lane::Rpc, Method::Map as u16, Bytes::new(), DEADLINE)
            .await
        {
            Ok(bytes) => match Map::decode(&bytes) {
                Ok(map) => self.adopt(map),
                Err(error) => tracing::warn!(%from, %error, "a member's map can't be read"),
            },
            // The next news tries again.
            Err(error) => tracing::debug!(%from, %error, "the map was not fetched"),
        }
    }

    /// Tells all members what this one owns.
    pub(crate) fn announce(&self) {
        for peer in self.others() {
            self.announce_to(peer);
        }
    }

    pub(crate) fn announce_to(&self, peer: NodeId) {
        if let Some(rounds) = self.store().synced_rounds() {
            let body = Bytes::copy_from_slice(&rounds.to_be_bytes());
            // As below.
            drop(self.transport.cast(peer, Lane::Rpc, Method::Synced as u16, body));
        }
        let owned = self
            .owned()
            .into_iter()
            .map(|(shard, epoch)| (shard.0, epoch))
            .collect();
        let news = News {
            map_version: self.map().version,
            draining: self.is_draining(),
            addr: self.config.advertise.clone(),
            owned,
        };
        if let Ok(body) = postcard::to_stdvec(&news) {
            // A peer out of reach hears it when its link is up again.
            drop(
                self.transport
                    .cast(peer, Lane::Rpc, Method::News as u16, body.into()),
            );
        }
    }

    /// Who votes in a shard's group, by its owner's word.
    pub(crate) async fn ask_voters(&self, shard: ShardId) -> Option<Vec<NodeId>> {
        let (owner, _) = self.table.owner(shard)?;
        let body = Bytes::copy_from_slice(&shard.0.to_be_bytes());
        let answer = self
            .transport
            .call(owner, Lane::Rpc, Method::Voters as u16, body, DEADLINE)
            .await
            .ok()?;
        postcard::from_bytes(&answer).ok()
    }

    /// One of the cluster's own requests to a member.
    pub(crate) async fn ask_rpc(
        &self,
        peer: NodeId,
        method: Method,
        body: Bytes,
        deadline: Duration,
    ) -> Option<Bytes> {
        let answer = self
            .transport
            .call(peer, Lane::Rpc, method as u16, body, deadline);
        answer.await.ok()
    }

    /// A request of the service to a member, or to this one.
    pub(crate) fn call(
        &self,
        to: NodeId,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send + 'static {
        debug_assert!(method < Method::FIRST, "{method} belongs to the cluster itself");
        let answer = if to == self.id() {
            let (reply, answer) = Reply::local();
            self.service.call(to, method, body, reply);
            async move {
                match tokio::time::timeout(deadline, answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => Err(transport::Error::Lost),
                    Err(_) => Err(transport::Error::Timeout),
                }
            }
            .boxed()
        } else {
            self.transport.call(to, Lane::Rpc, method, body, deadline)
        };
        async move {
            answer.await.map_err(|error| match error {
                transport::Error::Refused(reason) => CallError::Refused(reason),
                transport::Error::Unreachable | transport::Error::Closed => CallError::Unreachable,
                transport::Error::Lost | transport::Error::Timeout => CallError::Lost,
                transport::Error::Full => CallError::Busy,
            })
        }
    }

    /// A one-way message of the service on the fan-out lane.
    pub(crate) fn cast(&self, to: NodeId, kind: u16, body: Bytes) -> Result<(), CastError> {
        if to == self.id() {
            self.service.cast(to, self.incarnation(), kind, body);
            return Ok(());
        }
        self.transport
            .cast(to, Lane::Fanout, kind, body)
            .map_err(|error| match error {
                transport::Error::Full => CastError::Full,
                _ => CastError::Unreachable,
            })
    }
}
