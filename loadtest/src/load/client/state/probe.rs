//! Probe reads, whose responses the oracle judges: reads of every kind that must contain "everything that was
//! acknowledged before", at random times.
//!
//! A removed client continues them, and must then read nothing.

use std::collections::HashMap;

use protocol::{ClientCommand, ConversationId};
use rand::RngExt;
use rand::rngs::StdRng;

use super::sync::Purpose;
use super::{Basis, ClientState, PendingRequest, ReadProbe, SentRequest};
use crate::measure::RunContext;
use crate::oracle::{ConvIx, ViolationKind};
use crate::payload::ClientIx;
use crate::wire::{self, WireFrame};

/// Kind of a probe read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProbedRead {
    /// Newest page of the log.
    History,
    /// State of the conversation.
    Open,
    /// Events above the client's own position.
    Sync,
    /// Members and their cursors.
    Members,
    /// Conversation list: its first page, or all pages.
    List,
    /// Newest messages, over HTTP.
    Messages,
}

/// Weights of the kinds, out of a hundred.
const READS: [(ProbedRead, u32); 6] = [
    (ProbedRead::History, 35),
    (ProbedRead::Open, 20),
    (ProbedRead::Sync, 15),
    (ProbedRead::Members, 10),
    (ProbedRead::List, 5),
    (ProbedRead::Messages, 15),
];
/// Number of events or messages of a page; only the newest one is judged.
const NEWEST: usize = 5;

/// Read over HTTP, independent of the client's connection.
pub(crate) struct HttpRead {
    conversation: ConversationId,
    conv: ConvIx,
    me: ClientIx,
    basis: Basis,
}

// === impl ProbedRead ===

impl ProbedRead {
    pub(crate) fn pick(rng: &mut StdRng) -> ProbedRead {
        let mut point = rng.random_range(0..READS.iter().map(|(_, weight)| weight).sum());
        for (read, weight) in READS {
            if point < weight {
                return read;
            }
            point -= weight;
        }
        // Not reachable: the point is below the sum of the weights.
        ProbedRead::History
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            ProbedRead::History => "hist",
            ProbedRead::Open => "open",
            ProbedRead::Sync => "sync",
            ProbedRead::Members => "members",
            ProbedRead::List => "list",
            ProbedRead::Messages => "GET messages",
        }
    }

    pub(super) fn command(self, c: &ConversationId) -> ClientCommand {
        match self {
            ProbedRead::Open => wire::open(c),
            ProbedRead::Members => wire::members(c),
            ProbedRead::History | ProbedRead::Sync | ProbedRead::List | ProbedRead::Messages => {
                wire::newest(c, NEWEST)
            }
        }
    }
}

// === impl HttpRead ===

impl HttpRead {
    pub(crate) fn path(&self) -> String {
        format!("/v1/conversations/{}/messages?limit={NEWEST}", self.conversation)
    }

    /// Judges the response, given its status and body.
    pub(crate) fn answered(self, node: &str, status: u16, body: &str, context: &mut RunContext) {
        // A retryable status (408, 429, 5xx) promises nothing about the content.
        if !matches!(status, 200 | 400..=407 | 409..=428) {
            return;
        }
        let (conv, me, oracle) = (self.conv, self.me, &mut context.oracle);
        let read = format!("{} at {node}", ProbedRead::Messages.name());
        let frame = match WireFrame::parse(body) {
            Ok(frame) => frame,
            Err(error) => {
                let detail = format!("{error} in the response to {read}: {body}");
                return oracle.violate(ViolationKind::Malformed, Some(conv), Some(me), 0, detail);
            }
        };
        if status != 200 {
            return oracle.refused_there(conv, me, &read, frame.refusal().0);
        }
        let newest = frame.items.iter().filter_map(|item| item.s).max().unwrap_or(0);
        oracle.answered_as_member(conv, me, &read, self.basis.removed);
        oracle.received(conv, me, newest);
        // The response lists messages, so the last acknowledged message is the bound, not the last event.
        if !oracle.may_be_removed(conv, me) {
            oracle.read_reached(conv, me, &read, newest, self.basis.since.message);
        }
    }
}

// === impl ClientState: probes ===

