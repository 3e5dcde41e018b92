//! Deadlines of the registry: silent nodes, grace periods, and the proposal of last-seen times.

use std::time::Instant;

use cluster::NodeId;
use protocol::UserId;

use super::{PresenceRegistry, SAVE_EVERY};

// === impl PresenceRegistry ===

impl PresenceRegistry {
    /// Runs what is due: removes timed-out nodes, ends grace periods, and collects last-seen times.
    pub(crate) fn sweep(&mut self, now: Instant, now_ms: u64) {
        let node_timeout = self.settings.node_timeout;
        let silent: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, registered)| now.saturating_duration_since(registered.last_received) >= node_timeout)
            .map(|(node, _)| *node)
            .collect();
        for node in silent {
            tracing::debug!(%node, "node timed out, removing its sessions");
            self.forget(node, now, now_ms);
        }
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, user)) = self.timers.pop_first() else {
                break;
            };
            self.due(&user, now);
        }
    }

    /// Returns the time of the next [`sweep`](Self::sweep).
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let silent = self
            .nodes
            .values()
            .map(|registered| registered.last_received + self.settings.node_timeout)
            .min();
        let timer = self.timers.first().map(|(at, _)| *at);
        silent.into_iter().chain(timer).min()
    }

    /// Drains the users whose last-seen time is to be proposed.
    pub(crate) fn take_saves(&mut self) -> Vec<(UserId, u64)> {
        std::mem::take(&mut self.saves)
    }

    /// Schedules a last-seen time again whose proposal failed.
    pub(crate) fn not_saved(&mut self, user: &UserId, now: Instant) {
        if let Some(entry) = self.users.get_mut(user) {
            entry.unsaved = true;
            self.timers.insert((now + SAVE_EVERY, user.clone()));
        }
    }

    /// Checks a user's entry at a deadline.
    fn due(&mut self, user: &UserId, now: Instant) {
        let every = SAVE_EVERY;
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        if entry.unsaved
            && entry.saved.is_none_or(|saved| saved + every <= now)
            && let Some(seen) = entry.seen
        {
            entry.unsaved = false;
            entry.saved = Some(now);
            self.timers.insert((now + every, user.clone()));
            self.saves.push((user.clone(), seen));
        }
        // A newer deadline may exist for the same user: each one checks the state, not its own cause.
        if !entry.is_connected() && entry.until.is_some_and(|until| until <= now) {
            entry.until = None;
            self.changed(user);
        }
        self.tidy(user, now);
    }
}
