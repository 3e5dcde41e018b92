//! The directory under a clock of its own.

use std::time::Duration;

use super::*;
use crate::rpc::presence::{Displaced, News, Watch};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const SEC: Duration = Duration::from_secs(1);

/// A directory with its clock.
struct World {
    directory: Directory,
    start: Instant,
    now: Instant,
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn seat(name: &str, tag: u64, device: Option<(&str, &str)>) -> Seat {
    Seat {
        user: user(name),
        tag,
        device: device.map(|(device, instance)| (device.to_owned(), instance.to_owned())),
        since_ms: tag,
        asks: true,
        mark: tag,
        goes_on: None,
    }
}

fn request(registration: u64) -> Attend {
    Attend {
        shard: 0,
        epoch: 1,
        registration,
        incarnation: 7,
        fresh: true,
        gone: vec![],
        seats: vec![],
        unwatched: vec![],
        watched: vec![],
    }
}

impl World {
    fn new() -> World {
        World::with(Settings::default())
    }

    fn with(settings: Settings) -> World {
        let now = Instant::now();
        World {
            directory: Directory::new(settings, now),
            start: now,
            now,
        }
    }

    fn now_ms(&self) -> u64 {
        self.now.duration_since(self.start).as_millis() as u64
    }

    fn attend(&mut self, node: NodeId, request: &Attend) -> Answer {
        let now_ms = self.now_ms();
        self.directory.attend(node, request, self.now, now_ms).unwrap()
    }

    fn enter(&mut self, node: NodeId, seat: Seat) -> Admission {
        let mut request = request(node.0);
        request.seats.push(seat);
        self.attend(node, &request).seats[0]
    }

    fn leave(&mut self, node: NodeId, name: &str, tag: u64) {
        let mut request = request(node.0);
        request.gone.push((user(name), tag));
        self.attend(node, &request);
    }

    fn watch(&mut self, node: NodeId, name: &str, online: bool) -> State {
        let mut request = request(node.0);
        let viewer = user("viewer");
        request.watched.push(Watch {
            user: user(name),
            viewer,
            online,
        });
        self.attend(node, &request).watched[0]
    }

    /// Lets time pass; the nodes named go on giving signs of life.
    fn pass(&mut self, time: Duration, alive: &[NodeId]) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + SEC).min(end);
            for node in alive {
                self.directory.beat(*node, node.0, self.now);
            }
            let now_ms = self.now_ms();
            self.directory.sweep(self.now, now_ms);
        }
    }

    fn state(&self, name: &str) -> (bool, Option<u64>) {
        let state = self.directory.state(&user(name), self.now, self.now_ms());
        (state.online, state.seen)
    }

    /// What a node is told but of rates.
    fn news(&mut self, node: NodeId) -> Vec<Item> {
        let all = self.all_news(node).into_iter();
        all.filter(|item| !matches!(item, Item::Divided { .. })).collect()
    }

    fn all_news(&mut self, node: NodeId) -> Vec<Item> {
        let (now, now_ms) = (self.now, self.now_ms());
        let all: Vec<(NodeId, News)> = self.directory.take_news(0, 1, now, now_ms);
        let mut items = Vec::new();
        for (to, news) in all {
            if to == node {
                items.extend(news.items.clone());
                self.directory.told(to, news.registration);
            } else {
                self.directory.untold(to, news, now);
            }
        }
        items
    }

    fn saves(&mut self) -> Vec<(String, u64)> {
        let saves = self.directory.take_saves();
        saves
            .into_iter()
            .map(|(user, seen)| (user.to_string(), seen))
            .collect()
    }
}

fn displaced(tag: u64, how: Displaced) -> Item {
    Item::Displaced { tag, how }
}

#[test]
fn a_user_is_there_until_the_hold_down_behind_the_last_session_is_over() {
    let mut world = World::new();
    assert_eq!(world.state("alice"), (false, None));
    world.enter(A, seat("alice", 1, None));
    world.enter(B, seat("alice", 2, None));
    assert!(world.directory.live(&user("alice")));
    world.pass(5 * SEC, &[A, B]);
    world.leave(A, "alice", 1);
    world.pass(30 * SEC, &[A, B]);
    assert_eq!(
        world.state("alice"),
        (true, Some(35_000)),
        "another device is there"
    );
    world.leave(B, "alice", 2);
    assert!(!world.directory.live(&user("alice")));
    world.pass(19 * SEC, &[A, B]);
    assert!(world.state("alice").0);
    world.pass(SEC, &[A, B]);
    assert_eq!(
        world.state("alice"),
        (false, Some(35_000)),
        "seen when the last session ended"
    );
}

