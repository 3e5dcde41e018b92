//! What must hold after every run, one invariant a file.

mod acked_is_durable;
mod contiguous;
mod no_duplicate;
mod one_active_epoch;
mod one_order;
mod real_time_order;
mod stale_epoch_refused;

use std::collections::HashMap;

use cluster::{NodeId, ShardId};

use crate::machine::{self, Row};
use crate::member::SHARDS;
use crate::world::World;

/// A named check.
pub(crate) struct Invariant {
    pub(crate) name: &'static str,
    pub(crate) holds: fn(&World) -> Result<(), String>,
}

pub(crate) const ALL: &[Invariant] = &[
    Invariant {
        name: "one active epoch per shard and index",
        holds: one_active_epoch::holds,
    },
    Invariant {
        name: "one order on all replicas",
        holds: one_order::holds,
    },
    Invariant {
        name: "sequence numbers are contiguous",
        holds: contiguous::holds,
    },
    Invariant {
        name: "no client id twice",
        holds: no_duplicate::holds,
    },
    Invariant {
        name: "what was acknowledged is there",
        holds: acked_is_durable::holds,
    },
    Invariant {
        name: "a stale epoch is refused",
        holds: stale_epoch_refused::holds,
    },
    Invariant {
        name: "real-time order",
        holds: real_time_order::holds,
    },
];

/// The messages that one member holds, by conversation.
pub(crate) type Messages = HashMap<u16, Vec<(u64, Row)>>;

/// What each running member holds at the end.
pub(crate) fn replicas(world: &World) -> Vec<(NodeId, Messages)> {
    let running = world
        .members
        .iter()
        .filter_map(|member| Some((member.node, member.running()?)));
    running
        .map(|(node, cluster)| {
            let all = (0..SHARDS)
                .flat_map(|shard| machine::rows(&cluster.state(ShardId(shard))))
                .collect();
            (node, all)
        })
        .collect()
}

pub(crate) fn replicas_are_equal(world: &World) -> bool {
    let replicas = replicas(world);
    replicas.len() == 3 && replicas.windows(2).all(|pair| pair[0].1 == pair[1].1)
}

/// The first member's messages: [`one_order`] says that they are everybody's.
pub(crate) fn messages(world: &World) -> Messages {
    replicas(world)
        .into_iter()
        .next()
        .map(|(_, messages)| messages)
        .unwrap_or_default()
}
