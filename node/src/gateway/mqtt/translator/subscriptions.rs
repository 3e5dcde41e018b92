//! SUBSCRIBE and UNSUBSCRIBE. Membership decides, by the answer to `open`. A subscription to all events is acknowledged
//! by the answer to `sync`, behind which no event of the user's conversations is missed.

use bytes::BytesMut;
use protocol::command::{OpenConversation, SyncRequest};
use protocol::{ClientCommand, ErrorCode};

use super::{MqttTranslator, PacketEffect};
use crate::gateway::mqtt::event_filter::EventFilter;
use crate::gateway::mqtt::filter_table::AddedFilter;
use crate::gateway::mqtt::packet::{
    MqttVersion, OutgoingPublish, QualityOfService, ReasonCode, SubscribePacket, UnsubscribePacket,
};
use crate::gateway::mqtt::pending_request::{PendingFilter, PendingRequest, PendingSubscribe};

/// Code of 3.1.1 for a subscription that is refused.
const FAILURE: u8 = 0x80;

// === impl MqttTranslator: subscriptions ===

impl MqttTranslator {
    pub(super) fn subscribe(&mut self, packet: SubscribePacket, out: &mut BytesMut) -> PacketEffect {
        let requests = self.outgoing.len();
        let number = self.next_number();
        let mut pending = PendingSubscribe {
            number,
            packet_id: packet.packet_id,
            codes: Vec::with_capacity(packet.topics.len()),
            has_inbox: false,
        };
        for (index, topic) in packet.topics.iter().enumerate() {
            let quality = topic.quality.min(QualityOfService::AtLeastOnce);
            let filter = if packet.subscription_id.is_some() {
                Err(ReasonCode::SubscriptionIdsNotSupported)
            } else {
                EventFilter::parse(&topic.filter, &self.user)
            };
            let code = match filter {
                Ok(filter) => {
                    pending.has_inbox |= matches!(filter, EventFilter::Inbox(_));
                    self.add_filter(filter, quality, (number, index))
                }
                Err(reason) => Some(self.failure(reason)),
            };
            pending.codes.push(code);
        }
        self.subscribes.push(pending);
        self.finish_subscribe(number, out);
        if self.outgoing.len() > requests {
            PacketEffect::Request
        } else {
            PacketEffect::Answered
        }
    }

    /// Adds the filter at `index` of a SUBSCRIBE. Returns its code; `None` until its confirmation.
    fn add_filter(
        &mut self,
        filter: EventFilter,
        quality: QualityOfService,
        (subscribe, index): (i64, usize),
    ) -> Option<u8> {
        match self.filters.add(&filter, quality) {
            AddedFilter::Granted => {
                self.is_changed = true;
                Some(quality as u8)
            }
            AddedFilter::Unconfirmed => {
                let pending = PendingFilter {
                    filter,
                    quality,
                    subscribe,
                    index,
                };
                match self.inbox_confirmation(&pending.filter) {
                    // Its answer says the same for this one.
                    Some(waiting) => waiting.push(pending),
                    None => self.confirm(vec![pending], None),
                }
                None
            }
            AddedFilter::TooMany => Some(self.failure(ReasonCode::QuotaExceeded)),
        }
    }

    pub(super) fn unsubscribe(&mut self, packet: &UnsubscribePacket, out: &mut BytesMut) {
        let mut codes = Vec::with_capacity(packet.filters.len());
        for filter in &packet.filters {
            let filter = EventFilter::parse(filter, &self.user);
            let reason = match filter.map(|filter| self.filters.remove(&filter)) {
                Ok(true) => ReasonCode::Success,
                Ok(false) => ReasonCode::NoSubscriptionExisted,
                Err(ReasonCode::TopicFilterInvalid) => ReasonCode::TopicFilterInvalid,
                Err(_) => ReasonCode::NoSubscriptionExisted,
            };
            codes.push(reason.byte());
        }
        self.is_changed = true;
        self.packets.unsuback(out, packet.packet_id, &codes);
    }

    /// Returns the filters that wait until the session follows every conversation, if this is another one of them.
    fn inbox_confirmation(&mut self, filter: &EventFilter) -> Option<&mut Vec<PendingFilter>> {
        let is_inbox = |filter: &EventFilter| matches!(filter, EventFilter::Inbox(_));
        let mut waiting = self.requests.values_mut().filter_map(|request| match request {
            PendingRequest::Filters(waiting) => Some(waiting),
            PendingRequest::Publish(_) => None,
        });
        waiting.find(|waiting| is_inbox(filter) && waiting.iter().any(|pending| is_inbox(&pending.filter)))
    }

