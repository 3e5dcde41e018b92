//! Scenarios: plans of clients, conversations, members, speakers and behaviors.

mod file;
mod plans;
mod setup;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

pub(crate) use self::setup::{ScenarioRef, Setup};
use crate::client::ClientBehavior;
use crate::many::Sizes;
use crate::payload::ClientIx;

/// Plan of a run, which is set up before the load begins.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct ScenarioPlan {
    pub(crate) clients: u32,
    pub(crate) conversations: Vec<PlannedConversation>,
    /// Clients with a special behavior. The others stay connected and read.
    pub(crate) behaviors: BTreeMap<ClientIx, ClientBehavior>,
    /// Times at which all connections are cut, relative to the start of the load.
    pub(crate) cuts: Vec<Duration>,
    /// Removals of members. The first member of the conversation performs them.
    pub(crate) kicks: Vec<Kick>,
    /// Settings of the nodes of a local cluster, as key=value.
    pub(crate) settings: Vec<String>,
    /// `true` if the nodes use the rate limits for human users. Otherwise the harness raises them.
    pub(crate) rates_of_people: bool,
    /// Ranges of clients with their shares of the rate. If empty, all speakers have equal shares.
    pub(crate) shares: Vec<(Range<ClientIx>, f64)>,
    /// Error names of which at least one must occur. Without it the run proves nothing.
    pub(crate) expects: Vec<&'static str>,
    /// Measurement of conversation counts, which replaces the load; `None` for a load.
    pub(crate) sizes: Option<Sizes>,
    /// Hostile sessions in the second half of the load; `None` without any.
    pub(crate) hostile: Option<Hostile>,
    /// `true` if no client sends messages.
    pub(crate) silent: bool,
}

/// Conversation of the plan. The first member creates it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PlannedConversation {
    pub(crate) kind: &'static str,
    pub(crate) members: Vec<ClientIx>,
    /// Number of members that send messages, counted from the first.
    pub(crate) speakers: usize,
    /// Number of further members, which are disconnected during the load.
    pub(crate) absent: u32,
}

/// Sessions that attack the cluster within the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hostile {
    pub(crate) sessions: u32,
    /// Number of conversations of the user whose list is requested.
    pub(crate) conversations: u32,
    /// Number of users that create those conversations.
    pub(crate) creators: u32,
}

/// Removal of a member from a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kick {
    /// Time relative to the start of the load.
    pub(crate) at: Duration,
    /// Index in the plan's conversations.
    pub(crate) conversation: usize,
    pub(crate) member: ClientIx,
}

/// Scenario with a predefined plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// Direct conversations of two clients that both send messages.
    Pairs,
    /// Groups in which all members or some of them send messages.
    Groups,
    /// One conversation with few senders and many receivers.
    Room,
    /// One channel with many members, of whom some are connected.
    Channel,
    /// Connections that are opened and then idle.
    Idle,
    /// All connections are cut at the same time.
    ReconnectStorm,
    /// Connections drop at random times.
    Flapping,
    /// Receivers disconnect for a while and then catch up.
    CatchUp,
    /// Some clients read slowly or not at all.
    SlowReaders,
    /// Every client marks each message as read when it arrives.
    Receipts,
    /// Long conversation lists are requested repeatedly.
    Inbox,
    /// The activity of a team's day in a few minutes.
    Mixed,
    /// The mixed scenario at a low rate for a long time.
    Soak,
    /// Sessions of users with few and with many conversations.
    Conversations,
    /// Pairs that exchange messages beside hostile sessions.
    Hostile,
}

/// Parameter of a scenario, with its default and help text.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) default: u32,
    pub(crate) doc: &'static str,
}

/// Pace, duration and body size of a scenario without other settings.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Defaults {
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
    pub(crate) size: usize,
}

/// Parameters of a scenario, given or by default.
struct Values<'a> {
    scenario: Scenario,
    given: &'a BTreeMap<String, u32>,
}

// === impl Scenario ===

