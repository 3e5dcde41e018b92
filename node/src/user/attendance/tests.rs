//! One shard's attendance against an owner made of words.

use std::time::{Duration, Instant};

use protocol::UserId;
use tokio::sync::mpsc;

use super::shard::Attending;
use super::workers::Workers;
use super::{Notice, Shown};
use crate::rpc::presence::{Admission, Attended, Displaced, Item, News, Seat, State, View};

const W: u64 = 1;

struct World {
    shard: Attending,
    workers: Workers,
    inbox: mpsc::Receiver<Vec<Notice>>,
    now: Instant,
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn seat(tag: u64) -> Seat {
    Seat {
        user: user("alice"),
        tag,
        device: None,
        since_ms: 0,
        asks: true,
        mark: tag,
        goes_on: None,
    }
}

fn view(online: bool, version: u64, barred: Option<u64>) -> View {
    let state = State {
        online,
        seen: Some(9),
        version,
    };
    View { state, barred }
}

fn stands(viewer: &str, online: bool, seen: u64) -> Notice {
    Notice::Stands {
        user: user("bob"),
        viewer: user(viewer),
        shown: Shown {
            online,
            seen: Some(seen),
        },
    }
}

impl World {
    fn new() -> World {
        let (notices, inbox) = mpsc::channel(1);
        let mut workers = Workers::default();
        workers.add(W, notices);
        World {
            shard: Attending::new(0, 7, 100),
            workers,
            inbox,
            now: Instant::now(),
        }
    }

    fn watch(&mut self, viewer: &str) {
        self.shard
            .watch(W, &user("bob"), &user(viewer), &mut self.workers);
    }

    fn ask(&mut self) -> (u64, crate::rpc::presence::Attend) {
        self.now += Duration::from_secs(1);
        assert!(self.shard.due(self.now).is_some_and(|due| due <= self.now));
        self.shard.ask(5, self.now, Duration::from_millis(100))
    }

    fn answer(&mut self, id: u64, seats: Vec<Admission>, watched: Vec<View>) {
        self.shard
            .answered(id, Attended { seats, watched }, &mut self.workers);
    }

    fn news(&mut self, epoch: u64, registration: u64, item: Item) {
        let news = News {
            shard: 0,
            epoch,
            registration,
            items: vec![item],
        };
        self.shard.news(news, &mut self.workers);
    }