    /// Handles the answer to the confirmation of filters: the cursor of its next page, or the code of its refusal.
    pub(super) fn on_confirmation(
        &mut self,
        pending: Vec<PendingFilter>,
        confirmation: Result<Option<String>, ErrorCode>,
        out: &mut BytesMut,
    ) {
        let confirmed = match confirmation {
            Ok(cursor @ Some(_)) => return self.confirm(pending, cursor),
            Ok(None) => Ok(()),
            Err(code) => Err(code),
        };
        for pending in pending {
            self.on_confirmed(&pending, confirmed, out);
        }
    }

    fn on_confirmed(
        &mut self,
        pending: &PendingFilter,
        confirmed: Result<(), ErrorCode>,
        out: &mut BytesMut,
    ) {
        let code = match confirmed {
            Ok(()) if self.filters.confirm(&pending.filter) => {
                self.is_changed = true;
                pending.quality as u8
            }
            // An UNSUBSCRIBE, a removal of the user or the refusal of an earlier SUBSCRIBE came first.
            Ok(()) => self.failure(ReasonCode::Unspecified),
            Err(code) => self.on_refused_filter(pending, code),
        };
        let subscribe = self
            .subscribes
            .iter_mut()
            .find(|subscribe| subscribe.number == pending.subscribe);
        if let Some(known) = subscribe.and_then(|subscribe| subscribe.codes.get_mut(pending.index)) {
            *known = Some(code);
        }
        self.finish_subscribe(pending.subscribe, out);
    }

    /// Returns the code of a filter whose confirmation was refused.
    fn on_refused_filter(&mut self, pending: &PendingFilter, code: ErrorCode) -> u8 {
        if !code.temporary() {
            self.filters.remove(&pending.filter);
            self.is_changed = true;
            return self.failure(ReasonCode::NotAuthorized);
        }
        // A temporary refusal says nothing about the membership: another SUBSCRIBE may have been granted the filter, or
        // may still be.
        if self.filters.is_confirmed(&pending.filter) {
            return pending.quality as u8;
        }
        if !self.awaits_confirmation(&pending.filter) {
            self.filters.remove(&pending.filter);
        }
        self.failure(ReasonCode::Unspecified)
    }

    fn awaits_confirmation(&self, filter: &EventFilter) -> bool {
        let is_same = |request: &PendingRequest| match request {
            PendingRequest::Filters(waiting) => waiting.iter().any(|pending| pending.filter == *filter),
            PendingRequest::Publish(_) => false,
        };
        self.requests.values().any(is_same)
    }

    /// Sends the request whose answer confirms filters. `cursor`: that of the page behind the first one.
    fn confirm(&mut self, pending: Vec<PendingFilter>, cursor: Option<String>) {
        let Some(first) = pending.first() else { return };
        let command = match &first.filter {
            // Answered once the session follows the conversations of the page, of which there may be several.
            EventFilter::Inbox(_) => ClientCommand::Sync(SyncRequest {
                have: Vec::new(),
                cursor,
            }),
            EventFilter::Conversation(conversation) => ClientCommand::Open(OpenConversation {
                conversation: conversation.clone(),
                have: None,
            }),
            // Granted at once.
            EventFilter::Answers(_) => return,
        };
        self.send_own(PendingRequest::Filters(pending), command);
    }

    /// Acknowledges a SUBSCRIBE once the code of each filter is known.
    fn finish_subscribe(&mut self, number: i64, out: &mut BytesMut) {
        let Some(at) = self
            .subscribes
            .iter()
            .position(|pending| pending.number == number)
        else {
            return;
        };
        let codes: Option<Vec<u8>> = self.subscribes[at].codes.iter().copied().collect();
        let Some(codes) = codes else { return };
        let pending = self.subscribes.swap_remove(at);
        self.packets.suback(out, pending.packet_id, &codes);
        if pending.has_inbox {
            self.publish_resync(out);
        }
    }

    /// Makes a client synchronise whose kept session was not resumed.
    fn publish_resync(&mut self, out: &mut BytesMut) {
        // In this order: a refused subscription leaves the `resync` to the next one.
        let Some(inbox) = self.filters.confirmed_inbox() else {
            return;
        };
        let Some(reason) = self.owed_resync.take() else {
            return;
        };
        let payload = serde_json::json!({"t": "resync", "why": reason}).to_string();
        let message = OutgoingPublish {
            is_repeated: false,
            quality: QualityOfService::AtMostOnce,
            topic: ["u/", inbox.name.text(&self.user), "/events"],
            packet_id: 0,
            expiry: None,
            correlation_data: None,
            payload: [payload.as_bytes(), b""],
        };
        self.packets.publish(out, &message);
    }

    fn failure(&self, reason: ReasonCode) -> u8 {
        match self.version() {
            MqttVersion::V3 => FAILURE,
            MqttVersion::V5 => reason.byte(),
        }
    }
}