#[test]
fn a_flapping_link_shows_to_nobody() {
    let mut world = World::new();
    world.enter(A, seat("alice", 1, None));
    assert!(world.watch(B, "alice", false).online);
    for tag in 1..10 {
        world.leave(A, "alice", tag);
        world.pass(10 * SEC, &[A, B]);
        world.enter(A, seat("alice", tag + 1, None));
        world.pass(15 * SEC, &[A, B]);
    }
    assert_eq!(world.news(B), []);
    world.leave(A, "alice", 10);
    world.pass(20 * SEC, &[A, B]);
    let [Item::Presence { user, state }] = &world.news(B)[..] else {
        panic!("one piece of news")
    };
    assert_eq!((user.as_str(), state.online), ("alice", false));
}

#[test]
fn the_users_of_a_node_that_falls_silent_are_gone_after_the_hold_down() {
    let mut world = World::new();
    world.enter(A, seat("alice", 1, None));
    world.watch(B, "alice", false);
    world.pass(4 * SEC, &[B]);
    assert!(world.directory.live(&user("alice")));
    world.pass(SEC, &[B]);
    assert!(!world.directory.live(&user("alice")), "silent for five seconds");
    assert!(world.state("alice").0);
    world.pass(20 * SEC, &[B]);
    assert!(!world.state("alice").0);
    assert_eq!(world.news(B).len(), 1);
    // It comes back and is not known any more.
    assert!(!world.directory.beat(A, A.0, world.now));
    let mut late = request(A.0);
    late.fresh = false;
    late.seats.push(seat("alice", 1, None));
    assert_eq!(world.directory.attend(A, &late, world.now, 0), None);
    late.fresh = true;
    world.attend(A, &late);
    assert!(world.directory.live(&user("alice")));
}

#[test]
fn a_node_that_registers_anew_keeps_only_what_it_names() {
    let mut world = World::new();
    world.enter(A, seat("alice", 1, None));
    world.enter(A, seat("bob", 2, None));
    let mut anew = request(99);
    anew.seats.push(Seat {
        asks: false,
        ..seat("alice", 1, None)
    });
    world.attend(A, &anew);
    assert!(world.directory.live(&user("alice")));
    assert!(!world.directory.live(&user("bob")));
}

#[test]
fn the_same_instance_replaces_its_old_session_and_another_one_displaces_it() {
    let mut world = World::new();
    world.enter(A, seat("alice", 1, Some(("phone", "x"))));
    world.enter(A, seat("alice", 2, Some(("laptop", "x"))));
    world.enter(B, seat("alice", 3, Some(("phone", "x"))));
    assert_eq!(world.news(A), [displaced(1, Displaced::Replaced)]);
    world.enter(A, seat("alice", 4, Some(("phone", "y"))));
    assert_eq!(world.news(B), [displaced(3, Displaced::Displaced)]);
    assert_eq!(world.news(A), [], "the laptop stays");
    // The same word twice changes nothing.
    assert_eq!(
        world.enter(A, seat("alice", 4, Some(("phone", "y")))),
        Admission::Admitted
    );
    assert_eq!(world.news(A), []);
    assert_eq!(world.directory.displaced, 2);
}

#[test]
fn instances_that_fight_for_a_device_are_refused_until_the_window_has_passed() {
    let mut world = World::new();
    let come = |world: &mut World, tag: u64| {
        let instance = format!("i{tag}");
        world.enter(A, seat("alice", tag, Some(("phone", &instance))))
    };
    for tag in 1..=4 {
        assert_eq!(come(&mut world, tag), Admission::Admitted);
    }
    assert_eq!(come(&mut world, 5), Admission::Conflict);
    assert_eq!(
        world.news(A),
        [1, 2, 3].map(|tag| displaced(tag, Displaced::Displaced)),
        "the fourth stays"
    );
    // Another device, and the instance that is there, are none of their business.
    assert_eq!(
        world.enter(A, seat("alice", 6, Some(("laptop", "a")))),
        Admission::Admitted
    );
    assert_eq!(
        world.enter(A, seat("alice", 7, Some(("phone", "i4")))),
        Admission::Admitted
    );
    world.pass(10 * SEC, &[A]);
    assert_eq!(come(&mut world, 8), Admission::Admitted);
}

