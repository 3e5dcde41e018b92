//! How much a `resync` may excuse: nothing that it can't explain, and no more of them than can be explained.

use super::Oracle;
use super::violation::Kind;
use crate::clock::{Nanos, SECOND};
use crate::payload::ClientIx;

/// What a session was told to sync again for, over one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resyncs {
    /// When it last was because of a full queue.
    slow: Option<Nanos>,
    /// How often it was because a conversation could not be followed in time.
    late: usize,
}

/// A queue that overflows again within thirty seconds ends the connection (protocol, section 10). Half of it, because the
/// client reads both when it comes to it.
const BETWEEN: Nanos = 15 * SECOND;

// === impl Oracle: resyncs ===

impl Oracle {
    /// A client with so many conversations was told to sync again. `now` is none if it reads slowly by its own doing.
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
                soon.map(|_| "a queue that overflows twice so soon ends the connection".to_owned())
            }
            // Only retention takes what nobody has got yet.
            "gone" if !self.retention.is_on() => Some("nothing goes here by age or number".to_owned()),
            "gone" => None,
            // Once for each conversation whose owner could not be reached when the connection began.
            "late" => {
                session.late += 1;
                let most = conversations.max(1);
                (session.late > most).then(|| {
                    format!(
                        "{} times over one connection, with {most} conversations",
                        session.late
                    )
                })
            }
            _ => Some("a reason that the protocol doesn't have".to_owned()),
        };
        if let Some(detail) = unexplained {
            let detail = format!("client {client} was told to resync, {why:?}: {detail}");
            self.violate(Kind::ResyncUnexplained, None, Some(client), 0, detail);
        }
    }
}
