//! Packets of the clients, and the way of a message to its receivers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::{Broker, ConnectionKey};
use crate::gateway::mqtt::free_topics::broker_connect::{RECEIVE_MAXIMUM, expiry_of};
use crate::gateway::mqtt::free_topics::client_connection::ClientConnection;
use crate::gateway::mqtt::free_topics::client_session::{ClientSession, UnreleasedMessage};
use crate::gateway::mqtt::free_topics::topic_filter::is_shallow;
use crate::gateway::mqtt::free_topics::topic_message::TopicMessage;
use crate::gateway::mqtt::packet::{
    ClientPacket, DisconnectPacket, MqttVersion, PacketError, PublishPacket, PublishReply, PublishReplyKind,
    QualityOfService, ReasonCode, ServerPackets,
};

/// Effect of a packet on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway::mqtt::free_topics) enum BrokerEffect {
    Continue,
    /// The client ends the connection.
    Disconnect {
        discards_will: bool,
    },
}

// === impl Broker: packets ===

impl Broker {
    /// Handles a packet of a connection.
    ///
    /// # Errors
    /// The violation with which the connection ends.
    pub(in crate::gateway::mqtt::free_topics) fn on_packet(
        &mut self,
        key: &ConnectionKey,
        packet: ClientPacket,
        now: Instant,
    ) -> Result<BrokerEffect, PacketError> {
        let Some(session) = self.session_of(key) else {
            // Another connection has taken over.
            return Ok(BrokerEffect::Continue);
        };
        match packet {
            ClientPacket::Publish(message) => self.publish(key, &message, now)?,
            ClientPacket::PubAck(packet_id) | ClientPacket::PubComp(packet_id) => {
                session.queue.on_confirmed(packet_id);
                session.send(now);
            }
            ClientPacket::PubRec(packet_id, reason) => {
                if session.queue.on_received(packet_id, reason) {
                    session.write(|_, out| ServerPackets::pubrel(out, packet_id));
                } else {
                    session.send(now);
                }
            }
            ClientPacket::PubRel(packet_id) => {
                let released = session.unreleased.remove(&packet_id);
                session.reply(PublishReplyKind::PubComp, packet_id, ReasonCode::Success);
                if let Some(released) = released {
                    self.distribute(released.message, now);
                }
            }
            ClientPacket::Subscribe(packet) => self.subscribe(key, &packet, now)?,
            ClientPacket::Unsubscribe(packet) => self.unsubscribe(key, &packet)?,
            ClientPacket::PingReq => session.write(|_, out| ServerPackets::pingresp(out)),
            ClientPacket::Disconnect(packet) => return session.disconnect(packet),
        }
        Ok(BrokerEffect::Continue)
    }

    fn publish(
        &mut self,
        key: &ConnectionKey,
        message: &PublishPacket,
        now: Instant,
    ) -> Result<(), PacketError> {
        let Some(session) = self.session_of(key) else {
            return Ok(());
        };
        let Some(connection) = &mut session.connection else {
            return Ok(());
        };
        let topic = connection.aliases.resolve(message)?;
        if !is_shallow(&topic) {
            return Err(PacketError::MALFORMED);
        }
        let (packet_id, is_v5) = (message.packet_id, connection.packets.version == MqttVersion::V5);
        let is_permitted = is_permitted(&topic);
        let published = Arc::new(TopicMessage::of(message, topic, &key.client, now));
        match message.quality {
            QualityOfService::AtMostOnce => {
                if is_permitted {
                    self.distribute(published, now);
                }
            }
            QualityOfService::AtLeastOnce => {
                let reason = if !is_permitted {
                    ReasonCode::NotAuthorized
                } else if self.distribute(published, now) == 0 {
                    ReasonCode::NoMatchingSubscribers
                } else {
                    ReasonCode::Success
                };
                if let Some(session) = self.session_of(key) {
                    session.reply(PublishReplyKind::PubAck, packet_id, reason);
                }
            }
            QualityOfService::ExactlyOnce => {
                if is_permitted {
                    session.receive(packet_id, published, is_v5)?;
                }
                let reason = if is_permitted {
                    ReasonCode::Success
                } else {
                    ReasonCode::NotAuthorized
                };
                session.reply(PublishReplyKind::PubRec, packet_id, reason);
            }
        }
        Ok(())
    }

