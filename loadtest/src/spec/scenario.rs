//! Scenarios: plans of clients, conversations, members, speakers and behaviors.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plans;
use super::scenario_plan::ScenarioPlan;

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
pub(super) struct Values<'a> {
    pub(super) scenario: Scenario,
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

// === impl Values ===

impl Values<'_> {
    pub(super) fn get(&self, name: &str) -> u32 {
        let parameters = self.scenario.parameters();
        let default = parameters.iter().find(|parameter| parameter.name == name);
        let default = default.map_or(0, |parameter| parameter.default);
        self.given.get(name).copied().unwrap_or(default)
    }

    pub(super) fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(u64::from(self.get(name)))
    }
}