#[test]
fn a_user_has_so_many_sessions_and_no_more() {
    let mut world = World::with(Settings {
        sessions_per_user: 2,
        ..Settings::default()
    });
    assert_eq!(
        world.enter(A, seat("alice", 1, Some(("phone", "x")))),
        Admission::Admitted
    );
    assert_eq!(world.enter(B, seat("alice", 2, None)), Admission::Admitted);
    assert_eq!(world.enter(B, seat("alice", 3, None)), Admission::TooMany);
    assert_eq!(world.enter(B, seat("bob", 4, None)), Admission::Admitted);
    // One that takes another's place adds none.
    assert_eq!(
        world.enter(B, seat("alice", 5, Some(("phone", "y")))),
        Admission::Admitted
    );
    world.leave(B, "alice", 2);
    assert_eq!(world.enter(B, seat("alice", 6, None)), Admission::Admitted);
}

#[test]
fn of_two_sessions_told_anew_the_later_one_stays() {
    for order in [[1, 2], [2, 1]] {
        let mut world = World::new();
        let told = order.map(|tag| Seat {
            asks: false,
            ..seat("alice", tag, Some(("phone", if tag == 1 { "x" } else { "y" })))
        });
        let verdicts = told.map(|seat| world.enter(if seat.tag == 1 { A } else { B }, seat));
        let lost: Vec<Item> = world.news(A);
        if order == [1, 2] {
            assert_eq!(lost, [displaced(1, Displaced::Displaced)]);
        } else {
            assert_eq!(verdicts[1], Admission::Displaced(Displaced::Displaced));
        }
        world.leave(B, "alice", 2);
        assert!(!world.directory.live(&user("alice")));
    }
}

#[test]
fn a_new_owner_takes_a_watchers_word_until_the_users_node_has_spoken() {
    let mut world = World::new();
    assert!(world.watch(B, "alice", true).online, "the old owner said so");
    assert!(world.watch(B, "bob", true).online);
    world.pass(SEC, &[B]);
    world.enter(A, seat("alice", 1, None));
    world.pass(30 * SEC, &[A, B]);
    assert!(world.state("alice").0);
    assert!(!world.state("bob").0, "nobody spoke for bob");
    let news = world.news(B);
    assert!(
        matches!(&news[..], [Item::Presence { user, state }] if user.as_str() == "bob" && !state.online),
        "{news:?}"
    );
    // Long after the change of owner, a watcher's word counts for nothing.
    assert!(!world.watch(B, "carol", true).online);
}

#[test]
fn when_a_user_was_seen_is_noted_once_in_five_minutes() {
    let mut world = World::new();
    let mut notes = Vec::new();
    for tag in 1..=20 {
        world.enter(A, seat("alice", tag, None));
        world.pass(15 * SEC, &[A]);
        world.leave(A, "alice", tag);
        world.pass(15 * SEC, &[A]);
        notes.extend(world.saves());
    }
    // Ten minutes of coming and going.
    world.pass(300 * SEC, &[A]);
    notes.extend(world.saves());
    let times: Vec<u64> = notes.iter().map(|(_, seen)| *seen).collect();
    assert_eq!(times.first(), Some(&15_000));
    assert_eq!(times.last(), Some(&585_000), "the last time is not forgotten");
    assert!(times.len() <= 3 && times.is_sorted(), "{times:?}");
    world.pass(600 * SEC, &[A]);
    assert_eq!(world.directory.size(), (0, 0), "nothing has to be known any more");
}

