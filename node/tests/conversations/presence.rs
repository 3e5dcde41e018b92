//! Who is there, across nodes and whatever becomes of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use node::testkit::{
    ConversationOp, Device, EvictionReason, PresenceGuard, PresenceSink, RecordingSubscriber, ServiceCluster,
    ServiceNode, SessionId, SessionMark, SessionRefused, eventually, user,
};
use protocol::event::PresenceState;
use protocol::{ConversationId, Event, GroupInvite};

/// A session that writes down what it is shown.
#[derive(Default)]
struct RecordingSink {
    seen: RefCell<Vec<(String, bool)>>,
}

impl PresenceSink for RecordingSink {
    fn show(&self, tail: Bytes) -> bool {
        let text = format!("{{{}", std::str::from_utf8(&tail).unwrap());
        let Some(Event::Presence(presence)) = Event::decode(&text) else {
            panic!("{text}")
        };
        let online = presence.state == PresenceState::Online;
        self.seen.borrow_mut().push((presence.user.to_string(), online));
        true
    }
}

impl RecordingSink {
    /// A session of bob that watches alice on this node, and what it was shown first.
    async fn on(node: &ServiceNode, online: bool) -> Rc<RecordingSink> {
        let sink = Rc::new(RecordingSink::default());
        assert!(
            node.presence
                .watch(1, &user("bob"), sink.clone(), vec![user("alice")], 500)
        );
        eventually("the snapshot", async || !sink.seen.borrow().is_empty()).await;
        sink.saw(&[online]);
        sink
    }

    fn saw(&self, states: &[bool]) {
        let seen: Vec<bool> = self.seen.borrow().iter().map(|(_, online)| *online).collect();
        assert_eq!(seen, states);
    }

    async fn sees(&self, states: &[bool]) {
        eventually("a change of presence", async || {
            self.seen.borrow().len() >= states.len()
        })
        .await;
        self.saw(states);
    }
}

fn phone(instance: &str) -> Option<Device> {
    Some(Device {
        name: "phone".to_owned(),
        instance: instance.to_owned(),
    })
}

/// The mark of a session that goes on with no other.
fn mark() -> SessionMark {
    SessionMark {
        sid: SessionId { node: 1, secret: 1 },
        goes_on: None,
    }
}

/// A session of alice.
async fn alice(
    node: &ServiceNode,
    device: Option<Device>,
) -> (
    PresenceGuard,
    impl Future<Output = Option<EvictionReason>> + use<>,
) {
    let (guard, admission, loss) = node.presence.enter(&user("alice"), None, device, mark());
    admission.await.unwrap();
    (guard, loss)
}

/// The owner of alice's shard, and the others.
fn owner(cluster: &ServiceCluster) -> (NodeId, Vec<NodeId>) {
    cluster.owner_and_others(&ConversationId::parse("alice").unwrap())
}

async fn live(node: &ServiceNode, name: &str) -> Option<bool> {
    node.conversations.live(&[user(name)]).await[0]
}

#[actix::test]
async fn presence_is_seen_from_every_node() {
    let cluster = ServiceCluster::start(3).await;
    let [a, b, c] = &cluster.nodes[..] else { panic!() };
    let sink = RecordingSink::on(b, false).await;
    let (first, _) = alice(a, None).await;
    sink.sees(&[false, true]).await;
    let (second, _) = alice(c, None).await;
    for node in &cluster.nodes {
        assert_eq!(live(node, "alice").await, Some(true));
        assert_eq!(live(node, "nobody").await, Some(false));
        assert!(
            node.conversations
                .presence(&user("bob"), &user("alice"))
                .await
                .unwrap()
                .online
        );
    }
    drop(first);
    eventually("one session less", async || {
        // Nothing to be seen of it but here: the second keeps the user present.
        live(a, "alice").await == Some(true)
    })
    .await;
    drop(second);
    sink.sees(&[false, true, false]).await;
    let visible = a
        .conversations
        .presence(&user("bob"), &user("alice"))
        .await
        .unwrap();
    assert!(!visible.online && visible.seen.is_some());
    cluster.stop().await;
}

