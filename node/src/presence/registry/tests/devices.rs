//! Displacement between the sessions of a device, and the limit per user.

use super::*;

#[test]
fn same_instance_replaces_its_session_and_another_displaces_it() {
    let mut registry = TestRegistry::new();
    registry.enter(A, session("alice", 1, Some(("phone", "x"))));
    registry.enter(A, session("alice", 2, Some(("laptop", "x"))));
    registry.enter(B, session("alice", 3, Some(("phone", "x"))));
    assert_eq!(registry.updates(A), [displaced(1, DisplacedSession::Replaced)]);
    registry.enter(A, session("alice", 4, Some(("phone", "y"))));
    assert_eq!(registry.updates(B), [displaced(3, DisplacedSession::Displaced)]);
    assert_eq!(registry.updates(A), [], "the laptop stays");
    // The same word twice changes nothing.
    assert_eq!(
        registry.enter(A, session("alice", 4, Some(("phone", "y")))),
        SessionAdmission::Admitted
    );
    assert_eq!(registry.updates(A), []);
    assert_eq!(registry.inner.displaced, 2);
}

#[test]
fn instances_that_compete_for_a_device_are_refused_for_a_time() {
    let mut registry = TestRegistry::new();
    let come = |registry: &mut TestRegistry, tag: u64| {
        let instance = format!("i{tag}");
        registry.enter(A, session("alice", tag, Some(("phone", &instance))))
    };
    for tag in 1..=4 {
        assert_eq!(come(&mut registry, tag), SessionAdmission::Admitted);
    }
    assert_eq!(come(&mut registry, 5), SessionAdmission::Conflict);
    assert_eq!(
        registry.updates(A),
        [1, 2, 3].map(|tag| displaced(tag, DisplacedSession::Displaced)),
        "the fourth stays"
    );
    // Another device, and the instance that is there, are none of their business.
    assert_eq!(
        registry.enter(A, session("alice", 6, Some(("laptop", "a")))),
        SessionAdmission::Admitted
    );
    assert_eq!(
        registry.enter(A, session("alice", 7, Some(("phone", "i4")))),
        SessionAdmission::Admitted
    );
    registry.pass(10 * SEC, &[A]);
    assert_eq!(come(&mut registry, 8), SessionAdmission::Admitted);
}

#[test]
fn a_user_has_so_many_sessions_and_no_more() {
    let mut registry = TestRegistry::with(Settings {
        sessions_per_user: 2,
        ..Settings::from(&Config::default())
    });
    assert_eq!(
        registry.enter(A, session("alice", 1, Some(("phone", "x")))),
        SessionAdmission::Admitted
    );
    assert_eq!(
        registry.enter(B, session("alice", 2, None)),
        SessionAdmission::Admitted
    );
    assert_eq!(
        registry.enter(B, session("alice", 3, None)),
        SessionAdmission::TooMany
    );
    assert_eq!(
        registry.enter(B, session("bob", 4, None)),
        SessionAdmission::Admitted
    );
    // One that takes another's place adds none.
    assert_eq!(
        registry.enter(B, session("alice", 5, Some(("phone", "y")))),
        SessionAdmission::Admitted
    );
    registry.leave(B, "alice", 2);
    assert_eq!(
        registry.enter(B, session("alice", 6, None)),
        SessionAdmission::Admitted
    );
}

#[test]
fn of_two_sessions_registered_again_the_later_one_stays() {
    for order in [[1, 2], [2, 1]] {
        let mut registry = TestRegistry::new();
        let sessions = order.map(|tag| SessionInfo {
            asks: false,
            ..session("alice", tag, Some(("phone", if tag == 1 { "x" } else { "y" })))
        });
        let verdicts = sessions.map(|session| registry.enter(if session.tag == 1 { A } else { B }, session));
        let lost: Vec<PresenceUpdate> = registry.updates(A);
        if order == [1, 2] {
            assert_eq!(lost, [displaced(1, DisplacedSession::Displaced)]);
        } else {
            assert_eq!(
                verdicts[1],
                SessionAdmission::Displaced(DisplacedSession::Displaced)
            );
        }
        registry.leave(B, "alice", 2);
        assert!(!registry.inner.live(&user("alice")));
    }
}

