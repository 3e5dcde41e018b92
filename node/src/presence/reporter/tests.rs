//! One shard's attendance against an owner made of words.

use std::time::{Duration, Instant};

use cluster::ShardId;
use protocol::UserId;
use tokio::sync::mpsc;

use super::ReporterEvent;
use super::presence_batch::PresenceWorkers;
use super::shard_presence::{PresenceRegistration, ShardPresence};
use crate::registration::ShardRegistration;
use crate::rpc::presence::{
    DisplacedSession, PresenceRegistered, PresenceUpdate, PresenceUpdates, PresenceView, SessionAdmission,
    SessionInfo, VersionedPresence, VisiblePresence,
};

const W: u64 = 1;

struct TestReporter {
    shard: PresenceRegistration,
    workers: PresenceWorkers,
    inbox: mpsc::Receiver<Vec<ReporterEvent>>,
    now: Instant,
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn session(tag: u64) -> SessionInfo {
    SessionInfo {
        user: user("alice"),
        tag,
        device: None,
        since_ms: 0,
        asks: true,
        mark: tag,
        goes_on: None,
        sid: None,
        waiting: false,
    }
}

fn view(online: bool, version: u64, blocked: Option<u64>) -> PresenceView {
    let state = VersionedPresence {
        online,
        seen: Some(9),
        version,
    };
    PresenceView { state, blocked }
}

fn stands(viewer: &str, online: bool, seen: u64) -> ReporterEvent {
    ReporterEvent::Stands {
        user: user("bob"),
        viewer: user(viewer),
        visible: VisiblePresence {
            online,
            seen: Some(seen),
        },
    }
}

impl TestReporter {
    fn new() -> TestReporter {
        TestReporter::gathering(Duration::from_millis(100))
    }

    fn gathering(gather: Duration) -> TestReporter {
        let (events, inbox) = mpsc::channel(1);
        let mut workers = PresenceWorkers::default();
        workers.add(W, events);
        TestReporter {
            shard: ShardRegistration::new(ShardId(0), 100, ShardPresence::new(7, gather)),
            workers,
            inbox,
            now: Instant::now(),
        }
    }

    fn watch(&mut self, viewer: &str) {
        self.shard
            .content
            .watch(W, &user("bob"), &user(viewer), &mut self.workers);
    }

    fn ask(&mut self) -> (u64, crate::rpc::presence::RegisterPresence) {
        self.now += Duration::from_secs(1);
        assert!(self.shard.due(self.now).is_some_and(|due| due <= self.now));
        self.shard.next_request(5, self.now)
    }

    fn answer(&mut self, id: u64, sessions: Vec<SessionAdmission>, watched: Vec<PresenceView>) {
        let response = PresenceRegistered { sessions, watched };
        self.shard.on_response(id, response, self.now, &mut self.workers);
    }

    fn update(&mut self, epoch: u64, registration: u64, item: PresenceUpdate) {
        let updates = PresenceUpdates {
            shard: 0,
            epoch,
            registration,
            items: vec![item],
        };
        self.shard.on_updates(updates, &mut self.workers);
    }

