//! Callbacks that a member registers with the transport and its state machines.
//!
//! Path of a message: step 4 of 13.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use storage::ShardId;

use crate::ids::{META_SHARD, NodeId, ShardOwner};
use crate::member::{Member, clock_exchange};
use crate::raft::ApplyObserver;
use crate::shard::MemberMethod;
use crate::transport::{ConnectionClass, ConnectionState, Handler, NodeIdentity, PeerAdmission, Responder};

/// Callbacks of a member. The reference is weak, because the transport and the groups may outlive the member.
pub(crate) struct TransportHandler {
    node: Weak<Member>,
}

// === impl TransportHandler ===

impl TransportHandler {
    pub(crate) fn new(node: &Arc<Member>) -> Arc<TransportHandler> {
        Arc::new(TransportHandler {
            node: Arc::downgrade(node),
        })
    }
}

impl Handler for TransportHandler {
    fn call(&self, from: NodeId, class: ConnectionClass, method: u16, body: Bytes, reply: Responder) {
        // Without a member the responder is dropped, which the caller receives as a lost request.
        let Some(node) = self.node.upgrade() else { return };
        match class {
            ConnectionClass::Raft | ConnectionClass::Snapshot => {
                let find = |shard| node.replica(shard).map(|replica| replica.group.clone());
                node.server.handle(from, method, body, reply, find);
            }
            ConnectionClass::Rpc | ConnectionClass::Fanout => match MemberMethod::from_wire(method) {
                Some(method) => node.request(from, method, body, reply),
                // A node that is only joining has no access to the service.
                None if from == NodeId(0) => reply.send(Err(Bytes::from_static(b"not a member"))),
                None => node.service.call(from, method, body, reply),
            },
        }
    }

    fn cast(&self, from: NodeId, link: u64, class: ConnectionClass, method: u16, body: Bytes) {
        let Some(node) = self.node.upgrade() else { return };
        match (class, MemberMethod::from_wire(method)) {
            (_, Some(MemberMethod::Announcement)) => node.on_announcement(from, &body),
            (_, Some(MemberMethod::Synced)) => {
                if let Ok(rounds) = body.as_ref().try_into() {
                    node.disks.record(from, u64::from_be_bytes(rounds));
                }
            }
            (ConnectionClass::Fanout, None) => node.service.cast(from, link, method, body),
            _ => tracing::debug!(%from, class = class.name(), method, "unexpected one-way message"),
        }
    }

    fn link(&self, peer: NodeId, class: ConnectionClass, state: ConnectionState) {
        let Some(node) = self.node.upgrade() else { return };
        match (class, state) {
            // One of the four classes decides: a member counts as connected while its rpc connection is up.
            (ConnectionClass::Rpc, ConnectionState::Up(_)) => {
                node.health.link_up(peer);
                // The peer may have missed announcements while the connection was down, and may dial an old address.
                node.announce_to(peer);
                // Immediately and not with the next tick: a new leader needs a majority's clocks before it takes over.
                clock_exchange::ask(&node, peer);
                node.changed.notify_one();
            }
            (ConnectionClass::Rpc, ConnectionState::Down) => {
                node.health.link_down(peer);
                node.changed.notify_one();
            }
            _ => {}
        }
        if class == ConnectionClass::Fanout {
            node.service.link(peer, state);
        }
    }

    fn admission(&self, peer: NodeIdentity) -> PeerAdmission {
        let Some(node) = self.node.upgrade() else {
            return PeerAdmission::Admitted;
        };
        // Checked first: a removed node shall be informed of its removal, whatever the state of its disk.
        if node.map().has_removed(peer.node) {
            PeerAdmission::Removed
        } else if peer.supported_level < node.feature_level() {
            PeerAdmission::BelowLevel
        } else if node.disks.admits(peer.node, peer.incarnation) {
            PeerAdmission::Admitted
        } else {
            PeerAdmission::OlderDisk
        }
    }

    fn is_removed(&self, peer: NodeId) -> bool {
        self.node
            .upgrade()
            .is_some_and(|node| node.map().has_removed(peer))
    }

    fn refused(&self, by: NodeId, verdict: PeerAdmission) {
        let Some(node) = self.node.upgrade() else { return };
        match verdict {
            PeerAdmission::OlderDisk => node.incarnation_rejected(by),
            PeerAdmission::Removed => node.was_removed(&format!("node {by}")),
            PeerAdmission::BelowLevel => node.fell_below_level(),
            PeerAdmission::Admitted => {}
        }
    }

    fn incoming(&self, peer: NodeId, class: ConnectionClass, state: ConnectionState) {
        if class == ConnectionClass::Fanout
            && let Some(node) = self.node.upgrade()
        {
            node.service.incoming(peer, state);
        }
    }
}

impl ApplyObserver for TransportHandler {
    fn taken_over(&self, shard: ShardId, owner: ShardOwner, replaced: ShardOwner) {
        if let Some(node) = self.node.upgrade() {
            node.taken_over(shard, owner, replaced);
        }
    }

    fn applied(&self, took: Duration) {
        if let Some(node) = self.node.upgrade() {
            node.metrics().applied(took);
        }
    }

    fn changed(&self, shard: ShardId) {
        if shard == META_SHARD
            && let Some(node) = self.node.upgrade()
        {
            node.changed.notify_one();
        }
    }
}