impl Scenario {
    pub(crate) const ALL: [Scenario; 15] = [
        Scenario::Pairs,
        Scenario::Groups,
        Scenario::Room,
        Scenario::Channel,
        Scenario::Idle,
        Scenario::ReconnectStorm,
        Scenario::Flapping,
        Scenario::CatchUp,
        Scenario::SlowReaders,
        Scenario::Receipts,
        Scenario::Inbox,
        Scenario::Mixed,
        Scenario::Soak,
        Scenario::Conversations,
        Scenario::Hostile,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Pairs => "pairs",
            Scenario::Groups => "groups",
            Scenario::Room => "room",
            Scenario::Channel => "channel",
            Scenario::Idle => "idle",
            Scenario::ReconnectStorm => "reconnect-storm",
            Scenario::Flapping => "flapping",
            Scenario::CatchUp => "catch-up",
            Scenario::SlowReaders => "slow-readers",
            Scenario::Receipts => "receipts",
            Scenario::Inbox => "inbox",
            Scenario::Mixed => "mixed",
            Scenario::Soak => "soak",
            Scenario::Conversations => "conversations",
            Scenario::Hostile => "hostile",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Scenario> {
        Scenario::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Scenario::Pairs => "direct conversations of two clients that both send",
            Scenario::Groups => "groups in which all or some members send",
            Scenario::Room => "one conversation with few senders and many receivers",
            Scenario::Channel => "one channel that many members join; some of them are connected",
            Scenario::Idle => "connections that are opened and stay idle",
            Scenario::ReconnectStorm => {
                "all connections are cut at once; measures the time until all clients are reconnected and caught up"
            }
            Scenario::Flapping => "connections drop at random times and reconnect to random nodes",
            Scenario::CatchUp => "receivers that disconnect for a while and then catch up",
            Scenario::SlowReaders => "some clients read slowly or never and must not delay the others",
            Scenario::Receipts => "every client marks each message as read when it arrives",
            Scenario::Inbox => "long conversation lists are requested while messages arrive",
            Scenario::Mixed => {
                "the activity of a team's day in minutes: messages, history, lists, typing, reactions, edits, deletions, reconnections"
            }
            Scenario::Soak => "the mixed scenario at a low rate for a long time; reveals growing memory",
            Scenario::Conversations => {
                "sessions of users with few and with many conversations; measures start, list, sync and memory"
            }
            Scenario::Hostile => {
                "pairs that send, first alone and then beside hostile sessions, under the default rate limits"
            }
        }
    }

    pub(crate) fn defaults(self) -> Defaults {
        let (rate, seconds, size) = match self {
            Scenario::Pairs | Scenario::Groups | Scenario::Room | Scenario::Channel | Scenario::Idle => {
                (10.0, 30, 256)
            }
            Scenario::ReconnectStorm | Scenario::Flapping | Scenario::CatchUp => (50.0, 60, 256),
            Scenario::SlowReaders => (200.0, 40, 4096),
            Scenario::Receipts | Scenario::Inbox => (20.0, 30, 256),
            Scenario::Mixed => (50.0, 120, 256),
            Scenario::Soak => (20.0, 1800, 256),
            Scenario::Conversations => (0.0, 0, 256),
            Scenario::Hostile => (100.0, 60, 256),
        };
        Defaults {
            rate,
            duration: Duration::from_secs(seconds),
            size,
        }
    }

    /// Returns the plan. `given` contains the parameters that were set. An unknown name is an error.
    pub(crate) fn plan(self, given: &BTreeMap<String, u32>) -> Result<ScenarioPlan, String> {
        // A misspelled parameter would otherwise leave the default in effect.
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
        Ok(plans::plan(Values {
            scenario: self,
            given,
        }))
    }
}

// === impl Values, ScenarioPlan ===

impl Values<'_> {
    fn get(&self, name: &str) -> u32 {
        let parameters = self.scenario.parameters();
        let default = parameters.iter().find(|parameter| parameter.name == name);
        let default = default.map_or(0, |parameter| parameter.default);
        self.given.get(name).copied().unwrap_or(default)
    }

    fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(u64::from(self.get(name)))
    }
}

impl ScenarioPlan {
    /// Appends another plan, whose clients get the next indexes. `share` is its share of the rate; `None` is
    /// proportional to its speakers.
    pub(crate) fn add(&mut self, other: ScenarioPlan, share: Option<f64>) {
        let (first, before) = (self.clients, self.conversations.len());
        let shifted = other
            .conversations
            .into_iter()
            .map(|conversation| PlannedConversation {
                members: conversation.members.iter().map(|member| member + first).collect(),
                ..conversation
            });
        let speakers = shifted
            .clone()
            .map(|conversation| conversation.speakers)
            .sum::<usize>();
        self.conversations.extend(shifted);
        let behaviors = other.behaviors.into_iter();
        self.behaviors
            .extend(behaviors.map(|(client, behavior)| (client + first, behavior)));
        self.cuts.extend(other.cuts);
        self.kicks.extend(other.kicks.into_iter().map(|kick| Kick {
            conversation: kick.conversation + before,
            member: kick.member + first,
            ..kick
        }));
        self.expects.extend(other.expects);
        self.settings.extend(other.settings);
        // Two parts may contain the same setting, which the report would list twice.
        self.settings.sort();
        self.settings.dedup();
        self.rates_of_people |= other.rates_of_people;
        // One measurement and one attack per run: those of the first part.
        self.sizes = self.sizes.take().or(other.sizes);
        self.hostile = self.hostile.or(other.hostile);
        self.clients += other.clients;
        self.shares
            .push((first..self.clients, share.unwrap_or(speakers as f64)));
    }

