//! Nodes over TCP that mean well.

use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use cluster::transport::{
    BindError, ConnectionClass, ConnectionState, Error, NodeIdentity, QueueLimits, TcpTransport, Transport,
    TransportConfig,
};

use crate::node::{
    ECHO, FORGET, HOLD, PATIENCE, REFUSE, Received, TestNode, identity, mesh, quick, tcp_node, until,
};

#[tokio::test]
async fn calls_and_casts_arrive_in_the_order_they_were_made() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    let mut answers = Vec::new();
    for n in 0..2000_u32 {
        let body = Bytes::copy_from_slice(&n.to_be_bytes());
        if n % 3 == 0 {
            one.transport
                .cast(NodeId(2), ConnectionClass::Rpc, 9, body)
                .unwrap();
        } else {
            answers.push((
                n,
                one.transport
                    .call(NodeId(2), ConnectionClass::Rpc, ECHO, body, PATIENCE),
            ));
        }
    }
    for (n, answer) in answers {
        assert_eq!(answer.await.unwrap()[..], n.to_be_bytes());
    }
    let numbers: Vec<u32> = two
        .handler
        .received()
        .iter()
        .filter_map(|received| match received {
            Received::Call(NodeId(1), ConnectionClass::Rpc, ECHO, body)
            | Received::Cast(NodeId(1), _, ConnectionClass::Rpc, 9, body) => {
                Some(u32::from_be_bytes(body[..].try_into().unwrap()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(numbers, (0..2000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_exchange_bodies_of_every_size_in_every_class() {
    let nodes = [
        tcp_node(1, quick()).await,
        tcp_node(2, quick()).await,
        tcp_node(3, quick()).await,
    ];
    mesh(&nodes.each_ref()).await;
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id != from.id) {
            for class in ConnectionClass::ALL {
                for size in [0, 1, 8 << 10, (8 << 10) + 1, 300_000, 5 << 20] {
                    let body = Bytes::from(vec![size as u8; size]);
                    let answer = from
                        .transport
                        .call(to.id, class, ECHO, body.clone(), PATIENCE)
                        .await;
                    assert_eq!(answer, Ok(body));
                }
            }
        }
    }
}

#[tokio::test]
async fn caller_gets_what_the_handler_decided() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    assert_eq!(
        one.call(2, REFUSE, "no", PATIENCE).await,
        Err(Error::Refused("no".into()))
    );
    assert_eq!(one.call(2, FORGET, "", PATIENCE).await, Err(Error::Lost));
    assert_eq!(
        one.call(2, HOLD, "", Duration::from_millis(20)).await,
        Err(Error::Timeout)
    );
    assert_eq!(one.call(3, ECHO, "", PATIENCE).await, Err(Error::Unreachable));
}

#[tokio::test]
async fn both_ends_know_a_link_by_the_same_incarnation() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    one.transport
        .cast(NodeId(2), ConnectionClass::Fanout, 1, "event".into())
        .unwrap();
    until("the cast arrives", || {
        !two.handler.casts(ConnectionClass::Fanout).is_empty()
    })
    .await;
    let Some(ConnectionState::Up(link)) = one.handler.link(NodeId(2), ConnectionClass::Fanout) else {
        panic!("not up")
    };
    assert_eq!(
        two.handler.casts(ConnectionClass::Fanout),
        [(link, "event".into())]
    );
    assert!(two.handler.received().contains(&Received::Incoming(
        NodeId(1),
        ConnectionClass::Fanout,
        ConnectionState::Up(link)
    )));
}

#[tokio::test]
async fn restarted_peer_is_reached_again_under_a_new_incarnation() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    let waiting = one
        .transport
        .call(NodeId(2), ConnectionClass::Rpc, HOLD, "x".into(), PATIENCE);
    until("the call is there", || two.handler.held() == 1).await;
    let addr = two.addr();
    two.transport.shutdown().await;
    assert_eq!(waiting.await, Err(Error::Lost));
    one.until_down(NodeId(2)).await;
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
    assert_eq!(
        one.transport
            .cast(NodeId(2), ConnectionClass::Raft, 1, Bytes::new()),
        Err(Error::Unreachable)
    );

    let _two = tcp_node(
        2,
        TransportConfig {
            listen: addr,
            ..quick()
        },
    )
    .await;
    one.until_up(NodeId(2)).await;
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Ok("x".into()));
    for class in ConnectionClass::ALL {
        let states = one.handler.links(NodeId(2), class);
        let [
            ConnectionState::Up(first),
            ConnectionState::Down,
            ConnectionState::Up(second),
        ] = states[..]
        else {
            panic!("{class}: {states:?}");
        };
        assert_ne!(first, second);
    }
}

#[tokio::test]
async fn full_queue_recovers_when_calls_are_answered() {
    let bounds = QueueLimits {
        rpc: 10_000,
        ..QueueLimits::default()
    };
    let one = tcp_node(1, TransportConfig { bounds, ..quick() }).await;
    let two = tcp_node(2, quick()).await;
    mesh(&[&one, &two]).await;
    let body = Bytes::from(vec![0; 1000]);
    let brief = Duration::from_millis(200);
    let waiting: Vec<_> = (0..9)
        .map(|_| {
            one.transport
                .call(NodeId(2), ConnectionClass::Rpc, HOLD, body.clone(), brief)
        })
        .collect();
    assert_eq!(one.call(2, ECHO, body.clone(), PATIENCE).await, Err(Error::Full));
    assert_eq!(
        one.transport
            .cast(NodeId(2), ConnectionClass::Rpc, 1, body.clone()),
        Err(Error::Full)
    );
    // The other lanes have room of their own.
    one.transport
        .cast(NodeId(2), ConnectionClass::Fanout, 1, body.clone())
        .unwrap();
    for call in waiting {
        assert_eq!(call.await, Err(Error::Timeout));
    }
    assert_eq!(one.call(2, ECHO, body.clone(), PATIENCE).await, Ok(body));
}

#[tokio::test]
async fn new_node_without_a_cluster_can_join() {
    let two = tcp_node(2, quick()).await;
    let new_node = TestNode::new(1, TcpTransport::bind(quick()).await.unwrap());
    let ask = |body: &'static str, method| {
        new_node
            .transport
            .call_addr(&two.addr(), method, body.into(), PATIENCE)
    };
    assert_eq!(ask("may I?", ECHO).await, Ok("may I?".into()));
    assert_eq!(
        two.handler.received(),
        [Received::Call(
            NodeId(0),
            ConnectionClass::Rpc,
            ECHO,
            "may I?".into()
        )]
    );
    assert_eq!(ask("no", REFUSE).await, Err(Error::Refused("no".into())));
    assert_eq!(ask("hm", FORGET).await, Err(Error::Lost));

    // Started without a cluster, it can be asked, and nobody links to it.
    let without_cluster = NodeIdentity {
        node: NodeId(0),
        cluster: 0,
        incarnation: 5,
        supported_level: cluster::FeatureLevel::SUPPORTED,
    };
    new_node
        .transport
        .start(without_cluster, new_node.handler.clone());
    let answer = two
        .transport
        .call_addr(&new_node.addr(), ECHO, "who are you?".into(), PATIENCE);
    assert_eq!(answer.await, Ok("who are you?".into()));
    two.transport.set_peers(vec![(NodeId(1), new_node.addr())]);
    new_node.transport.set_peers(vec![(NodeId(2), two.addr())]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(two.handler.link(NodeId(1), ConnectionClass::Rpc), None);

    // With the identity it was given, the links come up.
    new_node.transport.start(identity(1), new_node.handler.clone());
    new_node.until_up(NodeId(2)).await;
    two.until_up(NodeId(1)).await;
    assert_eq!(
        new_node.call(2, ECHO, "hello", PATIENCE).await,
        Ok("hello".into())
    );
}

#[tokio::test]
async fn call_to_an_address_without_a_listener_is_unreachable() {
    let one = tcp_node(1, quick()).await;
    let gone = tcp_node(2, quick()).await;
    gone.transport.shutdown().await;
    let answer = one
        .transport
        .call_addr(&gone.addr(), ECHO, Bytes::new(), PATIENCE);
    assert_eq!(answer.await, Err(Error::Unreachable));
}

#[tokio::test]
async fn forgotten_peer_is_unreachable_and_a_moved_one_is_redialed() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    one.transport.set_peers(vec![]);
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
    one.until_down(NodeId(2)).await;

    one.transport.set_peers(vec![(NodeId(2), two.addr())]);
    one.until_up(NodeId(2)).await;
    let moved = tcp_node(2, quick()).await;
    one.transport.set_peers(vec![(NodeId(2), moved.addr())]);
    until("the new place answers", || {
        let links = one.handler.links(NodeId(2), ConnectionClass::Rpc);
        links.len() == 5 && matches!(links[4], ConnectionState::Up(_))
    })
    .await;
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Ok("x".into()));
    for class in ConnectionClass::ALL {
        let links = one.handler.links(NodeId(2), class);
        let alternate = links
            .iter()
            .enumerate()
            .all(|(i, state)| (*state == ConnectionState::Down) == (i % 2 == 1));
        assert!(alternate, "{class}: {links:?}");
    }
}

