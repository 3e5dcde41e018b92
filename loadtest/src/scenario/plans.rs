//! The plans of the scenarios, and their parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Conversation, Hostile, Kick, Parameter, Plan, Scenario, Values};
use crate::client::{Acts, Habit};
use crate::many::Sizes;
use crate::payload::ClientIx;

macro_rules! parameters {
    ($($name:literal = $default:literal, $doc:literal;)*) => {
        &[$(Parameter { name: $name, default: $default, doc: $doc }),*]
    };
}

// === impl Scenario ===

impl Scenario {
    pub(crate) fn parameters(self) -> &'static [Parameter] {
        match self {
            Scenario::Pairs => parameters! {
                "clients" = 20, "clients, an even number";
                "peers" = 1, "others whom each of them talks with, each in a conversation of two";
                "keep" = 0, "messages of a conversation that retention keeps; 0 keeps all";
                "keep_s" = 0, "seconds that retention keeps events; 0 keeps them for ever";
            },
            Scenario::Groups => parameters! {
                "groups" = 5, "conversations";
                "clients" = 0, "clients; if set, it decides how many groups there are";
                "members" = 6, "members of each; every client is in one group";
                "speakers" = 0, "members of each who talk; 0 means all";
                "kicks" = 0, "members of each whom the first one removes while the load lasts, from the last one on";
                "every" = 3, "seconds from one removal to the next";
                "keep" = 0, "messages of a conversation that retention keeps; 0 keeps all";
                "keep_s" = 0, "seconds that retention keeps events; 0 keeps them for ever";
            },
            Scenario::Room => parameters! {
                "clients" = 100, "members of the room";
                "speakers" = 2, "members who talk";
            },
            Scenario::Channel => parameters! {
                "clients" = 50, "members who are connected";
                "members" = 1000, "members";
                "speakers" = 1, "connected members who talk; the others only read";
            },
            Scenario::Idle => parameters! {
                "clients" = 1000, "connections";
            },
            Scenario::ReconnectStorm => parameters! {
                "clients" = 200, "clients, all of them cut off";
                "members" = 5, "members of each group; all talk";
                "storms" = 3, "how often";
                "every" = 15, "seconds from one storm to the next";
            },
            Scenario::Flapping => parameters! {
                "clients" = 200, "clients";
                "members" = 5, "members of each group; all talk";
                "stays" = 5, "seconds until a connection drops, on average";
                "away" = 0, "seconds until it comes back, on average; 0 means at once";
            },
            Scenario::CatchUp => parameters! {
                "clients" = 60, "clients";
                "members" = 6, "members of each group";
                "speakers" = 2, "members of each who stay and talk; the others come and go";
                "stays" = 5, "seconds that a receiver stays, on average";
                "away" = 10, "seconds that it is away, on average";
            },
            Scenario::SlowReaders => parameters! {
                "clients" = 20, "members of one group, slow ones included";
                "speakers" = 2, "members who talk; they read";
                "slow" = 6, "members who read slowly, every second of them not at all";
                "frames" = 20, "frames that a slow one reads in a second";
            },
            Scenario::Receipts => parameters! {
                "groups" = 4, "groups";
                "members" = 50, "members of each";
                "speakers" = 1, "members of each who talk";
                "marks" = 1, "whether everybody marks each message as read when it arrives; what that costs is the difference to 0";
            },
            Scenario::Inbox => parameters! {
                "clients" = 4, "members of every conversation";
                "conversations" = 500, "groups; all of them are in everybody's inbox";
                "lists" = 50, "of a hundred acts, how many list the whole inbox, page by page; the others are messages";
            },
            Scenario::Conversations => parameters! {
                "few" = 10, "conversations of the first user";
                "many" = 1000, "of the second";
                "most" = 10000, "of the third";
                "creators" = 200, "users who make them, each an equal share";
                "rounds" = 60, "how often each thing is measured";
                "sessions" = 40, "sessions that are opened together for the memory of their subscriptions";
            },
            Scenario::Hostile => parameters! {
                "clients" = 40, "clients that talk in pairs, an even number";
                "hostile" = 6, "hostile sessions in the second half: create with 256 members, unknown frames, reconnecting senders, a huge list";
                "conversations" = 10000, "conversations of the user whose inbox is listed";
                "creators" = 250, "users who make them, each an equal share";
            },
            Scenario::Mixed | Scenario::Soak => parameters! {
                "clients" = 40, "people; each is in a team, in the group of all, and in a direct conversation";
                "team" = 8, "people of a team";
                "watches" = 10, "people whose presence each one watches";
                "keep" = 0, "messages of a conversation that retention keeps; 0 keeps all";
                "keep_s" = 0, "seconds that retention keeps events; 0 keeps them for ever";
                "stays" = 60, "seconds that a connection lasts, on average";
                "away" = 5, "seconds that somebody is away between two, on average";
            },
        }
    }
}