#[actix::test]
async fn a_new_owner_learns_all_sessions_and_no_viewer_sees_a_flicker() {
    // Long enough for a slow machine to elect another owner and tell it everything.
    let hold_down = Duration::from_secs(5);
    let mut cluster = ServiceCluster::with(3, |settings| {
        (settings.users.offline_grace, settings.users.register_timeout) = (hold_down, hold_down / 2);
    })
    .await;
    let (dies, others) = owner(&cluster);
    let (guard, _) = alice(cluster.node(others[0]), phone("x")).await;
    let sink = RecordingSink::on(cluster.node(others[1]), true).await;
    cluster.crash(dies).await;
    // Whoever asks waits until the new owner can know.
    let node = cluster.node(others[1]);
    let mut found = None;
    eventually("the new owner answers", async || {
        found = live(node, "alice").await;
        found.is_some()
    })
    .await;
    assert_eq!(found, Some(true));
    // The new owner's hold-down passes, and she is there still.
    tokio::time::sleep(hold_down).await;
    sink.saw(&[true]);
    drop(guard);
    sink.sees(&[true, false]).await;
    cluster.stop().await;
}

#[actix::test]
async fn the_users_of_a_node_that_dies_go_offline() {
    let mut cluster = ServiceCluster::start(3).await;
    let (owner, others) = owner(&cluster);
    let (_guard, _) = alice(cluster.node(others[0]), None).await;
    let sink = RecordingSink::on(cluster.node(others[1]), true).await;
    cluster.crash(others[0]).await;
    sink.sees(&[true, false]).await;
    assert_eq!(live(cluster.node(owner), "alice").await, Some(false));
    cluster.stop().await;
}

#[actix::test]
async fn an_owner_that_timed_out_a_node_gets_its_users_again() {
    let cluster = ServiceCluster::start(3).await;
    let (owner, others) = owner(&cluster);
    let (detached, watches) = (cluster.node(others[0]), cluster.node(others[1]));
    let (_guard, _) = alice(detached, None).await;
    let sink = RecordingSink::on(watches, true).await;
    cluster.network.partition(&[others[0]]);
    sink.sees(&[true, false]).await;
    cluster.network.heal();
    sink.sees(&[true, false, true]).await;
    assert_eq!(live(cluster.node(owner), "alice").await, Some(true));
    cluster.stop().await;
}

#[actix::test]
async fn a_device_has_one_session_in_the_whole_cluster() {
    let cluster = ServiceCluster::start(3).await;
    let [a, b, c] = &cluster.nodes[..] else { panic!() };
    let (_one, loss) = alice(a, phone("x")).await;
    let (_two, replaced) = alice(b, phone("x")).await;
    assert_eq!(loss.await, Some(EvictionReason::Replaced));
    let (_three, displaced) = alice(c, phone("y")).await;
    assert_eq!(replaced.await, Some(EvictionReason::Displaced));
    let (_four, _) = alice(a, phone("z")).await;
    assert_eq!(displaced.await, Some(EvictionReason::Displaced));
    let (_five, stays) = alice(b, phone("x")).await;
    let (_six, admission, _) = c.presence.enter(&user("alice"), None, phone("y"), mark());
    assert_eq!(admission.await, Err(SessionRefused::Conflict));
    let waited = tokio::time::timeout(Duration::from_millis(50), stays).await;
    assert!(waited.is_err(), "the one that was there stays");
    cluster.stop().await;
}

#[actix::test]
async fn a_block_hides_the_user_on_every_node() {
    let cluster = ServiceCluster::start(3).await;
    let [a, b, c] = &cluster.nodes[..] else { panic!() };
    let (_guard, _) = alice(a, None).await;
    let sink = RecordingSink::on(b, true).await;
    let direct = ConversationId::direct(&user("alice"), &user("bob"));
    let block = |on| ConversationOp::Block { who: user("bob"), on };
    c.command("alice", &direct, "b", block(true)).await.unwrap();
    sink.sees(&[true, false]).await;
    assert!(
        !c.conversations
            .presence(&user("bob"), &user("alice"))
            .await
            .unwrap()
            .online
    );
    assert!(
        c.conversations
            .presence(&user("carol"), &user("alice"))
            .await
            .unwrap()
            .online
    );
    assert_eq!(
        live(c, "alice").await,
        Some(true),
        "the cluster itself is not deceived"
    );
    c.command("alice", &direct, "u", block(false)).await.unwrap();
    sink.sees(&[true, false, true]).await;
    cluster.stop().await;
}

#[actix::test]
async fn when_a_user_was_seen_outlives_the_owner() {
    let mut cluster = ServiceCluster::start(3).await;
    let (dies, others) = owner(&cluster);
    let (guard, _) = alice(cluster.node(others[0]), None).await;
    drop(guard);
    let bob = user("bob");
    let seen = async |cluster: &ServiceCluster| {
        let node = cluster.node(others[0]);
        let visible = node.conversations.presence(&bob, &user("alice")).await.ok()?;
        (!visible.online).then_some(visible.seen)
    };
    eventually("alice is gone", async || seen(&cluster).await.is_some()).await;
    let before = seen(&cluster).await.flatten();
    assert!(before.is_some());
    let node = cluster.node(dies);
    eventually("it is noted", async || {
        node.figure("presence_last_seen_writes_total") == 1
    })
    .await;
    // What the owner submits behind it to the same shard is applied behind it.
    let wish = node.conversations.wish(user("alice"), GroupInvite::Anyone);
    wish.await.unwrap();
    cluster.crash(dies).await;
    eventually("the new owner knows", async || {
        seen(&cluster).await == Some(before)
    })
    .await;
    cluster.stop().await;
}

