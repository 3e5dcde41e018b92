//! Rebuilding of a replica whose rows differ from those of a majority.
//!
//! ```text
//!  owner                                          member with the replica
//!    compares all replicas: a majority agrees, and this one differs
//!    removes the replica from the group's voters, and waits until that is committed and applied
//!    Discard ──────────────────────────────────►  stops the replica: from here on it answers nothing
//!            ◄──────────────────────── GetMembers asks the owner, which proves its ownership: am I a member?
//!                                                 no: deletes log, vote and rows, and starts an empty replica
//!    adds it as a learner, then as a voter, as a new replica (`reconcile`)
//! ```
//!
//! A replica must never forget an entry that it confirmed or a vote that it gave as a member of its group. It is stopped
//! before the question, so it confirms nothing between the answer and the deletion. Were it added again in between, by
//! another owner, then as a member that has confirmed nothing. If the owner changes or a message is lost, the replica
//! stays as it was, and the next owner adds it again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use storage::ShardId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ids::{NodeId, shard_name};
use crate::member::Member;
use crate::member::comparison::{MOVE, OWNERS};
use crate::member::leadership_transfer::hand_on;
use crate::member::replicas::Replica;
use crate::shard::MemberMethod;

/// Time limit for the removal of the replica from its group.
const REMOVAL: Duration = Duration::from_secs(30);
/// Time limit for the member to delete the replica.
const DISCARD: Duration = Duration::from_secs(60);
/// Pause between two looks at the group's members.
const PAUSE: Duration = Duration::from_millis(50);
/// Time limit of a rebuild at the owner, with its comparison.
const REBUILD: Duration = Duration::from_secs(900);

/// Result of a request to rebuild a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RebuildResult {
    /// The replica is empty and is filled again.
    Begun,
    /// This member does not own the shard, or not any more: another one must be asked.
    OwnerMoved,
}

/// Rebuilds that this member directs or takes part in.
#[derive(Default)]
pub(super) struct Rebuilds {
    /// Nodes whose replicas this member rebuilds as the owner of the shards.
    marks: Mutex<HashMap<ShardId, NodeId>>,
    /// Replicas here that other owners ask to discard.
    discards: Mutex<Vec<DiscardRequest>>,
}

/// Request to discard a replica, for the reconciliation, which alone starts and stops replicas.
struct DiscardRequest {
    shard: ShardId,
    done: oneshot::Sender<Result<(), String>>,
}

/// Keeps the reconciliation from changing voters or leader of a group.
struct OccupiedReplica(Arc<Replica>);

/// Keeps the reconciliation from adding the replica again until the member has deleted it.
struct RebuildMark {
    member: Arc<Member>,
    shard: ShardId,
}

// === impl Member ===

impl Member {
    /// Rebuilds the replica of a node, here or at the shard's owner.
    ///
    /// # Errors
    /// Those of [`rebuild`](Self::rebuild), and no known owner or no answer of it.
    pub(crate) async fn rebuild_at_owner(
        self: &Arc<Member>,
        shard: ShardId,
        node: NodeId,
    ) -> Result<(), String> {
        for _ in 0..OWNERS {
            let result = match self.owned_epoch(shard) {
                Some(_) => self.rebuild(shard, node).await?,
                None => {
                    let mut body = BytesMut::new();
                    body.put_u16(shard.0);
                    body.put_u64(node.0);
                    let asked = self.ask_other_owner(shard, MemberMethod::Rebuild, body.freeze(), REBUILD);
                    match asked.await?.as_deref() {
                        Some([1]) => RebuildResult::Begun,
                        _ => RebuildResult::OwnerMoved,
                    }
                }
            };
            if result == RebuildResult::Begun {
                return Ok(());
            }
            tokio::time::sleep(MOVE).await;
        }
        Err("the shard has no owner, or its owner changes again and again".to_owned())
    }

    /// Returns the answer to a [`MemberMethod::Rebuild`].
    pub(super) async fn rebuild_for(self: &Arc<Member>, mut request: Bytes) -> Result<Bytes, Bytes> {
        let malformed = |_| Bytes::from_static(b"malformed request");
        let shard = ShardId(request.try_get_u16().map_err(malformed)?);
        let node = NodeId(request.try_get_u64().map_err(malformed)?);
        let result = self.rebuild(shard, node).await.map_err(Bytes::from)?;
        Ok(Bytes::from_static(match result {
            RebuildResult::Begun => &[1],
            RebuildResult::OwnerMoved => &[2],
        }))
    }

    /// Returns the answer to a [`MemberMethod::Discard`].
    pub(super) async fn discard_for(self: &Arc<Member>, mut request: Bytes) -> Result<Bytes, Bytes> {
        let shard = request
            .try_get_u16()
            .map_err(|_| Bytes::from_static(b"malformed request"))?;
        self.discard(ShardId(shard)).await.map_err(Bytes::from)?;
        Ok(Bytes::new())
    }

