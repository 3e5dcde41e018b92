//! Subscriptions of the clients, and the retained messages that they get.

use std::time::Instant;

use super::{Broker, ConnectionKey};
use crate::gateway::mqtt::free_topics::client_session::TopicSubscription;
use crate::gateway::mqtt::free_topics::outgoing_queue::TopicDelivery;
use crate::gateway::mqtt::free_topics::topic_filter::TopicFilter;
use crate::gateway::mqtt::packet::{
    PacketError, ReasonCode, SubscribePacket, TopicRequest, UnsubscribePacket,
};

/// Filter that is refused, for the tests of a refusal.
const REFUSED_FILTER: &str = "test/nosubscribe";
/// Retain handling that sends no message.
const NEVER: u8 = 2;
/// Retain handling that sends the messages to a new subscription only.
const TO_NEW: u8 = 1;

// === impl Broker: subscriptions ===

impl Broker {
    pub(super) fn subscribe(
        &mut self,
        key: &ConnectionKey,
        packet: &SubscribePacket,
        now: Instant,
    ) -> Result<(), PacketError> {
        let mut codes = Vec::with_capacity(packet.topics.len());
        let mut retained = Vec::new();
        for request in &packet.topics {
            if request.filter == REFUSED_FILTER {
                codes.push(ReasonCode::Unspecified.byte());
                continue;
            }
            let filter = TopicFilter::parse(&request.filter).ok_or(PacketError::MALFORMED)?;
            if filter.is_shared() && request.options.is_no_local {
                return Err(PacketError::PROTOCOL);
            }
            let subscription = TopicSubscription {
                quality: request.quality,
                options: request.options,
                subscription_id: packet.subscription_id,
            };
            let is_new = self.add_subscription(key, &filter, subscription);
            codes.push(request.quality as u8);
            if sends_retained(request, &filter, is_new) {
                retained.extend(self.retained_of(&filter, &subscription, now));
            }
        }
        if let Some(session) = self.session_of(key) {
            session.write(|connection, out| connection.packets.suback(out, packet.packet_id, &codes));
            for delivery in retained {
                session.deliver(delivery, now);
            }
        }
        Ok(())
    }

    pub(super) fn unsubscribe(
        &mut self,
        key: &ConnectionKey,
        packet: &UnsubscribePacket,
    ) -> Result<(), PacketError> {
        let mut codes = Vec::with_capacity(packet.filters.len());
        for filter in &packet.filters {
            let filter = TopicFilter::parse(filter).ok_or(PacketError::MALFORMED)?;
            let Some(session) = self.session_of(key) else {
                return Ok(());
            };
            let reason = match session.subscriptions.remove(&filter) {
                Some(_) => ReasonCode::Success,
                None => ReasonCode::NoSubscriptionExisted,
            };
            codes.push(reason.byte());
            if let Some(share) = self.shares.get_mut(&filter) {
                share.clients.retain(|client| *client != key.client);
            }
            self.shares.retain(|_, share| !share.clients.is_empty());
        }
        if let Some(session) = self.session_of(key) {
            session.write(|connection, out| connection.packets.unsuback(out, packet.packet_id, &codes));
        }
        Ok(())
    }

    /// Returns true if the client had no such subscription.
    fn add_subscription(
        &mut self,
        key: &ConnectionKey,
        filter: &TopicFilter,
        subscription: TopicSubscription,
    ) -> bool {
        let Some(session) = self.session_of(key) else {
            return false;
        };
        let is_new = session
            .subscriptions
            .insert(filter.clone(), subscription)
            .is_none();
        if is_new && filter.is_shared() {
            let share = self.shares.entry(filter.clone()).or_default();
            share.clients.push(key.client.clone());
        }
        is_new
    }

    fn retained_of(
        &self,
        filter: &TopicFilter,
        subscription: &TopicSubscription,
        now: Instant,
    ) -> Vec<TopicDelivery> {
        let matching = self
            .retained
            .values()
            .filter(|message| filter.matches(&message.topic) && !message.is_expired(now));
        let deliveries = matching.map(|message| TopicDelivery {
            is_retained: true,
            ..subscription.delivery(message)
        });
        deliveries.collect()
    }
}

fn sends_retained(request: &TopicRequest, filter: &TopicFilter, is_new: bool) -> bool {
    let is_wanted = match request.options.retain_handling {
        NEVER => false,
        TO_NEW => is_new,
        _ => true,
    };
    is_wanted && !filter.is_shared()
}
