//! Client of MQTT 3.1.1 and 5 over a bare TCP socket, which sends raw packets and can also break the rules of the protocol.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::mqtt_connect::MqttConnect;
use super::mqtt_packet::{MqttPacket, behind_length, mqtt_packet, put, text, whole_packet};
use super::{ByteStream, Node, StreamProtocol, within};

/// Open connection of one client.
pub struct MqttClient {
    stream: Box<dyn ByteStream>,
    buffer: Vec<u8>,
    /// Packets that were passed over while another one was awaited.
    passed: VecDeque<MqttPacket>,
    is_v5: bool,
    last_id: u16,
}

/// Message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttMessage {
    pub topic: String,
    pub quality: u8,
    pub is_repeated: bool,
    /// 0 for a message of the lowest quality.
    pub packet_id: u16,
    pub payload: Value,
}

// === impl MqttClient ===

impl MqttClient {
    /// Opens a connection that has sent nothing.
    pub async fn open(addr: SocketAddr) -> MqttClient {
        MqttClient::over(TcpStream::connect(addr).await.unwrap())
    }

    /// Begins with a connection that has sent nothing.
    pub fn over(stream: impl ByteStream + 'static) -> MqttClient {
        MqttClient {
            stream: Box::new(stream),
            buffer: Vec::new(),
            passed: VecDeque::new(),
            is_v5: false,
            last_id: 0,
        }
    }

    /// Opens a connection to a node and sends CONNECT. Returns the body of CONNACK.
    pub async fn connect(node: &Node, connect: &MqttConnect) -> (MqttClient, Vec<u8>) {
        MqttClient::connect_at(mqtt_addr(node), connect).await
    }

    /// Opens a connection to a listener and sends CONNECT. Returns the body of CONNACK.
    pub async fn connect_at(addr: SocketAddr, connect: &MqttConnect) -> (MqttClient, Vec<u8>) {
        MqttClient::open(addr).await.introduced(connect).await
    }

    /// Sends CONNECT. Returns the body of CONNACK.
    pub async fn introduced(mut self, connect: &MqttConnect) -> (MqttClient, Vec<u8>) {
        let client = &mut self;
        client.is_v5 = connect.level == 5;
        client.send(&connect.bytes()).await;
        let connack = client.next().await;
        assert_eq!(connack.first, 0x20, "{connack:?}");
        (self, connack.body)
    }

    /// Opens a connection that the server accepts. Returns the session present flag.
    pub async fn accepted(node: &Node, connect: &MqttConnect) -> (MqttClient, bool) {
        let (client, connack) = MqttClient::connect(node, connect).await;
        assert_eq!(connack[1], 0, "{connack:?}");
        (client, connack[0] == 1)
    }

    /// Opens a connection of a user with a clean start.
    pub async fn of(node: &Node, level: u8, user: &str) -> MqttClient {
        let connect = MqttConnect::clean(level, user, &format!("{user}-mqtt"));
        MqttClient::accepted(node, &connect).await.0
    }

