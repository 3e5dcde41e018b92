//! Queue of presence updates to one node, bounded by the node's sessions and watches.
//!
//! Only the newest presence of a user matters, so it is looked up when the update is sent. Of a profile the newest version
//! is queued.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use cluster::NodeId;
use protocol::UserId;

use super::PresenceRegistry;
use crate::rpc::presence::{PresenceUpdate, PresenceUpdates};

/// Maximum number of items per message.
const PAGE: usize = 512;

/// Pending updates to one node.
#[derive(Debug, Default)]
pub(super) struct UpdateQueue {
    items: Vec<PresenceUpdate>,
    changed: HashSet<UserId>,
    /// Newest version of each changed profile.
    profiles: HashMap<UserId, u64>,
    /// True while a message is in flight.
    under_way: bool,
    /// Earliest time of the next message, after a failure.
    not_before: Option<Instant>,
}

// === impl UpdateQueue ===

impl UpdateQueue {
    pub(super) fn push(&mut self, item: PresenceUpdate) {
        self.items.push(item);
    }

    pub(super) fn changed(&mut self, user: &UserId) {
        self.changed.insert(user.clone());
    }

    pub(super) fn profile_changed(&mut self, user: &UserId, ver: u64) {
        let newest = self.profiles.entry(user.clone()).or_default();
        *newest = ver.max(*newest);
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.changed.is_empty() && self.profiles.is_empty()
    }

    fn ready(&self, now: Instant) -> bool {
        !self.is_empty() && !self.under_way && self.not_before.is_none_or(|at| at <= now)
    }
}

// === impl PresenceRegistry ===

impl PresenceRegistry {
    /// Pops the updates that can be sent now, at most one message per node.
    pub(crate) fn pop_updates(
        &mut self,
        shard: u16,
        epoch: u64,
        now: Instant,
        now_ms: u64,
    ) -> Vec<(NodeId, PresenceUpdates)> {
        let ready = self
            .nodes
            .iter()
            .filter(|(_, registered)| registered.mail.ready(now));
        let ready: Vec<NodeId> = ready.map(|(node, _)| *node).collect();
        let mut out = Vec::with_capacity(ready.len());
        for node in ready {
            let Some(registered) = self.nodes.get_mut(&node) else {
                continue;
            };
            let registration = registered.registration;
            let take = registered.mail.items.len().min(PAGE);
            // Ordered items go first; presence fills the rest of the message.
            let mut items: Vec<PresenceUpdate> = registered.mail.items.drain(..take).collect();
            let users: Vec<UserId> = registered
                .mail
                .changed
                .iter()
                .take(PAGE - take)
                .cloned()
                .collect();
            for user in &users {
                registered.mail.changed.remove(user);
            }
            let profiles: Vec<UserId> = registered
                .mail
                .profiles
                .keys()
                .take(PAGE - take - users.len())
                .cloned()
                .collect();
            for user in profiles {
                if let Some(ver) = registered.mail.profiles.remove(&user) {
                    items.push(PresenceUpdate::Profile { user, ver });
                }
            }
            // One message in flight per node keeps the order of blocks and displacements.
            registered.mail.under_way = true;
            for user in users {
                // Read at the time of sending, so several changes collapse into the newest state.
                let state = self.state(&user, now, now_ms);
                items.push(PresenceUpdate::Presence { user, state });
            }
            let updates = PresenceUpdates {
                shard,
                epoch,
                registration,
                items,
            };
            out.push((node, updates));
        }
        out
    }

    /// Marks the message as delivered. A node that has registered again is left alone.
    pub(crate) fn sent(&mut self, node: NodeId, registration: u64) {
        if let Some(registered) = self
            .nodes
            .get_mut(&node)
            .filter(|registered| registered.registration == registration)
        {
            registered.mail.under_way = false;
            registered.mail.not_before = None;
        }
    }

    /// Queues the updates of a failed message again, to be sent after `retry_at`. They are dropped if the node has
    /// registered again.
    pub(crate) fn unsent(&mut self, node: NodeId, updates: PresenceUpdates, retry_at: Instant) {
        let registered = self
            .nodes
            .get_mut(&node)
            .filter(|registered| registered.registration == updates.registration);
        let Some(registered) = registered else { return };
        registered.mail.under_way = false;
        registered.mail.not_before = Some(retry_at);
        let mut items = Vec::new();
        for item in updates.items {
            match item {
                PresenceUpdate::Presence { user, .. } => {
                    registered.mail.changed.insert(user);
                }
                PresenceUpdate::Profile { user, ver } => registered.mail.profile_changed(&user, ver),
                item => items.push(item),
            }
        }
        // Before those that arrived meanwhile: an older block must not override its removal.
        items.append(&mut registered.mail.items);
        registered.mail.items = items;
    }

    /// Returns the end of the earliest pause; `None` if no queued updates wait for one.
    pub(crate) fn updates_due(&self) -> Option<Instant> {
        let waiting = self
            .nodes
            .values()
            .filter(|registered| !registered.mail.under_way && !registered.mail.is_empty());
        waiting.filter_map(|registered| registered.mail.not_before).min()
    }
}
