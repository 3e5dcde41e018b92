//! The cluster's own requests: announcements, joins, map changes and clocks.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use storage::ShardId;
use tokio::time::Instant;

use crate::ids::{META_SHARD, NodeId};
use crate::member::replicas::Replica;
use crate::member::{Member, clock_exchange};
use crate::shard::{ClusterMap, MapChange, MapChangeResult, MemberAnnouncement, MemberMethod};
use crate::transport::{self, ConnectionClass, Responder};

/// Time limit of one request to another member.
const DEADLINE: Duration = Duration::from_secs(5);
/// Time limit of waiting for a changed map, and the pause between two looks for it.
const SEEN: Duration = Duration::from_secs(2);
const SEE: Duration = Duration::from_millis(20);

// === impl Member ===

impl Member {
    /// Handles a request of a member or, from `NodeId(0)`, of a node that asks to join.
    pub(crate) fn request(
        self: &Arc<Member>,
        from: NodeId,
        method: MemberMethod,
        body: Bytes,
        reply: Responder,
    ) {
        match method {
            MemberMethod::GetIdentity => reply.send(
                postcard::to_stdvec(&self.introduction())
                    .map(Bytes::from)
                    .map_err(|_| Bytes::new()),
            ),
            MemberMethod::Join | MemberMethod::Change | MemberMethod::ForwardMapChange => {
                let joins = method == MemberMethod::Join;
                // A node that is not a member may only ask to join, not change the map in other ways.
                let allowed = from != NodeId(0) || joins;
                let change = MapChange::decode(&body)
                    .ok()
                    .filter(|change| allowed && (!joins || change.is_join()));
                let Some(change) = change else {
                    return reply.send(Err(Bytes::from_static(b"malformed change")));
                };
                // In a task, because a handler must not block the connection, and a change waits for a majority.
                let node = self.clone();
                self.tasks().spawn(async move {
                    let changed = if method == MemberMethod::Change {
                        node.decide(change).await
                    } else {
                        node.change(change).await
                    };
                    reply.send(changed.map(|c| c.encode()).map_err(Bytes::from));
                });
            }
            MemberMethod::Map => reply.send(Ok(self.map().encode())),
            MemberMethod::GetVoters | MemberMethod::GetMembers => {
                let Some((epoch, replica)) = self.owned_replica(body) else {
                    return reply.send(Err(Bytes::from_static(b"not the owner")));
                };
                let node = self.clone();
                self.tasks().spawn(async move {
                    // The asking member may delete its replica, so the answer of a deposed owner would be dangerous:
                    // prove the ownership first.
                    if node.readable(replica.group.shard(), epoch).await.is_err() {
                        return reply.send(Err(Bytes::from_static(b"no longer the owner")));
                    }
                    // Only a committed and applied configuration: one that is only in the log may still be replaced,
                    // and the member be needed.
                    let mut nodes = replica.group.applied_voters().await;
                    if method == MemberMethod::GetMembers
                        && let Some(voters) = &mut nodes
                    {
                        // A member of a configuration that is only in the log counts as one.
                        let mut members = replica.group.members();
                        members.extend(voters.drain(..));
                        voters.extend(members);
                    }
                    reply.send(match nodes.as_ref().map(postcard::to_stdvec) {
                        Some(Ok(nodes)) => Ok(nodes.into()),
                        _ => Err(Bytes::from_static(b"no applied configuration yet")),
                    });
                });
            }
            // Only members: these read all rows, or delete a replica.
            MemberMethod::GetRows | MemberMethod::Compare | MemberMethod::Rebuild | MemberMethod::Discard
                if from == NodeId(0) =>
            {
                reply.send(Err(Bytes::from_static(b"not a member")));
            }
            MemberMethod::GetRows => {
                let node = self.clone();
                self.tasks()
                    .spawn(async move { reply.send(node.rows_for(&body).await) });
            }
            MemberMethod::Compare => {
                let node = self.clone();
                self.tasks()
                    .spawn(async move { reply.send(node.compare_for(body).await) });
            }
            MemberMethod::Rebuild => {
                let node = self.clone();
                self.tasks()
                    .spawn(async move { reply.send(node.rebuild_for(body).await) });
            }
            MemberMethod::Discard => {
                let node = self.clone();
                self.tasks()
                    .spawn(async move { reply.send(node.discard_for(body).await) });
            }
            MemberMethod::GetApplied => {
                reply.send(
                    self.owned_replica(body)
                        .map(|(_, replica)| {
                            Bytes::copy_from_slice(&replica.group.status().applied.to_be_bytes())
                        })
                        .ok_or(Bytes::from_static(b"not the owner")),
                );
            }
            MemberMethod::NoteFailovers | MemberMethod::GetFailovers if from == NodeId(0) => {
                reply.send(Err(Bytes::from_static(b"not a member")));
            }
            MemberMethod::NoteFailovers => self.serve_failover_notes(body, reply),
            MemberMethod::GetFailovers => self.serve_failovers(body, reply),
            MemberMethod::Clock if from == NodeId(0) => reply.send(Err(Bytes::from_static(b"not a member"))),
            MemberMethod::Clock => {
                let wall_ms = self.clock().wall_ms();
                reply.send(Ok(clock_exchange::encode(wall_ms, self.clock().may_own())));
            }
            MemberMethod::Announcement | MemberMethod::Synced => {
                reply.send(Err(Bytes::from_static(b"announcements are one-way messages")))
            }
        }
    }