    /// Returns all speakers with their shares of the rate. The sum is 1.
    pub(crate) fn speakers(&self) -> BTreeMap<ClientIx, f64> {
        let all = 0..self.clients;
        let whole = [(all, 1.0)];
        let shares = if self.shares.is_empty() {
            &whole
        } else {
            self.shares.as_slice()
        };
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        let speakers = self
            .conversations
            .iter()
            .flat_map(|planned| planned.members[..planned.speakers].iter().copied());
        // A map, since a client that speaks in several conversations counts once.
        let mut found: BTreeMap<ClientIx, f64> = speakers.map(|speaker| (speaker, 0.0)).collect();
        for (clients, share) in shares {
            let mut theirs: Vec<_> = found.range_mut(clients.clone()).collect();
            // A share without a speaker is lost; the divisors only avoid a division by zero.
            let each = share / total.max(f64::MIN_POSITIVE) / theirs.len().max(1) as f64;
            theirs.iter_mut().for_each(|(_, part)| **part = each);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(scenario: Scenario, given: &[(&str, u32)]) -> ScenarioPlan {
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
            assert!(plan.behaviors.keys().all(|client| *client < plan.clients));
            assert_eq!(Scenario::by_name(scenario.name()), Some(scenario));
            let whole: f64 = plan.speakers().values().sum();
            assert!(plan.silent || (whole - 1.0).abs() < 1e-9, "{scenario:?}: {whole}");
        }
    }

    #[test]
    fn those_who_talk_with_several_others_meet_each_of_them_once() {
        let plan = plan(Scenario::Pairs, &[("clients", 6), ("peers", 5)]);
        let mut met: Vec<Vec<u32>> = plan
            .conversations
            .iter()
            .map(|conversation| {
                let mut members = conversation.members.clone();
                members.sort_unstable();
                members
            })
            .collect();
        met.sort_unstable();
        met.dedup();
        assert_eq!(met.len(), 15, "everybody with everybody: {met:?}");
        assert!(met.iter().all(|pair| pair[0] < pair[1] && pair[1] < 6));
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
    fn the_last_members_are_removed_in_turn_and_the_first_one_never() {
        let given = [("groups", 2), ("members", 3), ("kicks", 5), ("every", 4)];
        let mut both = ScenarioPlan::default();
        both.add(plan(Scenario::Pairs, &[("clients", 4)]), None);
        both.add(plan(Scenario::Groups, &given), None);
        let kicks = both
            .kicks
            .iter()
            .map(|kick| (kick.at.as_secs(), kick.conversation, kick.member));
        assert_eq!(
            kicks.collect::<Vec<_>>(),
            [(4, 2, 6), (8, 3, 9), (12, 2, 5), (16, 3, 8)]
        );
        assert!(both.conversations[2].members.contains(&6) && both.conversations[3].members.contains(&9));
    }

    #[test]
    fn plans_that_are_joined_share_no_client_and_divide_the_rate() {
        let mut both = ScenarioPlan::default();
        both.add(plan(Scenario::Pairs, &[("clients", 4)]), Some(3.0));
        both.add(
            plan(Scenario::SlowReaders, &[("clients", 6), ("slow", 2)]),
            Some(1.0),
        );
        assert_eq!(both.clients, 10);
        assert_eq!(both.conversations[2].members, [4, 5, 6, 7, 8, 9]);
        assert!(both.behaviors.keys().all(|client| *client >= 4) && both.behaviors.len() == 2);
        let speakers = both.speakers();
        let first: f64 = speakers.range(0..4).map(|(_, share)| share).sum();
        assert!((first - 0.75).abs() < 1e-9, "{speakers:?}");
    }

    #[test]
    fn an_unknown_parameter_is_refused_by_name() {
        let given = BTreeMap::from([("rooms".to_owned(), 1)]);
        assert!(Scenario::Pairs.plan(&given).unwrap_err().contains("clients"));
    }
}
