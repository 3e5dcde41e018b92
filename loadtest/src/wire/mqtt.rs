//! MQTT 5 over a WebSocket at the topics of a chat, as a client with a persistent session speaks it.
//!
//! The first connection begins a session; the others continue it with clean start 0, and session present says whether
//! nothing is missing. Events may come again. A PUBACK is the response to a change, and its user properties are the
//! fields of the `ack`.

mod mqtt_packets;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, Packet, PingReq, PubAck, Publish, SubAck, SubscribeReasonCode,
};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use self::mqtt_packets::{connect, message, next, response, subscribe};
use super::client_wire::{ClientWire, CommandHead, EventNumbers, WireEnd, WireLogin, upgrade_to};

/// MQTT client that subscribes to all events of its user.
pub(super) struct MqttWire {
    login: WireLogin,
    /// `true` once the node has confirmed the subscriptions, which the session holds from then on.
    subscribed: bool,
    /// `true` until the `resync` that follows a lost session.
    resync_follows: bool,
    /// Bytes of an incomplete packet.
    received: BytesMut,
    last_packet_id: u16,
    /// Maximum number of messages without a PUBACK.
    window: usize,
    /// Commands whose PUBACK is awaited, by packet id.
    in_flight: HashMap<u16, u64>,
    /// Messages beyond the window.
    waiting: VecDeque<WaitingPublish>,
    /// Commands whose answer is awaited.
    queries: HashSet<u64>,
}

/// Message that waits for a PUBACK of another one.
struct WaitingPublish {
    id: u64,
    topic: String,
    payload: String,
}

/// Fields of a message's payload that decide on its use.
#[derive(Deserialize)]
struct PayloadHead<'a> {
    #[serde(borrow)]
    t: &'a str,
    id: Option<u64>,
}

const PATH: &str = "/mqtt";
const SUBPROTOCOL: &str = "mqtt";
/// Commands whose PUBACK is the response. They change something, and so have to be committed.
const CHANGES: [&str; 14] = [
    "send", "edit", "del", "react", "invite", "kick", "ban", "unban", "role", "join", "leave", "set", "read",
    "recv",
];

// === impl MqttWire ===

impl MqttWire {
    pub(super) fn new(login: WireLogin) -> MqttWire {
        MqttWire {
            login,
            subscribed: false,
            resync_follows: false,
            received: BytesMut::new(),
            last_packet_id: 0,
            window: 1,
            in_flight: HashMap::new(),
            waiting: VecDeque::new(),
            queries: HashSet::new(),
        }
    }

    fn packet(
        &mut self,
        packet: Packet,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        match packet {
            Packet::ConnAck(answer) => self.connected(&answer, out, frames),
            Packet::SubAck(answer) => self.on_suback(&answer, frames),
            Packet::Publish(publish) => self.on_publish(&publish, out, frames),
            Packet::PubAck(ack) => self.acked(&ack, out, frames),
            Packet::PingResp(_) => Ok(()),
            Packet::Disconnect(disconnect) => Err(WireEnd::Ended(format!("{:?}", disconnect.reason_code))),
            other => Err(WireEnd::Malformed(format!("unexpected {other:?}"))),
        }
    }

