//! Checks of `resync` events: each needs a possible reason, and their number is limited.

use super::Oracle;
use super::violation::ViolationKind;
use crate::clock::{Nanos, SECOND};
use crate::payload::ClientIx;

/// `resync` events of a session over one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resyncs {
    /// Time of the last one with the reason `slow`.
    slow: Option<Nanos>,
    /// Number of those with the reason `late`.
    late: usize,
}

/// Minimum time between two overflows. A queue that overflows again within 30 s ends the connection (protocol, section
/// 10). Half of it, because the client may read both with a delay.
const BETWEEN: Nanos = 15 * SECOND;

// === impl Oracle: resyncs ===

impl Oracle {
    /// Checks a `resync` of a client with this number of conversations. `now` is `None` if the client reads slowly by
    /// its own behavior.
    pub(crate) fn resynced(
        &mut self,
        client: ClientIx,
        session: &mut Resyncs,
        why: &str,
        conversations: usize,
        now: Option<Nanos>,
    ) {
        self.counts.resyncs += 1;
        let unexplained = match why {
            "slow" => {
                let before = std::mem::replace(&mut session.slow, now);
                let soon = before.zip(now).filter(|(before, now)| now - before < BETWEEN);
                soon.map(|_| "a second overflow so soon must close the connection".to_owned())
            }
            // Only retention removes events that a client still lacks.
            "gone" if !self.retention.is_on() => Some("retention is off".to_owned()),
            "gone" => None,
            // At most one per conversation: its shard owner was unreachable when the connection began.
            "late" => {
                session.late += 1;
                let most = conversations.max(1);
                (session.late > most).then(|| {
                    format!(
                        "{} times on one connection, with {most} conversations",
                        session.late
                    )
                })
            }
            _ => Some("a reason that the protocol does not define".to_owned()),
        };
        if let Some(detail) = unexplained {
            let detail = format!("client {client} received resync, {why:?}: {detail}");
            self.violate(ViolationKind::ResyncUnexplained, None, Some(client), 0, detail);
        }
    }
}
