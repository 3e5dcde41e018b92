//! Presence events of a slow session, and late verdicts.

use bytes::Bytes;

use super::*;
use crate::rpc::SessionId;
use crate::rpc::presence::{SessionAdmission, VisiblePresence};

/// Session with room for a given number of events.
struct Narrow {
    room: Cell<usize>,
    seen: RefCell<Vec<String>>,
}

impl PresenceSink for Narrow {
    fn show(&self, tail: Bytes) -> bool {
        let room = self.room.get();
        if room > 0 {
            self.room.set(room - 1);
            self.seen
                .borrow_mut()
                .push(String::from_utf8(tail.to_vec()).unwrap());
        }
        room > 0
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn presence() -> (LocalPresence, mpsc::UnboundedReceiver<ReporterCommand>) {
    let (orders, outbox) = mpsc::unbounded_channel();
    (
        LocalPresence::connect(orders, 4, UserMetrics::default(), ClusterClock::system()),
        outbox,
    )
}

fn stands(presence: &LocalPresence, name: &str, online: bool) {
    let visible = VisiblePresence { online, seen: None };
    presence.inner.take(ReporterEvent::Stands {
        user: user(name),
        viewer: user("bob"),
        visible,
    });
    presence.inner.show_waiting();
}

#[actix::test]
async fn a_slow_session_gets_the_newest_state_once_there_is_room() {
    let (presence, _orders) = presence();
    let screen = Rc::new(Narrow {
        room: Cell::new(1),
        seen: RefCell::default(),
    });
    let users = vec![user("alice"), user("carol"), user("alice")];
    assert!(presence.watch(1, &user("bob"), screen.clone(), users, 2));
    assert!(!presence.watch(1, &user("bob"), screen.clone(), vec![user("dave")], 2));
    stands(&presence, "alice", true);
    stands(&presence, "carol", true);
    for _ in 0..3 {
        stands(&presence, "alice", false);
        stands(&presence, "alice", true);
        stands(&presence, "carol", false);
        stands(&presence, "carol", true);
    }
    stands(&presence, "carol", false);
    assert_eq!(screen.seen.borrow().len(), 1);
    assert_eq!(presence.inner.metrics.presence_waiting.get(), 2);
    screen.room.set(9);
    assert!(!presence.inner.show_waiting());
    let seen: Vec<String> = std::mem::take(&mut *screen.seen.borrow_mut());
    let state =
        |name: &str, state: &str| format!(r#""t":"presence","u":"{name}","state":"{state}","seen":null}}"#);
    // Alice's state equals the last one sent; of Carol's only the last one is sent.
    assert_eq!(seen, [state("alice", "online"), state("carol", "offline")]);
    assert_eq!(presence.inner.metrics.presence_waiting.get(), 0);

    presence.end(1);
    stands(&presence, "alice", false);
    assert!(screen.seen.borrow().is_empty() && presence.watching(1).is_empty());
    assert!(presence.inner.state.borrow().watched.is_empty());
}

#[actix::test]
async fn a_verdict_that_comes_too_late_ends_the_session_all_the_same() {
    let (presence, mut orders) = presence();
    let mark = SessionMark {
        sid: SessionId { node: 1, secret: 1 },
        goes_on: None,
    };
    let mut tag = || loop {
        if let ReporterCommand::Enter { session, .. } = orders.try_recv().unwrap() {
            return session.tag;
        }
    };
    let (_guard, admission, loss) = presence.enter(&user("alice"), None, None, mark);
    drop(admission);
    presence.inner.take(ReporterEvent::Admitted {
        tag: tag(),
        admission: SessionAdmission::TooMany,
    });
    assert_eq!(loss.await, Some(EvictionReason::TooMany));

    let (guard, admission, _) = presence.enter(&user("alice"), None, None, mark);
    let id = tag();
    presence.inner.take(ReporterEvent::Admitted {
        tag: id,
        admission: SessionAdmission::Conflict,
    });
    assert_eq!(admission.await, Err(SessionRefused::Conflict));
    drop(guard);
    assert!(matches!(orders.try_recv().unwrap(), ReporterCommand::Leave { tag, .. } if tag == id));
}

#[actix::test]
async fn detached_session_with_a_device_waits_under_its_tag() {
    let (presence, mut orders) = presence();
    let sid = SessionId { node: 1, secret: 7 };
    let mark = SessionMark { sid, goes_on: None };
    let device = Device {
        name: "phone".to_owned(),
        instance: String::new(),
    };
    let mut entered = || loop {
        if let ReporterCommand::Enter { session, .. } = orders.try_recv().unwrap() {
            return session;
        }
    };
    let (mut guard, ..) = presence.enter(&user("alice"), None, Some(device), mark);
    let connected = entered();
    assert!(!connected.waiting && connected.asks && connected.sid == Some(sid));
    assert!(guard.wait());
    let waiting = entered();
    assert!(waiting.waiting && !waiting.asks && waiting.tag == connected.tag);

    let (mut guard, ..) = presence.enter(&user("alice"), None, None, mark);
    assert!(!guard.wait(), "no device could find it");
    assert_eq!(entered().sid, None);
}

#[actix::test]
async fn changed_profile_waits_for_room_and_comes_once() {
    let (presence, _orders) = presence();
    let screen = Rc::new(Narrow {
        room: Cell::new(0),
        seen: RefCell::default(),
    });
    assert!(presence.watch(1, &user("bob"), screen.clone(), vec![user("alice")], 2));
    let change = |name: &str, ver| {
        presence.inner.take(ReporterEvent::Profile {
            user: user(name),
            viewer: user("bob"),
            ver,
        });
        presence.inner.show_waiting()
    };
    assert!(!change("nobody", 1), "not watched");
    assert!(change("alice", 2) && change("alice", 3));
    assert_eq!(presence.inner.metrics.presence_waiting.get(), 1);
    screen.room.set(9);
    assert!(!presence.inner.show_waiting());
    assert_eq!(*screen.seen.borrow(), [r#""t":"profile","u":"alice","ver":3}"#]);
    screen.room.set(0);
    assert!(change("alice", 4));
    presence.unwatch(1, &[user("alice")]);
    screen.room.set(9);
    presence.inner.show_waiting();
    assert_eq!(screen.seen.borrow().len(), 1, "watched no longer");
    assert_eq!(presence.inner.metrics.presence_waiting.get(), 0);
}
