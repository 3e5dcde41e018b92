//! The topic tree at the MQTT listener, on which the suites for brokers run.

use node::testkit::{Config, MqttConnect, Node, StreamProtocol, mqtt_packet, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn with_topics(config: &mut Config) {
    config.mqtt.listen = "127.0.0.1:0".to_owned();
    config.tuning.mqtt_free_topics = true;
}

async fn open(node: &Node, connect: &MqttConnect) -> TcpStream {
    let addr = node.running.protocol_addr(StreamProtocol::MqttTopics).unwrap();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&connect.bytes()).await.unwrap();
    expect(&mut stream, &[0x20, 2, 0, 0]).await;
    stream
}

async fn expect(stream: &mut TcpStream, packet: &[u8]) {
    let mut bytes = vec![0; packet.len()];
    within("the server sends a packet", stream.read_exact(&mut bytes))
        .await
        .unwrap();
    assert_eq!(bytes, packet);
}

/// CONNECT of a client that no token is asked of.
fn anonymous(client_id: &str) -> MqttConnect {
    MqttConnect {
        password: "none".to_owned(),
        ..MqttConnect::clean(4, "nobody", client_id)
    }
}

#[tokio::test]
async fn messages_and_wills_cross_threads() {
    let node = Node::with(with_topics).await;
    let mut receivers = Vec::new();
    // More connections than threads.
    for i in 0..8 {
        let mut stream = open(&node, &anonymous(&format!("receiver-{i}"))).await;
        stream
            .write_all(&mqtt_packet(0x82, b"\0\x01\0\x03a/#\x01"))
            .await
            .unwrap();
        expect(&mut stream, &[0x90, 3, 0, 1, 1]).await;
        receivers.push(stream);
    }
    let mut silent = anonymous("sender");
    silent.keep_alive = 1;
    silent.will = Some(("a/will".to_owned(), "gone".to_owned()));
    let mut sender = open(&node, &silent).await;
    sender
        .write_all(&mqtt_packet(0x32, b"\0\x03a/b\0\x07hello"))
        .await
        .unwrap();
    expect(&mut sender, &[0x40, 2, 0, 7]).await;
    for receiver in &mut receivers {
        expect(receiver, b"\x32\x0C\x00\x03a/b\x00\x01hello").await;
        expect(receiver, b"\x32\x0E\x00\x06a/will\x00\x02gone").await;
    }
    let rest = within("the silent client is cut", sender.read(&mut [0; 8])).await;
    assert_eq!(rest.unwrap(), 0);
    node.stop().await;
}

#[tokio::test]
async fn topics_of_the_chat_are_those_of_every_other_node() {
    let node = Node::with(|config| config.mqtt.listen = "127.0.0.1:0".to_owned()).await;
    assert!(node.running.protocol_addr(StreamProtocol::MqttTopics).is_none());
    node.stop().await;
}
