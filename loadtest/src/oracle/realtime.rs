//! Real-time checks: relations between an ack and operations that began after it was received.
//!
//! * A read that begins after an ack contains the acknowledged event.
//! * A message sent after an ack has a higher position.
//! * A client whose removal was acknowledged receives no more answers as a member.
//!
//! Each check compares events of one process, in its own order. Clocks of two machines are never compared.

use std::collections::HashMap;

use super::seen::SeenEvent;
use super::violation::ViolationKind;
use super::{ConvIx, Oracle};
use crate::payload::ClientIx;

/// Highest acknowledged positions so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct AcknowledgedSeqs {
    /// Position of any event.
    pub(crate) event: u64,
    /// Position of a message.
    pub(crate) message: u64,
}

/// Positions of one conversation that are known from acks alone.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    highest: AcknowledgedSeqs,
    /// Highest own message per sender. The sender's cursors are at least there.
    senders: HashMap<ClientIx, u64>,
    /// Clients whose removal was requested, with its position once it was acknowledged.
    removals: HashMap<ClientIx, Option<u64>>,
}

// === impl Acknowledged ===

impl Acknowledged {
    pub(super) fn event(&mut self, s: u64) {
        self.highest.event = self.highest.event.max(s);
    }

    pub(super) fn message(&mut self, sender: ClientIx, s: u64) {
        self.event(s);
        self.highest.message = self.highest.message.max(s);
        let own = self.senders.entry(sender).or_default();
        *own = s.max(*own);
    }

    /// Returns the position of an acknowledged removal.
    pub(super) fn removed_at(&self, client: ClientIx) -> Option<u64> {
        self.removals.get(&client).copied().flatten()
    }

    /// Returns `true` if the removal was requested, with any result.
    pub(super) fn may_be_removed(&self, client: ClientIx) -> bool {
        self.removals.contains_key(&client)
    }
}

// === impl Oracle: real time ===

impl Oracle {
    /// Returns the highest acknowledged positions, which a read or send that begins now must follow.
    pub(crate) fn since(&self, conv: ConvIx) -> AcknowledgedSeqs {
        self.conversations[conv as usize].acknowledged.highest
    }

    /// Returns the highest acknowledged message per sender. A read that begins now must show the sender's cursors
    /// there.
    pub(crate) fn sent(&self, conv: ConvIx) -> HashMap<ClientIx, u64> {
        self.conversations[conv as usize].acknowledged.senders.clone()
    }

    /// Returns `true` if the client's removal was requested, with any result.
    pub(crate) fn may_be_removed(&self, conv: ConvIx, client: ClientIx) -> bool {
        self.conversations[conv as usize]
            .acknowledged
            .may_be_removed(client)
    }

    /// Compares a further observation of an event without changing a view.
    pub(crate) fn sighted(&mut self, conv: ConvIx, client: ClientIx, seen: &SeenEvent) {
        let window = self.window_total / self.conversations.len().max(1);
        let conversation = &mut self.conversations[conv as usize];
        let before = conversation.is_from_before(client, seen);
        let verdict = conversation.log.see(seen, window, before);
        self.judge(verdict, conv, Some(client), seen.s);
        self.recount(conv);
    }

    /// Checks the position of a message or change that was first sent when `since` had been acknowledged.
    pub(crate) fn appended(&mut self, conv: ConvIx, client: ClientIx, s: u64, since: AcknowledgedSeqs) {
        // An equal position is wrong, too: it belongs to the acknowledged event.
        if s <= since.event {
            let detail = format!(
                "has s={s}, but s={} was acknowledged before it was sent",
                since.event
            );
            self.violate(ViolationKind::StaleAppend, Some(conv), Some(client), s, detail);
        }
    }

    /// Checks a read that ended at `reached`. It must contain everything acknowledged before it began, up to `least`.
    pub(crate) fn read_reached(
        &mut self,
        conv: ConvIx,
        client: ClientIx,
        read: &str,
        reached: u64,
        least: u64,
    ) {
        self.counts.reads += 1;
        if reached < least {
            let detail =
                format!("{read} ends at s={reached}, but s={least} was acknowledged before the request");
            self.violate(
                ViolationKind::StaleRead,
                Some(conv),
                Some(client),
                reached,
                detail,
            );
        }
    }

