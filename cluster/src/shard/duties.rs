//! Duties of members and chosen owners in the cluster map: who may hold replicas, who is leaving, and which replica
//! leads a shard by an operator's choice.

use super::cluster_map::{ClusterMap, Placement};
use super::map_change::MapChangeResult;
use crate::ids::{META_SHARD, NodeDuty, NodeId, NodeInfo};

// === impl ClusterMap: duties ===

impl ClusterMap {
    /// Returns the duty of a member; that of an unknown node is the usual one.
    #[must_use]
    pub(crate) fn duty(&self, node: NodeId) -> NodeDuty {
        self.duties.get(&node).copied().unwrap_or_default()
    }

    /// Returns the members that may hold replicas.
    pub(crate) fn holders(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes
            .values()
            .filter(|node| self.duty(node.id) == NodeDuty::Replicas)
    }

    /// Returns the members whose votes and clocks count: all but those that only route. A leaving one votes until its
    /// last replica is gone.
    pub(crate) fn electorate(&self) -> impl Iterator<Item = NodeId> {
        let ids = self.nodes.keys().copied();
        ids.filter(|node| self.duty(*node) != NodeDuty::Gateway)
    }

    /// Returns the leaving members.
    pub(crate) fn leavers(&self) -> Vec<NodeId> {
        let ids = self.nodes.keys().copied();
        ids.filter(|node| self.duty(*node) == NodeDuty::Leave).collect()
    }

    /// Returns whether the placement of some group contains the node.
    pub(crate) fn places_on(&self, node: NodeId) -> bool {
        let groups = self.shards.iter().chain([&self.meta]);
        groups.into_iter().any(|group| group.replicas.contains(&node))
    }

    /// Adds a member, or returns the id that an earlier request with the same ticket got: the joining node repeats its
    /// request after a crash or a lost response, and a second id would stay in the map.
    pub(super) fn join(&mut self, ticket: u64, info: NodeInfo, duty: NodeDuty) -> MapChangeResult {
        let cluster = self.cluster;
        if let Some(&node) = self.tickets.get(&ticket) {
            return MapChangeResult::Joined { node, cluster };
        }
        let node = NodeId(self.next_node);
        self.next_node += 1;
        self.tickets.insert(ticket, node);
        self.nodes.insert(node, NodeInfo { id: node, ..info });
        if duty != NodeDuty::Replicas {
            self.duties.insert(node, duty);
        }
        self.version += 1;
        MapChangeResult::Joined { node, cluster }
    }

    /// Changes the duty of a member.
    ///
    /// # Errors
    /// The reason for which the map is unchanged.
    pub(super) fn set_duty(&mut self, node: NodeId, duty: NodeDuty) -> Result<(), &'static str> {
        if !self.nodes.contains_key(&node) {
            return Err("no such member");
        }
        if duty != NodeDuty::Replicas && !self.holders().any(|other| other.id != node) {
            return Err("no other member may hold replicas");
        }
        match duty {
            NodeDuty::Replicas => self.duties.remove(&node),
            NodeDuty::Gateway | NodeDuty::Leave => self.duties.insert(node, duty),
        };
        self.pinned.retain(|_, to| *to != node);
        Ok(())
    }

    /// Removes a member with everything that names it.
    ///
    /// # Errors
    /// The reason for which the map is unchanged.
    pub(super) fn remove(&mut self, node: NodeId) -> Result<(), &'static str> {
        if self.nodes.len() < 2 {
            return Err("the last member cannot be removed");
        }
        if !self.nodes.contains_key(&node) {
            return Err("no such member");
        }
        if !self.holders().any(|other| other.id != node) {
            return Err("no other member may hold replicas");
        }
        self.nodes.remove(&node);
        self.duties.remove(&node);
        self.pinned.retain(|_, to| *to != node);
        // A process that still holds the ticket must not rejoin under the removed id.
        self.tickets.retain(|_, of| *of != node);
        Ok(())
    }

    /// Lets a replica lead its group until [`unpin`](Self::unpin).
    ///
    /// # Errors
    /// The reason for which the map is unchanged.
    pub(super) fn pin(&mut self, shard: u16, node: NodeId) -> Result<(), &'static str> {
        let placement = match storage::ShardId(shard) {
            META_SHARD => Some(&mut self.meta),
            _ => self.shards.get_mut(usize::from(shard)),
        };
        let Some(placement) = placement else {
            return Err("no such shard");
        };
        if !placement.replicas.contains(&node) {
            return Err("the member holds no replica of the shard");
        }
        placement.preferred = node;
        self.pinned.insert(shard, node);
        Ok(())
    }

    /// Lets the placement choose the leading replica of every group again.
    pub(super) fn unpin(&mut self) {
        self.pinned.clear();
    }

    /// Ends the choices of owners that have no replica of their shard any more.
    pub(super) fn release_unplaced(&mut self) {
        let ClusterMap {
            pinned, shards, meta, ..
        } = self;
        pinned.retain(|&shard, node| {
            let placement = match storage::ShardId(shard) {
                META_SHARD => Some(&*meta),
                _ => shards.get(usize::from(shard)),
            };
            placement.is_some_and(|placement| placement.replicas.contains(node))
        });
    }

    /// Puts the owners chosen by operators into a placement; ignores those without a replica there.
    pub(crate) fn prefer_pinned(&self, shards: &mut [Placement], meta: &mut Placement) {
        for (&shard, &node) in &self.pinned {
            let placement = match storage::ShardId(shard) {
                META_SHARD => Some(&mut *meta),
                _ => shards.get_mut(usize::from(shard)),
            };
            if let Some(placement) = placement.filter(|placement| placement.replicas.contains(&node)) {
                placement.preferred = node;
            }
        }
    }
}