    /// Sends a message to its receivers, and retains it if it says so. Returns the number of clients with a subscription.
    pub(super) fn distribute(&mut self, message: Arc<TopicMessage>, now: Instant) -> usize {
        if message.is_retained {
            if message.payload.is_empty() {
                self.retained.remove(&message.topic);
            } else {
                self.retained.insert(message.topic.clone(), message.clone());
            }
        }
        let mut receivers = 0;
        for (client, session) in &mut self.sessions {
            receivers += usize::from(session.has_match(&message.topic));
            if let Some(delivery) = session.delivery_of(&message, client) {
                session.deliver(delivery, now);
            }
        }
        receivers + self.distribute_to_shares(&message, now)
    }

    /// Sends a message to one member of each share that matches it, to each in turn.
    fn distribute_to_shares(&mut self, message: &Arc<TopicMessage>, now: Instant) -> usize {
        let mut receivers = 0;
        for (filter, share) in &mut self.shares {
            if !filter.matches(&message.topic) {
                continue;
            }
            let count = share.clients.len();
            let turn = (0..count).map(|at| (share.next + at) % count);
            let is_connected = |at: &usize| {
                let session = self.sessions.get(&share.clients[*at]);
                session.is_some_and(|session| session.connection.is_some())
            };
            let at = turn.clone().find(is_connected).or_else(|| turn.clone().next());
            let Some(at) = at else { continue };
            share.next = (at + 1) % count;
            if let Some(session) = self.sessions.get_mut(&share.clients[at])
                && let Some(subscription) = session.subscriptions.get(filter).copied()
            {
                session.deliver(subscription.delivery(message), now);
                receivers += 1;
            }
        }
        receivers
    }

    /// Returns the session of a connection that is still the client's.
    pub(super) fn session_of(&mut self, key: &ConnectionKey) -> Option<&mut ClientSession> {
        let session = self.sessions.get_mut(&key.client)?;
        let connection = session.connection.as_ref()?;
        (connection.number == key.number).then_some(session)
    }
}

// === impl ClientSession: packets ===

impl ClientSession {
    /// Writes packets to the client.
    pub(super) fn write(&mut self, write: impl FnOnce(&ClientConnection, &mut BytesMut)) {
        if let Some(connection) = &self.connection {
            connection.mailbox.write(|out| write(connection, out));
        }
    }

    fn reply(&mut self, kind: PublishReplyKind, packet_id: u16, reason: ReasonCode) {
        let reply = PublishReply {
            kind,
            packet_id,
            reason,
            properties: &[],
        };
        self.write(|connection, out| connection.packets.reply(out, &reply));
    }

    /// Takes a message of the highest quality up, which its release publishes.
    fn receive(
        &mut self,
        packet_id: u16,
        message: Arc<TopicMessage>,
        is_v5: bool,
    ) -> Result<(), PacketError> {
        if let Some(known) = self.unreleased.get_mut(&packet_id) {
            // Another message under the id is acknowledged and not published (section 4.3.3).
            let is_repeated =
                known.message.topic == message.topic && known.message.payload == message.payload;
            known.repetitions += u8::from(is_repeated);
            // A client repeats a message over another connection only.
            return if known.repetitions > 1 {
                Err(PacketError::PROTOCOL)
            } else {
                Ok(())
            };
        }
        if is_v5 && self.unreleased.len() >= usize::from(RECEIVE_MAXIMUM) {
            return Err(PacketError(ReasonCode::ReceiveMaximumExceeded));
        }
        let unreleased = UnreleasedMessage {
            message,
            repetitions: 0,
        };
        self.unreleased.insert(packet_id, unreleased);
        Ok(())
    }

    fn disconnect(&mut self, packet: DisconnectPacket) -> Result<BrokerEffect, PacketError> {
        if let Some(seconds) = packet.session_expiry {
            if self.expiry == Some(Duration::ZERO) && seconds > 0 {
                return Err(PacketError::PROTOCOL);
            }
            self.expiry = expiry_of(seconds);
            if let Some(connection) = &mut self.connection {
                connection.stated_expiry = self.expiry;
            }
        }
        Ok(BrokerEffect::Disconnect {
            discards_will: packet.discards_will,
        })
    }
}

/// Returns true if clients may publish to a topic. Of the server's own topics that is the state of a bridge.
fn is_permitted(topic: &str) -> bool {
    let is_bridge_state = topic.starts_with("$SYS/broker/connection/") && topic.ends_with("/state");
    is_bridge_state || !(topic.starts_with("$SYS/") || topic.starts_with("$share/"))
}
