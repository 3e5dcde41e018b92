//! Real time: what was acknowledged before something began. A read that begins after an ack was received shows what was
//! acknowledged, a message that is sent after it stands behind it, and whoever is put out by an acknowledged removal is
//! answered as somebody else from there on. All of it is about one process's own clock order, so no clock is compared.

use std::collections::HashMap;

use super::seen::Seen;
use super::violation::Kind;
use super::{ConvIx, Oracle};
use crate::payload::ClientIx;

/// The highest places that acks have named so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Since {
    /// Of any event.
    pub(crate) event: u64,
    /// Of a message.
    pub(crate) message: u64,
}

/// What is known of one conversation by acks alone.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    highest: Since,
    /// The highest own message of each sender: its cursors are there, too.
    senders: HashMap<ClientIx, u64>,
    /// Those whose removal was asked for, and its place once it was acknowledged.
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

    /// The place of an acknowledged removal.
    pub(super) fn removed_at(&self, client: ClientIx) -> Option<u64> {
        self.removals.get(&client).copied().flatten()
    }

    /// Somebody has asked for the removal, whatever came of it.
    pub(super) fn may_be_removed(&self, client: ClientIx) -> bool {
        self.removals.contains_key(&client)
    }
}

// === impl Oracle: real time ===

impl Oracle {
    /// What a read or a message that begins now comes after.
    pub(crate) fn since(&self, conv: ConvIx) -> Since {
        self.conversations[conv as usize].acknowledged.highest
    }

    /// The highest acknowledged message of each sender: what a read that begins now has to show as the sender's cursors.
    pub(crate) fn sent(&self, conv: ConvIx) -> HashMap<ClientIx, u64> {
        self.conversations[conv as usize].acknowledged.senders.clone()
    }

    /// Somebody has asked for the client's removal, whatever came of it.
    pub(crate) fn may_be_removed(&self, conv: ConvIx, client: ClientIx) -> bool {
        self.conversations[conv as usize]
            .acknowledged
            .may_be_removed(client)
    }

    /// Another sight of an event, which changes nobody's view.
    pub(crate) fn sighted(&mut self, conv: ConvIx, client: ClientIx, seen: &Seen) {
        let window = self.window_total / self.conversations.len().max(1);
        let conversation = &mut self.conversations[conv as usize];
        let before = conversation.is_from_before(client, seen);
        let verdict = conversation.log.see(seen, window, before);
        self.judge(verdict, conv, Some(client), seen.s);
        self.recount(conv);
    }

    /// Something that was sent for the first time when `since` had been acknowledged has its place.
    pub(crate) fn appended(&mut self, conv: ConvIx, client: ClientIx, s: u64, since: Since) {
        if s <= since.event {
            let detail = format!(
                "has s={s}, although s={} was acknowledged before it was sent",
                since.event
            );
            self.violate(Kind::StaleAppend, Some(conv), Some(client), s, detail);
        }
    }

    /// A read got as far as `reached`; what was acknowledged up to `least` before it began must be in it.
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
            let detail = format!(
                "{read} ends at s={reached}, although s={least} was acknowledged before it was asked for"
            );
            self.violate(Kind::StaleRead, Some(conv), Some(client), reached, detail);
        }
    }

    /// Somebody is about to be removed: from now on the client may be refused.
    pub(crate) fn removal_asked(&mut self, conv: ConvIx, client: ClientIx) {
        let acknowledged = &mut self.conversations[conv as usize].acknowledged;
        acknowledged.removals.entry(client).or_default();
    }

    /// The removal was acknowledged at `s`. What has reached the client from above it is judged now.
    pub(crate) fn removal_acked(&mut self, conv: ConvIx, client: ClientIx, s: u64) {
        let conversation = &mut self.conversations[conv as usize];
        conversation.acknowledged.event(s);
        conversation.acknowledged.removals.insert(client, Some(s));
        let reached = conversation.views.get(&client).map_or(0, |view| view.reached);
        if reached > s {
            self.reached_removed(conv, client, reached, s);
        }
    }

    /// Somebody is about to be taken in again: what was known of a removal counts no longer.
    pub(crate) fn invitation_asked(&mut self, conv: ConvIx, client: ClientIx) {
        let conversation = &mut self.conversations[conv as usize];
        if conversation.acknowledged.removals.remove(&client).is_some()
            && let Some(view) = conversation.views.get_mut(&client)
        {
            view.reached = 0;
        }
    }

    /// Something else than a message or a change was acknowledged: a membership.
    pub(crate) fn membership_acked(&mut self, conv: ConvIx, s: u64) {
        self.conversations[conv as usize].acknowledged.event(s);
    }

    /// Where the client was removed, as far as acks or anybody's events tell.
    pub(crate) fn removal(&self, conv: ConvIx, client: ClientIx) -> Option<u64> {
        let conversation = &self.conversations[conv as usize];
        let acked = conversation.acknowledged.removed_at(client);
        acked.or_else(|| conversation.log.removed_at(client))
    }

    /// An event has reached a client, by whatever way and whether it is of use or not.
    pub(crate) fn received(&mut self, conv: ConvIx, client: ClientIx, s: u64) {
        match self.removal(conv, client) {
            Some(k) if s > k => self.reached_removed(conv, client, s, k),
            Some(_) => {}
            None => {
                if let Some(view) = self.conversations[conv as usize].views.get_mut(&client) {
                    view.reached = view.reached.max(s);
                }
            }
        }
    }

    /// A request was answered as to a member.
    pub(crate) fn answered_as_member(&mut self, conv: ConvIx, client: ClientIx, what: &str, removed: bool) {
        if removed {
            let k = self.removal(conv, client).unwrap_or(0);
            let detail = format!(
                "{what} is answered to client {client}, whose removal at s={k} was acknowledged before it asked"
            );
            self.violate(Kind::AfterRemoval, Some(conv), Some(client), k, detail);
        }
    }

    /// Whether the client's removal was acknowledged already.
    pub(crate) fn removal_is_acked(&self, conv: ConvIx, client: ClientIx) -> bool {
        let acknowledged = &self.conversations[conv as usize].acknowledged;
        acknowledged.removed_at(client).is_some()
    }

    /// At the end every removal is known: what reached somebody from above it, before anybody knew of it.
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
        let detail = format!("client {client} was removed at s={k}, and s={s} reached it");
        self.violate(Kind::AfterRemoval, Some(conv), Some(client), s, detail);
    }
}
