//! Who is there, across nodes and whatever becomes of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use node::conversation::timeline::Op;
use node::user::{Device, Loss, Refused, Screen, Seat, SessionMark};
use protocol::event::PresenceState;
use protocol::{ConvId, Event};

use crate::world::{Ears, Node, World, eventually, user};

/// A session that writes down what it is shown.
#[derive(Default)]
struct Eyes {
    seen: RefCell<Vec<(String, bool)>>,
}

impl Screen for Eyes {
    fn show(&self, tail: Bytes) -> bool {
        let text = format!("{{{}", std::str::from_utf8(&tail).unwrap());
        let Some(Event::Presence(presence)) = Event::decode(&text) else {
            panic!("{text}")
        };
        let online = presence.state == PresenceState::Online;
        self.seen.borrow_mut().push((presence.u.to_string(), online));
        true
    }
}

impl Eyes {
    /// A session of bob that watches alice on this node, and what it was shown first.
    async fn on(node: &Node, online: bool) -> Rc<Eyes> {
        let eyes = Rc::new(Eyes::default());
        assert!(
            node.desk
                .watch(1, &user("bob"), eyes.clone(), vec![user("alice")], 500)
        );
        eventually("the snapshot", async || !eyes.seen.borrow().is_empty()).await;
        eyes.saw(&[online]);
        eyes
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
        own: 1,
        goes_on: None,
    }
}

/// A session of alice.
async fn alice(node: &Node, device: Option<Device>) -> (Seat, impl Future<Output = Option<Loss>> + use<>) {
    let (seat, admission, loss) = node.desk.enter(&user("alice"), None, device, mark());
    admission.await.unwrap();
    (seat, loss)
}

/// The owner of alice's shard, and the others.
fn owner(world: &World) -> (NodeId, Vec<NodeId>) {
    world.owner_and_others(&ConvId::parse("alice").unwrap())
}

async fn live(node: &Node, name: &str) -> Option<bool> {
    node.conversations.live(&[user(name)]).await[0]
}

