//! The translator with packets as values, and the ends of a connection.

mod events;
mod publishes;
mod resume;

use protocol::Response;
use protocol::response::ErrorResponse;
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::gateway::mqtt::connect_plan::ConnectPlan;
use crate::gateway::mqtt::packet::{
    ConnectPacket, PublishPacket, QualityOfService, SubscribePacket, TopicRequest, UnsubscribePacket,
};

const LOWEST: QualityOfService = QualityOfService::AtMostOnce;
const ONCE: QualityOfService = QualityOfService::AtLeastOnce;

/// One connection, with the bytes that its client gets.
struct Connection {
    translator: MqttTranslator,
    out: BytesMut,
}

// === impl Connection ===

impl Connection {
    fn new(version: MqttVersion, is_clean: bool, receive_maximum: Option<u16>) -> Connection {
        let mut connect = ConnectPacket {
            version,
            is_clean,
            keep_alive: 30,
            properties: Default::default(),
            client_id: "phone".to_owned(),
            will: None,
            user_name: None,
            password: Some(Bytes::from_static(b"dev:alice")),
        };
        connect.properties.receive_maximum = receive_maximum;
        connect.properties.session_expiry = Some(60);
        let plan = ConnectPlan::of(connect, &Config::default()).unwrap();
        Connection {
            translator: MqttTranslator::new(&plan, "alice".parse().unwrap(), 10),
            out: BytesMut::new(),
        }
    }

    /// Opens a connection, its CONNACK already read.
    fn connected(version: MqttVersion) -> Connection {
        let mut connection = Connection::new(version, true, Some(3));
        connection.answer(r#"{"t":"ready","user":"alice","sid":"2c","resumed":false,"n":0}"#);
        assert_eq!(connection.bytes()[..1], [0x20]);
        connection
    }

    fn packet(&mut self, packet: ClientPacket) -> Result<PacketEffect, PacketError> {
        self.translator.on_packet(packet, 100, &mut self.out)
    }

    fn publish(&mut self, topic: &str, payload: Value, quality: QualityOfService, packet_id: u16) {
        let message = message(topic, &payload.to_string(), quality, packet_id);
        assert_eq!(
            self.packet(ClientPacket::Publish(message)),
            Ok(PacketEffect::Request)
        );
    }

    fn subscribe(&mut self, filters: &[&str], quality: QualityOfService) {
        let topics = filters.iter().map(|filter| TopicRequest {
            filter: (*filter).to_owned(),
            quality,
            options: Default::default(),
        });
        let subscribe = SubscribePacket {
            packet_id: 5,
            subscription_id: None,
            topics: topics.collect(),
        };
        self.packet(ClientPacket::Subscribe(subscribe)).unwrap();
    }

    /// Subscribes to a conversation as its member.
    fn join(&mut self, name: &str, quality: QualityOfService) {
        self.subscribe(&[&format!("c/{name}/events")], quality);
        let id = self.request()["id"].clone();
        self.answer(&opened(&id, name));
        self.bytes();
    }

    /// Subscribes to all events under this name, as a session that follows every conversation of its user.
    fn subscribe_all(&mut self, name: &str) {
        self.subscribe(&[&format!("u/{name}/events")], ONCE);
        let id = self.request()["id"].clone();
        self.answer(&delta(&id, None));
    }

    fn unsubscribe(&mut self, filters: &[&str]) {
        let unsubscribe = UnsubscribePacket {
            packet_id: 6,
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        };
        self.packet(ClientPacket::Unsubscribe(unsubscribe)).unwrap();
    }

    fn answer(&mut self, body: &str) {
        self.translator.on_answer(body.as_bytes(), &mut self.out);
    }

    fn event(&mut self, n: u64, tail: &str) {
        self.translator.on_event(n, tail.as_bytes(), &mut self.out);
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.out.split().to_vec()
    }

    /// Returns the messages in the output: first byte, topic, packet id and payload.
    fn messages(&mut self) -> Vec<(u8, String, u16, Value)> {
        let mut rest = Bytes::from(self.bytes());
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let header = crate::gateway::mqtt::packet::FixedHeader::read(&rest, usize::MAX)
                .unwrap()
                .unwrap();
            let packet = rest.split_to(header.total);
            let first = packet[0];
            if first >> 4 != 3 {
                continue;
            }
            let body = &packet[header.size..];
            let size = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = String::from_utf8(body[2..2 + size].to_vec()).unwrap();
            let mut body = &body[2 + size..];
            let mut packet_id = 0;
            if first & 6 != 0 {
                packet_id = u16::from_be_bytes([body[0], body[1]]);
                body = &body[2..];
            }
            let payload = body.iter().position(|byte| *byte == b'{').unwrap();
            messages.push((
                first,
                topic,
                packet_id,
                serde_json::from_slice(&body[payload..]).unwrap(),
            ));
        }
        messages
    }