#[test]
fn one_client_stays_of_those_on_a_device_without_an_instance() {
    let mut registry = TestRegistry::new();
    let unnamed = |tag| session("alice", tag, Some(("phone", "")));
    for tag in 0..=3 {
        assert_eq!(
            registry.enter(A, unnamed(tag)),
            SessionAdmission::Admitted,
            "{tag}"
        );
    }
    assert_eq!(registry.enter(A, unnamed(4)), SessionAdmission::Conflict);
    assert_eq!(
        registry.updates(A),
        [0, 1, 2].map(|tag| displaced(tag, DisplacedSession::Replaced)),
        "the last one stays"
    );
    registry.pass(10 * SEC, &[A]);
    assert_eq!(registry.enter(A, unnamed(5)), SessionAdmission::Admitted);
    // Nor is one that goes on with the session whose connection it replaces: it is the same client.
    for tag in 20..30 {
        let mut session = unnamed(tag);
        session.goes_on = Some(if tag == 20 { 5 } else { tag - 1 });
        assert_eq!(registry.enter(B, session), SessionAdmission::Admitted, "{tag}");
    }
    // One that names its instance is one client, however often it comes back.
    let named = |tag| session("alice", tag, Some(("laptop", "x")));
    for tag in 10..20 {
        assert_eq!(registry.enter(B, named(tag)), SessionAdmission::Admitted);
    }
}

fn waiting(name: &str, tag: u64, device: (&str, &str)) -> SessionInfo {
    SessionInfo {
        asks: false,
        waiting: true,
        ..session(name, tag, Some(device))
    }
}

fn last(registry: &TestRegistry, device: &str) -> Option<(SessionId, bool)> {
    let last = registry.inner.last_session(&user("alice"), device)?;
    Some((last.sid, last.waiting))
}

#[test]
fn waiting_session_is_found_by_its_device_and_is_not_online() {
    let mut registry = TestRegistry::new();
    registry.enter(A, session("alice", 1, Some(("phone", "x"))));
    registry.enter(A, session("alice", 2, Some(("laptop", "x"))));
    assert_eq!(last(&registry, "phone"), Some((sid(1), false)));
    registry.enter(A, waiting("alice", 1, ("phone", "x")));
    assert_eq!(last(&registry, "phone"), Some((sid(1), true)));
    assert!(registry.inner.live(&user("alice")), "the laptop is connected");
    registry.enter(A, waiting("alice", 2, ("laptop", "x")));
    assert!(!registry.inner.live(&user("alice")));
    let grace = Settings::from(&Config::default()).offline_grace;
    registry.pass(grace, &[A]);
    assert!(!registry.state("alice").0, "no session is connected");
    assert_eq!(last(&registry, "phone"), Some((sid(1), true)));
    assert_eq!(last(&registry, "tablet"), None);
    registry.leave(A, "alice", 1);
    assert_eq!(last(&registry, "phone"), None);
    assert_eq!(last(&registry, "laptop"), Some((sid(2), true)));
}

#[test]
fn last_session_of_a_device_is_the_one_that_began_last() {
    let mut registry = TestRegistry::new();
    registry.enter(A, waiting("alice", 1, ("phone", "x")));
    let mut resumed = session("alice", 2, Some(("phone", "y")));
    resumed.goes_on = Some(1);
    assert_eq!(registry.enter(B, resumed), SessionAdmission::Admitted);
    assert_eq!(registry.updates(A), [], "a waiting session is not displaced");
    assert_eq!(last(&registry, "phone"), Some((sid(2), false)));
    // The connection failed before the client used the session: the older one is found again.
    registry.leave(B, "alice", 2);
    assert_eq!(last(&registry, "phone"), Some((sid(1), true)));
}

#[test]
fn waiting_sessions_do_not_count_against_the_limit() {
    let mut registry = TestRegistry::with(Settings {
        sessions_per_user: 1,
        ..Settings::from(&Config::default())
    });
    for tag in 1..=3 {
        registry.enter(A, waiting("alice", tag, ("phone", "x")));
    }
    let laptop = session("alice", 4, Some(("laptop", "x")));
    assert_eq!(registry.enter(A, laptop), SessionAdmission::Admitted);
    let tablet = session("alice", 5, Some(("tablet", "x")));
    assert_eq!(registry.enter(A, tablet), SessionAdmission::TooMany);
}

#[test]
fn replaced_session_waits_for_its_device() {
    let mut registry = TestRegistry::new();
    registry.enter(A, session("alice", 1, Some(("phone", ""))));
    registry.enter(B, session("alice", 2, Some(("phone", ""))));
    assert_eq!(registry.updates(A), [displaced(1, DisplacedSession::Replaced)]);
    registry.enter(A, waiting("alice", 1, ("phone", "")));
    assert_eq!(last(&registry, "phone"), Some((sid(2), false)));
    registry.leave(B, "alice", 2);
    assert_eq!(last(&registry, "phone"), Some((sid(1), true)));
    // It ends with its node.
    registry.inner.forget(A, registry.now, 0);
    assert_eq!(last(&registry, "phone"), None);
}
