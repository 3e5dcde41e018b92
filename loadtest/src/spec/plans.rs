//! Plans of the scenarios.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ConversationKind;

use super::behavior::{ActivityMix, ClientBehavior};
use super::scenario::{Scenario, Values};
use super::scenario_plan::{ConversationSizes, Hostile, Kick, PlannedConversation, ScenarioPlan};
use crate::payload::ClientIx;

/// Returns the plan of a scenario.
pub(super) fn plan(values: Values<'_>) -> ScenarioPlan {
    match values.scenario {
        Scenario::Pairs => {
            // An even number: in a tournament of an odd one, one client would have no peer.
            let clients = (values.get("clients") / 2 * 2).max(2);
            let peers = values.get("peers").clamp(1, clients - 1);
            ScenarioPlan {
                clients,
                conversations: (0..peers).flat_map(|round| matches(clients, round)).collect(),
                settings: retention(&values),
                ..ScenarioPlan::default()
            }
        }
        Scenario::Groups => {
            let members = values.get("members").max(1);
            // Clients that do not fill a group are left out.
            let groups = if values.get("clients") > 0 {
                values.get("clients") / members
            } else {
                values.get("groups")
            };
            let plan = groups_of(groups, members, values.get("speakers"));
            let every = values.seconds("every").max(Duration::from_secs(1));
            ScenarioPlan {
                kicks: kicks(&plan.conversations, values.get("kicks"), every),
                settings: retention(&values),
                ..plan
            }
        }
        Scenario::Room => groups_of(1, values.get("clients"), values.get("speakers")),
        Scenario::Channel => {
            let clients = values.get("clients").max(1);
            let channel = PlannedConversation {
                kind: ConversationKind::Channel,
                members: (0..clients).collect(),
                speakers: values.get("speakers").clamp(1, clients) as usize,
                absent: values.get("members").saturating_sub(clients),
            };
            ScenarioPlan {
                clients,
                conversations: vec![channel],
                ..ScenarioPlan::default()
            }
        }
        Scenario::Idle => ScenarioPlan {
            clients: values.get("clients"),
            silent: true,
            ..ScenarioPlan::default()
        },
        Scenario::ReconnectStorm => {
            let members = values.get("members").max(1);
            let every = values.seconds("every").max(Duration::from_secs(1));
            ScenarioPlan {
                cuts: (1..=values.get("storms")).map(|storm| every * storm).collect(),
                ..groups_of(values.get("clients") / members, members, 0)
            }
        }
        Scenario::Flapping => {
            let members = values.get("members").max(1);
            let plan = groups_of(values.get("clients") / members, members, 0);
            let behavior = comes_and_goes(&values);
            ScenarioPlan {
                behaviors: (0..plan.clients).map(|client| (client, behavior)).collect(),
                ..plan
            }
        }
        Scenario::CatchUp => {
            let members = values.get("members").max(2);
            // At least one receiver, or no client would have anything to catch up with.
            let speakers = values.get("speakers").clamp(1, members - 1);
            let plan = groups_of(values.get("clients") / members, members, speakers);
            let behavior = comes_and_goes(&values);
            let receivers = (0..plan.clients).filter(|client| client % members >= speakers);
            ScenarioPlan {
                behaviors: receivers.map(|client| (client, behavior)).collect(),
                ..plan
            }
        }
        Scenario::SlowReaders => slow_readers(&values),
        Scenario::Receipts => {
            let plan = groups_of(
                values.get("groups"),
                values.get("members").max(2),
                values.get("speakers").max(1),
            );
            let marks = ClientBehavior {
                marks: true,
                ..ClientBehavior::default()
            };
            let readers = (0..plan.clients).filter(|_| values.get("marks") > 0);
            ScenarioPlan {
                behaviors: readers.map(|client| (client, marks)).collect(),
                ..plan
            }
        }
        Scenario::Inbox => {
            let clients = values.get("clients").max(2);
            let group = PlannedConversation {
                kind: ConversationKind::Group,
                members: (0..clients).collect(),
                speakers: clients as usize,
                absent: 0,
            };
            let behavior = ClientBehavior {
                acts: ActivityMix::Lists(values.get("lists")),
                ..ClientBehavior::default()
            };
            ScenarioPlan {
                clients,
                conversations: vec![group; values.get("conversations").max(1) as usize],
                behaviors: (0..clients).map(|client| (client, behavior)).collect(),
                ..ScenarioPlan::default()
            }
        }
        Scenario::Mixed | Scenario::Soak => team(&values),
        Scenario::Conversations => ScenarioPlan {
            sizes: Some(ConversationSizes {
                conversations: ["few", "many", "most"].map(|name| values.get(name)).to_vec(),
                creators: values.get("creators"),
                rounds: values.get("rounds").max(1),
                sessions: values.get("sessions"),
            }),
            silent: true,
            ..ScenarioPlan::default()
        },
        Scenario::Hostile => {
            let clients = (values.get("clients") / 2 * 2).max(2);
            ScenarioPlan {
                clients,
                conversations: (0..clients / 2).map(pair).collect(),
                hostile: Some(Hostile {
                    sessions: values.get("hostile"),
                    conversations: values.get("conversations"),
                    creators: values.get("creators"),
                }),
                // The rate limits are the defence that this scenario tests.
                rates_of_people: true,
                // The huge list is made in one day, which this bound would refuse.
                settings: vec!["limits.additions_per_day=0".to_owned()],
                ..ScenarioPlan::default()
            }
        }
    }
}

