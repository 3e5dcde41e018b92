//! The directory under a clock of its own.

use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::rpc::SessionId;
use crate::rpc::presence::{DisplacedSession, PresenceUpdates, PresenceWatch, SessionInfo};

mod devices;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const SEC: Duration = Duration::from_secs(1);

/// A directory with its clock.
struct TestRegistry {
    inner: PresenceRegistry,
    start: Instant,
    now: Instant,
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn sid(tag: u64) -> SessionId {
    SessionId {
        node: 1,
        secret: u128::from(tag),
    }
}

fn session(name: &str, tag: u64, device: Option<(&str, &str)>) -> SessionInfo {
    SessionInfo {
        user: user(name),
        tag,
        device: device.map(|(device, instance)| (device.to_owned(), instance.to_owned())),
        since_ms: tag,
        asks: true,
        mark: tag,
        goes_on: None,
        sid: device.map(|_| sid(tag)),
        waiting: false,
    }
}

fn request(registration: u64) -> RegisterPresence {
    RegisterPresence {
        shard: 0,
        epoch: 1,
        registration,
        incarnation: 7,
        fresh: true,
        gone: vec![],
        sessions: vec![],
        unwatched: vec![],
        watched: vec![],
    }
}

impl TestRegistry {
    fn new() -> TestRegistry {
        TestRegistry::with(Settings::from(&Config::default()))
    }

    fn with(settings: Settings) -> TestRegistry {
        let now = Instant::now();
        TestRegistry {
            inner: PresenceRegistry::new(settings, now),
            start: now,
            now,
        }
    }

    fn now_ms(&self) -> u64 {
        self.now.duration_since(self.start).as_millis() as u64
    }

    fn register(&mut self, node: NodeId, request: &RegisterPresence) -> RegistrationResponse {
        let now_ms = self.now_ms();
        self.inner.register(node, request, self.now, now_ms).unwrap()
    }

    fn enter(&mut self, node: NodeId, session: SessionInfo) -> SessionAdmission {
        let mut request = request(node.0);
        request.sessions.push(session);
        self.register(node, &request).sessions[0]
    }

    fn leave(&mut self, node: NodeId, name: &str, tag: u64) {
        let mut request = request(node.0);
        request.gone.push((user(name), tag));
        self.register(node, &request);
    }

    fn watch(&mut self, node: NodeId, name: &str, online: bool) -> VersionedPresence {
        let mut request = request(node.0);
        let viewer = user("viewer");
        request.watched.push(PresenceWatch {
            user: user(name),
            viewer,
            online,
        });
        self.register(node, &request).watched[0]
    }

    /// Lets time pass; the nodes named go on giving signs of life.
    fn pass(&mut self, time: Duration, alive: &[NodeId]) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + SEC).min(end);
            for node in alive {
                self.inner.heartbeat(*node, node.0, self.now);
            }
            let now_ms = self.now_ms();
            self.inner.sweep(self.now, now_ms);
        }
    }

    fn state(&self, name: &str) -> (bool, Option<u64>) {
        let state = self.inner.state(&user(name), self.now, self.now_ms());
        (state.online, state.seen)
    }

    /// What a node is told but of rates.
    fn updates(&mut self, node: NodeId) -> Vec<PresenceUpdate> {
        let all = self.all_updates(node).into_iter();
        all.filter(|item| !matches!(item, PresenceUpdate::Divided { .. }))
            .collect()
    }

    fn all_updates(&mut self, node: NodeId) -> Vec<PresenceUpdate> {
        let (now, now_ms) = (self.now, self.now_ms());
        let all: Vec<(NodeId, PresenceUpdates)> = self.inner.pop_updates(0, 1, now, now_ms);
        let mut items = Vec::new();
        for (to, updates) in all {
            if to == node {
                items.extend(updates.items.clone());
                self.inner.sent(to, updates.registration);
            } else {
                self.inner.unsent(to, updates, now);
            }
        }
        items
    }

    fn saves(&mut self) -> Vec<(String, u64)> {
        let saves = self.inner.take_saves();
        saves
            .into_iter()
            .map(|(user, seen)| (user.to_string(), seen))
            .collect()
    }
}

fn displaced(tag: u64, how: DisplacedSession) -> PresenceUpdate {
    PresenceUpdate::Displaced { tag, how }
}