/// Makes the plan of a scenario.
pub(super) fn plan(values: Values<'_>) -> Plan {
    match values.scenario {
        Scenario::Pairs => {
            let clients = (values.get("clients") / 2 * 2).max(2);
            let peers = values.get("peers").clamp(1, clients - 1);
            Plan {
                clients,
                conversations: (0..peers).flat_map(|round| matches(clients, round)).collect(),
                settings: retention(&values),
                ..Plan::default()
            }
        }
        Scenario::Groups => {
            let members = values.get("members").max(1);
            let groups = if values.get("clients") > 0 {
                values.get("clients") / members
            } else {
                values.get("groups")
            };
            let plan = groups_of(groups, members, values.get("speakers"));
            let every = values.seconds("every").max(Duration::from_secs(1));
            Plan {
                kicks: kicks(&plan.conversations, values.get("kicks"), every),
                settings: retention(&values),
                ..plan
            }
        }
        Scenario::Room => groups_of(1, values.get("clients"), values.get("speakers")),
        Scenario::Channel => {
            let clients = values.get("clients").max(1);
            let channel = Conversation {
                kind: "channel",
                members: (0..clients).collect(),
                speakers: values.get("speakers").clamp(1, clients) as usize,
                absent: values.get("members").saturating_sub(clients),
            };
            Plan {
                clients,
                conversations: vec![channel],
                ..Plan::default()
            }
        }
        Scenario::Idle => Plan {
            clients: values.get("clients"),
            silent: true,
            ..Plan::default()
        },
        Scenario::ReconnectStorm => {
            let members = values.get("members").max(1);
            let every = values.seconds("every").max(Duration::from_secs(1));
            Plan {
                cuts: (1..=values.get("storms")).map(|storm| every * storm).collect(),
                ..groups_of(values.get("clients") / members, members, 0)
            }
        }
        Scenario::Flapping => {
            let members = values.get("members").max(1);
            let plan = groups_of(values.get("clients") / members, members, 0);
            let habit = comes_and_goes(&values);
            Plan {
                habits: (0..plan.clients).map(|client| (client, habit)).collect(),
                ..plan
            }
        }
        Scenario::CatchUp => {
            let members = values.get("members").max(2);
            let speakers = values.get("speakers").clamp(1, members - 1);
            let plan = groups_of(values.get("clients") / members, members, speakers);
            let habit = comes_and_goes(&values);
            let receivers = (0..plan.clients).filter(|client| client % members >= speakers);
            Plan {
                habits: receivers.map(|client| (client, habit)).collect(),
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
            let marks = Habit {
                marks: true,
                ..Habit::default()
            };
            let readers = (0..plan.clients).filter(|_| values.get("marks") > 0);
            Plan {
                habits: readers.map(|client| (client, marks)).collect(),
                ..plan
            }
        }
        Scenario::Inbox => {
            let clients = values.get("clients").max(2);
            let group = Conversation {
                kind: "group",
                members: (0..clients).collect(),
                speakers: clients as usize,
                absent: 0,
            };
            let habit = Habit {
                acts: Acts::Lists(values.get("lists")),
                ..Habit::default()
            };
            Plan {
                clients,
                conversations: vec![group; values.get("conversations").max(1) as usize],
                habits: (0..clients).map(|client| (client, habit)).collect(),
                ..Plan::default()
            }
        }
        Scenario::Mixed | Scenario::Soak => team(&values),
        Scenario::Conversations => Plan {
            sizes: Some(Sizes {
                conversations: ["few", "many", "most"].map(|name| values.get(name)).to_vec(),
                creators: values.get("creators"),
                rounds: values.get("rounds").max(1),
                sessions: values.get("sessions"),
            }),
            silent: true,
            ..Plan::default()
        },
        Scenario::Hostile => {
            let clients = (values.get("clients") / 2 * 2).max(2);
            Plan {
                clients,
                conversations: (0..clients / 2).map(pair).collect(),
                hostile: Some(Hostile {
                    sessions: values.get("hostile"),
                    conversations: values.get("conversations"),
                    creators: values.get("creators"),
                }),
                // Rates are what holds them back.
                rates_of_people: true,
                ..Plan::default()
            }
        }
    }
}

/// One round of a tournament, in which everybody meets somebody else than in the rounds before: the last one stays,
/// the others move on in a circle.
fn matches(clients: u32, round: u32) -> impl Iterator<Item = Conversation> {
    let circle = clients - 1;
    let meet = move |step: u32| match step {
        0 => [round, circle],
        _ => [(round + step) % circle, (round + circle - step) % circle],
    };
    (0..clients / 2).map(move |step| Conversation {
        kind: "direct",
        members: meet(step).to_vec(),
        speakers: 2,
        absent: 0,
    })
}

fn pair(pair: u32) -> Conversation {
    Conversation {
        kind: "direct",
        members: vec![2 * pair, 2 * pair + 1],
        speakers: 2,
        absent: 0,
    }
}

/// Groups that share no member; `speakers` 0 means all.
fn groups_of(groups: u32, members: u32, speakers: u32) -> Plan {
    let (groups, members) = (groups.max(1), members.max(1));
    let speakers = if speakers == 0 {
        members
    } else {
        speakers.min(members)
    };
    let group = |group| Conversation {
        kind: "group",
        members: (group * members..(group + 1) * members).collect(),
        speakers: speakers as usize,
        absent: 0,
    };
    Plan {
        clients: groups * members,
        conversations: (0..groups).map(group).collect(),
        ..Plan::default()
    }
}

/// The last members of each are removed one after the other, in all conversations in turn; the first one stays.
fn kicks(conversations: &[Conversation], of_each: u32, every: Duration) -> Vec<Kick> {
    let whom = (0..of_each as usize).flat_map(|round| {
        let of = conversations.iter().enumerate();
        of.filter_map(move |(conversation, planned)| {
            let last = planned.members[1..].iter().rev().nth(round)?;
            Some((conversation, *last))
        })
    });
    (1..)
        .zip(whom)
        .map(|(number, (conversation, member))| Kick {
            at: every * number,
            conversation,
            member,
        })
        .collect()
}

/// Retention by number and by age, of every kind of conversation; looked for often, so that a short load sees it.
fn retention(values: &Values<'_>) -> Vec<String> {
    let (messages, seconds) = (values.get("keep"), values.get("keep_s"));
    let of_kinds = |name: &str, value: u32| {
        let kinds = ["direct", "group", "channel"].iter().filter(|_| value > 0);
        kinds
            .map(|kind| format!("retention.{kind}_{name}={value}"))
            .collect::<Vec<_>>()
    };
    let mut settings = of_kinds("max_messages", messages);
    settings.extend(of_kinds("max_age_ms", seconds.saturating_mul(1000)));
    if !settings.is_empty() {
        settings.push("retention.every_ms=500".to_owned());
    }
    settings
}

fn comes_and_goes(values: &Values<'_>) -> Habit {
    Habit {
        stays: Some(values.seconds("stays").max(Duration::from_millis(500))),
        away: values.seconds("away"),
        ..Habit::default()
    }
}

/// The slow ones are the last members: half of them read a little, half nothing while the load lasts.
fn slow_readers(values: &Values<'_>) -> Plan {
    let clients = values.get("clients").max(2);
    let speakers = values.get("speakers").clamp(1, clients - 1);
    let slow = values.get("slow").min(clients - speakers);
    let habit = |slow: ClientIx| Habit {
        reads: Some(if slow % 2 == 1 { 0 } else { values.get("frames") }),
        ..Habit::default()
    };
    let habits: BTreeMap<_, _> = (0..slow).map(|slow| (clients - 1 - slow, habit(slow))).collect();
    Plan {
        expects: if habits.is_empty() {
            Vec::new()
        } else {
            vec!["resync", "closed 4010"]
        },
        habits,
        ..groups_of(1, clients, speakers)
    }
}

/// Everybody is in the group of all, in a team, and in a direct conversation with a neighbour.
fn team(values: &Values<'_>) -> Plan {
    let clients = (values.get("clients") / 2 * 2).max(2);
    let people: Vec<ClientIx> = (0..clients).collect();
    let group = |members: &[ClientIx]| Conversation {
        kind: "group",
        members: members.to_vec(),
        speakers: members.len(),
        absent: 0,
    };
    let mut conversations = vec![group(&people)];
    let teams = people.chunks(values.get("team").max(2) as usize);
    conversations.extend(teams.map(group));
    conversations.extend((0..clients / 2).map(pair));
    let habit = Habit {
        acts: Acts::Team,
        watches: values.get("watches"),
        ..comes_and_goes(values)
    };
    Plan {
        clients,
        conversations,
        habits: people.iter().map(|client| (*client, habit)).collect(),
        settings: retention(values),
        ..Plan::default()
    }
}