#[actix::test]
async fn presence_is_seen_from_every_node() {
    let world = World::start(3).await;
    let [a, b, c] = &world.nodes[..] else { panic!() };
    let eyes = Eyes::on(b, false).await;
    let (first, _) = alice(a, None).await;
    eyes.sees(&[false, true]).await;
    let (second, _) = alice(c, None).await;
    for node in &world.nodes {
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
    eyes.sees(&[false, true, false]).await;
    let shown = a
        .conversations
        .presence(&user("bob"), &user("alice"))
        .await
        .unwrap();
    assert!(!shown.online && shown.seen.is_some());
    world.stop().await;
}

#[actix::test]
async fn a_new_owner_is_told_of_everybody_and_nobody_sees_a_flicker() {
    // Long enough for a slow machine to elect another owner and tell it everything.
    let hold_down = Duration::from_secs(5);
    let mut world = World::with(3, |settings| {
        (settings.users.hold_down, settings.users.settle) = (hold_down, hold_down / 2);
    })
    .await;
    let (dies, others) = owner(&world);
    let (seat, _) = alice(world.node(others[0]), phone("x")).await;
    let eyes = Eyes::on(world.node(others[1]), true).await;
    world.crash(dies).await;
    // Whoever asks waits until the new owner can know.
    let node = world.node(others[1]);
    let mut found = None;
    eventually("the new owner answers", async || {
        found = live(node, "alice").await;
        found.is_some()
    })
    .await;
    assert_eq!(found, Some(true));
    // The new owner's hold-down passes, and she is there still.
    tokio::time::sleep(hold_down).await;
    eyes.saw(&[true]);
    drop(seat);
    eyes.sees(&[true, false]).await;
    world.stop().await;
}

#[actix::test]
async fn the_users_of_a_node_that_dies_go_offline() {
    let mut world = World::start(3).await;
    let (owner, others) = owner(&world);
    let (_seat, _) = alice(world.node(others[0]), None).await;
    let eyes = Eyes::on(world.node(others[1]), true).await;
    world.crash(others[0]).await;
    eyes.sees(&[true, false]).await;
    assert_eq!(live(world.node(owner), "alice").await, Some(false));
    world.stop().await;
}

#[actix::test]
async fn an_owner_that_lost_sight_of_a_node_hears_of_its_users_again() {
    let world = World::start(3).await;
    let (owner, others) = owner(&world);
    let (away, watches) = (world.node(others[0]), world.node(others[1]));
    let (_seat, _) = alice(away, None).await;
    let eyes = Eyes::on(watches, true).await;
    world.network.partition(&[others[0]]);
    eyes.sees(&[true, false]).await;
    world.network.heal();
    eyes.sees(&[true, false, true]).await;
    assert_eq!(live(world.node(owner), "alice").await, Some(true));
    world.stop().await;
}

#[actix::test]
async fn a_device_has_one_session_in_the_whole_cluster() {
    let world = World::start(3).await;
    let [a, b, c] = &world.nodes[..] else { panic!() };
    let (_one, loss) = alice(a, phone("x")).await;
    let (_two, replaced) = alice(b, phone("x")).await;
    assert_eq!(loss.await, Some(Loss::Replaced));
    let (_three, displaced) = alice(c, phone("y")).await;
    assert_eq!(replaced.await, Some(Loss::Displaced));
    let (_four, _) = alice(a, phone("z")).await;
    assert_eq!(displaced.await, Some(Loss::Displaced));
    let (_five, stays) = alice(b, phone("x")).await;
    let (_six, admission, _) = c.desk.enter(&user("alice"), None, phone("y"), mark());
    assert_eq!(admission.await, Err(Refused::Conflict));
    let waited = tokio::time::timeout(Duration::from_millis(50), stays).await;
    assert!(waited.is_err(), "the one that was there stays");
    world.stop().await;
}

#[actix::test]
async fn a_block_hides_the_user_on_every_node() {
    let world = World::start(3).await;
    let [a, b, c] = &world.nodes[..] else { panic!() };
    let (_seat, _) = alice(a, None).await;
    let eyes = Eyes::on(b, true).await;
    let direct = ConvId::direct(&user("alice"), &user("bob"));
    let block = |on| Op::Block { who: user("bob"), on };
    c.command("alice", &direct, "b", block(true)).await.unwrap();
    eyes.sees(&[true, false]).await;
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
    eyes.sees(&[true, false, true]).await;
    world.stop().await;
}

#[actix::test]
async fn when_a_user_was_seen_outlives_the_owner() {
    let mut world = World::start(3).await;
    let (dies, others) = owner(&world);
    let (seat, _) = alice(world.node(others[0]), None).await;
    drop(seat);
    let bob = user("bob");
    let seen = async |world: &World| {
        let node = world.node(others[0]);
        let shown = node.conversations.presence(&bob, &user("alice")).await.ok()?;
        (!shown.online).then_some(shown.seen)
    };
    eventually("alice is gone", async || seen(&world).await.is_some()).await;
    let before = seen(&world).await.flatten();
    assert!(before.is_some());
    let node = world.node(dies);
    eventually("it is noted", async || node.figure("user_seen_saved_total") == 1).await;
    // What the owner submits behind it to the same shard is applied behind it.
    node.command("alice", &ConvId::parse("g_x").unwrap(), "r", Op::Reserve)
        .await
        .unwrap();
    world.crash(dies).await;
    eventually("the new owner knows", async || seen(&world).await == Some(before)).await;
    world.stop().await;
}

#[actix::test]
async fn typing_crosses_nodes_and_survives_the_loss_of_the_owner() {
    let mut world = World::start(3).await;
    let conv = world.nodes[0].group("alice", &["bob"]).await;
    let (dies, others) = world.owner_and_others(&conv);
    let (typist, listener) = (world.node(others[0]), world.node(others[1]));
    let (bob, _): (Rc<Ears>, u64) = listener.listen("bob", &conv).await;
    typist.conversations.typing(&user("mallory"), &conv, true);
    typist.conversations.typing(&user("alice"), &conv, true);
    eventually("the notice", async || !bob.whispers.borrow().is_empty()).await;
    assert!(bob.whispers.borrow()[0].contains(r#""t":"typing""#));
    world.crash(dies).await;
    let typist = world.node(others[0]);
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
    world.stop().await;
}

/// The receipts and `conv` events among what a session was told outside the log.
fn own(ears: &Ears) -> Vec<String> {
    let whispers = ears.whispers.borrow();
    let own = whispers.iter().filter(|tail| {
        tail.starts_with(r#""t":"conv""#)
            || tail.starts_with(r#""t":"receipt""#) && tail.contains(r#""u":"alice""#)
    });
    own.cloned().collect()
}

#[actix::test]
async fn what_one_reads_and_mutes_reaches_ones_devices_on_other_nodes() {
    let world = World::start(3).await;
    let others: Vec<String> = (0..255).map(|i| format!("user{i}")).collect();
    // In a conversation too large for receipts, one's own are the only ones.
    for (owner, count) in [("yan", 1), ("zed", 255)] {
        let members = others.iter().take(count).map(String::as_str);
        let members: Vec<&str> = members.chain(["alice"]).collect();
        let conv = world.nodes[0].group(owner, &members).await;
        let (phone, laptop) = (&world.nodes[1], &world.nodes[2]);
        let (ears, _) = laptop.listen("alice", &conv).await;
        // What is for one user alone goes to that user's sessions.
        laptop.hub.attach(&user("alice"), ears.clone());
        let sent = world.nodes[0].send("user0", &conv, "hi").await.unwrap();
        phone
            .command("alice", &conv, "", Op::Read { s: sent.s })
            .await
            .unwrap();
        let read = format!(r#""read":{}"#, sent.s);
        eventually("the receipt", async || {
            own(&ears).iter().any(|tail| tail.contains(&read))
        })
        .await;
        let mute = Op::Set {
            title: None,
            history: None,
            muted: Some(true),
            pinned: None,
        };
        phone.command("alice", &conv, "mute", mute).await.unwrap();
        eventually("the conversation", async || {
            own(&ears).iter().any(|tail| tail.contains(r#""muted":true"#))
        })
        .await;
        let cursor = Op::Read { s: sent.s };
        world.nodes[0].command("user0", &conv, "", cursor).await.unwrap();
        phone.conversations.typing(&user("user0"), &conv, true);
        let shown = count == 1;
        if shown {
            eventually("typing", async || {
                ears.whispers.borrow().iter().any(|tail| tail.contains("typing"))
            })
            .await;
        }
        // Behind whatever else there was.
        let last = world.nodes[0].send("user0", &conv, "bye").await.unwrap().s;
        eventually("the last message", async || ears.last(&conv) == last).await;
        let of_others = ears
            .whispers
            .borrow()
            .iter()
            .any(|tail| tail.contains(r#""u":"user0""#));
        assert_eq!(of_others, shown);
    }
    world.stop().await;
}