    fn events(&mut self) -> Vec<ReporterEvent> {
        self.workers.flush();
        self.inbox.try_recv().unwrap_or_default()
    }
}

#[test]
fn a_session_that_ends_before_the_request_is_not_sent() {
    let mut reporter = TestReporter::new();
    reporter.shard.content.enter(W, session(1));
    reporter.shard.content.leave(user("alice"), 1);
    assert_eq!(reporter.shard.due(reporter.now), None);
    reporter.shard.content.enter(W, session(2));
    let (id, question) = reporter.ask();
    assert!(question.fresh && question.sessions == [session(2)]);
    // What happens while the request is under way goes with the next.
    reporter.shard.content.leave(user("alice"), 2);
    reporter.shard.content.enter(W, session(3));
    assert_eq!(reporter.shard.due(reporter.now), None);
    reporter.answer(id, vec![SessionAdmission::Admitted], vec![]);
    assert_eq!(reporter.events(), [], "nobody waits for it any more");
    let (_, question) = reporter.ask();
    assert!(!question.fresh && question.registration == 100);
    assert_eq!(
        (question.gone, question.sessions),
        (vec![(user("alice"), 2)], vec![session(3)])
    );
}

#[test]
fn a_session_to_admit_is_sent_at_once_and_others_gather() {
    let mut reporter = TestReporter::gathering(Duration::from_secs(9));
    for tag in 1..=3 {
        reporter.shard.content.enter(W, session(tag));
        // No time has passed since the request before.
        assert_eq!(reporter.shard.due(reporter.now), Some(reporter.now));
        let (id, question) = reporter.shard.next_request(5, reporter.now);
        assert_eq!(question.sessions, [session(tag)]);
        assert_eq!(reporter.shard.due(reporter.now), None, "one request at a time");
        reporter.answer(id, vec![SessionAdmission::Admitted], vec![]);
    }
    reporter.shard.content.leave(user("alice"), 1);
    assert_eq!(
        reporter.shard.due(reporter.now),
        Some(reporter.now + Duration::from_secs(9))
    );
    // What gathers goes with one who waits.
    reporter.shard.content.enter(W, session(4));
    assert_eq!(reporter.shard.due(reporter.now), Some(reporter.now));
    let (id, question) = reporter.shard.next_request(5, reporter.now);
    assert_eq!(
        (question.gone, question.sessions),
        (vec![(user("alice"), 1)], vec![session(4)])
    );
    // An owner that can't be reached is left alone for a while, whoever waits.
    reporter
        .shard
        .on_failure(id, 200, reporter.now, |_| Duration::from_secs(1));
    assert_eq!(
        reporter.shard.due(reporter.now),
        Some(reporter.now + Duration::from_secs(1))
    );
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut reporter = TestReporter::new();
    reporter.shard.content.enter(W, session(1));
    let (id, _) = reporter.ask();
    reporter.answer(id, vec![SessionAdmission::Admitted], vec![]);
    reporter.events();
    reporter.shard.content.enter(W, session(2));
    reporter.watch("alice");
    let (id, first) = reporter.ask();
    reporter
        .shard
        .on_failure(id, 200, reporter.now, |_| Duration::ZERO);
    let (_, second) = reporter.ask();
    assert_eq!((second.registration, &second.sessions), (100, &first.sessions));
    assert_eq!(second.watched, first.watched);
}

#[test]
fn a_new_registration_sends_all_and_asks_no_session_twice() {
    let mut reporter = TestReporter::new();
    reporter.shard.content.enter(W, session(1));
    reporter.watch("alice");
    let (id, _) = reporter.ask();
    reporter.answer(id, vec![SessionAdmission::Admitted], vec![view(true, 1, None)]);
    reporter.shard.content.enter(W, session(2));
    reporter.events();
    assert!(reporter.shard.owner_changed(6) && !reporter.shard.owner_changed(5));
    reporter.shard.mark_stale(300, reporter.now, Duration::ZERO);
    let (_, question) = reporter.ask();
    let mut sessions: Vec<(u64, bool)> = question
        .sessions
        .iter()
        .map(|session| (session.tag, session.asks))
        .collect();
    sessions.sort_unstable();
    assert_eq!(sessions, [(1, false), (2, true)]);
    assert!(question.fresh && question.registration == 300 && question.watched[0].online);
    reporter.answer(id, vec![SessionAdmission::Conflict; 2], vec![]);
    assert_eq!(reporter.events(), [], "the answer to an earlier request is none");
}

#[test]
fn every_viewer_gets_the_state_once_and_then_changes() {
    let mut reporter = TestReporter::new();
    reporter.watch("alice");
    let (id, _) = reporter.ask();
    reporter.answer(id, vec![], vec![view(false, 0, None)]);
    assert_eq!(reporter.events(), [stands("alice", false, 9)]);
    reporter.watch("carol");
    let (id, question) = reporter.ask();
    assert_eq!(question.watched.len(), 1);
    reporter.answer(id, vec![], vec![view(false, 0, None)]);
    assert_eq!(reporter.events(), [stands("carol", false, 9)]);
    // One who asks again is told again, without a question.
    reporter.watch("carol");
    assert_eq!(reporter.shard.due(reporter.now), None);
    assert_eq!(reporter.events(), [stands("carol", false, 9)]);

    let presence = |online, version| PresenceUpdate::Presence {
        user: user("bob"),
        state: view(online, version, None).state,
    };
    reporter.update(5, 100, presence(true, 2));
    assert_eq!(reporter.events().len(), 2);
    reporter.update(5, 100, presence(false, 1));
    assert_eq!(reporter.events(), [], "older than what is known");
    reporter.update(5, 99, presence(false, 3));
    assert_eq!(reporter.events(), [], "of an earlier registration");
    // A new owner counts from the beginning.
    reporter.update(6, 100, presence(false, 0));
    assert_eq!(reporter.events().len(), 2);
}

#[test]
fn blocked_watcher_sees_the_user_offline_since_the_block() {
    let mut reporter = TestReporter::new();
    reporter.watch("alice");
    reporter.watch("carol");
    let (id, question) = reporter.ask();
    let at = question
        .watched
        .iter()
        .position(|watch| watch.viewer == user("alice"));
    let mut views = vec![view(true, 1, None); 2];
    views[at.unwrap()].blocked = Some(4);
    reporter.answer(id, vec![], views);
    let mut events = reporter.events();
    events.sort_by_key(|event| format!("{event:?}").contains("carol"));
    assert_eq!(events, [stands("alice", false, 4), stands("carol", true, 9)]);

    let blocked = |viewer: &str, since| PresenceUpdate::Blocked {
        user: user("bob"),
        viewer: user(viewer),
        since,
    };
    reporter.update(5, 100, blocked("alice", None));
    assert_eq!(reporter.events(), [stands("alice", true, 9)]);
    reporter.update(5, 100, blocked("carol", Some(7)));
    assert_eq!(reporter.events(), [stands("carol", false, 7)]);
    reporter.update(5, 100, blocked("carol", Some(7)));
    reporter.update(5, 100, blocked("dave", Some(7)));
    assert_eq!(reporter.events(), []);
}

#[test]
fn a_lost_session_is_sent_to_its_worker_only() {
    let mut reporter = TestReporter::new();
    reporter.shard.content.enter(W, session(1));
    let (id, _) = reporter.ask();
    reporter.answer(id, vec![SessionAdmission::Admitted], vec![]);
    reporter.events();
    let item = PresenceUpdate::Displaced {
        tag: 1,
        how: DisplacedSession::Replaced,
    };
    reporter.update(5, 100, item);
    let lost = ReporterEvent::Displaced {
        tag: 1,
        how: DisplacedSession::Replaced,
    };
    assert_eq!(reporter.events(), [lost]);
    reporter.shard.content.leave(user("alice"), 1);
    assert_eq!(reporter.shard.due(reporter.now), None);
    assert_eq!(reporter.shard.heartbeat(), None, "nothing to be remembered for");
}

#[test]
fn a_worker_that_takes_nothing_gets_the_newest_later() {
    let mut reporter = TestReporter::new();
    reporter.watch("alice");
    let (id, _) = reporter.ask();
    reporter.answer(id, vec![], vec![view(false, 0, None)]);
    reporter.workers.flush();
    for version in 1..=9 {
        let state = view(version % 2 == 1, version, None).state;
        let item = PresenceUpdate::Presence {
            user: user("bob"),
            state,
        };
        reporter.update(5, 100, item);
        reporter.workers.flush();
    }
    assert!(reporter.workers.is_waiting());
    assert_eq!(reporter.inbox.try_recv().unwrap(), [stands("alice", false, 9)]);
    assert_eq!(reporter.events(), [stands("alice", true, 9)]);
    assert_eq!(reporter.workers.overflows, 1);
    drop(reporter.inbox);
    reporter.shard.content.unwatch(W, &user("bob"), &user("alice"));
    reporter.workers.send(W, stands("alice", false, 9));
    assert_eq!(reporter.workers.flush(), [W]);
}

#[test]
fn rates_are_divided_as_the_owner_says_and_full_while_stale() {
    let mut reporter = TestReporter::new();
    reporter.shard.content.enter(W, session(1));
    let (id, question) = reporter.ask();
    reporter.answer(id, vec![SessionAdmission::Admitted], vec![]);
    let item = PresenceUpdate::Divided {
        user: user("alice"),
        nodes: 2,
    };
    reporter.update(1, question.registration, item.clone());
    assert_eq!(reporter.shard.content.take_divided(), [(user("alice"), 2)]);
    assert_eq!(reporter.shard.content.take_divided(), []);
    reporter.shard.mark_stale(9, reporter.now, Duration::ZERO);
    assert_eq!(reporter.shard.content.take_divided(), [(user("alice"), 1)]);
    reporter.update(1, question.registration, item);
    assert_eq!(
        reporter.shard.content.take_divided(),
        [],
        "of an earlier registration"
    );
}

fn waiting(tag: u64) -> SessionInfo {
    SessionInfo {
        asks: false,
        waiting: true,
        ..session(tag)
    }
}

#[test]
fn detached_session_is_registered_as_waiting_until_it_ends() {
    let mut reporter = TestReporter::new();
    reporter.shard.content.enter(W, session(1));
    let (id, _) = reporter.ask();
    // The connection ends while its verdict is under way.
    reporter.shard.content.enter(W, waiting(1));
    reporter.answer(id, vec![SessionAdmission::TooMany], vec![]);
    assert_eq!(reporter.events(), [], "the verdict concerns no connection");
    let (id, request) = reporter.ask();
    assert_eq!(request.sessions, [waiting(1)]);
    reporter.answer(id, vec![SessionAdmission::Admitted], vec![]);
    assert_eq!(reporter.shard.content.size(), (0, 0));
    // Nor does a displacement that the owner decided before.
    let displaced = PresenceUpdate::Displaced {
        tag: 1,
        how: DisplacedSession::Replaced,
    };
    reporter.update(5, 100, displaced);
    assert_eq!(reporter.events(), []);
    // A new owner gets it again.
    reporter.shard.mark_stale(101, reporter.now, Duration::ZERO);
    let (id, request) = reporter.ask();
    assert!(request.fresh && request.sessions == [waiting(1)]);
    reporter.answer(id, vec![SessionAdmission::Admitted], vec![]);
    reporter.shard.content.leave(user("alice"), 1);
    assert_eq!(reporter.ask().1.gone, [(user("alice"), 1)]);
}

#[test]
fn replaced_session_is_registered_again_as_waiting() {
    let mut reporter = TestReporter::new();
    reporter.shard.content.enter(W, session(1));
    let (id, _) = reporter.ask();
    reporter.answer(id, vec![SessionAdmission::Admitted], vec![]);
    reporter.events();
    let displaced = PresenceUpdate::Displaced {
        tag: 1,
        how: DisplacedSession::Replaced,
    };
    reporter.update(5, 100, displaced);
    assert_eq!(reporter.events().len(), 1);
    reporter.shard.content.enter(W, waiting(1));
    assert_eq!(reporter.ask().1.sessions, [waiting(1)]);
}

#[test]
fn changed_profile_reaches_viewers_who_are_not_blocked() {
    let mut reporter = TestReporter::new();
    reporter.watch("alice");
    reporter.watch("carol");
    let change = |ver| PresenceUpdate::Profile {
        user: user("bob"),
        ver,
    };
    reporter.update(5, 100, change(2));
    assert_eq!(reporter.events(), [], "no viewer's block is known yet");
    let (id, question) = reporter.ask();
    let mut views = vec![view(true, 1, None); 2];
    let blocked = question
        .watched
        .iter()
        .position(|watch| watch.viewer == user("alice"));
    views[blocked.unwrap()].blocked = Some(4);
    reporter.answer(id, vec![], views);
    reporter.events();
    reporter.update(5, 100, change(3));
    let expected = ReporterEvent::Profile {
        user: user("bob"),
        viewer: user("carol"),
        ver: 3,
    };
    assert_eq!(reporter.events(), [expected]);
    reporter.update(5, 99, change(4));
    assert_eq!(reporter.events(), [], "of an earlier registration");
}
