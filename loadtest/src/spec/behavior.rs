//! Behavior of a client besides its scheduled messages: reconnects, absences, slow reading, and a mix of activities.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::clock::{Nanos, SECOND};

/// Behavior of one client; the default stays connected and reads everything.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct ClientBehavior {
    /// Mean time after which the connection is dropped, repeatedly; `None` never drops it.
    pub(crate) stays: Option<Duration>,
    /// Mean time for which the client stays disconnected after a drop.
    pub(crate) absence: Duration,
    /// Frames read per second: `Some(0)` reads none, `None` reads all as they arrive.
    pub(crate) reads: Option<u32>,
    pub(crate) acts: ActivityMix,
    /// Marks each received message as read at once, with a cursor command of its own.
    pub(crate) marks: bool,
    /// Number of other users whose presence is watched.
    pub(crate) watches: u32,
}

/// Mix of activities for the scheduled times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum ActivityMix {
    /// Sends messages and nothing else.
    #[default]
    Messages,
    /// The mix of a working team, [`ACTS`].
    Team,
    /// In this many of a hundred cases, lists the whole conversation list; otherwise sends a message.
    Lists(u32),
}

/// One activity at a scheduled time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientActivity {
    Send,
    Read,
    List,
    Type,
    React,
    Edit,
    Delete,
}

/// Weights of the activities of a team, out of a hundred.
const ACTS: [(ClientActivity, u32); 7] = [
    (ClientActivity::Send, 45),
    (ClientActivity::Read, 25),
    (ClientActivity::Type, 10),
    (ClientActivity::React, 8),
    (ClientActivity::List, 6),
    (ClientActivity::Edit, 5),
    (ClientActivity::Delete, 1),
];

// === impl ClientBehavior, ActivityMix, ClientActivity ===

impl ClientBehavior {
    /// Draws the time at which the connection that opens now is dropped.
    pub(crate) fn drops_at(&self, now: Nanos, rng: &mut StdRng) -> Option<Nanos> {
        self.stays
            .map(|stays| now + about(stays, rng).as_nanos() as Nanos)
    }

    /// Draws the length of one absence.
    pub(crate) fn absence(&self, rng: &mut StdRng) -> Duration {
        about(self.absence, rng)
    }

    /// Returns the time between two frames of a slow reader; `None` if the behavior reads all or none.
    pub(crate) fn reading_gap(&self) -> Option<Nanos> {
        self.reads
            .filter(|frames| *frames > 0)
            .map(|frames| SECOND / u64::from(frames))
    }
}

impl ActivityMix {
    /// Draws the activity for one scheduled time.
    pub(crate) fn pick(self, rng: &mut StdRng) -> ClientActivity {
        match self {
            ActivityMix::Messages => ClientActivity::Send,
            ActivityMix::Team => ClientActivity::pick(rng),
            ActivityMix::Lists(of_hundred) if rng.random_range(0..100) < of_hundred => ClientActivity::List,
            ActivityMix::Lists(_) => ClientActivity::Send,
        }
    }
}

impl ClientActivity {
    /// Draws one activity by the weights of [`ACTS`].
    fn pick(rng: &mut StdRng) -> ClientActivity {
        let mut point = rng.random_range(0..ACTS.iter().map(|(_, weight)| weight).sum());
        for (act, weight) in ACTS {
            if point < weight {
                return act;
            }
            point -= weight;
        }
        // Not reachable: the point is below the sum of the weights.
        ClientActivity::Send
    }
}

/// Draws a time between half and one and a half of `mean`.
fn about(mean: Duration, rng: &mut StdRng) -> Duration {
    mean.mul_f64(rng.random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn every_act_is_done_about_as_often_as_it_says() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut found = ACTS.map(|_| 0u32);
        for _ in 0..100_000 {
            let act = ActivityMix::Team.pick(&mut rng);
            found[ACTS.iter().position(|(other, _)| *other == act).unwrap()] += 1;
        }
        for (found, (act, weight)) in found.into_iter().zip(ACTS) {
            assert!(found.abs_diff(weight * 1000) < 500, "{act:?}: {found}");
        }
    }
}
