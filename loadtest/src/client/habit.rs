//! What a client does apart from sending what is due: drops its connection now and then, stays away, reads slowly, or
//! spends its time as people do.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use crate::clock::{Nanos, SECOND};

/// The habit of one client; the default is to be there and to read.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Habit {
    /// The connection drops after about so long, again and again.
    pub(crate) stays: Option<Duration>,
    /// About how long the client stays away when its connection has dropped.
    pub(crate) away: Duration,
    /// Frames that it reads in a second: 0 is none at all, `None` as they come.
    pub(crate) reads: Option<u32>,
    /// What is due.
    pub(crate) acts: Acts,
    /// Whatever arrives is marked as read at once, each message by itself.
    pub(crate) marks: bool,
    /// So many others are watched.
    pub(crate) watches: u32,
}

/// What those who are due do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Acts {
    /// Send messages.
    #[default]
    Messages,
    /// As people of a team spend their day.
    Team,
    /// So many times of a hundred list the whole inbox, otherwise send a message.
    Lists(u32),
}

/// What somebody does who is due to do something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Send,
    Read,
    List,
    Type,
    React,
    Edit,
    Delete,
}

/// How often each is done in a team, of a hundred.
const ACTS: [(Act, u32); 7] = [
    (Act::Send, 45),
    (Act::Read, 25),
    (Act::Type, 10),
    (Act::React, 8),
    (Act::List, 6),
    (Act::Edit, 5),
    (Act::Delete, 1),
];

// === impl Habit, Acts, Act ===

impl Habit {
    /// When the connection that opens now will drop.
    pub(crate) fn drops_at(&self, now: Nanos, rng: &mut StdRng) -> Option<Nanos> {
        self.stays
            .map(|stays| now + about(stays, rng).as_nanos() as Nanos)
    }

    /// How long to stay away this time.
    pub(crate) fn stays_away(&self, rng: &mut StdRng) -> Duration {
        about(self.away, rng)
    }

    /// Time between two frames for one who reads slowly; none for one who doesn't read at all.
    pub(crate) fn reading_gap(&self) -> Option<Nanos> {
        self.reads
            .filter(|frames| *frames > 0)
            .map(|frames| SECOND / u64::from(frames))
    }
}

impl Acts {
    /// What is done now.
    pub(crate) fn pick(self, rng: &mut StdRng) -> Act {
        match self {
            Acts::Messages => Act::Send,
            Acts::Team => Act::pick(rng),
            Acts::Lists(of_hundred) if rng.random_range(0..100) < of_hundred => Act::List,
            Acts::Lists(_) => Act::Send,
        }
    }
}

impl Act {
    /// Picks one by how often it is done.
    fn pick(rng: &mut StdRng) -> Act {
        let mut point = rng.random_range(0..ACTS.iter().map(|(_, weight)| weight).sum());
        for (act, weight) in ACTS {
            if point < weight {
                return act;
            }
            point -= weight;
        }
        Act::Send
    }
}

/// Between half of it and half more.
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
            let act = Acts::Team.pick(&mut rng);
            found[ACTS.iter().position(|(other, _)| *other == act).unwrap()] += 1;
        }
        for (found, (act, weight)) in found.into_iter().zip(ACTS) {
            assert!(found.abs_diff(weight * 1000) < 500, "{act:?}: {found}");
        }
    }
}
