//! Clients of Socket.IO on several nodes: recovery elsewhere, and polls that go to any node.

use std::net::SocketAddr;

use serde_json::json;

use node::testkit::session::say;
use node::testkit::{
    Call, Client, HumanDuration, Node, PollingClient, Reply, SocketIoClient, TestCluster, eventually,
};

#[tokio::test]
async fn client_recovers_on_another_node() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let mut bob = SocketIoClient::of(cluster.nodes[0].addr(), "bob").await;
    say(&mut alice, "bob", "first").await;
    bob.event("msg").await;
    for (round, node) in [1, 2, 0].into_iter().enumerate() {
        let (pid, offset) = (bob.pid.clone(), bob.offset.clone());
        drop(bob);
        say(&mut alice, "bob", &format!("missed {round}")).await;
        bob = SocketIoClient::open(cluster.nodes[node].addr()).await;
        let auth = json!({"token": "dev:bob", "pid": pid, "offset": offset});
        assert_eq!(bob.connect(auth).await["resumed"], true);
        assert_eq!(bob.pid, pid);
        say(&mut alice, "bob", &format!("live {round}")).await;
        for word in ["missed", "live"] {
            assert_eq!(bob.event("msg").await["cid"], format!("{word} {round}"));
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn requests_of_a_polling_client_go_to_any_node() {
    let cluster = TestCluster::start().await;
    let addrs: Vec<SocketAddr> = cluster.nodes.iter().map(Node::addr).collect();
    let mut alice = cluster.nodes[0].client("alice").await;
    let mut bob = PollingClient::open(&addrs).await;
    bob.connect(json!({"token": "dev:bob"})).await;
    for round in 0..6 {
        say(&mut alice, "bob", &format!("m{round}")).await;
        assert_eq!(bob.event("msg").await["cid"], format!("m{round}"));
    }
    for ack in 0..6 {
        let send =
            json!(["send", {"to": "alice", "cid": format!("k{ack}"), "b": {"text": "x".repeat(10_000)}}]);
        bob.post(&format!("42{ack}{send}")).await;
        assert_eq!(bob.response(ack).await["t"], "ack");
    }
    // A body beyond the bound on unidentified data: the node asks the one that holds the connection first.
    let large = json!(["send", {"to": "alice", "cid": "large", "b": {"text": "x".repeat(40_000)}}]);
    for ack in 6..9 {
        bob.post(&format!("42{ack}{large}")).await;
        assert_eq!(bob.response(ack).await["code"], "too_large");
    }
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", bob.sid);
    let upgrade = Client::upgrade_at(addrs[1], &path, "", None).await;
    assert!(upgrade.head.starts_with("HTTP/1.1 400"), "{}", upgrade.head);
    bob.post("1").await;
    // The end is answered once, for a poll that came with it.
    bob.get().await;
    for addr in addrs {
        let poll = Call::new("GET", &bob.path).send(addr).await.unwrap();
        assert_eq!(poll.status, 400);
    }
    cluster.stop().await;
}

/// A proxy repeats a poll at another node when the first one has failed meanwhile, before its answer or behind it.
#[tokio::test]
async fn poll_that_a_proxy_repeats_at_another_node_is_one_poll() {
    let cluster = TestCluster::start().await;
    let addrs: Vec<SocketAddr> = cluster.nodes.iter().map(Node::addr).collect();
    let mut alice = cluster.nodes[0].client("alice").await;
    let mut bob = PollingClient::open(&addrs).await;
    bob.connect(json!({"token": "dev:bob"})).await;
    say(&mut alice, "bob", "first").await;
    bob.event("msg").await;
    for round in 0..5 {
        let cid = format!("m{round}");
        let path = format!("{}&t=poll{round}", bob.path);
        let polls = [1, 2].map(|node| Call::new("GET", &path).send(addrs[node]));
        let (replies, ()) = tokio::join!(futures::future::join_all(polls), async {
            say(&mut alice, "bob", &cid).await;
        });
        let replies: Vec<Reply> = replies.into_iter().map(Option::unwrap).collect();
        // The first one is given up if the second one has come before its answer.
        assert!(
            replies.iter().all(|reply| [200, 400].contains(&reply.status)),
            "{replies:?}"
        );
        let answered = replies.iter().find(|reply| reply.status == 200).unwrap();
        for addr in &addrs {
            let again = Call::new("GET", &path).send(*addr).await.unwrap();
            assert_eq!((again.status, &again.text), (200, &answered.text));
        }
        if answered.text.contains("2\x1e") || answered.text.ends_with('2') {
            bob.post("3").await;
        }
        if !answered.text.contains(&format!(r#""cid":"{cid}""#)) {
            assert_eq!(bob.event("msg").await["cid"], cid);
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn second_poll_at_another_node_ends_the_connection() {
    let cluster = TestCluster::start().await;
    let addrs: Vec<SocketAddr> = cluster.nodes.iter().map(Node::addr).collect();
    let mut bob = PollingClient::open(&addrs).await;
    bob.connect(json!({"token": "dev:bob"})).await;
    eventually("two polls meet at the holder", async || {
        let polls = [1, 2].map(|node| {
            let poll = Call::new("GET", &format!("{}&t=poll{node}", bob.path));
            poll.send(addrs[node])
        });
        let replies = futures::future::join_all(polls).await;
        replies
            .iter()
            .any(|reply| reply.as_ref().is_some_and(|reply| reply.status == 400))
    })
    .await;
    for addr in addrs {
        let poll = Call::new("GET", &bob.path).send(addr).await.unwrap();
        assert_eq!(poll.status, 400);
    }
    cluster.stop().await;
}

/// Longer than a node waits for the response of another one.
#[tokio::test]
async fn forwarded_payload_above_the_rate_is_accepted_in_full() {
    const SENDS: usize = 50;
    let cluster = TestCluster::with(|config| {
        config.tuning.ping_interval = Some(HumanDuration::secs(1));
        config.limits.sends_per_second = 5;
        config.tuning.sends_burst = Some(5);
    })
    .await;
    let addrs: Vec<SocketAddr> = cluster.nodes.iter().map(Node::addr).collect();
    let mut bob = PollingClient::open(&addrs).await;
    bob.connect(json!({"token": "dev:bob"})).await;
    let send = |n: usize| {
        let send = json!(["send", {"to": "alice", "cid": format!("k{n}"), "b": {}}]);
        format!("42{n}{send}")
    };
    let payload = (0..SENDS).map(send).collect::<Vec<_>>().join("\x1e");
    let post = async {
        let post = Call::new("POST", &bob.path).text(&payload).send(addrs[1]);
        let posted = post.await.unwrap();
        assert_eq!((posted.status, &*posted.text), (200, "ok"));
    };
    let acks = async {
        let mut acks = 0;
        while acks < SENDS {
            let poll = bob.get().await;
            assert_eq!(poll.status, 200, "{poll:?}");
            acks += poll.text.matches(r#"[{"t":"ack","#).count();
        }
    };
    tokio::join!(post, acks);
    cluster.stop().await;
}

#[tokio::test]
async fn polls_for_an_unknown_node_are_refused() {
    let cluster = TestCluster::start().await;
    let path = format!("/socket.io/?EIO=4&transport=polling&sid=63-{}", "0".repeat(32));
    let poll = Call::new("GET", &path).to(&cluster.nodes[0]).await;
    assert_eq!((poll.status, &poll.json()["code"]), (400, &json!(1)));
    cluster.stop().await;
}
