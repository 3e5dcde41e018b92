//! A stock client, rumqttc, in both versions over connections that are cut again and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use node::testkit::{HumanDuration, Node, eventually, mqtt_addr, within};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::mqtt::{group, with_mqtt};

const MESSAGES: u64 = 30;

/// Messages that the client has on their way at once. Beyond the server's receive maximum of 16, version 5 of rumqttc
/// 0.25 loses messages by itself: after a cut it repeats more than the maximum, and overwrites what waits for a packet id.
const AT_ONCE: u64 = 8;

/// A proxy that cuts its connections on demand.
struct CutProxy {
    addr: SocketAddr,
    cut: Arc<Notify>,
}

impl CutProxy {
    async fn start(server: SocketAddr) -> CutProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, cut) = (listener.local_addr().unwrap(), Arc::new(Notify::new()));
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let Ok(mut server) = TcpStream::connect(server).await else {
                    continue;
                };
                // One connection at a time, as of one client.
                tokio::select! {
                    _ended = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    () = cuts.notified() => {}
                }
            }
        });
        CutProxy { addr, cut }
    }
}

/// Runs one client until it has acknowledgements and events for all its messages. Returns the `s` of the events.
macro_rules! play {
    ($proxy:expr, $c:expr, $options:ty, $client:ty, $quality:ty, $event:ty, $packet:ty, $setup:expr, $name:expr) => {{
        type StockClient = $client;
        type StockEvent = $event;
        type StockOptions = $options;
        type StockPacket = $packet;
        type StockQuality = $quality;
        let mut options = StockOptions::new($name, "127.0.0.1", $proxy.addr.port());
        options.set_credentials("bob", "dev:bob");
        let keep: fn(&mut StockOptions) = $setup;
        keep(&mut options);
        options.set_keep_alive(Duration::from_secs(30));
        let (client, mut events) = StockClient::new(options, 100);
        let topic = format!("c/{}/events", $c);
        client.subscribe(topic, StockQuality::AtLeastOnce).await.unwrap();
        let (mut acked, mut sent, mut seen) = (0, 0, Vec::<(u64, Value)>::new());
        let played = async {
            while acked < MESSAGES || seen.len() < MESSAGES as usize {
                let mut most = sent;
                match events.poll().await {
                    // Events of the conversation come from here on.
                    Ok(StockEvent::Incoming(StockPacket::SubAck(_))) => most = AT_ONCE,
                    Ok(StockEvent::Incoming(StockPacket::PubAck(_))) => {
                        acked += 1;
                        most = MESSAGES.min(acked + AT_ONCE);
                        if acked % 10 == 0 {
                            $proxy.cut.notify_one();
                        }
                    }
                    Ok(StockEvent::Incoming(StockPacket::Publish(message))) => {
                        let event: Value = serde_json::from_slice(&message.payload).unwrap();
                        let s = event["s"].as_u64();
                        // A repeated event has a position that the client has.
                        if event["t"] == "msg" && s > seen.last().map(|(s, _)| *s) {
                            seen.push((s.unwrap(), event["b"]["i"].clone()));
                        }
                    }
                    Ok(_) => {}
                    // The next poll connects again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
                for i in sent..most {
                    let send = json!({"cid": format!("{}-{i}", $name), "b": {"i": i}}).to_string();
                    let (topic, quality) = (format!("c/{}/send", $c), StockQuality::AtLeastOnce);
                    client.publish(topic, quality, false, send).await.unwrap();
                }
                sent = sent.max(most);
            }
        };
        within("the client has everything", played).await;
        seen
    }};
}

#[tokio::test]
async fn stock_client_misses_and_doubles_nothing() {
    let node = Node::with(|config| {
        with_mqtt(config);
        config.tuning.delivered_interval = HumanDuration::secs(600);
    })
    .await;
    let c = group(&node, &["bob"]).await;
    let proxy = CutProxy::start(mqtt_addr(&node)).await;
    let old = play!(
        proxy,
        c,
        rumqttc::MqttOptions,
        rumqttc::AsyncClient,
        rumqttc::QoS,
        rumqttc::Event,
        rumqttc::Packet,
        |options| {
            options.set_clean_session(false);
        },
        "rumqttc-4"
    );
    let new = play!(
        proxy,
        c,
        rumqttc::v5::MqttOptions,
        rumqttc::v5::AsyncClient,
        rumqttc::v5::mqttbytes::QoS,
        rumqttc::v5::Event,
        rumqttc::v5::mqttbytes::v5::Packet,
        |options| {
            options
                .set_clean_start(false)
                .set_session_expiry_interval(Some(3_600));
        },
        "rumqttc-5"
    );
    let [old, mut new] = [&old, &new].map(|seen| -> Vec<u64> {
        let order = seen.iter().map(|(_, i)| i.as_u64().unwrap());
        order.collect()
    });
    // Version 5 of the client repeats its messages by their packet ids, which wrap around.
    new.sort_unstable();
    for messages in [old, new] {
        assert_eq!(messages, (0..MESSAGES).collect::<Vec<_>>());
    }
    let mut alice = node.client("alice").await;
    let unread = eventually("the conversation is listed", async || {
        alice.ask(1, r#"{"t":"list","id":1}"#).await["items"][0]["unread"].as_u64()
    });
    assert_eq!(unread.await, 2 * MESSAGES, "each message is there once");
    node.stop().await;
}