    fn notices(&mut self) -> Vec<Notice> {
        self.workers.flush();
        self.inbox.try_recv().unwrap_or_default()
    }
}

#[test]
fn sessions_that_come_and_go_before_anybody_was_told_are_not_told() {
    let mut world = World::new();
    world.shard.enter(W, seat(1));
    world.shard.leave(user("alice"), 1);
    assert_eq!(world.shard.due(world.now), None);
    world.shard.enter(W, seat(2));
    let (id, question) = world.ask();
    assert!(question.fresh && question.seats == [seat(2)]);
    // What happens while the request is under way goes with the next.
    world.shard.leave(user("alice"), 2);
    world.shard.enter(W, seat(3));
    assert_eq!(world.shard.due(world.now), None);
    world.answer(id, vec![Admission::Admitted], vec![]);
    assert_eq!(world.notices(), [], "nobody waits for it any more");
    let (_, question) = world.ask();
    assert!(!question.fresh && question.registration == 100);
    assert_eq!(
        (question.gone, question.seats),
        (vec![(user("alice"), 2)], vec![seat(3)])
    );
}

#[test]
fn one_who_waits_to_be_let_in_is_told_of_at_once_and_others_gather() {
    let mut world = World::new();
    for tag in 1..=3 {
        world.shard.enter(W, seat(tag));
        // No time has passed since the request before.
        assert_eq!(world.shard.due(world.now), Some(world.now));
        let (id, question) = world.shard.ask(5, world.now, Duration::from_secs(9));
        assert_eq!(question.seats, [seat(tag)]);
        assert_eq!(world.shard.due(world.now), None, "one request at a time");
        world.answer(id, vec![Admission::Admitted], vec![]);
    }
    world.shard.leave(user("alice"), 1);
    assert_eq!(
        world.shard.due(world.now),
        Some(world.now + Duration::from_secs(9))
    );
    // What gathers goes with one who waits.
    world.shard.enter(W, seat(4));
    assert_eq!(world.shard.due(world.now), Some(world.now));
    let (id, question) = world.shard.ask(5, world.now, Duration::from_secs(9));
    assert_eq!(
        (question.gone, question.seats),
        (vec![(user("alice"), 1)], vec![seat(4)])
    );
    // An owner that can't be reached is left alone for a while, whoever waits.
    world.shard.failed(id, 200, world.now, |_| Duration::from_secs(1));
    assert_eq!(
        world.shard.due(world.now),
        Some(world.now + Duration::from_secs(1))
    );
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut world = World::new();
    world.shard.enter(W, seat(1));
    let (id, _) = world.ask();
    world.answer(id, vec![Admission::Admitted], vec![]);
    world.notices();
    world.shard.enter(W, seat(2));
    world.watch("alice");
    let (id, first) = world.ask();
    world.shard.failed(id, 200, world.now, |_| Duration::ZERO);
    let (_, second) = world.ask();
    assert_eq!((second.registration, &second.seats), (100, &first.seats));
    assert_eq!(second.watched, first.watched);
}

#[test]
fn a_doubt_tells_everything_anew_and_nobody_has_to_ask_to_be_let_in_twice() {
    let mut world = World::new();
    world.shard.enter(W, seat(1));
    world.watch("alice");
    let (id, _) = world.ask();
    world.answer(id, vec![Admission::Admitted], vec![view(true, 1, None)]);
    world.shard.enter(W, seat(2));
    world.notices();
    assert!(world.shard.moved(6) && !world.shard.moved(5));
    world.shard.doubt(300, world.now, Duration::ZERO);
    let (_, question) = world.ask();
    let mut seats: Vec<(u64, bool)> = question.seats.iter().map(|seat| (seat.tag, seat.asks)).collect();
    seats.sort_unstable();
    assert_eq!(seats, [(1, false), (2, true)]);
    assert!(question.fresh && question.registration == 300 && question.watched[0].online);
    world.answer(id, vec![Admission::Conflict; 2], vec![]);
    assert_eq!(world.notices(), [], "the answer to an earlier request is none");
}

#[test]
fn every_viewer_is_told_once_and_then_of_changes() {
    let mut world = World::new();
    world.watch("alice");
    let (id, _) = world.ask();
    world.answer(id, vec![], vec![view(false, 0, None)]);
    assert_eq!(world.notices(), [stands("alice", false, 9)]);
    world.watch("carol");
    let (id, question) = world.ask();
    assert_eq!(question.watched.len(), 1);
    world.answer(id, vec![], vec![view(false, 0, None)]);
    assert_eq!(world.notices(), [stands("carol", false, 9)]);
    // One who asks again is told again, without a question.
    world.watch("carol");
    assert_eq!(world.shard.due(world.now), None);
    assert_eq!(world.notices(), [stands("carol", false, 9)]);

    let presence = |online, version| Item::Presence {
        user: user("bob"),
        state: view(online, version, None).state,
    };
    world.news(5, 100, presence(true, 2));
    assert_eq!(world.notices().len(), 2);
    world.news(5, 100, presence(false, 1));
    assert_eq!(world.notices(), [], "older than what is known");
    world.news(5, 99, presence(false, 3));
    assert_eq!(world.notices(), [], "of an earlier registration");
    // A new owner counts from the beginning.
    world.news(6, 100, presence(false, 0));
    assert_eq!(world.notices().len(), 2);
}

#[test]
fn one_who_is_blocked_sees_the_user_leave_when_the_block_began_and_never_come_back() {
    let mut world = World::new();
    world.watch("alice");
    world.watch("carol");
    let (id, question) = world.ask();
    let at = question
        .watched
        .iter()
        .position(|watch| watch.viewer == user("alice"));
    let mut views = vec![view(true, 1, None); 2];
    views[at.unwrap()].barred = Some(4);
    world.answer(id, vec![], views);
    let mut told = world.notices();
    told.sort_by_key(|notice| format!("{notice:?}").contains("carol"));
    assert_eq!(told, [stands("alice", false, 4), stands("carol", true, 9)]);

    let barred = |viewer: &str, since| Item::Barred {
        user: user("bob"),
        viewer: user(viewer),
        since,
    };
    world.news(5, 100, barred("alice", None));
    assert_eq!(world.notices(), [stands("alice", true, 9)]);
    world.news(5, 100, barred("carol", Some(7)));
    assert_eq!(world.notices(), [stands("carol", false, 7)]);
    world.news(5, 100, barred("carol", Some(7)));
    world.news(5, 100, barred("dave", Some(7)));
    assert_eq!(world.notices(), []);
}

#[test]
fn a_lost_seat_is_told_to_its_worker_and_not_to_the_owner() {
    let mut world = World::new();
    world.shard.enter(W, seat(1));
    let (id, _) = world.ask();
    world.answer(id, vec![Admission::Admitted], vec![]);
    world.notices();
    let item = Item::Displaced {
        tag: 1,
        how: Displaced::Replaced,
    };
    world.news(5, 100, item);
    let lost = Notice::Displaced {
        tag: 1,
        how: Displaced::Replaced,
    };
    assert_eq!(world.notices(), [lost]);
    world.shard.leave(user("alice"), 1);
    assert_eq!(world.shard.due(world.now), None);
    assert_eq!(world.shard.beat(), None, "nothing to be remembered for");
}

#[test]
fn a_worker_that_takes_nothing_gets_the_newest_later() {
    let mut world = World::new();
    world.watch("alice");
    let (id, _) = world.ask();
    world.answer(id, vec![], vec![view(false, 0, None)]);
    world.workers.flush();
    for version in 1..=9 {
        let state = view(version % 2 == 1, version, None).state;
        let item = Item::Presence {
            user: user("bob"),
            state,
        };
        world.news(5, 100, item);
        world.workers.flush();
    }
    assert!(world.workers.waiting());
    assert_eq!(world.inbox.try_recv().unwrap(), [stands("alice", false, 9)]);
    assert_eq!(world.notices(), [stands("alice", true, 9)]);
    assert_eq!(world.workers.behind, 1);
    drop(world.inbox);
    world.shard.unwatch(W, &user("bob"), &user("alice"));
    world.workers.tell(W, stands("alice", false, 9));
    assert_eq!(world.workers.flush(), [W]);
}

#[test]
fn a_node_divides_rates_as_it_is_told_and_gives_all_while_it_is_in_doubt() {
    let mut world = World::new();
    world.shard.enter(W, seat(1));
    let (id, question) = world.ask();
    world.answer(id, vec![Admission::Admitted], vec![]);
    let item = Item::Divided {
        user: user("alice"),
        nodes: 2,
    };
    world.news(1, question.registration, item.clone());
    assert_eq!(world.shard.take_divided(), [(user("alice"), 2)]);
    assert_eq!(world.shard.take_divided(), []);
    world.shard.doubt(9, world.now, Duration::ZERO);
    assert_eq!(world.shard.take_divided(), [(user("alice"), 1)]);
    world.news(1, question.registration, item);
    assert_eq!(world.shard.take_divided(), [], "of an earlier registration");
}
