//! Who talks to whom. A scenario is a plan: how many clients, which conversations, who is a member and who speaks.

use std::collections::BTreeMap;

use crate::payload::ClientIx;

/// What a run sets up before its load begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: u32,
    pub(crate) conversations: Vec<Conversation>,
}

/// One conversation of the plan. The first member creates it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Conversation {
    pub(crate) kind: &'static str,
    pub(crate) members: Vec<ClientIx>,
    /// How many of the members, from the first on, send messages.
    pub(crate) speakers: usize,
}

/// A scenario by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// Direct conversations of two, both talk.
    Pairs,
    /// Groups of members who all talk, or of whom only some do.
    Groups,
    /// One conversation, few speakers, many receivers.
    Room,
    /// Open and hold: connections that say nothing.
    Idle,
}

/// A parameter of a scenario.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) default: u32,
    pub(crate) doc: &'static str,
}

// === impl Scenario ===

impl Scenario {
    pub(crate) const ALL: [Scenario; 4] = [Scenario::Pairs, Scenario::Groups, Scenario::Room, Scenario::Idle];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Pairs => "pairs",
            Scenario::Groups => "groups",
            Scenario::Room => "room",
            Scenario::Idle => "idle",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Scenario::Pairs => "direct conversations of two, both talk",
            Scenario::Groups => "groups of members, of whom all or some talk",
            Scenario::Room => "one conversation, few speakers, many receivers",
            Scenario::Idle => "connections that are opened and held",
        }
    }

    pub(crate) fn parameters(self) -> &'static [Parameter] {
        match self {
            Scenario::Pairs => &[Parameter {
                name: "clients",
                default: 20,
                doc: "clients, rounded down to pairs",
            }],
            Scenario::Groups => &[
                Parameter {
                    name: "groups",
                    default: 5,
                    doc: "conversations",
                },
                Parameter {
                    name: "clients",
                    default: 0,
                    doc: "clients; if set, it decides how many groups there are",
                },
                Parameter {
                    name: "members",
                    default: 6,
                    doc: "members of each; every client is in one group",
                },
                Parameter {
                    name: "speakers",
                    default: 0,
                    doc: "members of each who talk; 0 means all",
                },
            ],
            Scenario::Room => &[
                Parameter {
                    name: "clients",
                    default: 100,
                    doc: "members of the room",
                },
                Parameter {
                    name: "speakers",
                    default: 2,
                    doc: "members who talk",
                },
            ],
            Scenario::Idle => &[Parameter {
                name: "clients",
                default: 1000,
                doc: "connections",
            }],
        }
    }

    /// Makes the plan. `given` holds the parameters that were set; an unknown one is refused by name.
    pub(crate) fn plan(self, given: &BTreeMap<String, u32>) -> Result<Plan, String> {
        for name in given.keys() {
            if !self.parameters().iter().any(|parameter| parameter.name == name) {
                let known: Vec<_> = self.parameters().iter().map(|parameter| parameter.name).collect();
                return Err(format!(
                    "{} has no parameter {name:?}; it has {}",
                    self.name(),
                    known.join(", ")
                ));
            }
        }
        let value = |name: &str| {
            let default = self.parameters().iter().find(|parameter| parameter.name == name);
            given
                .get(name)
                .copied()
                .unwrap_or(default.map_or(0, |parameter| parameter.default))
        };
        Ok(match self {
            Scenario::Pairs => {
                let pairs = (value("clients") / 2).max(1);
                let pair = |pair| Conversation {
                    kind: "direct",
                    members: vec![2 * pair, 2 * pair + 1],
                    speakers: 2,
                };
                Plan {
                    clients: 2 * pairs,
                    conversations: (0..pairs).map(pair).collect(),
                }
            }
            Scenario::Groups => {
                let members = value("members").max(1);
                let groups = if value("clients") > 0 {
                    value("clients") / members
                } else {
                    value("groups")
                }
                .max(1);
                let speakers = if value("speakers") == 0 {
                    members
                } else {
                    value("speakers").min(members)
                };
                let group = |group| Conversation {
                    kind: "group",
                    members: (group * members..(group + 1) * members).collect(),
                    speakers: speakers as usize,
                };
                Plan {
                    clients: groups * members,
                    conversations: (0..groups).map(group).collect(),
                }
            }
            Scenario::Room => {
                let clients = value("clients").max(1);
                let speakers = value("speakers").min(clients) as usize;
                let room = Conversation {
                    kind: "group",
                    members: (0..clients).collect(),
                    speakers,
                };
                Plan {
                    clients,
                    conversations: vec![room],
                }
            }
            Scenario::Idle => Plan {
                clients: value("clients"),
                conversations: Vec::new(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(scenario: Scenario, given: &[(&str, u32)]) -> Plan {
        scenario
            .plan(
                &given
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), *value))
                    .collect(),
            )
            .unwrap()
    }

    #[test]
    fn every_scenario_has_a_plan_of_its_defaults() {
        for scenario in Scenario::ALL {
            let plan = plan(scenario, &[]);
            for conversation in &plan.conversations {
                assert!(conversation.speakers <= conversation.members.len());
                assert!(conversation.members.iter().all(|member| *member < plan.clients));
            }
        }
    }

    #[test]
    fn groups_share_no_member() {
        let plan = plan(
            Scenario::Groups,
            &[("groups", 2), ("members", 3), ("speakers", 1)],
        );
        assert_eq!(plan.clients, 6);
        assert_eq!(plan.conversations[1].members, [3, 4, 5]);
        assert_eq!(plan.conversations[1].speakers, 1);
    }

    #[test]
    fn an_unknown_parameter_is_refused_by_name() {
        let given = BTreeMap::from([("rooms".to_owned(), 1)]);
        assert!(Scenario::Pairs.plan(&given).unwrap_err().contains("clients"));
    }
}
