//! The topic tree with packets as bytes: sessions, wills, and the way of a message.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::broker::{BrokerEffect, ConnectionKey};
use super::broker_connect::{BrokerConnect, BrokerRefusal};
use super::mailbox::Mailbox;
use super::*;
use crate::gateway::mqtt::packet::{
    ClientPacket, ConnectPacket, DisconnectPacket, MqttVersion, PacketError, PublishPacket, QualityOfService,
    ReasonCode, SubscribeOptions, SubscribePacket, TopicRequest, UnsubscribePacket, WillMessage,
};

const ZERO: QualityOfService = QualityOfService::AtMostOnce;
const ONE: QualityOfService = QualityOfService::AtLeastOnce;
const TWO: QualityOfService = QualityOfService::ExactlyOnce;
const SECOND: Duration = Duration::from_secs(1);

/// Client of a tree, with its connection.
struct TreeClient {
    key: ConnectionKey,
    mailbox: Arc<Mailbox>,
}

/// Tree with a clock of its own.
struct Tree {
    broker: Broker,
    now: Instant,
}

// === impl Tree ===

impl Tree {
    fn new() -> Tree {
        Tree {
            broker: Broker::default(),
            now: Instant::now(),
        }
    }

    /// Opens a connection, and checks the session present flag of its CONNACK.
    fn connect(&mut self, connect: ConnectPacket, is_present: bool) -> TreeClient {
        let mailbox = Arc::new(Mailbox::default());
        let connect = BrokerConnect::of(connect).unwrap();
        let key = self.broker.connect(connect, mailbox.clone(), self.now);
        let client = TreeClient { key, mailbox };
        let connack = client.bytes();
        assert_eq!((connack[0], connack[2]), (0x20, u8::from(is_present)));
        if connack.len() > usize::from(connack[1]) + 2 {
            let rest = connack.slice(usize::from(connack[1]) + 2..);
            client.mailbox.write(|out| out.extend_from_slice(&rest));
        }
        client
    }

    fn packet(&mut self, client: &TreeClient, packet: ClientPacket) -> Result<BrokerEffect, PacketError> {
        self.broker.on_packet(&client.key, packet, self.now)
    }

    fn subscribe(&mut self, client: &TreeClient, filter: &str, quality: QualityOfService) {
        self.subscribe_with(client, filter, quality, SubscribeOptions::default());
    }

    fn subscribe_with(
        &mut self,
        client: &TreeClient,
        filter: &str,
        quality: QualityOfService,
        options: SubscribeOptions,
    ) {
        let packet = SubscribePacket {
            packet_id: 5,
            subscription_id: None,
            topics: vec![TopicRequest {
                filter: filter.to_owned(),
                quality,
                options,
            }],
        };
        self.packet(client, ClientPacket::Subscribe(packet)).unwrap();
    }

    fn publish(&mut self, client: &TreeClient, message: PublishPacket) {
        let effect = self.packet(client, ClientPacket::Publish(message));
        assert_eq!(effect, Ok(BrokerEffect::Continue));
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
        self.broker.tick(self.now);
    }
}

// === impl TreeClient ===

impl TreeClient {
    fn bytes(&self) -> Bytes {
        self.mailbox.take().0
    }
}

fn connect(version: MqttVersion, client_id: &str) -> ConnectPacket {
    ConnectPacket {
        version,
        is_clean: true,
        keep_alive: 30,
        properties: Default::default(),
        client_id: client_id.to_owned(),
        will: None,
        user_name: None,
        password: None,
    }
}

fn persistent(client_id: &str) -> ConnectPacket {
    ConnectPacket {
        is_clean: false,
        ..connect(MqttVersion::V3, client_id)
    }
}

