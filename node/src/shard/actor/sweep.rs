//! Bound on the conversation actors of a shard: stops idle ones, and the least recently used ones above a number.

use std::time::Duration;

use super::ShardActor;
use crate::shard::messages::Passivate;
use crate::shard::settings::Settings;

/// Maximum interval between two searches for idle conversations.
const SWEEP: Duration = Duration::from_secs(5);
/// Minimum number of searches within the idle timeout.
const SWEEPS: u32 = 4;
/// Conversation actors on this node. Above the bound the least recently used ones are stopped.
const MAX_ACTORS: usize = 50_000;

// === impl ShardActor ===

impl ShardActor {
    /// Stops conversation actors that are idle, and the least recently used ones above the bound.
    pub(super) fn sweep(&mut self) {
        self.sweep += 1;
        let settings = &self.core.shared.settings;
        let idle = settings.actor_idle.div_duration_f64(interval(settings)).ceil() as u64;
        // The node's bound is divided by the number of shards: no shard counts the actors of the others.
        let shards = self.core.shared.client.command_queues().len().max(1);
        let most = (MAX_ACTORS / shards).max(64);
        let mut oldest: Vec<u64> = Vec::new();
        if self.conversations.len() > most {
            oldest = self.conversations.values().map(|live| live.used).collect();
            oldest.sort_unstable();
        }
        let excess = self.conversations.len().saturating_sub(most);
        // The `excess` least recently used actors; ties may remove more.
        let before = excess.checked_sub(1).and_then(|at| oldest.get(at)).copied();
        let sweep = self.sweep;
        let mut gone = 0;
        self.conversations.retain(|_, live| {
            // An actor used since the last sweep stays, even above the bound: it may have commands in flight.
            let tired = live.used + idle < sweep
                || before.is_some_and(|before| live.used <= before && live.used + 1 < sweep);
            if tired {
                gone += 1;
                // With a full mailbox the actor stops once its last address is dropped.
                let _ = live.addr.try_send(Passivate);
            }
            !tired
        });
        self.core.shared.client.metrics.actors.dec_by(gone);
    }
}

/// Returns the interval between two searches for idle conversation actors.
pub(super) fn interval(settings: &Settings) -> Duration {
    (settings.actor_idle / SWEEPS).clamp(Duration::from_millis(10), SWEEP)
}
