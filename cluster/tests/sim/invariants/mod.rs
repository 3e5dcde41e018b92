//! What must hold after every run, one invariant a file.

mod acked_is_durable;
mod contiguous;
mod no_duplicate;
mod no_time_to_come;
mod one_active_epoch;
mod one_order;
mod reads_are_fresh;
mod real_time_order;
pub(crate) mod replicas_agree;
mod stale_epoch_refused;

use std::collections::HashMap;

use cluster::{NodeId, ShardId};

use crate::client::CONVERSATIONS;
use crate::machine::{self, StoredRow};
use crate::member::SHARDS;
use crate::simulation::Simulation;

/// A named check.
pub(crate) struct Invariant {
    pub(crate) name: &'static str,
    pub(crate) holds: fn(&Simulation) -> Result<(), String>,
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
        name: "replicas agree on what they applied",
        holds: replicas_agree::holds,
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
    Invariant {
        name: "reads are fresh",
        holds: reads_are_fresh::holds,
    },
    Invariant {
        name: "no time that is to come",
        holds: no_time_to_come::holds,
    },
];

/// The messages that one member holds, by conversation.
pub(crate) type Messages = HashMap<u16, Vec<(u64, StoredRow)>>;

/// What each running member holds at the end.
pub(crate) fn replicas(simulation: &Simulation) -> Vec<(NodeId, Messages)> {
    let running = simulation
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

/// The first difference between the members' messages.
pub(crate) fn difference(simulation: &Simulation) -> Option<String> {
    let replicas = replicas(simulation);
    let (node, messages) = replicas.first()?;
    for (other, others) in &replicas[1..] {
        for conversation in 0..CONVERSATIONS {
            let [rows, other_rows] = [messages, others].map(|m| m.get(&conversation).map_or(&[][..], |r| r));
            let position = (0..rows.len().max(other_rows.len())).find(|&i| rows.get(i) != other_rows.get(i));
            if let Some(position) = position {
                return Some(format!(
                    "conversation {conversation}: member {node} has {:?}, member {other} has {:?}",
                    rows.get(position),
                    other_rows.get(position)
                ));
            }
        }
    }
    None
}

pub(crate) fn replicas_are_equal(simulation: &Simulation) -> bool {
    replicas(simulation).len() == 3 && difference(simulation).is_none()
}

/// The first member's messages: [`one_order`] says that they are everybody's.
pub(crate) fn messages(simulation: &Simulation) -> Messages {
    replicas(simulation)
        .into_iter()
        .next()
        .map(|(_, messages)| messages)
        .unwrap_or_default()
}
