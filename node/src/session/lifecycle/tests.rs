//! Deadlines and transfers of a session, without an actor.

use super::*;

const SEC: Duration = Duration::from_secs(1);
const AUTH: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(40);
const RESUME: Duration = Duration::from_secs(120);

fn sid(secret: u128) -> SessionId {
    SessionId { node: 1, secret }
}

fn status() -> ConnectionStatus {
    ConnectionStatus {
        idle: Duration::ZERO,
        idle_timeout: Some(IDLE),
        ping_interval: Some(25 * SEC),
        token_left: None,
        is_too_slow: false,
        is_idle: true,
        unconfirmed: None,
    }
}

fn detached(is_lost: bool, is_online: bool) -> DetachedStatus {
    DetachedStatus {
        resume_timeout: RESUME,
        offline_after: IDLE,
        is_lost,
        is_online,
    }
}

fn open(now: Instant) -> Lifecycle {
    let mut lifecycle = Lifecycle::new(now);
    lifecycle.open(sid(1), None, None);
    lifecycle
}

#[test]
fn unauthenticated_client_is_closed_after_the_timeout() {
    let now = Instant::now();
    let mut lifecycle = Lifecycle::new(now);
    let end = now + AUTH;
    let waits = TimerAction::Continue {
        ping: false,
        deadline: end,
    };
    assert_eq!(lifecycle.check_attached(now, AUTH, &status()), waits);
    let closes = lifecycle.check_attached(end, AUTH, &status());
    assert_eq!(closes, TimerAction::Close(CloseCode::NoAuth));
}

#[test]
fn silent_slow_and_expired_clients_are_closed() {
    let now = Instant::now();
    let check = |status: &ConnectionStatus| open(now).check_attached(now, AUTH, status);
    let silent = ConnectionStatus {
        idle: IDLE,
        ..status()
    };
    assert_eq!(check(&silent), TimerAction::Close(CloseCode::HeartbeatMissed));
    let slow = ConnectionStatus {
        is_too_slow: true,
        ..status()
    };
    assert_eq!(check(&slow), TimerAction::Close(CloseCode::SlowConsumer));
    let expired = ConnectionStatus {
        token_left: Some(Duration::ZERO),
        ..status()
    };
    assert_eq!(check(&expired), TimerAction::Close(CloseCode::TokenExpired));
}

#[test]
fn client_without_idle_limit_and_pings_is_checked_now_and_then() {
    let now = Instant::now();
    let silent = ConnectionStatus {
        idle: 1_000 * IDLE,
        idle_timeout: None,
        ping_interval: None,
        ..status()
    };
    let TimerAction::Continue { ping, deadline } = open(now).check_attached(now, AUTH, &silent) else {
        panic!("silence closes no such connection")
    };
    assert!(!ping && deadline > now);
}

#[test]
fn keepalive_is_sent_once_per_interval() {
    let now = Instant::now();
    let mut lifecycle = open(now);
    let pings = [0, 24, 25, 26, 50].map(|at| {
        let action = lifecycle.check_attached(now + at * SEC, AUTH, &status());
        matches!(action, TimerAction::Continue { ping: true, .. })
    });
    assert_eq!(pings, [false, false, true, false, true]);
}

#[test]
fn one_ping_follows_the_last_unconfirmed_event() {
    let now = Instant::now();
    let mut lifecycle = open(now);
    let mut check = |at: Duration, unconfirmed: Option<Duration>| {
        let status = ConnectionStatus {
            unconfirmed,
            ..status()
        };
        match lifecycle.check_attached(now + at, AUTH, &status) {
            TimerAction::Continue { ping, deadline } => (ping, deadline - now),
            TimerAction::Close(code) => panic!("{code:?}"),
        }
    };
    let half = SEC / 2;
    assert_eq!(check(2 * SEC, Some(half)), (false, 2 * SEC + half));
    assert_eq!(check(3 * SEC, Some(SEC)), (true, 28 * SEC));
    assert_eq!(check(4 * SEC, None), (false, 28 * SEC), "then the usual interval");
    assert_eq!(check(28 * SEC, None), (true, 53 * SEC));
}

