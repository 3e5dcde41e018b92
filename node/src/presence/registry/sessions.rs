//! Sessions in the registry: admission, displacement, departure, and the division of a user's rates among nodes.

use std::time::Instant;

use cluster::NodeId;
use protocol::UserId;

use super::entry::RegisteredSession;
use super::{PresenceRegistry, SAVE_EVERY};
use crate::rpc::presence::{PresenceUpdate, SessionAdmission, SessionInfo};

// === impl PresenceRegistry ===

impl PresenceRegistry {
    pub(super) fn enter(
        &mut self,
        node: NodeId,
        new_session: &SessionInfo,
        now: Instant,
        now_ms: u64,
    ) -> SessionAdmission {
        if new_session.waiting {
            self.wait(node, new_session, now, now_ms);
            return SessionAdmission::Admitted;
        }
        let PresenceRegistry {
            settings,
            users,
            nodes,
            ..
        } = self;
        let known = users.contains_key(&new_session.user);
        let entry = users.entry(new_session.user.clone()).or_default();
        // A repeated request after a lost response: neither the limits nor displacement apply again.
        if entry
            .sessions
            .iter()
            .any(|session| session.is(node, new_session.tag))
        {
            return SessionAdmission::Admitted;
        }
        let admission = entry.admits(new_session, settings, now);
        if admission != SessionAdmission::Admitted {
            // The entry was created for the check only; refused users must not fill the registry.
            if !known {
                users.remove(&new_session.user);
            }
            return admission;
        }
        for (session, how) in entry.give_way(new_session) {
            self.displaced += 1;
            if let Some(registered) = nodes.get_mut(&session.node) {
                registered.mail.push(PresenceUpdate::Displaced {
                    tag: session.tag,
                    how,
                });
            }
        }
        let was = entry.online(now);
        entry.sessions.push(RegisteredSession::new(node, new_session));
        // Cleared after `online` was read: a return within the grace period is no change.
        entry.until = None;
        if !was {
            self.changed(&new_session.user);
        }
        self.divide(&new_session.user);
        SessionAdmission::Admitted
    }

    pub(super) fn leave(&mut self, node: NodeId, user: &UserId, tag: u64, now: Instant, now_ms: u64) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        let before = entry.is_connected();
        entry.sessions.retain(|session| !session.is(node, tag));
        if before && !entry.is_connected() {
            self.left(user, now, now_ms);
        } else {
            // The end of a waiting session changes no presence, but its entry may be the last thing known of the user.
            self.tidy(user, now);
        }
        self.divide(user);
    }

    /// Records that a session is detached and waits for its device. It leaves presence like one that has ended.
    fn wait(&mut self, node: NodeId, session: &SessionInfo, now: Instant, now_ms: u64) {
        let entry = self.users.entry(session.user.clone()).or_default();
        let before = entry.is_connected();
        entry.sessions.retain(|known| !known.is(node, session.tag));
        entry.sessions.push(RegisteredSession::new(node, session));
        if before && !entry.is_connected() {
            self.left(&session.user, now, now_ms);
        }
        self.divide(&session.user);
    }

    /// Reports the number of nodes with sessions of the user to these nodes if it changed, so that together they apply
    /// about one user's rate.
    fn divide(&mut self, user: &UserId) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        let nodes = entry.nodes();
        if entry.divided == nodes {
            return;
        }
        let before = std::mem::replace(&mut entry.divided, nodes.clone()).len();
        let count = nodes.len();
        // A single node applies the whole rate by default and needs no report.
        if before <= 1 && count <= 1 {
            return;
        }
        for node in nodes {
            if let Some(registered) = self.nodes.get_mut(&node) {
                registered.mail.push(PresenceUpdate::Divided {
                    user: user.clone(),
                    nodes: u32::try_from(count).unwrap_or(u32::MAX),
                });
            }
        }
    }

    /// Starts the grace period after the last session of the user.
    fn left(&mut self, user: &UserId, now: Instant, now_ms: u64) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        let until = now + self.settings.offline_grace;
        entry.until = Some(until);
        entry.seen = Some(now_ms);
        entry.unsaved = true;
        // At most one proposal per [`SAVE_EVERY`], so that a flapping client does not fill the log.
        let save_at = entry.saved.map_or(now, |saved| (saved + SAVE_EVERY).max(now));
        self.timers.insert((until, user.clone()));
        self.timers.insert((save_at, user.clone()));
    }

    /// Removes a node's sessions and watches.
    pub(super) fn forget(&mut self, node: NodeId, now: Instant, now_ms: u64) {
        let Some(registered) = self.nodes.remove(&node) else {
            return;
        };
        tracing::debug!(%node, incarnation = registered.incarnation, "registration removed");
        // Changes are collected and applied after the loop, because they need the whole registry.
        let mut left = Vec::new();
        let mut idle = Vec::new();
        let mut fewer = Vec::new();
        for (user, entry) in &mut self.users {
            entry.watchers.retain(|watcher| *watcher != node);
            let (before, was_connected) = (entry.sessions.len(), entry.is_connected());
            entry.sessions.retain(|session| session.node != node);
            if before > entry.sessions.len() {
                fewer.push(user.clone());
            }
            if was_connected && !entry.is_connected() {
                left.push(user.clone());
            } else if entry.sessions.is_empty() && entry.watchers.is_empty() {
                idle.push(user.clone());
            }
        }
        for user in left {
            self.left(&user, now, now_ms);
        }
        for user in fewer {
            self.divide(&user);
        }
        for user in idle {
            self.tidy(&user, now);
        }
    }
}
