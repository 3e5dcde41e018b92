//! What the transport and the state machines tell a member.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use storage::ShardId;

use crate::clock::exchange;
use crate::node::Node;
use crate::ownership::Owner;
use crate::ownership::announce::Method;
use crate::raft::state_machine::Watcher;
use crate::shard::META;
use crate::transport::{Admission, Handler, Lane, LinkState, Reply};
use crate::types::NodeId;

/// A member's ears. Weak: transport and groups outlive the member only to be told nothing more.
pub(crate) struct Ears {
    node: Weak<Node>,
}

// === impl Ears ===

impl Ears {
    pub(crate) fn new(node: &Arc<Node>) -> Arc<Ears> {
        Arc::new(Ears {
            node: Arc::downgrade(node),
        })
    }
}

impl Handler for Ears {
    fn call(&self, from: NodeId, lane: Lane, method: u16, body: Bytes, reply: Reply) {
        let Some(node) = self.node.upgrade() else { return };
        match lane {
            Lane::Raft | Lane::Snapshot => {
                let find = |shard| node.replica(shard).map(|replica| replica.group.clone());
                node.server.handle(from, method, body, reply, find);
            }
            Lane::Rpc | Lane::Fanout => match Method::from_wire(method) {
                Some(method) => node.request(from, method, body, reply),
                // A node that only asks to join may not talk to the service.
                None if from == NodeId(0) => reply.send(Err(Bytes::from_static(b"not a member"))),
                None => node.service.call(from, method, body, reply),
            },
        }
    }

    fn cast(&self, from: NodeId, link: u64, lane: Lane, method: u16, body: Bytes) {
        let Some(node) = self.node.upgrade() else { return };
        match (lane, Method::from_wire(method)) {
            (_, Some(Method::News)) => node.heard(from, &body),
            (_, Some(Method::Synced)) => {
                if let Ok(rounds) = body.as_ref().try_into() {
                    node.disks.heard(from, u64::from_be_bytes(rounds));
                }
            }
            (Lane::Fanout, None) => node.service.cast(from, link, method, body),
            _ => tracing::debug!(%from, lane = lane.name(), method, "unexpected one-way message"),
        }
    }

    fn link(&self, peer: NodeId, lane: Lane, state: LinkState) {
        let Some(node) = self.node.upgrade() else { return };
        match (lane, state) {
            (Lane::Rpc, LinkState::Up(_)) => {
                node.health.link_up(peer);
                node.announce_to(peer);
                exchange::ask(&node, peer);
                node.changed.notify_one();
            }
            (Lane::Rpc, LinkState::Down) => {
                node.health.link_down(peer);
                node.changed.notify_one();
            }
            _ => {}
        }
        if lane == Lane::Fanout {
            node.service.link(peer, state);
        }
    }

    fn admission(&self, peer: NodeId, incarnation: u64) -> Admission {
        let Some(node) = self.node.upgrade() else {
            return Admission::Admitted;
        };
        if node.map().has_removed(peer) {
            Admission::Removed
        } else if node.disks.admits(peer, incarnation) {
            Admission::Admitted
        } else {
            Admission::OlderDisk
        }
    }

    fn is_removed(&self, peer: NodeId) -> bool {
        self.node
            .upgrade()
            .is_some_and(|node| node.map().has_removed(peer))
    }

    fn refused(&self, by: NodeId, verdict: Admission) {
        let Some(node) = self.node.upgrade() else { return };
        match verdict {
            Admission::OlderDisk => node.condemned(by),
            Admission::Removed => node.was_removed(&format!("node {by}")),
            Admission::Admitted => {}
        }
    }

    fn incoming(&self, peer: NodeId, lane: Lane, state: LinkState) {
        if lane == Lane::Fanout
            && let Some(node) = self.node.upgrade()
        {
            node.service.incoming(peer, state);
        }
    }
}

impl Watcher for Ears {
    fn taken_over(&self, shard: ShardId, owner: Owner) {
        if let Some(node) = self.node.upgrade() {
            node.taken_over(shard, owner);
        }
    }

    fn changed(&self, shard: ShardId) {
        if shard == META
            && let Some(node) = self.node.upgrade()
        {
            node.changed.notify_one();
        }
    }
}