#[test]
fn pending_close_waits_for_responses_until_its_deadline() {
    let now = Instant::now();
    let mut lifecycle = open(now);
    assert!(lifecycle.begin_close(CloseCode::Draining, now, 2 * SEC));
    assert!(!lifecycle.begin_close(CloseCode::Isolated, now, 9 * SEC));
    let busy = ConnectionStatus {
        is_idle: false,
        ..status()
    };
    let waits = TimerAction::Continue {
        ping: false,
        deadline: now + 2 * SEC,
    };
    assert_eq!(lifecycle.check_attached(now, AUTH, &busy), waits);
    let closes = TimerAction::Close(CloseCode::Draining);
    assert_eq!(lifecycle.check_attached(now, AUTH, &status()), closes);
    assert_eq!(lifecycle.check_attached(now + 2 * SEC, AUTH, &busy), closes);
}

#[test]
fn detached_session_ends_by_a_loss_or_after_the_resume_timeout() {
    let now = Instant::now();
    let mut lifecycle = open(now);
    assert_eq!(lifecycle.check_detached(now, detached(true, false)), None);
    lifecycle.detach(now);
    let lost = lifecycle.check_detached(now, detached(true, false));
    assert_eq!(lost, Some(DetachedAction::End(NotResumed::Gap)));
    let end = now + RESUME;
    let over = lifecycle.check_detached(end, detached(false, false));
    assert_eq!(over, Some(DetachedAction::End(NotResumed::Expired)));
    lifecycle.restart_resume_timeout(now + SEC);
    let waits = lifecycle.check_detached(end, detached(false, false));
    let continues = DetachedAction::Continue {
        leave_presence: false,
        deadline: end + SEC,
    };
    assert_eq!(waits, Some(continues));
    assert!(lifecycle.attach() && !lifecycle.attach());
}

#[test]
fn polling_client_goes_offline_after_the_idle_timeout() {
    let now = Instant::now();
    let mut lifecycle = open(now);
    lifecycle.detach(now);
    let (idle, end) = (now + IDLE, now + RESUME);
    let check = |at| lifecycle.check_detached(at, detached(false, true));
    let continues = |leave_presence, deadline| {
        Some(DetachedAction::Continue {
            leave_presence,
            deadline,
        })
    };
    assert_eq!(check(now), continues(false, idle));
    assert_eq!(check(idle), continues(true, end));
}

#[test]
fn only_the_last_export_confirms_and_earlier_ones_are_cancelled() {
    let mut lifecycle = Lifecycle::new(Instant::now());
    assert_eq!(lifecycle.end_record(), None);
    lifecycle.open(sid(1), None, Some(sid(9)));
    let first = lifecycle.export_to(sid(2));
    assert_eq!((first.cancel, first.confirm), (None, Some(sid(9))));
    let second = lifecycle.export_to(sid(3));
    assert_eq!((second.cancel, second.confirm), (Some(sid(2)), None));
    assert!(!lifecycle.is_successor(sid(2)) && lifecycle.is_successor(sid(3)));
    let record = (sid(1), NotResumed::Unknown, Some(sid(3)));
    assert_eq!(lifecycle.end_record(), Some(record));
}

#[test]
fn resumed_session_is_confirmed_once() {
    let mut lifecycle = Lifecycle::new(Instant::now());
    lifecycle.begin_resume();
    assert!(lifecycle.is_authenticated() && !lifecycle.is_open());
    assert_eq!(lifecycle.confirm_resume(), None);
    lifecycle.open(sid(1), None, Some(sid(9)));
    assert_eq!(lifecycle.confirm_resume(), Some((sid(9), sid(1))));
    assert_eq!(lifecycle.confirm_resume(), None);
}
