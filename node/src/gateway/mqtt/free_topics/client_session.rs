//! Session of one client of the topic tree. Pure: time is an argument.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client_connection::ClientConnection;
use super::outgoing_queue::{OutgoingQueue, TopicDelivery};
use super::topic_filter::TopicFilter;
use super::topic_message::TopicMessage;
use crate::gateway::mqtt::packet::{QualityOfService, SubscribeOptions};

/// Subscription of one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicSubscription {
    pub(super) quality: QualityOfService,
    pub(super) options: SubscribeOptions,
    pub(super) subscription_id: Option<u32>,
}

/// Message of the highest quality that the client has not released.
#[derive(Debug)]
pub(super) struct UnreleasedMessage {
    pub(super) message: Arc<TopicMessage>,
    /// Number of times that the present connection has sent it again.
    pub(super) repetitions: u8,
}

/// Session, connected or not.
#[derive(Debug)]
pub(super) struct ClientSession {
    /// Time for which it outlives its connection; `None`: it has no end.
    pub(super) expiry: Option<Duration>,
    /// End of a session without a connection; `None`: it has none.
    pub(super) ends_at: Option<Instant>,
    pub(super) connection: Option<ClientConnection>,
    pub(super) subscriptions: BTreeMap<TopicFilter, TopicSubscription>,
    pub(super) queue: OutgoingQueue,
    /// Messages of the highest quality, by packet id.
    pub(super) unreleased: HashMap<u16, UnreleasedMessage>,
}

// === impl ClientSession ===

impl ClientSession {
    pub(super) fn new() -> ClientSession {
        ClientSession {
            expiry: Some(Duration::ZERO),
            ends_at: None,
            connection: None,
            subscriptions: BTreeMap::new(),
            queue: OutgoingQueue::default(),
            unreleased: HashMap::new(),
        }
    }

    /// Sends a message, or queues it for the next connection.
    pub(super) fn deliver(&mut self, delivery: TopicDelivery, now: Instant) {
        if delivery.quality == QualityOfService::AtMostOnce {
            if let Some(connection) = &mut self.connection {
                // One that is too large for the client is dropped.
                let _is_sent = connection.publish(&delivery, (0, false), now);
            }
            return;
        }
        self.queue.add(delivery);
        self.send(now);
    }

    /// Sends what waits for the client.
    pub(super) fn send(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            self.queue.send(connection, now);
        }
    }

    /// Returns true if a subscription matches the topic, shared ones aside. That of the publisher counts, too.
    pub(super) fn has_match(&self, topic: &str) -> bool {
        let mut filters = self.subscriptions.keys();
        filters.any(|filter| !filter.is_shared() && filter.matches(topic))
    }

    /// Returns the delivery of a message by all subscriptions that match it, shared ones aside. `client`: its own id.
    pub(super) fn delivery_of(&self, message: &Arc<TopicMessage>, client: &str) -> Option<TopicDelivery> {
        let is_own = message.publisher == client;
        let matching = self.subscriptions.iter().filter(|(filter, subscription)| {
            !filter.is_shared()
                && filter.matches(&message.topic)
                && !(is_own && subscription.options.is_no_local)
        });
        let mut delivery: Option<TopicDelivery> = None;
        for (_, subscription) in matching {
            let next = subscription.delivery(message);
            delivery = Some(match delivery {
                None => next,
                Some(known) => known.joined(next),
            });
        }
        delivery
    }
}

// === impl TopicSubscription, TopicDelivery ===

impl TopicSubscription {
    /// Returns the delivery of a new message.
    pub(super) fn delivery(&self, message: &Arc<TopicMessage>) -> TopicDelivery {
        TopicDelivery {
            message: message.clone(),
            quality: self.quality.min(message.quality),
            is_retained: self.options.is_retain_as_published && message.is_retained,
            subscription_ids: self.subscription_id.into_iter().collect(),
        }
    }
}

impl TopicDelivery {
    /// Returns the delivery by two subscriptions: once, by the better one.
    fn joined(mut self, other: TopicDelivery) -> TopicDelivery {
        self.quality = self.quality.max(other.quality);
        self.is_retained |= other.is_retained;
        self.subscription_ids.extend(other.subscription_ids);
        self
    }
}