    /// Sends bytes unchanged. A connection that the server has closed is no error here.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
        let _closed = self.stream.flush().await;
    }

    /// Publishes a command, and returns the packet id.
    pub async fn publish(&mut self, topic: &str, payload: &Value, quality: u8) -> u16 {
        self.last_id += 1;
        let packet = self.publish_packet(topic, payload, quality, self.last_id);
        self.send(&packet).await;
        self.last_id
    }

    /// Returns the bytes of a PUBLISH.
    #[must_use]
    pub fn publish_packet(&self, topic: &str, payload: &Value, quality: u8, packet_id: u16) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, topic.as_bytes());
        if quality > 0 {
            body.extend(packet_id.to_be_bytes());
        }
        if self.is_v5 {
            body.push(0);
        }
        body.extend(payload.to_string().bytes());
        mqtt_packet(0x30 | (quality << 1), &body)
    }

    /// Publishes a command at quality 1. Returns the reason code and the user properties of its acknowledgement.
    pub async fn ask(&mut self, topic: &str, payload: &Value) -> (u8, Vec<(String, String)>) {
        let packet_id = self.publish(topic, payload, 1).await;
        self.acked(packet_id).await
    }

    /// Waits for the acknowledgement of a message. Returns its reason code and its user properties.
    pub async fn acked(&mut self, packet_id: u16) -> (u8, Vec<(String, String)>) {
        let ack = self.find(|packet| packet.first == 0x40).await;
        assert_eq!(
            ack.body[..2],
            packet_id.to_be_bytes(),
            "the order of the acknowledgements"
        );
        let reason = ack.body.get(2).copied().unwrap_or(0);
        let mut rest = ack.body.get(3..).map_or(&[][..], behind_length);
        let mut properties = Vec::new();
        while let Some((&0x26, pair)) = rest.split_first() {
            let (name, behind) = text(pair);
            let (value, behind) = text(behind);
            properties.push((name, value));
            rest = behind;
        }
        (reason, properties)
    }

    /// Subscribes to one filter, and returns the code.
    pub async fn subscribe(&mut self, filter: &str, quality: u8) -> u8 {
        self.last_id += 1;
        let mut body = self.last_id.to_be_bytes().to_vec();
        if self.is_v5 {
            body.push(0);
        }
        put(&mut body, filter.as_bytes());
        body.push(quality);
        self.send(&mqtt_packet(0x82, &body)).await;
        let suback = self.find(|packet| packet.first == 0x90).await;
        *suback.body.last().unwrap()
    }

    /// Ends the subscription to one filter.
    pub async fn unsubscribe(&mut self, filter: &str) {
        self.last_id += 1;
        let mut body = self.last_id.to_be_bytes().to_vec();
        if self.is_v5 {
            body.push(0);
        }
        put(&mut body, filter.as_bytes());
        self.send(&mqtt_packet(0xA2, &body)).await;
        self.find(|packet| packet.first == 0xB0).await;
    }

    /// Acknowledges a message of the server.
    pub async fn ack(&mut self, packet_id: u16) {
        self.send(&mqtt_packet(0x40, &packet_id.to_be_bytes())).await;
    }

    /// Returns the next message, and acknowledges it.
    pub async fn message(&mut self) -> MqttMessage {
        let message = self.unacked_message().await;
        if message.quality > 0 {
            self.ack(message.packet_id).await;
        }
        message
    }

    /// Returns the next message with this `t`, and acknowledges those up to it.
    pub async fn event(&mut self, t: &str) -> MqttMessage {
        loop {
            let message = self.message().await;
            if message.payload["t"] == t {
                return message;
            }
        }
    }

    /// Returns the next message without acknowledging it.
    pub async fn unacked_message(&mut self) -> MqttMessage {
        let packet = self.find(|packet| packet.first >> 4 == 3).await;
        let (topic, mut rest) = text(&packet.body);
        let quality = (packet.first >> 1) & 3;
        let mut packet_id = 0;
        if quality > 0 {
            packet_id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        if self.is_v5 {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        MqttMessage {
            topic,
            quality,
            is_repeated: packet.first & 8 != 0,
            packet_id,
            payload: serde_json::from_slice(rest).unwrap(),
        }
    }

    /// Checks that the server sends no message before the answer to a ping. That answer comes behind everything else.
    pub async fn is_silent(&mut self) {
        self.send(&[0xC0, 0]).await;
        let packet = self
            .find(|packet| packet.first == 0xD0 || packet.first >> 4 == 3)
            .await;
        assert_eq!(packet.first, 0xD0, "{packet:?}");
    }

    /// Waits for the answer to a ping, which shows that the server has read everything before it.
    pub async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        self.find(|packet| packet.first == 0xD0).await;
    }

    /// Waits for the end of the connection. Returns the packets before it that nobody has read.
    pub async fn rest(&mut self) -> Vec<MqttPacket> {
        let mut rest: Vec<MqttPacket> = self.passed.drain(..).collect();
        while let Some(packet) = within("the connection ends", self.next_now()).await {
            rest.push(packet);
        }
        rest
    }

    /// Returns the next packet.
    pub async fn next(&mut self) -> MqttPacket {
        match self.passed.pop_front() {
            Some(packet) => packet,
            None => within("the server sends a packet", self.next_now())
                .await
                .expect("a packet"),
        }
    }

    /// Returns the first packet that fits, and keeps those before it.
    async fn find(&mut self, fits: impl Fn(&MqttPacket) -> bool) -> MqttPacket {
        if let Some(at) = self.passed.iter().position(&fits) {
            return self.passed.remove(at).unwrap();
        }
        loop {
            let packet = within("the server sends a packet", self.next_now()).await;
            let packet = packet.unwrap_or_else(|| panic!("the connection ended after {:?}", self.passed));
            if fits(&packet) {
                return packet;
            }
            self.passed.push_back(packet);
        }
    }

    async fn next_now(&mut self) -> Option<MqttPacket> {
        loop {
            if let Some((packet, size)) = whole_packet(&self.buffer) {
                self.buffer.drain(..size);
                return Some(packet);
            }
            // An error is the end of the connection, too.
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap_or(0);
            if read == 0 {
                return None;
            }
        }
    }
}

/// Returns the address of a node's listener.
#[must_use]
pub fn mqtt_addr(node: &Node) -> SocketAddr {
    node.running.protocol_addr(StreamProtocol::Mqtt).unwrap()
}
