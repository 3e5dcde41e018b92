//! Nodes on the simulated network, in simulated time.

use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use cluster::transport::{
    ConnectionClass, ConnectionState, Error, LinkConditions, SimNetworkHandle, SimTransport, Transport,
};
use tokio::time::Instant;

use crate::node::{ECHO, HOLD, PATIENCE, Received, TestNode, identity, until};

const SECOND: Duration = Duration::from_secs(1);

/// A started node that dials all of `peers`.
fn start(network: &SimNetworkHandle, id: u64, peers: u64) -> TestNode<SimTransport> {
    let node = TestNode::new(id, network.transport(NodeId(id)));
    node.transport.start(identity(id), node.handler.clone());
    node.transport.set_peers(
        (1..=peers)
            .map(|id| (NodeId(id), network.addr(NodeId(id))))
            .collect(),
    );
    node
}

/// Three nodes, all linked.
async fn three(network: &SimNetworkHandle) -> [TestNode<SimTransport>; 3] {
    let nodes = [1, 2, 3].map(|id| start(network, id, 3));
    for node in &nodes {
        for peer in (1..=3).map(NodeId).filter(|peer| *peer != node.id) {
            node.until_up(peer).await;
        }
    }
    nodes
}

#[tokio::test(start_paused = true)]
async fn partition_times_calls_out_then_breaks_the_links_and_heals() {
    let network = SimNetworkHandle::new(1);
    let [one, two, three] = three(&network).await;
    network.partition(&[NodeId(1)]);
    assert_eq!(one.call(2, ECHO, "x", SECOND).await, Err(Error::Timeout));
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Lost));
    one.until_down(NodeId(2)).await;
    two.until_down(NodeId(1)).await;
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
    assert_eq!(two.call(3, ECHO, "x", SECOND).await, Ok("x".into()));

    network.heal();
    one.until_up(NodeId(2)).await;
    assert_eq!(one.call(2, ECHO, "x", SECOND).await, Ok("x".into()));
    let states = one.handler.links(NodeId(2), ConnectionClass::Raft);
    assert!(
        matches!(states[..], [ConnectionState::Up(a), ConnectionState::Down, ConnectionState::Up(b)] if a != b),
        "{states:?}"
    );
    drop(three);
}

#[tokio::test(start_paused = true)]
async fn one_way_partition_breaks_links_of_both_directions() {
    let network = SimNetworkHandle::new(2);
    let [one, two, _three] = three(&network).await;
    network.block(NodeId(1), NodeId(2));
    // The request arrives, the answer does not; and the other way round.
    let (there, back) = tokio::join!(two.call(1, ECHO, "in", SECOND), one.call(2, ECHO, "out", SECOND));
    assert_eq!((there, back), (Err(Error::Timeout), Err(Error::Timeout)));
    assert!(one.handler.received().contains(&Received::Call(
        NodeId(2),
        ConnectionClass::Rpc,
        ECHO,
        "in".into()
    )));
    assert!(!two.handler.received().contains(&Received::Call(
        NodeId(1),
        ConnectionClass::Rpc,
        ECHO,
        "out".into()
    )));
    one.until_down(NodeId(2)).await;
    two.until_down(NodeId(1)).await;
    network.unblock(NodeId(1), NodeId(2));
    one.until_up(NodeId(2)).await;
    two.until_up(NodeId(1)).await;
}