    /// Returns the only request, as its native JSON.
    fn request(&mut self) -> Value {
        let [ReceivedCommand { request, .. }] = &self.translator.take_requests()[..] else {
            panic!("one request");
        };
        serde_json::from_str(&request.as_ref().unwrap().encode()).unwrap()
    }
}

fn message(topic: &str, payload: &str, quality: QualityOfService, packet_id: u16) -> PublishPacket {
    PublishPacket {
        quality,
        is_retained: false,
        topic: topic.to_owned(),
        packet_id,
        properties: Default::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

fn opened(id: &Value, c: &str) -> String {
    format!(r#"{{"t":"conv","id":{id},"c":"{c}","kind":"group","role":"member"}}"#)
}

/// Page of a `sync`, with the cursor of the next one.
fn delta(id: &Value, next: Option<&str>) -> String {
    format!(
        r#"{{"t":"delta","id":{id},"as_of":[["g_1",4]],"items":[],"next":{}}}"#,
        json!(next)
    )
}

fn refused(id: &Value, code: protocol::ErrorCode) -> String {
    Response::Err(ErrorResponse::new(code, "no", None)).encode(id.as_i64())
}

fn ack(id: &Value, s: u64) -> String {
    format!(r#"{{"t":"ack","id":{id},"c":"g_1","cid":"k{s}","s":{s},"mn":{s},"ts":9}}"#)
}

fn msg(c: &str, s: u64) -> String {
    format!(r#""t":"msg","c":"{c}","s":{s},"mn":{s},"ts":9,"u":"bob","cid":"k{s}","b":{{}}}}"#)
}

#[test]
fn end_of_the_connection_has_its_reason() {
    let of = |version, code| {
        let mut connection = Connection::connected(version);
        connection.translator.close(Some(code), &mut connection.out);
        connection.bytes()
    };
    for (code, reason) in [
        (1_000, 0x8E),
        (4_409, 0x8E),
        (4_012, 0x8B),
        (4_014, 0x8D),
        (4_010, 0x89),
        (4_201, 0x87),
        (4_208, 0x96),
        (4_429, 0x97),
        (4_400, 0x82),
    ] {
        assert_eq!(of(MqttVersion::V5, code), [0xE0, 1, reason], "{code}");
        assert!(of(MqttVersion::V3, code).is_empty());
    }
}

#[test]
fn session_that_is_not_admitted_refuses_the_connection() {
    for (code, reason, return_code) in [(4_409, 0x9F, 3), (4_429, 0x97, 3), (4_401, 0x86, 4)] {
        let refuse = |version| {
            let mut connection = Connection::new(version, true, None);
            connection.answer(&refused(&Value::Null, protocol::ErrorCode::Conflict));
            assert!(connection.bytes().is_empty());
            connection.translator.close(Some(code), &mut connection.out);
            connection.bytes()
        };
        assert_eq!(refuse(MqttVersion::V3), [0x20, 2, 0, return_code]);
        assert_eq!(refuse(MqttVersion::V5)[2..4], [0, reason]);
    }
}