fn message(topic: &str, payload: &'static str, quality: QualityOfService) -> PublishPacket {
    PublishPacket {
        quality,
        is_retained: false,
        topic: topic.to_owned(),
        packet_id: if quality == ZERO { 0 } else { 9 },
        properties: Default::default(),
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

fn retained(topic: &str, payload: &'static str) -> PublishPacket {
    PublishPacket {
        is_retained: true,
        ..message(topic, payload, ZERO)
    }
}

fn will(topic: &str, delay: u32) -> WillMessage {
    let mut will = WillMessage {
        topic: topic.to_owned(),
        payload: Bytes::from_static(b"w"),
        quality: ZERO,
        is_retained: false,
        properties: Default::default(),
    };
    will.properties.will_delay = Some(delay);
    will
}

const SUBACK: [&[u8]; 3] = [&[0x90, 3, 0, 5, 0], &[0x90, 3, 0, 5, 1], &[0x90, 3, 0, 5, 2]];

#[test]
fn retained_message_is_sent_replaced_and_removed() {
    let mut tree = Tree::new();
    let alice = tree.connect(connect(MqttVersion::V3, "alice"), false);
    for payload in ["one", "two"] {
        tree.publish(&alice, retained("a/b", payload));
    }
    tree.subscribe(&alice, "a/+", ZERO);
    assert_eq!(alice.bytes()[..], [SUBACK[0], b"\x31\x08\x00\x03a/btwo"].concat());
    tree.publish(&alice, retained("a/b", ""));
    assert_eq!(alice.bytes()[..], b"\x30\x05\x00\x03a/b"[..], "a new message");
    tree.subscribe(&alice, "a/+", ZERO);
    assert_eq!(alice.bytes()[..], *SUBACK[0]);
}

#[test]
fn message_of_the_highest_quality_is_published_by_its_release() {
    let mut tree = Tree::new();
    let alice = tree.connect(connect(MqttVersion::V3, "alice"), false);
    let bob = tree.connect(connect(MqttVersion::V3, "bob"), false);
    tree.subscribe(&bob, "t", TWO);
    assert_eq!(bob.bytes()[..], *SUBACK[2]);
    for _ in 0..2 {
        tree.publish(&alice, message("t", "x", TWO));
        assert_eq!(alice.bytes()[..], [0x50, 2, 0, 9]);
    }
    assert!(bob.bytes().is_empty(), "not released");
    tree.packet(&alice, ClientPacket::PubRel(9)).unwrap();
    assert_eq!(alice.bytes()[..], [0x70, 2, 0, 9]);
    assert_eq!(bob.bytes()[..], b"\x34\x06\x00\x01t\x00\x01x"[..]);
    tree.packet(&bob, ClientPacket::PubRec(1, 0)).unwrap();
    assert_eq!(bob.bytes()[..], [0x62, 2, 0, 1]);
    tree.packet(&bob, ClientPacket::PubComp(1)).unwrap();
    // A second repetition over one connection is a violation, another message under the id is not.
    for payload in ["x", "y", "x", "y"] {
        tree.publish(&alice, message("t", payload, TWO));
    }
    let third = tree.packet(&alice, ClientPacket::Publish(message("t", "x", TWO)));
    assert_eq!(third, Err(PacketError::PROTOCOL));
}

#[test]
fn window_of_the_client_holds_messages_back() {
    let mut tree = Tree::new();
    let mut asked = connect(MqttVersion::V5, "bob");
    asked.properties.receive_maximum = Some(1);
    let bob = tree.connect(asked, false);
    tree.subscribe(&bob, "t", ONE);
    bob.bytes();
    for payload in ["x", "y"] {
        tree.publish(&bob, message("t", payload, ONE));
    }
    // Its own acknowledgements pass.
    let sent = bob.bytes();
    assert_eq!(
        sent[..],
        b"\x32\x07\x00\x01t\x00\x01\x00x\x40\x02\x00\x09\x40\x02\x00\x09"[..]
    );
    tree.packet(&bob, ClientPacket::PubAck(1)).unwrap();
    assert_eq!(bob.bytes()[..], b"\x32\x07\x00\x01t\x00\x02\x00y"[..]);
}

#[test]
fn persistent_session_repeats_and_queues() {
    let mut tree = Tree::new();
    let alice = tree.connect(connect(MqttVersion::V5, "alice"), false);
    let bob = tree.connect(persistent("bob"), false);
    tree.subscribe(&bob, "t", ONE);
    bob.bytes();
    tree.publish(&alice, message("t", "x", ONE));
    assert_eq!(alice.bytes()[..], [0x40, 2, 0, 9], "there is a receiver");
    assert_eq!(bob.bytes()[..], b"\x32\x06\x00\x01t\x00\x01x"[..]);
    tree.broker.end(&bob.key, false, tree.now);
    tree.publish(&alice, message("t", "y", ONE));
    tree.publish(&alice, message("t", "z", ZERO));
    assert_eq!(alice.bytes()[..], [0x40, 2, 0, 9], "its session is one");
    let bob = tree.connect(persistent("bob"), true);
    let repeated = b"\x3A\x06\x00\x01t\x00\x01x\x32\x06\x00\x01t\x00\x02y";
    assert_eq!(bob.bytes()[..], repeated[..]);
    let bob = tree.connect(connect(MqttVersion::V3, "bob"), false);
    assert!(bob.bytes().is_empty(), "a clean session");
    tree.publish(&alice, message("t", "x", ONE));
    assert_eq!(alice.bytes()[..], [0x40, 3, 0, 9, 0x10], "no subscription");
}

#[test]
fn session_ends_with_its_expiry() {
    let mut tree = Tree::new();
    let mut asked = connect(MqttVersion::V5, "bob");
    asked.is_clean = false;
    asked.properties.session_expiry = Some(5);
    let bob = tree.connect(asked.clone(), false);
    tree.later(10 * SECOND);
    tree.broker.end(&bob.key, false, tree.now);
    tree.later(4 * SECOND);
    let bob = tree.connect(asked.clone(), true);
    let gives_up = DisconnectPacket {
        discards_will: true,
        session_expiry: Some(1),
    };
    let effect = tree.packet(&bob, ClientPacket::Disconnect(gives_up));
    assert_eq!(effect, Ok(BrokerEffect::Disconnect { discards_will: true }));
    tree.broker.end(&bob.key, true, tree.now);
    tree.later(2 * SECOND);
    tree.connect(asked, false);
    let without = tree.connect(connect(MqttVersion::V5, "carol"), false);
    let refused = tree.packet(&without, ClientPacket::Disconnect(gives_up));
    assert_eq!(refused, Err(PacketError::PROTOCOL));
}

#[test]
fn second_connection_takes_over() {
    let mut tree = Tree::new();
    let first = tree.connect(connect(MqttVersion::V5, "bob"), false);
    tree.connect(connect(MqttVersion::V5, "bob"), false);
    let (bytes, is_closed) = first.mailbox.take();
    assert_eq!((&bytes[..], is_closed), (&[0xE0, 1, 0x8E][..], true));
    // What the old one still sends, and its end, do not concern the new one.
    tree.packet(&first, ClientPacket::PingReq).unwrap();
    tree.broker.end(&first.key, false, tree.now);
    tree.subscribe(&first, "t", ZERO);
    assert!(first.bytes().is_empty());
}

#[test]
fn will_is_published_after_its_delay_or_with_the_session() {
    let with_will = |delay: u32, expiry: Option<u32>| {
        let mut connect = connect(MqttVersion::V5, "bob");
        connect.properties.session_expiry = expiry;
        connect.will = Some(will("w", delay));
        connect
    };
    for (delay, expiry, after) in [(0, Some(9), 0), (3, Some(9), 3), (9, Some(2), 2), (3, None, 3)] {
        let mut tree = Tree::new();
        let alice = tree.connect(connect(MqttVersion::V3, "alice"), false);
        tree.subscribe(&alice, "w", ZERO);
        alice.bytes();
        let bob = tree.connect(with_will(delay, expiry), false);
        tree.broker.end(&bob.key, false, tree.now);
        if after > 0 {
            tree.later(after * SECOND - SECOND / 2);
            assert!(alice.bytes().is_empty(), "{delay} {expiry:?}");
        }
        tree.later(SECOND);
        assert_eq!(alice.bytes()[..], b"\x30\x04\x00\x01ww"[..], "{delay} {expiry:?}");
    }
    // DISCONNECT, and another connection in time, discard it.
    let mut tree = Tree::new();
    let alice = tree.connect(connect(MqttVersion::V3, "alice"), false);
    tree.subscribe(&alice, "w", ZERO);
    alice.bytes();
    let bob = tree.connect(with_will(0, None), false);
    tree.broker.end(&bob.key, true, tree.now);
    let bob = tree.connect(with_will(3, Some(9)), false);
    tree.broker.end(&bob.key, false, tree.now);
    let mut again = connect(MqttVersion::V5, "bob");
    again.is_clean = false;
    tree.connect(again, true);
    tree.later(5 * SECOND);
    assert!(alice.bytes().is_empty());
}

#[test]
fn members_of_a_share_take_turns() {
    let mut tree = Tree::new();
    let alice = tree.connect(connect(MqttVersion::V3, "alice"), false);
    let members: Vec<TreeClient> = ["bob", "carol"]
        .into_iter()
        .map(|name| tree.connect(connect(MqttVersion::V3, name), false))
        .collect();
    for member in &members {
        tree.subscribe(member, "$share/s/t", ZERO);
        member.bytes();
    }
    for turn in [0, 1, 0] {
        tree.publish(&alice, message("t", "x", ZERO));
        let sent: Vec<bool> = members.iter().map(|member| !member.bytes().is_empty()).collect();
        assert_eq!(sent, [turn == 0, turn == 1]);
    }
    let unsubscribe = UnsubscribePacket {
        packet_id: 6,
        filters: vec!["$share/s/t".to_owned(), "t".to_owned()],
    };
    tree.packet(&members[1], ClientPacket::Unsubscribe(unsubscribe))
        .unwrap();
    assert_eq!(members[1].bytes()[..], [0xB0, 2, 0, 6]);
    tree.publish(&alice, message("t", "x", ZERO));
    assert!(!members[0].bytes().is_empty());
}

#[test]
fn subscriptions_that_overlap_get_one_message_and_options_hold() {
    let mut tree = Tree::new();
    let alice = tree.connect(connect(MqttVersion::V3, "alice"), false);
    tree.subscribe(&alice, "a/#", ZERO);
    tree.subscribe(&alice, "a/+", ONE);
    alice.bytes();
    tree.publish(&alice, message("a/b", "x", ONE));
    let sent = alice.bytes();
    assert_eq!(sent[..], b"\x32\x08\x00\x03a/b\x00\x01x\x40\x02\x00\x09"[..]);
    let bob = tree.connect(connect(MqttVersion::V5, "bob"), false);
    let options = SubscribeOptions {
        is_no_local: true,
        ..SubscribeOptions::default()
    };
    tree.subscribe_with(&bob, "t", ZERO, options);
    bob.bytes();
    tree.publish(&bob, message("t", "x", ONE));
    assert_eq!(
        bob.bytes()[..],
        [0x40, 2, 0, 9],
        "a subscription, but not for this client"
    );
}

#[test]
fn impossible_requests_end_the_connection() {
    let mut tree = Tree::new();
    let alice = tree.connect(connect(MqttVersion::V5, "alice"), false);
    let deep = "/".repeat(201);
    let publish = ClientPacket::Publish(message(&deep, "x", ONE));
    assert_eq!(tree.packet(&alice, publish), Err(PacketError::MALFORMED));
    for (filter, options, error) in [
        ("a#", SubscribeOptions::default(), PacketError::MALFORMED),
        (
            "$share/s/t",
            SubscribeOptions {
                is_no_local: true,
                ..SubscribeOptions::default()
            },
            PacketError::PROTOCOL,
        ),
    ] {
        let packet = SubscribePacket {
            packet_id: 5,
            subscription_id: None,
            topics: vec![TopicRequest {
                filter: filter.to_owned(),
                quality: ONE,
                options,
            }],
        };
        assert_eq!(tree.packet(&alice, ClientPacket::Subscribe(packet)), Err(error));
    }
    for packet_id in 1..=21 {
        let message = PublishPacket {
            packet_id,
            ..message("t", "x", TWO)
        };
        let effect = tree.packet(&alice, ClientPacket::Publish(message));
        let over = PacketError(ReasonCode::ReceiveMaximumExceeded);
        assert_eq!(effect.err(), (packet_id == 21).then_some(over));
    }
    let mut nameless = persistent("");
    let refused = BrokerRefusal::Reason(ReasonCode::ClientIdNotValid);
    assert_eq!(BrokerConnect::of(nameless.clone()).err(), Some(refused));
    nameless.is_clean = true;
    nameless.will = Some(will("$CONTROL/x", 0));
    assert_eq!(BrokerConnect::of(nameless).err(), Some(BrokerRefusal::Silent));
}