    /// Returns the replica of the shard (`u16`) in a request to its owner, with its epoch; `None` if this member does not
    /// own it.
    fn owned_replica(&self, mut body: Bytes) -> Option<(u64, Arc<Replica>)> {
        let replica = self.replica(ShardId(body.try_get_u16().ok()?))?;
        Some((replica.epoch()?, replica))
    }

    /// Changes the map, here or by a request to the meta group's owner.
    pub(crate) async fn change(self: &Arc<Member>, change: MapChange) -> Result<MapChangeResult, String> {
        if self.owned_epoch(META_SHARD).is_some() {
            return self.decide(change).await;
        }
        let (owner, _) = self
            .table
            .owner(META_SHARD)
            .ok_or("the meta group has no known owner")?;
        // The routing table still names this node, whose epoch is over or has not begun. A request to itself would not
        // help.
        if owner == self.id() {
            return Err("the meta group's owner is changing".to_owned());
        }
        self.ask_for(change, owner, MemberMethod::Change).await
    }

    /// Changes the map as the meta group's owner.
    async fn decide(&self, change: MapChange) -> Result<MapChangeResult, String> {
        let (needed, level) = (change.first_level(), self.feature_level());
        // Replicas of an older build would stop at the entry.
        if level < needed {
            return Err(format!(
                "this needs feature level {needed}, and the cluster has {level}: finish the upgrade of all nodes first"
            ));
        }
        let replica = self.replica(META_SHARD);
        let proposer = replica
            .and_then(|replica| replica.map_proposer())
            .ok_or("this node does not own the meta group")?;
        let batch = [change.encode()];
        let proposed = async move { proposer.lock().await.propose(&batch).await };
        // Without a majority the proposal would wait until one is connected again.
        let committed = tokio::time::timeout(DEADLINE, proposed)
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())?;
        let outcome = committed.outcomes.first().ok_or("no outcome")?;
        MapChangeResult::decode(outcome).map_err(|e| e.to_string())
    }

    /// Asks a member to change the map or to forward the change, depending on `method`.
    pub(crate) async fn ask_for(
        &self,
        change: MapChange,
        member: NodeId,
        method: MemberMethod,
    ) -> Result<MapChangeResult, String> {
        let answer = self.transport.call(
            member,
            ConnectionClass::Rpc,
            method as u16,
            change.encode(),
            DEADLINE,
        );
        match answer.await {
            Ok(outcome) => MapChangeResult::decode(&outcome).map_err(|e| e.to_string()),
            Err(transport::Error::Refused(reason)) => Err(String::from_utf8_lossy(&reason).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Removes a member from the map.
    pub(crate) async fn remove_node(self: &Arc<Member>, node: NodeId) -> Result<(), String> {
        self.change_or_reason(MapChange::Remove { node }).await
    }

    /// Changes the map; the error is the reason for which it is unchanged.
    pub(crate) async fn change_or_reason(self: &Arc<Member>, change: MapChange) -> Result<(), String> {
        match self.change(change).await? {
            MapChangeResult::Refused { reason } => Err(reason),
            MapChangeResult::BelowLevel { level } => Err(format!("the cluster has feature level {level}")),
            MapChangeResult::Joined { .. } => Ok(()),
            MapChangeResult::Done { version } => {
                self.see(version).await;
                Ok(())
            }
        }
    }

    /// Waits until this member has a map of this version, for a limited time: whoever asked for a change and looks here
    /// for its effect must find it.
    async fn see(self: &Arc<Member>, version: u64) {
        let given_up = Instant::now() + SEEN;
        while self.map().version < version && Instant::now() < given_up {
            match self.table.owner(META_SHARD) {
                Some((owner, _)) if owner != self.id() => self.fetch_map(owner).await,
                // The reconciliation reads it from the replica here.
                _ => self.changed.notify_one(),
            }
            tokio::time::sleep(SEE).await;
        }
    }

    /// Handles the announcement of another member.
    pub(crate) fn on_announcement(self: &Arc<Member>, from: NodeId, body: &[u8]) {
        let Ok(announcement) = postcard::from_bytes::<MemberAnnouncement>(body) else {
            tracing::debug!(%from, "malformed announcement");
            return;
        };
        self.health.says_draining(from, announcement.draining);
        self.named_address(from, &announcement.addr);
        let now = Instant::now();
        for (shard, epoch) in announcement.owned {
            self.table.record_announcement(ShardId(shard), from, epoch, now);
        }
        if announcement.map_version > self.map().version {
            // In a task, because a handler must not wait for a response of the same peer.
            let node = self.clone();
            self.tasks().spawn(async move { node.fetch_map(from).await });
        }
    }

    async fn fetch_map(self: &Arc<Member>, from: NodeId) {
        match self
            .transport
            .call(
                from,
                ConnectionClass::Rpc,
                MemberMethod::Map as u16,
                Bytes::new(),
                DEADLINE,
            )
            .await
        {
            Ok(bytes) => match ClusterMap::decode(&bytes) {
                Ok(map) => self.adopt(map),
                Err(error) => tracing::warn!(%from, %error, "malformed cluster map from a member"),
            },
            // The next announcement retries.
            Err(error) => tracing::debug!(%from, %error, "failed to fetch the cluster map"),
        }
    }

    /// Announces this member's state to all others.
    pub(crate) fn announce(&self) {
        for peer in self.others() {
            self.announce_to(peer);
        }
    }

    pub(crate) fn announce_to(&self, peer: NodeId) {
        if let Some(rounds) = self.store().synced_rounds() {
            let body = Bytes::copy_from_slice(&rounds.to_be_bytes());
            // Fails if the peer is unreachable; a new connection begins with an announcement.
            drop(
                self.transport
                    .cast(peer, ConnectionClass::Rpc, MemberMethod::Synced as u16, body),
            );
        }
        let owned = self
            .owned()
            .into_iter()
            .map(|(shard, epoch)| (shard.0, epoch))
            .collect();
        let announcement = MemberAnnouncement {
            map_version: self.map().version,
            draining: self.is_draining(),
            addr: self.config.advertise.clone(),
            owned,
        };
        if let Ok(body) = postcard::to_stdvec(&announcement) {
            // As above: a new connection begins with an announcement.
            drop(self.transport.cast(
                peer,
                ConnectionClass::Rpc,
                MemberMethod::Announcement as u16,
                body.into(),
            ));
        }
    }

    /// Returns the voters of a group as its owner has applied them, this member or another one; `None` without a
    /// response or a known owner.
    pub(crate) async fn ask_voters(&self, shard: ShardId) -> Option<Vec<NodeId>> {
        if let Some((epoch, replica)) = self
            .replica(shard)
            .and_then(|replica| Some((replica.epoch()?, replica)))
        {
            self.readable(shard, epoch).await.ok()?;
            return replica.group.applied_voters().await;
        }
        self.ask_owner(shard, MemberMethod::GetVoters).await
    }

    /// Asks the owner of a shard for all members of its group; `None` without a response or a known owner.
    pub(crate) async fn ask_members(&self, shard: ShardId) -> Option<Vec<NodeId>> {
        self.ask_owner(shard, MemberMethod::GetMembers).await
    }

    async fn ask_owner(&self, shard: ShardId, method: MemberMethod) -> Option<Vec<NodeId>> {
        let (owner, _) = self.table.owner(shard)?;
        let body = Bytes::copy_from_slice(&shard.0.to_be_bytes());
        let answer = self.ask_rpc(owner, method, body, DEADLINE).await?;
        postcard::from_bytes(&answer).ok()
    }

    /// Sends a request to the owner of a shard that this member does not own; `None` while no other owner is known.
    ///
    /// # Errors
    /// The owner's reason for a refusal, or no answer in time.
    pub(super) async fn ask_other_owner(
        &self,
        shard: ShardId,
        method: MemberMethod,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Option<Bytes>, String> {
        match self.table.owner(shard) {
            Some((owner, _)) if owner != self.id() => {
                self.ask_reason(owner, method, body, deadline).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Sends one of the cluster's own requests to a member.
    ///
    /// # Errors
    /// The member's reason for a refusal, or no answer in time.
    pub(super) async fn ask_reason(
        &self,
        peer: NodeId,
        method: MemberMethod,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, String> {
        let answer = self
            .transport
            .call(peer, ConnectionClass::Rpc, method as u16, body, deadline);
        answer.await.map_err(|error| match error {
            transport::Error::Refused(reason) => format!("node {peer}: {}", String::from_utf8_lossy(&reason)),
            error => format!("node {peer}: {error}"),
        })
    }

    /// Sends one of the cluster's own requests to a member; `None` on any failure.
    pub(crate) async fn ask_rpc(
        &self,
        peer: NodeId,
        method: MemberMethod,
        body: Bytes,
        deadline: Duration,
    ) -> Option<Bytes> {
        let answer = self
            .transport
            .call(peer, ConnectionClass::Rpc, method as u16, body, deadline);
        answer.await.ok()
    }
}