/// Returns one round of a round-robin tournament (circle method): over the rounds, everybody meets everybody else once.
/// The last client keeps its position, the others rotate.
fn matches(clients: u32, round: u32) -> impl Iterator<Item = PlannedConversation> {
    let circle = clients - 1;
    let meet = move |step: u32| match step {
        0 => [round, circle],
        _ => [(round + step) % circle, (round + circle - step) % circle],
    };
    (0..clients / 2).map(move |step| PlannedConversation {
        kind: ConversationKind::Direct,
        members: meet(step).to_vec(),
        speakers: 2,
        absent: 0,
    })
}

fn pair(pair: u32) -> PlannedConversation {
    PlannedConversation {
        kind: ConversationKind::Direct,
        members: vec![2 * pair, 2 * pair + 1],
        speakers: 2,
        absent: 0,
    }
}

/// Returns groups with disjoint members. `speakers` 0 means all.
fn groups_of(groups: u32, members: u32, speakers: u32) -> ScenarioPlan {
    let (groups, members) = (groups.max(1), members.max(1));
    let speakers = if speakers == 0 {
        members
    } else {
        speakers.min(members)
    };
    let group = |group| PlannedConversation {
        kind: ConversationKind::Group,
        members: (group * members..(group + 1) * members).collect(),
        speakers: speakers as usize,
        absent: 0,
    };
    ScenarioPlan {
        clients: groups * members,
        conversations: (0..groups).map(group).collect(),
        ..ScenarioPlan::default()
    }
}

/// Returns the removals: the last members of each group, one after the other, in all groups in turn. The first member
/// remains, since it removes the others.
fn kicks(conversations: &[PlannedConversation], of_each: u32, every: Duration) -> Vec<Kick> {
    let targets = (0..of_each as usize).flat_map(|round| {
        let of = conversations.iter().enumerate();
        of.filter_map(move |(conversation, planned)| {
            let last = planned.members[1..].iter().rev().nth(round)?;
            Some((conversation, *last))
        })
    });
    (1..)
        .zip(targets)
        .map(|(number, (conversation, member))| Kick {
            at: every * number,
            conversation,
            member,
        })
        .collect()
}

/// Returns retention settings by number and age, for all kinds of conversations. They apply every 500 ms, so that a
/// short load is affected.
fn retention(values: &Values<'_>) -> Vec<String> {
    let (messages, seconds) = (values.get("keep"), values.get("keep_s"));
    let of_kinds = |name: &str, value: u32, unit: &str| {
        let kinds = ["direct", "group", "channel"].iter().filter(|_| value > 0);
        kinds
            .map(|kind| format!("retention.{kind}_{name}={value}{unit}"))
            .collect::<Vec<_>>()
    };
    let mut settings = of_kinds("max_messages", messages, "");
    settings.extend(of_kinds("max_age", seconds, "s"));
    if !settings.is_empty() {
        settings.push("retention.interval=500ms".to_owned());
    }
    settings
}

fn comes_and_goes(values: &Values<'_>) -> ClientBehavior {
    ClientBehavior {
        // Not zero: a client would reconnect without pause and measure its own handshakes only.
        stays: Some(values.seconds("stays").max(Duration::from_millis(500))),
        absence: values.seconds("away"),
        ..ClientBehavior::default()
    }
}

/// Returns a group whose last members read slowly: half of them a little, half nothing during the load.
fn slow_readers(values: &Values<'_>) -> ScenarioPlan {
    let clients = values.get("clients").max(2);
    let speakers = values.get("speakers").clamp(1, clients - 1);
    // Senders always read at full speed, or their acks would measure their own delay.
    let slow = values.get("slow").min(clients - speakers);
    let behavior = |slow: ClientIx| ClientBehavior {
        reads: Some(if slow % 2 == 1 { 0 } else { values.get("frames") }),
        ..ClientBehavior::default()
    };
    let behaviors: BTreeMap<_, _> = (0..slow)
        .map(|slow| (clients - 1 - slow, behavior(slow)))
        .collect();
    ScenarioPlan {
        // Without either error no queue has overflowed, and the run has tested nothing.
        expects: if behaviors.is_empty() {
            Vec::new()
        } else {
            vec!["resync", "closed 4010"]
        },
        behaviors,
        ..groups_of(1, clients, speakers)
    }
}

/// Returns a plan in which everybody is in the group of all, in a team, and in a direct conversation with a neighbour.
fn team(values: &Values<'_>) -> ScenarioPlan {
    let clients = (values.get("clients") / 2 * 2).max(2);
    let people: Vec<ClientIx> = (0..clients).collect();
    let group = |members: &[ClientIx]| PlannedConversation {
        kind: ConversationKind::Group,
        members: members.to_vec(),
        speakers: members.len(),
        absent: 0,
    };
    let mut conversations = vec![group(&people)];
    let teams = people.chunks(values.get("team").max(2) as usize);
    conversations.extend(teams.map(group));
    conversations.extend((0..clients / 2).map(pair));
    let behavior = ClientBehavior {
        acts: ActivityMix::Team,
        watches: values.get("watches"),
        ..comes_and_goes(values)
    };
    ScenarioPlan {
        clients,
        conversations,
        behaviors: people.iter().map(|client| (*client, behavior)).collect(),
        settings: retention(values),
        ..ScenarioPlan::default()
    }
}