impl ClientState {
    /// Issues a random probe read in one of the client's conversations. Returns the read if it uses HTTP.
    pub(crate) fn probe(&mut self, context: &RunContext, rng: &mut StdRng) -> Option<HttpRead> {
        if !self.online || self.views.is_empty() {
            return None;
        }
        let view = rng.random_range(0..self.views.len());
        // Without a position the client has not opened the conversation, so nothing can be judged.
        self.views[view].cursor?;
        match ProbedRead::pick(rng) {
            ProbedRead::List => {
                // A walk over many pages is expensive, so most probes of a long list read one page.
                let walk = self.views.len() <= protocol::limits::PAGE || rng.random_bool(0.1);
                let due = context.clock.now();
                self.ask(PendingRequest::List {
                    cursor: None,
                    due,
                    asked: due,
                    floors: self.views.iter().map(|view| view.read).collect(),
                    found: Vec::new(),
                    reply: None,
                    look: if walk { ReadProbe::Whole } else { ReadProbe::Page },
                });
                None
            }
            // Several pages would be reads at different times, and expensive.
            ProbedRead::Sync if self.views.len() <= protocol::limits::SYNC_HAVE => {
                // Conversations that the client was removed from are requested too.
                let known = (0..self.views.len()).filter(|view| self.views[*view].cursor.is_some());
                self.sync(known.collect(), Purpose::Probe, 0, context);
                None
            }
            ProbedRead::Messages => Some(HttpRead {
                conversation: self.views[view].name.clone(),
                conv: self.views[view].conv,
                me: self.me,
                basis: self.basis(view, context),
            }),
            read => {
                self.ask(PendingRequest::Probe { view, read });
                None
            }
        }
    }

    /// Judges the response to a probe read.
    pub(super) fn probed(
        &mut self,
        view: usize,
        read: ProbedRead,
        basis: Basis,
        frame: &WireFrame<'_>,
        context: &mut RunContext,
    ) {
        let (conv, me) = (self.views[view].conv, self.me);
        match read {
            ProbedRead::History => {
                let events = frame.events.iter();
                let newest = events.filter_map(|event| self.sight(view, event, context)).max();
                self.got_to(view, read.name(), &basis, newest.unwrap_or(0), context);
            }
            ProbedRead::Open => {
                let last = frame.last.as_ref().map_or(0, |last| last.s);
                self.got_to(view, read.name(), &basis, last, context);
            }
            ProbedRead::Members => {
                context
                    .oracle
                    .answered_as_member(conv, me, read.name(), basis.removed);
                self.members(conv, &basis.cursors, frame, context);
            }
            ProbedRead::Sync | ProbedRead::List | ProbedRead::Messages => {}
        }
    }

    /// Passes an event that is not applied to the oracle for comparison. Returns its seq.
    pub(super) fn sight(&self, view: usize, event: &WireFrame<'_>, context: &mut RunContext) -> Option<u64> {
        let seen = self.read(view, event, context)?;
        context.oracle.received(self.views[view].conv, self.me, seen.s);
        context.oracle.sighted(self.views[view].conv, self.me, &seen);
        Some(seen.s)
    }

    /// Judges members' own cursors: a message moves its sender's cursors, so both are at least at the last acknowledged
    /// one.
    fn members(
        &self,
        conv: ConvIx,
        cursors: &HashMap<ClientIx, u64>,
        frame: &WireFrame<'_>,
        context: &mut RunContext,
    ) {
        for item in &frame.items {
            let Some(member) = item.u.and_then(|user| context.payload.client(user)) else {
                continue;
            };
            let least = cursors.get(&member).copied().unwrap_or(0);
            // Large conversations report no cursors.
            if item.delivered > 0 {
                let what = format!("members, client {member}'s own cursors");
                let reached = item.delivered.min(item.read);
                context.oracle.read_reached(conv, self.me, &what, reached, least);
            }
        }
    }

    /// Returns the bounds for a read of one view that begins now.
    pub(super) fn basis(&self, view: usize, context: &RunContext) -> Basis {
        let conv = self.views[view].conv;
        Basis {
            since: context.oracle.since(conv),
            removed: context.oracle.removal_is_acked(conv, self.me),
            cursors: HashMap::new(),
        }
    }

    /// Returns the bounds for a request, one for each view that it concerns.
    pub(super) fn bases(&self, task: &PendingRequest, context: &RunContext) -> Vec<Basis> {
        match task {
            PendingRequest::Probe {
                view,
                read: ProbedRead::Members,
            } => vec![Basis {
                cursors: context.oracle.sent(self.views[*view].conv),
                ..self.basis(*view, context)
            }],
            PendingRequest::Open { view, .. }
            | PendingRequest::Fill { view }
            | PendingRequest::Reread { view, .. }
            | PendingRequest::Probe { view, .. } => vec![self.basis(*view, context)],
            PendingRequest::Sync(syncing) => {
                let rest = syncing.rest().iter();
                rest.map(|view| self.basis(*view, context)).collect()
            }
            PendingRequest::List { .. } => (0..self.views.len())
                .map(|view| self.basis(view, context))
                .collect(),
            PendingRequest::Auth
            | PendingRequest::Create { .. }
            | PendingRequest::Membership { .. }
            | PendingRequest::Change(_)
            | PendingRequest::Read { .. }
            | PendingRequest::Watch(_) => Vec::new(),
        }
    }
}

// === impl SentRequest ===

impl SentRequest {
    /// Returns the bounds of a request that concerns one view.
    pub(super) fn basis(&self) -> Basis {
        self.bases.first().cloned().unwrap_or_default()
    }
}