#[test]
fn news_that_did_not_arrive_is_told_again_and_says_the_newest() {
    let mut world = World::with(Settings {
        hold_down: SEC,
        ..Settings::default()
    });
    world.watch(B, "alice", false);
    world.enter(A, seat("alice", 1, None));
    let (now, now_ms) = (world.now, world.now_ms());
    let lost = world.directory.take_news(0, 1, now, now_ms);
    let [(B, news)] = &lost[..] else {
        panic!("{lost:?}")
    };
    assert_eq!(world.directory.take_news(0, 1, now, now_ms), [], "one at a time");
    world.directory.barred(&user("alice"), &user("viewer"), Some(3));
    world.leave(A, "alice", 1);
    world.pass(2 * SEC, &[A, B]);
    world.directory.untold(B, news.clone(), world.now);
    let told = world.news(B);
    assert!(
        matches!(&told[..], [Item::Barred { since: Some(3), .. }, Item::Presence { state, .. }] if !state.online),
        "{told:?}"
    );
    assert_eq!(world.news(B), []);
}

#[test]
fn who_watches_no_more_hears_no_more() {
    let mut world = World::new();
    world.watch(B, "alice", false);
    let mut request = request(B.0);
    request.unwatched.push(user("alice"));
    world.attend(B, &request);
    world.enter(A, seat("alice", 1, None));
    assert_eq!(world.news(B), []);
    assert_eq!(world.directory.size(), (1, 1));
}

fn divided(name: &str, nodes: u32) -> Item {
    Item::Divided {
        user: user(name),
        nodes,
    }
}

#[test]
fn the_nodes_of_a_user_learn_how_many_they_are_and_that_they_become_fewer() {
    let mut world = World::new();
    for tag in 1..=2 {
        world.enter(A, seat("alice", tag, None));
    }
    assert_eq!(world.all_news(A), [], "one node gives all, unasked");
    world.enter(B, seat("alice", 3, None));
    world.enter(B, seat("alice", 4, None));
    assert_eq!(world.all_news(A), [divided("alice", 2)]);
    assert_eq!(world.all_news(B), [divided("alice", 2)]);
    world.leave(B, "alice", 3);
    assert_eq!(world.all_news(A), []);
    world.leave(B, "alice", 4);
    assert_eq!(world.all_news(A), [divided("alice", 1)]);
    // One that comes in the place of another is told as well.
    world.enter(B, seat("alice", 7, Some(("phone", "x"))));
    assert_eq!(world.all_news(A), [divided("alice", 2)]);
    world.enter(C, seat("alice", 8, Some(("phone", "x"))));
    assert_eq!(world.all_news(C), [divided("alice", 2)]);
    world.leave(C, "alice", 8);
    assert_eq!(world.all_news(A).last(), Some(&divided("alice", 1)));
    // A node that dies leaves its part to the others.
    world.enter(B, seat("alice", 5, None));
    assert_eq!(world.all_news(A), [divided("alice", 2)]);
    world.pass(6 * SEC, &[A]);
    assert_eq!(world.all_news(A), [divided("alice", 1)]);
}

#[test]
fn of_clients_of_a_device_that_name_no_instance_one_stays_in_the_end() {
    let mut world = World::new();
    let unnamed = |tag| seat("alice", tag, Some(("phone", "")));
    for tag in 0..=3 {
        assert_eq!(world.enter(A, unnamed(tag)), Admission::Admitted, "{tag}");
    }
    assert_eq!(world.enter(A, unnamed(4)), Admission::Conflict);
    assert_eq!(
        world.news(A),
        [0, 1, 2].map(|tag| displaced(tag, Displaced::Replaced)),
        "the last one stays"
    );
    world.pass(10 * SEC, &[A]);
    assert_eq!(world.enter(A, unnamed(5)), Admission::Admitted);
    // Nor is one that goes on with the session whose connection it replaces: it is the same client.
    for tag in 20..30 {
        let mut seat = unnamed(tag);
        seat.goes_on = Some(if tag == 20 { 5 } else { tag - 1 });
        assert_eq!(world.enter(B, seat), Admission::Admitted, "{tag}");
    }
    // One that names its instance is one client, however often it comes back.
    let named = |tag| seat("alice", tag, Some(("laptop", "x")));
    for tag in 10..20 {
        assert_eq!(world.enter(B, named(tag)), Admission::Admitted);
    }
}