    /// Records that a removal is about to be requested. From now on the client may be refused.
    pub(crate) fn removal_asked(&mut self, conv: ConvIx, client: ClientIx) {
        // Before the request: the client may be refused before the remover receives its ack.
        let acknowledged = &mut self.conversations[conv as usize].acknowledged;
        acknowledged.removals.entry(client).or_default();
    }

    /// Records the ack of a removal at `s`, and judges what the client received from above it.
    pub(crate) fn removal_acked(&mut self, conv: ConvIx, client: ClientIx, s: u64) {
        let conversation = &mut self.conversations[conv as usize];
        conversation.acknowledged.event(s);
        conversation.acknowledged.removals.insert(client, Some(s));
        // Events may have arrived before the ack of the removal.
        let reached = conversation.views.get(&client).map_or(0, |view| view.reached);
        if reached > s {
            self.reached_removed(conv, client, reached, s);
        }
    }

    /// Clears a known removal: the client is about to be added again.
    pub(crate) fn invitation_asked(&mut self, conv: ConvIx, client: ClientIx) {
        let conversation = &mut self.conversations[conv as usize];
        if conversation.acknowledged.removals.remove(&client).is_some()
            && let Some(view) = conversation.views.get_mut(&client)
        {
            // Events from before are not judged against a later removal.
            view.reached = 0;
        }
    }

    /// Records the ack of a membership change.
    pub(crate) fn membership_acked(&mut self, conv: ConvIx, s: u64) {
        self.conversations[conv as usize].acknowledged.event(s);
    }

    /// Returns the position of the client's removal, as known from acks or observed events.
    pub(crate) fn removal(&self, conv: ConvIx, client: ClientIx) -> Option<u64> {
        let conversation = &self.conversations[conv as usize];
        // The ack first: it is exact while the log is not known that far.
        let acked = conversation.acknowledged.removed_at(client);
        acked.or_else(|| conversation.log.removed_at(client))
    }

    /// Records that a client received an event on any path, applied or not.
    pub(crate) fn received(&mut self, conv: ConvIx, client: ClientIx, s: u64) {
        match self.removal(conv, client) {
            Some(k) if s > k => self.reached_removed(conv, client, s, k),
            Some(_) => {}
            None => {
                // The removal may be known only later; its ack judges this position then.
                if let Some(view) = self.conversations[conv as usize].views.get_mut(&client) {
                    view.reached = view.reached.max(s);
                }
            }
        }
    }

    /// Reports a response given to a client as a member. `removed` is `true` if its removal was acknowledged before the
    /// request.
    pub(crate) fn answered_as_member(&mut self, conv: ConvIx, client: ClientIx, what: &str, removed: bool) {
        if removed {
            let k = self.removal(conv, client).unwrap_or(0);
            let detail = format!(
                "{what} was returned to client {client}, whose removal at s={k} was acknowledged before the request"
            );
            self.violate(ViolationKind::AfterRemoval, Some(conv), Some(client), k, detail);
        }
    }

    /// Returns `true` if the client's removal was acknowledged.
    pub(crate) fn removal_is_acked(&self, conv: ConvIx, client: ClientIx) -> bool {
        let acknowledged = &self.conversations[conv as usize].acknowledged;
        acknowledged.removed_at(client).is_some()
    }

    /// Judges events that clients received before any process knew of their removal. At the end every removal is known.
    pub(super) fn finish_removals(&mut self, conv: ConvIx) {
        let conversation = &self.conversations[conv as usize];
        let above = conversation.views.iter().filter_map(|(client, view)| {
            let k = self.removal(conv, *client)?;
            (view.reached > k).then_some((*client, view.reached, k))
        });
        for (client, reached, k) in above.collect::<Vec<_>>() {
            self.reached_removed(conv, client, reached, k);
        }
    }

    fn reached_removed(&mut self, conv: ConvIx, client: ClientIx, s: u64, k: u64) {
        let detail = format!("client {client} was removed at s={k}, but received s={s}");
        self.violate(ViolationKind::AfterRemoval, Some(conv), Some(client), s, detail);
    }
}
