//! Plan of a run: clients, conversations, members, speakers, behaviors and events.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use protocol::ConversationKind;

use super::behavior::ClientBehavior;
use crate::payload::ClientIx;
use crate::wire::Wire;

/// Plan of a run, which is set up before the load begins.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct ScenarioPlan {
    pub(crate) clients: u32,
    pub(crate) conversations: Vec<PlannedConversation>,
    /// Protocols of the clients, in turn. If empty, all speak the native one.
    pub(crate) wires: Vec<Wire>,
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
    pub(crate) sizes: Option<ConversationSizes>,
    /// Hostile sessions in the second half of the load; `None` without any.
    pub(crate) hostile: Option<Hostile>,
    /// `true` if no client sends messages.
    pub(crate) silent: bool,
}

/// Conversation of the plan. The first member creates it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PlannedConversation {
    pub(crate) kind: ConversationKind,
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

/// Numbers of conversations, and parameters of the measurement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConversationSizes {
    /// One user for each of these numbers of conversations.
    pub(crate) conversations: Vec<u32>,
    /// Number of users who create the conversations. Several, so that no rate limit and no limit on additions is
    /// reached.
    pub(crate) creators: u32,
    /// Repetitions of each operation.
    pub(crate) rounds: u32,
    /// Number of concurrent sessions for the memory measurement.
    pub(crate) sessions: u32,
}

// === impl ScenarioPlan ===

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

    /// Returns the protocol of a client.
    pub(crate) fn wire(&self, client: ClientIx) -> Wire {
        let turn = client as usize % self.wires.len().max(1);
        self.wires.get(turn).copied().unwrap_or(Wire::Native)
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
