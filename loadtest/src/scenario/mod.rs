//! Who talks to whom, and what they do besides. A scenario is a plan: how many clients, which conversations, who is a
//! member and who speaks, which habits the clients have.

mod file;
mod plans;
mod setup;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

pub(crate) use self::setup::{Setup, What};
use crate::client::Habit;
use crate::many::Sizes;
use crate::payload::ClientIx;

/// What a run sets up before its load begins.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) clients: u32,
    pub(crate) conversations: Vec<Conversation>,
    /// Clients with habits; the others are there and read.
    pub(crate) habits: BTreeMap<ClientIx, Habit>,
    /// When all connections are cut, after the load began.
    pub(crate) cuts: Vec<Duration>,
    /// Who is removed when, after the load began, from which conversation: by its first member.
    pub(crate) kicks: Vec<Kick>,
    /// What the nodes of a local cluster are started with, key=value.
    pub(crate) settings: Vec<String>,
    /// The nodes keep the rates that are meant for people.
    pub(crate) rates_of_people: bool,
    /// Ranges of clients and their shares of the rate; without any every speaker has the same.
    pub(crate) shares: Vec<(Range<ClientIx>, f64)>,
    /// What has to be among the errors, one of it, for the run to have shown anything.
    pub(crate) expects: Vec<&'static str>,
    /// Measured instead of a load.
    pub(crate) sizes: Option<Sizes>,
    /// Hostile sessions, for the second half of the load.
    pub(crate) hostile: Option<Hostile>,
    /// Nobody says anything.
    pub(crate) silent: bool,
}

/// One conversation of the plan. The first member creates it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) kind: &'static str,
    pub(crate) members: Vec<ClientIx>,
    /// How many of the members, from the first on, send messages.
    pub(crate) speakers: usize,
    /// So many further members come once and are not connected afterwards.
    pub(crate) absent: u32,
}

/// Sessions that mean no good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hostile {
    pub(crate) sessions: u32,
    /// Of the user whom one of them is.
    pub(crate) conversations: u32,
    /// Users who make those.
    pub(crate) creators: u32,
}

/// A member of a conversation who is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kick {
    /// After the load began.
    pub(crate) at: Duration,
    /// Position among the plan's conversations.
    pub(crate) conversation: usize,
    pub(crate) member: ClientIx,
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
    /// One channel with many members, of whom some are connected.
    Channel,
    /// Open and hold: connections that say nothing.
    Idle,
    /// All connections are cut at once.
    ReconnectStorm,
    /// Connections drop at random.
    Flapping,
    /// Receivers who go and return.
    CatchUp,
    /// Clients that read slowly or never.
    SlowReaders,
    /// Everybody marks what arrives as read.
    Receipts,
    /// Long inboxes are listed.
    Inbox,
    /// A day of a team, compressed.
    Mixed,
    /// The same, slowly and for long.
    Soak,
    /// Sessions of users with few and with many conversations.
    Conversations,
    /// Pairs that talk beside sessions that mean no good.
    Hostile,
}

/// A parameter of a scenario.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) default: u32,
    pub(crate) doc: &'static str,
}

/// What a scenario takes where nothing is said.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Defaults {
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
    pub(crate) size: usize,
}

/// The parameters of a scenario, given or by default.
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
            Scenario::Pairs => "direct conversations of two, both talk",
            Scenario::Groups => "groups of members, of whom all or some talk",
            Scenario::Room => "one conversation, few speakers, many receivers",
            Scenario::Channel => "one channel with many members, who join it; some are connected",
            Scenario::Idle => "connections that are opened and held",
            Scenario::ReconnectStorm => {
                "all connections are cut at once: how long until all are back and level"
            }
            Scenario::Flapping => "connections drop at random and come back on random nodes",
            Scenario::CatchUp => "receivers who stay away for a while and return",
            Scenario::SlowReaders => "some read slowly or never: the others must not suffer",
            Scenario::Receipts => "everybody marks each message as read when it arrives",
            Scenario::Inbox => "long inboxes are listed while messages arrive",
            Scenario::Mixed => {
                "a day of a team, compressed: messages, reads, inboxes, typing, reactions, edits, deletions, comings and goings"
            }
            Scenario::Soak => "as mixed, slowly and for long: does memory grow",
            Scenario::Conversations => {
                "sessions of users with few and with many conversations: to begin, to list, to sync, their memory"
            }
            Scenario::Hostile => {
                "pairs that talk, first alone and then beside hostile sessions, at the rates meant for people"
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
        Ok(plans::plan(Values {
            scenario: self,
            given,
        }))
    }
}

// === impl Values, Plan ===

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

impl Plan {
    /// Adds another plan, whose clients come after these. `share` is its part of the rate, by itself in proportion to
    /// those who speak.
    pub(crate) fn add(&mut self, other: Plan, share: Option<f64>) {
        let (first, before) = (self.clients, self.conversations.len());
        let shifted = other.conversations.into_iter().map(|conversation| Conversation {
            members: conversation.members.iter().map(|member| member + first).collect(),
            ..conversation
        });
        let speakers = shifted
            .clone()
            .map(|conversation| conversation.speakers)
            .sum::<usize>();
        self.conversations.extend(shifted);
        let habits = other.habits.into_iter();
        self.habits
            .extend(habits.map(|(client, habit)| (client + first, habit)));
        self.cuts.extend(other.cuts);
        self.kicks.extend(other.kicks.into_iter().map(|kick| Kick {
            conversation: kick.conversation + before,
            member: kick.member + first,
            ..kick
        }));
        self.expects.extend(other.expects);
        self.settings.extend(other.settings);
        self.settings.sort();
        self.settings.dedup();
        self.rates_of_people |= other.rates_of_people;
        self.sizes = self.sizes.take().or(other.sizes);
        self.hostile = self.hostile.or(other.hostile);
        self.clients += other.clients;
        self.shares
            .push((first..self.clients, share.unwrap_or(speakers as f64)));
    }

    /// Everybody who speaks, with the part of the rate that is theirs.
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
        let mut found: BTreeMap<ClientIx, f64> = speakers.map(|speaker| (speaker, 0.0)).collect();
        for (clients, share) in shares {
            let mut theirs: Vec<_> = found.range_mut(clients.clone()).collect();
            let each = share / total.max(f64::MIN_POSITIVE) / theirs.len().max(1) as f64;
            theirs.iter_mut().for_each(|(_, part)| **part = each);
        }
        found
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
            assert!(plan.habits.keys().all(|client| *client < plan.clients));
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
        let mut both = Plan::default();
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
        let mut both = Plan::default();
        both.add(plan(Scenario::Pairs, &[("clients", 4)]), Some(3.0));
        both.add(
            plan(Scenario::SlowReaders, &[("clients", 6), ("slow", 2)]),
            Some(1.0),
        );
        assert_eq!(both.clients, 10);
        assert_eq!(both.conversations[2].members, [4, 5, 6, 7, 8, 9]);
        assert!(both.habits.keys().all(|client| *client >= 4) && both.habits.len() == 2);
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