#[tokio::test]
async fn shutdown_ends_every_task_and_link_and_later_calls_say_closed() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    one.transport
        .cast(NodeId(2), ConnectionClass::Fanout, 1, "last words".into())
        .unwrap();
    one.transport.shutdown().await;
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Closed));
    assert_eq!(
        one.transport
            .cast(NodeId(2), ConnectionClass::Fanout, 1, Bytes::new()),
        Err(Error::Closed)
    );
    let visit = one.transport.call_addr(&two.addr(), ECHO, Bytes::new(), PATIENCE);
    assert_eq!(visit.await, Err(Error::Closed));
    one.until_down(NodeId(2)).await;
    two.until_down(NodeId(1)).await;
    // What was queued when it stopped was written.
    assert_eq!(two.handler.casts(ConnectionClass::Fanout).len(), 1);
    // Nothing holds the handler any longer.
    let TestNode {
        handler, transport, ..
    } = one;
    assert_eq!(std::sync::Arc::strong_count(&handler), 1);
    drop(transport);
}

#[tokio::test]
async fn address_that_others_can_reach_needs_a_secret() {
    let open = |secret: &str| TransportConfig {
        listen: "0.0.0.0:0".into(),
        secret: secret.into(),
        ..TransportConfig::default()
    };
    assert!(matches!(
        TcpTransport::bind(open("")).await,
        Err(BindError::SecretRequired(_))
    ));
    TcpTransport::bind(open("secret")).await.unwrap();
    TcpTransport::bind(TransportConfig::default()).await.unwrap();
}

#[tokio::test]
async fn metrics_count_frames_bytes_and_links() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    one.call(2, ECHO, vec![0; 1000], PATIENCE).await.unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    one.transport.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(
        text.contains("transport_connects_total{peer=\"2\",class=\"rpc\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("transport_class_bytes{peer=\"2\",class=\"rpc\"}"),
        "{text}"
    );
    assert!(
        text.contains("transport_sent_frames_total{peer=\"2\",class=\"rpc\"}"),
        "{text}"
    );
}