    /// Rebuilds the replica of a node, as the shard's owner.
    ///
    /// # Errors
    /// The comparison does not permit it, or a step failed; the replica is as it was then.
    async fn rebuild(self: &Arc<Member>, shard: ShardId, node: NodeId) -> Result<RebuildResult, String> {
        let Some(replica) = self.replica(shard).filter(|replica| replica.epoch().is_some()) else {
            return Ok(RebuildResult::OwnerMoved);
        };
        // The comparison may take long. Meanwhile the shard must not go back to its preferred node, which may be the one in
        // question.
        let occupied = OccupiedReplica::claim(&replica).await?;
        let (Some(comparison), Some(epoch)) = (self.compare(shard).await?, replica.epoch()) else {
            return Ok(RebuildResult::OwnerMoved);
        };
        comparison.permits_rebuild(node)?;
        if node == self.id() {
            // Its rows answer the clients, and a leader does not remove itself.
            let handed = hand_on(self, &replica).await;
            return match handed {
                true => Ok(RebuildResult::OwnerMoved),
                false => Err("no other replica can take the shard over".to_owned()),
            };
        }
        let _mark = RebuildMark::set(self, shard, node)?;
        drop(occupied);
        self.changed.notify_one();
        let name = shard_name(shard);
        tracing::warn!(shard = name, %node, index = comparison.index, "replica differs from the majority, rebuilding it");
        #[cfg(feature = "planted-bugs")]
        let removes = !crate::seeded_bugs::voter_deleted();
        #[cfg(not(feature = "planted-bugs"))]
        let removes = true;
        if removes {
            self.is_removed(&replica, epoch, node).await?;
        }
        let body = Bytes::copy_from_slice(&shard.0.to_be_bytes());
        self.ask_reason(node, MemberMethod::Discard, body, DISCARD)
            .await?;
        tracing::info!(shard = name, %node, "differing replica deleted, it is filled again");
        Ok(RebuildResult::Begun)
    }

    /// Waits until the group has committed a membership without the node.
    async fn is_removed(&self, replica: &Arc<Replica>, epoch: u64, node: NodeId) -> Result<(), String> {
        let given_up = Instant::now() + REMOVAL;
        loop {
            let voters = replica.group.applied_voters().await;
            let is_removed = voters.is_some_and(|voters| !voters.contains(&node));
            if is_removed && !replica.group.members().contains(&node) {
                return Ok(());
            }
            if replica.epoch() != Some(epoch) {
                return Err("the shard's owner has changed".to_owned());
            }
            if Instant::now() > given_up {
                return Err("the replica could not be removed from its group in time".to_owned());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns the node whose replica of the shard is being rebuilt by this member.
    pub(super) fn rebuilding(&self, shard: ShardId) -> Option<NodeId> {
        self.rebuilds.marks.lock().get(&shard).copied()
    }

    /// Asks the reconciliation to discard a replica, and waits for it.
    pub(super) async fn discard(&self, shard: ShardId) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        self.rebuilds.discards.lock().push(DiscardRequest { shard, done });
        self.changed.notify_one();
        answer.await.map_err(|_| "the node is stopping".to_owned())?
    }

    /// Discards the replicas of which owners have asked it.
    pub(super) async fn follow_discards(self: &Arc<Member>) {
        loop {
            let request = self.rebuilds.discards.lock().pop();
            let Some(DiscardRequest { shard, done }) = request else {
                return;
            };
            let discarded = self.discard_replica(shard).await;
            if let Err(reason) = &discarded {
                tracing::warn!(shard = shard_name(shard), reason, "replica not deleted");
            }
            // The owner may have given up.
            drop(done.send(discarded));
        }
    }

    async fn discard_replica(self: &Arc<Member>, shard: ShardId) -> Result<(), String> {
        if self.owned_epoch(shard).is_some() {
            return Err("this node owns the shard".to_owned());
        }
        if self.replica(shard).is_none() {
            return Err("the node has no replica".to_owned());
        }
        // Before the question: what is asked about is a replica that confirms nothing any more.
        self.stop_replica(shard).await;
        let is_member = match self.ask_members(shard).await {
            #[cfg(feature = "planted-bugs")]
            Some(_) if crate::seeded_bugs::voter_deleted() => false,
            Some(members) => members.contains(&self.id()),
            // Without a proof the replica stays: it may be needed for a majority.
            None => true,
        };
        let deleted = match is_member {
            true => Err(
                "the shard's owner does not confirm that the replica is no member of its group".to_owned(),
            ),
            false => self
                .delete_replica(shard)
                .await
                .map_err(|error| error.to_string()),
        };
        // Empty now, or as it was.
        let started = self.start_replica(shard).await;
        deleted.and(started.map(drop).map_err(|error| error.to_string()))
    }
}

// === impl OccupiedReplica ===

impl OccupiedReplica {
    async fn claim(replica: &Arc<Replica>) -> Result<OccupiedReplica, String> {
        let given_up = Instant::now() + REMOVAL;
        while replica.busy.swap(true, Ordering::AcqRel) {
            if Instant::now() > given_up {
                return Err("the group's voters or leader are changing: repeat it later".to_owned());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(OccupiedReplica(replica.clone()))
    }
}

impl Drop for OccupiedReplica {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

// === impl RebuildMark ===

impl RebuildMark {
    fn set(member: &Arc<Member>, shard: ShardId, node: NodeId) -> Result<RebuildMark, String> {
        let mut rebuilds = member.rebuilds.marks.lock();
        if rebuilds.contains_key(&shard) {
            return Err("a replica of the shard is being rebuilt already".to_owned());
        }
        rebuilds.insert(shard, node);
        Ok(RebuildMark {
            member: member.clone(),
            shard,
        })
    }
}

impl Drop for RebuildMark {
    fn drop(&mut self) {
        self.member.rebuilds.marks.lock().remove(&self.shard);
        self.member.changed.notify_one();
    }
}