#[actix::test]
async fn typing_crosses_nodes_and_survives_the_loss_of_the_owner() {
    let mut cluster = ServiceCluster::start(3).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let (dies, others) = cluster.owner_and_others(&conv);
    let (typist, listener) = (cluster.node(others[0]), cluster.node(others[1]));
    let (bob, _): (Rc<RecordingSubscriber>, u64) = listener.listen("bob", &conv).await;
    typist.conversations.typing(&user("mallory"), &conv, true);
    typist.conversations.typing(&user("alice"), &conv, true);
    eventually("the notice", async || !bob.whispers.borrow().is_empty()).await;
    assert!(bob.whispers.borrow()[0].contains(r#""t":"typing""#));
    cluster.crash(dies).await;
    let typist = cluster.node(others[0]);
    let before = bob.whispers.borrow().len();
    eventually("typing by way of the new owner", async || {
        typist.conversations.typing(&user("alice"), &conv, false);
        bob.whispers.borrow().len() > before
    })
    .await;
    assert!(
        bob.whispers
            .borrow()
            .iter()
            .all(|tail| tail.contains(r#""u":"alice""#))
    );
    cluster.stop().await;
}

/// The receipts and `conv` events among what a session was told outside the log.
fn own(subscriber: &RecordingSubscriber) -> Vec<String> {
    let whispers = subscriber.whispers.borrow();
    let own = whispers.iter().filter(|tail| {
        tail.starts_with(r#""t":"conv""#)
            || tail.starts_with(r#""t":"receipt""#) && tail.contains(r#""u":"alice""#)
    });
    own.cloned().collect()
}

#[actix::test]
async fn what_one_reads_and_mutes_reaches_ones_devices_on_other_nodes() {
    let cluster = ServiceCluster::start(3).await;
    let others: Vec<String> = (0..255).map(|i| format!("user{i}")).collect();
    // In a conversation too large for receipts, one's own are the only ones.
    for (owner, count) in [("yan", 1), ("zed", 255)] {
        let members = others.iter().take(count).map(String::as_str);
        let members: Vec<&str> = members.chain(["alice"]).collect();
        let conv = cluster.nodes[0].group(owner, &members).await;
        let (phone, laptop) = (&cluster.nodes[1], &cluster.nodes[2]);
        let (subscriber, _) = laptop.listen("alice", &conv).await;
        // What is for one user alone goes to that user's sessions.
        laptop.hub.attach(&user("alice"), subscriber.clone());
        let sent = cluster.nodes[0].send("user0", &conv, "hi").await.unwrap();
        phone
            .command("alice", &conv, "", ConversationOp::Read { s: sent.s })
            .await
            .unwrap();
        let read = format!(r#""read":{}"#, sent.s);
        eventually("the receipt", async || {
            own(&subscriber).iter().any(|tail| tail.contains(&read))
        })
        .await;
        let mute = ConversationOp::Set {
            title: None,
            history: None,
            muted: Some(true),
            pinned: None,
            data: None,
        };
        phone.command("alice", &conv, "mute", mute).await.unwrap();
        eventually("the conversation", async || {
            own(&subscriber)
                .iter()
                .any(|tail| tail.contains(r#""muted":true"#))
        })
        .await;
        let cursor = ConversationOp::Read { s: sent.s };
        cluster.nodes[0]
            .command("user0", &conv, "", cursor)
            .await
            .unwrap();
        phone.conversations.typing(&user("user0"), &conv, true);
        let visible = count == 1;
        if visible {
            eventually("typing", async || {
                subscriber
                    .whispers
                    .borrow()
                    .iter()
                    .any(|tail| tail.contains("typing"))
            })
            .await;
        }
        // Behind whatever else there was.
        let last = cluster.nodes[0].send("user0", &conv, "bye").await.unwrap().s;
        eventually("the last message", async || subscriber.last(&conv) == last).await;
        let of_others = subscriber
            .whispers
            .borrow()
            .iter()
            .any(|tail| tail.contains(r#""u":"user0""#));
        assert_eq!(of_others, visible);
    }
    cluster.stop().await;
}