    fn connected(
        &mut self,
        answer: &ConnAck,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        if answer.code != ConnectReturnCode::Success {
            return Err(WireEnd::Ended(format!("CONNACK {:?}", answer.code)));
        }
        let properties = answer.properties.as_ref();
        let maximum = properties.and_then(|properties| properties.receive_max);
        self.window = maximum.map_or(usize::from(u16::MAX), usize::from);
        match (self.subscribed, answer.session_present) {
            (true, true) => frames(r#"{"t":"ready","resumed":true}"#),
            (false, true) => {
                return Err(WireEnd::Malformed(
                    "session present after a clean start".to_owned(),
                ));
            }
            (continued, false) => {
                // The node makes a client synchronise that had asked for its session.
                self.resync_follows = continued;
                self.subscribed = false;
                let packet_id = self.next_packet_id();
                out.push(message(&subscribe(packet_id))?);
            }
        }
        Ok(())
    }

    fn on_suback(&mut self, answer: &SubAck, frames: &mut dyn FnMut(&str)) -> Result<(), WireEnd> {
        let granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
        if !answer.return_codes.iter().all(granted) {
            return Err(WireEnd::Malformed(format!("{:?}", answer.return_codes)));
        }
        self.subscribed = true;
        frames(r#"{"t":"ready","resumed":false}"#);
        Ok(())
    }

    fn on_publish(
        &mut self,
        publish: &Publish,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        if publish.qos == QoS::AtLeastOnce {
            out.push(message(&Packet::PubAck(PubAck::new(publish.pkid, None)))?);
        }
        let malformed = |error: &dyn std::fmt::Display| {
            let (topic, payload) = (&publish.topic, &publish.payload);
            WireEnd::Malformed(format!("{error} in {topic:?}: {payload:?}"))
        };
        let payload = std::str::from_utf8(&publish.payload).map_err(|error| malformed(&error))?;
        let head: PayloadHead<'_> = serde_json::from_str(payload).map_err(|error| malformed(&error))?;
        match &publish.topic[..] {
            // The sync that a session without its predecessor begins with is the response to it.
            b"u/me/events" if self.resync_follows && head.t == "resync" => self.resync_follows = false,
            b"u/me/events" => frames(payload),
            b"u/me/answers" => {
                // Others repeat what a PUBACK has said.
                if head.id.is_some_and(|id| self.queries.remove(&id)) {
                    frames(payload);
                }
            }
            _ => return Err(malformed(&"a topic without a subscription")),
        }
        Ok(())
    }

    fn acked(
        &mut self,
        ack: &PubAck,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        let Some(id) = self.in_flight.remove(&ack.pkid) else {
            return Err(WireEnd::Malformed(format!("{ack:?} of no message in flight")));
        };
        frames(&response(id, ack));
        match self.waiting.pop_front() {
            Some(next) => self.publish(next, out),
            None => Ok(()),
        }
    }

    /// Publishes a command whose PUBACK is its response.
    fn publish(&mut self, waiting: WaitingPublish, out: &mut Vec<Message>) -> Result<(), WireEnd> {
        if self.in_flight.len() >= self.window {
            self.waiting.push_back(waiting);
            return Ok(());
        }
        let mut publish = Publish::new(waiting.topic, QoS::AtLeastOnce, waiting.payload, None);
        publish.pkid = self.next_packet_id();
        self.in_flight.insert(publish.pkid, waiting.id);
        out.push(message(&Packet::Publish(publish))?);
        Ok(())
    }

    /// Returns a packet id that no message in flight has. 0 is none.
    fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1).max(1);
            if !self.in_flight.contains_key(&self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }

    fn command(&mut self, command: String, out: &mut Vec<Message>) -> Result<(), WireEnd> {
        let head = CommandHead::read(&command);
        let topic = match (head.t, head.c, head.to) {
            // CONNECT authenticates.
            ("auth", ..) => return Ok(()),
            ("hb", ..) => {
                out.push(message(&Packet::PingReq(PingReq))?);
                return Ok(());
            }
            (t, Some(c), _) => format!("c/{c}/{t}"),
            (t, None, Some(user)) => format!("u/{user}/{t}"),
            (t, None, None) => format!("me/{t}"),
        };
        let is_change = CHANGES.contains(&head.t);
        let Some(id) = head.id.filter(|_| is_change) else {
            self.queries.extend(head.id);
            let publish = Publish::new(topic, QoS::AtMostOnce, command, None);
            out.push(message(&Packet::Publish(publish))?);
            return Ok(());
        };
        // The fields of a command may contain its tag and conversation, which have no meaning there.
        let payload = command;
        self.publish(WaitingPublish { id, topic, payload }, out)
    }
}

impl ClientWire for MqttWire {
    fn upgrade(&self, node: &str) -> Result<Request, String> {
        upgrade_to(node, PATH, Some(SUBPROTOCOL))
    }

    fn begin(&mut self, out: &mut Vec<Message>) {
        // The client state sends everything again that is unanswered, under the same `cid`.
        self.received.clear();
        self.in_flight.clear();
        self.waiting.clear();
        self.queries.clear();
        self.resync_follows = false;
        let packet = connect(&self.login, !self.subscribed);
        out.push(message(&packet).expect("CONNECT is shorter than the longest packet"));
    }

    fn send(&mut self, command: String, out: &mut Vec<Message>) {
        self.command(command, out)
            .expect("a command of the harness is shorter than the longest packet");
    }

    fn receive(
        &mut self,
        message: &Message,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        let Message::Binary(bytes) = message else {
            return Err(WireEnd::Malformed("a text message".to_owned()));
        };
        self.received.extend_from_slice(bytes);
        while let Some(packet) = next(&mut self.received)? {
            self.packet(packet, out, frames)?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.subscribed = false;
    }

    fn numbers(&self) -> EventNumbers {
        EventNumbers::Consecutive
    }
}
