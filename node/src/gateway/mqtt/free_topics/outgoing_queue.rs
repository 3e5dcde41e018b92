//! Messages of the higher qualities to one client, until it has confirmed them. Pure.
//!
//! A packet id is given when a message is queued, so that it stays the same over connections.
//!
//! Queue: bounded in messages; beyond that new ones are dropped. It has no metric.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::client_connection::ClientConnection;
use super::topic_message::TopicMessage;
use crate::gateway::mqtt::packet::{QualityOfService, ServerPackets};

/// Largest number of unconfirmed messages of one client.
const MOST: usize = 1_000;
/// Least reason code of a refusal.
const REFUSED: u8 = 0x80;

/// Message on its way to one client.
#[derive(Clone, Debug)]
pub(super) struct TopicDelivery {
    pub(super) message: Arc<TopicMessage>,
    pub(super) quality: QualityOfService,
    pub(super) is_retained: bool,
    pub(super) subscription_ids: Vec<u32>,
}

#[derive(Debug)]
struct OutgoingMessage {
    packet_id: u16,
    delivery: TopicDelivery,
    state: OutgoingState,
}

/// Progress of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutgoingState {
    Queued,
    /// The client has to confirm it.
    Sent,
    /// The client has confirmed the receipt of a message of the highest quality, and has to confirm its release.
    Released,
}

/// Messages of one session.
#[derive(Debug, Default)]
pub(super) struct OutgoingQueue {
    messages: VecDeque<OutgoingMessage>,
    last_id: u16,
}

// === impl OutgoingQueue ===

impl OutgoingQueue {
    pub(super) fn add(&mut self, delivery: TopicDelivery) {
        if self.messages.len() >= MOST {
            return;
        }
        let packet_id = self.next_id();
        self.messages.push_back(OutgoingMessage {
            packet_id,
            delivery,
            state: OutgoingState::Queued,
        });
    }

    /// Sends what the receive maximum of the client permits.
    pub(super) fn send(&mut self, connection: &mut ClientConnection, now: Instant) {
        let window = usize::from(connection.receive_maximum);
        let is_queued = |message: &OutgoingMessage| message.state == OutgoingState::Queued;
        let mut unconfirmed = self.messages.iter().filter(|message| !is_queued(message)).count();
        self.messages.retain_mut(|message| {
            if !is_queued(message) || unconfirmed >= window {
                return true;
            }
            let is_sent = !message.delivery.message.is_expired(now)
                && connection.publish(&message.delivery, (message.packet_id, false), now);
            if is_sent {
                unconfirmed += 1;
                message.state = OutgoingState::Sent;
            }
            is_sent
        });
    }

    /// Repeats what an earlier connection has sent, then sends the rest.
    pub(super) fn repeat(&mut self, connection: &mut ClientConnection, now: Instant) {
        self.messages.retain_mut(|message| match message.state {
            OutgoingState::Queued => true,
            OutgoingState::Sent => connection.publish(&message.delivery, (message.packet_id, true), now),
            OutgoingState::Released => {
                let packet_id = message.packet_id;
                connection
                    .mailbox
                    .write(|out| ServerPackets::pubrel(out, packet_id));
                true
            }
        });
        self.send(connection, now);
    }

    /// Records the confirmation of a message of quality 1, or of the release of one of quality 2.
    pub(super) fn on_confirmed(&mut self, packet_id: u16) {
        self.messages.retain(|message| message.packet_id != packet_id);
    }

    /// Records the receipt of a message of quality 2, or its refusal. Returns true if it is to be released.
    pub(super) fn on_received(&mut self, packet_id: u16, reason: u8) -> bool {
        if reason >= REFUSED {
            self.on_confirmed(packet_id);
            return false;
        }
        let message = self
            .messages
            .iter_mut()
            .find(|message| message.packet_id == packet_id);
        if let Some(message) = message {
            message.state = OutgoingState::Released;
        }
        // An unknown id is released, too: the client waits for it.
        true
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let is_free = |message: &OutgoingMessage| message.packet_id != self.last_id;
            if self.messages.iter().all(is_free) {
                return self.last_id;
            }
        }
    }
}