#[test]
fn user_is_online_until_the_grace_period_after_the_last_session() {
    let mut registry = TestRegistry::new();
    assert_eq!(registry.state("alice"), (false, None));
    registry.enter(A, session("alice", 1, None));
    registry.enter(B, session("alice", 2, None));
    assert!(registry.inner.live(&user("alice")));
    registry.pass(5 * SEC, &[A, B]);
    registry.leave(A, "alice", 1);
    registry.pass(30 * SEC, &[A, B]);
    assert_eq!(
        registry.state("alice"),
        (true, Some(35_000)),
        "another device is there"
    );
    registry.leave(B, "alice", 2);
    assert!(!registry.inner.live(&user("alice")));
    registry.pass(19 * SEC, &[A, B]);
    assert!(registry.state("alice").0);
    registry.pass(SEC, &[A, B]);
    assert_eq!(
        registry.state("alice"),
        (false, Some(35_000)),
        "seen when the last session ended"
    );
}

#[test]
fn a_flapping_connection_changes_no_presence() {
    let mut registry = TestRegistry::new();
    registry.enter(A, session("alice", 1, None));
    assert!(registry.watch(B, "alice", false).online);
    for tag in 1..10 {
        registry.leave(A, "alice", tag);
        registry.pass(10 * SEC, &[A, B]);
        registry.enter(A, session("alice", tag + 1, None));
        registry.pass(15 * SEC, &[A, B]);
    }
    assert_eq!(registry.updates(B), []);
    registry.leave(A, "alice", 10);
    registry.pass(20 * SEC, &[A, B]);
    let [PresenceUpdate::Presence { user, state }] = &registry.updates(B)[..] else {
        panic!("one piece of news")
    };
    assert_eq!((user.as_str(), state.online), ("alice", false));
}

#[test]
fn users_of_a_silent_node_go_offline_after_the_grace_period() {
    let mut registry = TestRegistry::new();
    registry.enter(A, session("alice", 1, None));
    registry.watch(B, "alice", false);
    registry.pass(4 * SEC, &[B]);
    assert!(registry.inner.live(&user("alice")));
    registry.pass(SEC, &[B]);
    assert!(!registry.inner.live(&user("alice")), "silent for five seconds");
    assert!(registry.state("alice").0);
    registry.pass(20 * SEC, &[B]);
    assert!(!registry.state("alice").0);
    assert_eq!(registry.updates(B).len(), 1);
    // It comes back and is not known any more.
    assert!(!registry.inner.heartbeat(A, A.0, registry.now));
    let mut late = request(A.0);
    late.fresh = false;
    late.sessions.push(session("alice", 1, None));
    assert_eq!(registry.inner.register(A, &late, registry.now, 0), None);
    late.fresh = true;
    registry.register(A, &late);
    assert!(registry.inner.live(&user("alice")));
}

#[test]
fn a_node_that_registers_anew_keeps_only_what_it_names() {
    let mut registry = TestRegistry::new();
    registry.enter(A, session("alice", 1, None));
    registry.enter(A, session("bob", 2, None));
    let mut anew = request(99);
    anew.sessions.push(SessionInfo {
        asks: false,
        ..session("alice", 1, None)
    });
    registry.register(A, &anew);
    assert!(registry.inner.live(&user("alice")));
    assert!(!registry.inner.live(&user("bob")));
}

#[test]
fn new_owner_trusts_a_watcher_until_the_users_node_registers() {
    let mut registry = TestRegistry::new();
    assert!(registry.watch(B, "alice", true).online, "the old owner said so");
    assert!(registry.watch(B, "bob", true).online);
    registry.pass(SEC, &[B]);
    registry.enter(A, session("alice", 1, None));
    registry.pass(30 * SEC, &[A, B]);
    assert!(registry.state("alice").0);
    assert!(!registry.state("bob").0, "nobody spoke for bob");
    let updates = registry.updates(B);
    assert!(
        matches!(&updates[..], [PresenceUpdate::Presence { user, state }] if user.as_str() == "bob" && !state.online),
        "{updates:?}"
    );
    // Long after the change of owner, a watcher's word counts for nothing.
    assert!(!registry.watch(B, "carol", true).online);
}

#[test]
fn when_a_user_was_seen_is_noted_once_in_five_minutes() {
    let mut registry = TestRegistry::new();
    let mut notes = Vec::new();
    for tag in 1..=20 {
        registry.enter(A, session("alice", tag, None));
        registry.pass(15 * SEC, &[A]);
        registry.leave(A, "alice", tag);
        registry.pass(15 * SEC, &[A]);
        notes.extend(registry.saves());
    }
    // Ten minutes of coming and going.
    registry.pass(300 * SEC, &[A]);
    notes.extend(registry.saves());
    let times: Vec<u64> = notes.iter().map(|(_, seen)| *seen).collect();
    assert_eq!(times.first(), Some(&15_000));
    assert_eq!(times.last(), Some(&585_000), "the last time is not forgotten");
    assert!(times.len() <= 3 && times.is_sorted(), "{times:?}");
    registry.pass(600 * SEC, &[A]);
    assert_eq!(registry.inner.size(), (0, 0), "nothing has to be known any more");
}