#[tokio::test(start_paused = true)]
async fn short_partition_delays_casts_and_keeps_their_order() {
    let network = SimNetworkHandle::new(3);
    let [one, two, _three] = three(&network).await;
    network.partition(&[NodeId(2)]);
    for n in 0..10_u8 {
        one.transport
            .cast(
                NodeId(2),
                ConnectionClass::Fanout,
                1,
                Bytes::copy_from_slice(&[n]),
            )
            .unwrap();
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(two.handler.casts(ConnectionClass::Fanout), []);
    network.heal();
    until("the casts arrive", || {
        two.handler.casts(ConnectionClass::Fanout).len() == 10
    })
    .await;
    let numbers: Vec<u8> = two
        .handler
        .casts(ConnectionClass::Fanout)
        .iter()
        .map(|(_, body)| body[0])
        .collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(one.handler.links(NodeId(2), ConnectionClass::Fanout).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn crashed_node_is_silenced_and_its_successor_is_not() {
    let network = SimNetworkHandle::new(4);
    let [one, two, _three] = three(&network).await;
    let waiting = one
        .transport
        .call(NodeId(2), ConnectionClass::Rpc, HOLD, "x".into(), PATIENCE);
    let own = two
        .transport
        .call(NodeId(1), ConnectionClass::Rpc, HOLD, "y".into(), PATIENCE);
    until("both calls are there", || {
        one.handler.held() + two.handler.held() == 2
    })
    .await;
    network.crash(NodeId(2));
    let received = two.handler.received().len();
    assert_eq!(two.call(1, ECHO, "x", SECOND).await, Err(Error::Closed));
    assert_eq!(own.await, Err(Error::Lost));
    let began = Instant::now();
    assert_eq!(waiting.await, Err(Error::Lost));
    assert!(
        began.elapsed() < SECOND,
        "a reset is noticed without waiting for silence"
    );
    one.until_down(NodeId(2)).await;
    assert_eq!(two.handler.received().len(), received);

    let two = start(&network, 2, 3);
    one.until_up(NodeId(2)).await;
    two.until_up(NodeId(1)).await;
    assert_eq!(one.call(2, ECHO, "x", SECOND).await, Ok("x".into()));
}

#[tokio::test(start_paused = true)]
async fn reset_loses_what_is_under_way_and_links_return() {
    let network = SimNetworkHandle::new(5);
    let [one, two, _three] = three(&network).await;
    let waiting = one
        .transport
        .call(NodeId(2), ConnectionClass::Rpc, HOLD, "x".into(), PATIENCE);
    until("the call is there", || two.handler.held() == 1).await;
    network.reset(NodeId(1), NodeId(2));
    assert_eq!(waiting.await, Err(Error::Lost));
    one.until_up(NodeId(2)).await;
    assert_eq!(one.call(2, ECHO, "x", SECOND).await, Ok("x".into()));
}

#[tokio::test(start_paused = true)]
async fn new_node_can_ask_to_join_by_address() {
    let network = SimNetworkHandle::new(6);
    let _two = start(&network, 2, 2);
    let new_node = network.transport(NodeId(9));
    let ask = |node| new_node.call_addr(&network.addr(NodeId(node)), ECHO, "may I?".into(), SECOND);
    assert_eq!(ask(2).await, Ok("may I?".into()));
    assert_eq!(ask(3).await, Err(Error::Unreachable));
    network.partition(&[NodeId(9)]);
    assert_eq!(ask(2).await, Err(Error::Unreachable));
}

/// Casts numbers from node 1 to node 2 in foul weather, and returns what both nodes heard.
async fn faulty_network(seed: u64) -> Vec<Vec<Received>> {
    let network = SimNetworkHandle::new(seed);
    network.set_conditions(LinkConditions {
        delay: SECOND / 200,
        jitter: SECOND / 50,
        loss: 0.0,
    });
    let nodes = three(&network).await;
    network.set_conditions(LinkConditions {
        delay: SECOND / 200,
        jitter: SECOND / 50,
        loss: 0.005,
    });
    for n in 0..4000_u32 {
        // While the link is down a number is certainly not sent.
        drop(nodes[0].transport.cast(
            NodeId(2),
            ConnectionClass::Fanout,
            1,
            Bytes::copy_from_slice(&n.to_be_bytes()),
        ));
        drop(nodes[2].call(1, ECHO, "x", Duration::from_millis(5)).await);
    }
    network.set_conditions(LinkConditions::default());
    tokio::time::sleep(10 * SECOND).await;
    nodes.iter().map(|node| node.handler.received()).collect()
}

#[tokio::test(start_paused = true)]
async fn lost_casts_show_as_a_new_link_and_the_rest_keeps_its_order() {
    let received = faulty_network(7).await;
    let casts: Vec<(u64, u32)> = received[1]
        .iter()
        .filter_map(|received| match received {
            Received::Cast(_, link, ConnectionClass::Fanout, _, body) => {
                Some((*link, u32::from_be_bytes(body[..].try_into().unwrap())))
            }
            _ => None,
        })
        .collect();
    let links = casts.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    assert!(links >= 2, "the weather broke {links} links");
    for pair in casts.windows(2) {
        let ((before, a), (after, b)) = (pair[0], pair[1]);
        assert!(b > a, "out of order or twice: {a}, {b}");
        assert!(b == a + 1 || before != after, "gap from {a} to {b} within a link");
    }
}

#[tokio::test(start_paused = true)]
async fn incoming_link_is_up_around_everything_it_brings() {
    let received = faulty_network(8).await;
    let mut up = None;
    for received in &received[1] {
        match received {
            Received::Incoming(NodeId(1), ConnectionClass::Fanout, ConnectionState::Up(link)) => {
                assert_eq!(up.replace(*link), None);
            }
            Received::Incoming(NodeId(1), ConnectionClass::Fanout, ConnectionState::Down) => {
                assert!(up.take().is_some())
            }
            Received::Cast(NodeId(1), link, ConnectionClass::Fanout, ..) => assert_eq!(up, Some(*link)),
            _ => {}
        }
    }
    assert!(up.is_some());
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(faulty_network(seed))
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
}