#[test]
fn undelivered_updates_are_sent_again_with_the_newest_state() {
    let mut registry = TestRegistry::with(Settings {
        offline_grace: SEC,
        ..Settings::from(&Config::default())
    });
    registry.watch(B, "alice", false);
    registry.enter(A, session("alice", 1, None));
    let (now, now_ms) = (registry.now, registry.now_ms());
    let lost = registry.inner.pop_updates(0, 1, now, now_ms);
    let [(B, updates)] = &lost[..] else {
        panic!("{lost:?}")
    };
    assert_eq!(registry.inner.pop_updates(0, 1, now, now_ms), [], "one at a time");
    registry.inner.blocked(&user("alice"), &user("viewer"), Some(3));
    registry.leave(A, "alice", 1);
    registry.pass(2 * SEC, &[A, B]);
    registry.inner.unsent(B, updates.clone(), registry.now);
    let updates = registry.updates(B);
    assert!(
        matches!(&updates[..], [PresenceUpdate::Blocked { since: Some(3), .. }, PresenceUpdate::Presence { state, .. }] if !state.online),
        "{updates:?}"
    );
    assert_eq!(registry.updates(B), []);
}

#[test]
fn an_ended_watch_gets_no_updates() {
    let mut registry = TestRegistry::new();
    registry.watch(B, "alice", false);
    let mut request = request(B.0);
    request.unwatched.push(user("alice"));
    registry.register(B, &request);
    registry.enter(A, session("alice", 1, None));
    assert_eq!(registry.updates(B), []);
    assert_eq!(registry.inner.size(), (1, 1));
}

fn divided(name: &str, nodes: u32) -> PresenceUpdate {
    PresenceUpdate::Divided {
        user: user(name),
        nodes,
    }
}

#[test]
fn nodes_of_a_user_learn_their_number_and_its_decrease() {
    let mut registry = TestRegistry::new();
    for tag in 1..=2 {
        registry.enter(A, session("alice", tag, None));
    }
    assert_eq!(registry.all_updates(A), [], "one node gives all, unasked");
    registry.enter(B, session("alice", 3, None));
    registry.enter(B, session("alice", 4, None));
    assert_eq!(registry.all_updates(A), [divided("alice", 2)]);
    assert_eq!(registry.all_updates(B), [divided("alice", 2)]);
    registry.leave(B, "alice", 3);
    assert_eq!(registry.all_updates(A), []);
    registry.leave(B, "alice", 4);
    assert_eq!(registry.all_updates(A), [divided("alice", 1)]);
    // One that comes in the place of another is told as well.
    registry.enter(B, session("alice", 7, Some(("phone", "x"))));
    assert_eq!(registry.all_updates(A), [divided("alice", 2)]);
    registry.enter(C, session("alice", 8, Some(("phone", "x"))));
    assert_eq!(registry.all_updates(C), [divided("alice", 2)]);
    registry.leave(C, "alice", 8);
    assert_eq!(registry.all_updates(A).last(), Some(&divided("alice", 1)));
    // A node that dies leaves its part to the others.
    registry.enter(B, session("alice", 5, None));
    assert_eq!(registry.all_updates(A), [divided("alice", 2)]);
    registry.pass(6 * SEC, &[A]);
    assert_eq!(registry.all_updates(A), [divided("alice", 1)]);
}

#[test]
fn changed_profile_reaches_watching_nodes_in_its_newest_version() {
    let mut registry = TestRegistry::new();
    registry.watch(A, "alice", false);
    registry.enter(B, session("alice", 1, None));
    registry.updates(A);
    registry.updates(B);
    for ver in [2, 3, 1] {
        registry.inner.profile_changed(&user("alice"), ver);
    }
    registry.inner.profile_changed(&user("nobody"), 1);
    let change = |ver| {
        vec![PresenceUpdate::Profile {
            user: user("alice"),
            ver,
        }]
    };
    assert_eq!(registry.updates(B), [], "its session does not watch");
    assert_eq!(registry.updates(A), change(3));
    assert_eq!(registry.updates(A), []);
    // A lost message is repeated, unless a newer version has come meanwhile.
    registry.inner.profile_changed(&user("alice"), 4);
    let (now, now_ms) = (registry.now, registry.now_ms());
    let mut lost = registry.inner.pop_updates(0, 1, now, now_ms);
    let (node, updates) = lost.remove(0);
    registry.inner.profile_changed(&user("alice"), 5);
    registry.inner.unsent(node, updates, now);
    assert!(registry.inner.updates_due().is_some());
    assert_eq!(registry.updates(A), change(5));
}
