//! As in `tests`, for what is gone by age or number, for what comes later than the window, and for what a `resync` may
//! excuse.

use super::*;
use crate::clock::SECOND;

const MESSAGES: u64 = 200;

fn retention(setting: &str) -> RetentionSettings {
    RetentionSettings::of_settings(&[setting.to_owned()])
}

fn message(s: u64) -> SeenEvent {
    SeenEvent {
        s,
        digest: s << 8 | 1,
        body: s,
        deleted: false,
        ts: s,
        mn: Some(s),
        tag: Some(MessageTag {
            sender: 0,
            ordinal: s as Ordinal,
        }),
        due: s * SECOND,
        member: None,
        change: None,
    }
}

/// One message a second, which client 0 has sent and has; client 1 has the first ten.
fn run(retention: RetentionSettings, window: usize, messages: u64) -> (Oracle, ConvIx) {
    let mut oracle = Oracle::with_window(window);
    oracle.retain(retention);
    let conv = oracle.conversation("g_1");
    oracle.joined(conv, 0, 0);
    oracle.joined(conv, 1, 0);
    for s in 1..=messages {
        oracle.issue(conv, 0);
        oracle.applied(conv, 0, &message(s));
        if s <= 10 {
            oracle.applied(conv, 1, &message(s));
        }
    }
    assert!(oracle.violations().is_empty(), "{:?}", oracle.violations());
    (oracle, conv)
}

fn kinds(oracle: &Oracle) -> Vec<ViolationKind> {
    let violations = oracle.violations().iter();
    violations.map(|violation| violation.kind).collect()
}

#[test]
fn what_is_old_enough_may_be_gone_and_what_is_younger_may_not() {
    let now = MESSAGES * SECOND;
    let rule = retention("retention.group_max_age=60s");
    let (mut oracle, conv) = run(rule, 10_000, MESSAGES);
    oracle.passed_over(conv, 1, 128, now);
    assert_eq!(kinds(&oracle), [], "sent 72 s ago");
    oracle.applied(conv, 1, &message(129));
    oracle.passed_over(conv, 1, 180, now);
    assert_eq!(
        kinds(&oracle),
        [ViolationKind::GoneTooSoon],
        "the one at 176 was sent 24 s ago"
    );
    let (mut oracle, conv) = run(RetentionSettings::default(), 10_000, MESSAGES);
    oracle.passed_over(conv, 1, 128, now);
    assert_eq!(kinds(&oracle), [ViolationKind::GoneTooSoon], "nothing goes there");
    let (mut oracle, conv) = run(RetentionSettings::unknown(), 10_000, MESSAGES);
    oracle.passed_over(conv, 1, 199, now);
    assert_eq!(kinds(&oracle), [], "nobody knows what goes there");
}

#[test]
fn what_has_enough_messages_above_it_may_be_gone() {
    let rule = retention("retention.group_max_messages=50");
    let (mut oracle, conv) = run(rule, 10_000, MESSAGES);
    let now = MESSAGES * SECOND;
    oracle.passed_over(conv, 1, MESSAGES - 50, now);
    assert_eq!(kinds(&oracle), []);
    oracle.passed_over(conv, 1, MESSAGES - 49, now);
    assert_eq!(kinds(&oracle), [], "somebody may have sent more by then");
    for s in MESSAGES + 1..=MESSAGES + 16 {
        oracle.issue(conv, 0);
        oracle.applied(conv, 0, &message(s));
    }
    assert_eq!(
        kinds(&oracle),
        [],
        "nobody had sent these by then, but it may be one more by the sample"
    );
    oracle.passed_over(conv, 1, MESSAGES - 20, now);
    assert_eq!(kinds(&oracle), [ViolationKind::GoneTooSoon]);
}

#[test]
fn unread_counts_at_least_what_must_be_there_and_at_most_all() {
    let now = MESSAGES * SECOND;
    for (unread, expected) in [
        (190, None),
        (60, None),
        (20, Some(ViolationKind::UnreadWrong)),
        (191, Some(ViolationKind::UnreadWrong)),
    ] {
        let rule = retention("retention.group_max_age=60s");
        let (mut oracle, conv) = run(rule, 10_000, MESSAGES);
        let row = ListedRow {
            last: MESSAGES,
            unread,
            read: 10,
            delivered: 10,
            floor: 10,
            is_final: false,
            at: now,
        };
        oracle.listed(conv, 1, row);
        assert_eq!(kinds(&oracle).first().copied(), expected, "{unread} unread");
    }
}

#[test]
fn an_unseen_trimmed_message_is_passed_over_by_all() {
    let rule = retention("retention.group_max_messages=50");
    let (mut oracle, conv) = run(rule, 10_000, 100);
    for s in 101..=300 {
        oracle.issue(conv, 0);
        oracle.acked(conv, message(s).tag.unwrap(), s);
    }
    let now = 300 * SECOND;
    oracle.passed_over(conv, 1, 240, now);
    oracle.passed_over(conv, 0, 240, now);
    oracle.sighted(conv, 0, &message(150));
    for s in 241..=300 {
        oracle.applied(conv, 1, &message(s));
        oracle.applied(conv, 0, &message(s));
    }
    let row = ListedRow {
        last: 300,
        unread: 60,
        read: 240,
        delivered: 300,
        floor: 0,
        is_final: true,
        at: now,
    };
    oracle.listed(conv, 1, row);
    oracle.finish();
    assert_eq!(kinds(&oracle), []);
    assert!(oracle.level());
}

#[test]
fn what_was_seen_before_a_trim_is_judged_at_the_trim() {
    let rule = retention("retention.group_max_messages=50");
    let (mut oracle, conv) = run(rule, 10_000, 100);
    for s in 101..=300 {
        oracle.issue(conv, 0);
        oracle.acked(conv, message(s).tag.unwrap(), s);
    }
    for s in 241..=250 {
        oracle.sighted(conv, 0, &message(s));
    }
    for client in [1, 0] {
        oracle.passed_over(conv, client, 240, 300 * SECOND);
        for s in 241..=300 {
            oracle.applied(conv, client, &message(s));
        }
    }
    oracle.finish();
    assert_eq!(kinds(&oracle), []);
    assert!(oracle.level());
}

#[test]
fn read_from_above_the_trimmed_events_is_compared_from_there() {
    let messages = 4000;
    let rule = retention("retention.group_max_messages=2500");
    for altered in [false, true] {
        let (mut oracle, conv) = run(rule, 0, messages);
        let mut reading = Reading::default();
        oracle.reread_above(conv, &mut reading, 1400, messages * SECOND);
        for s in 1400..=messages {
            let mut seen = message(s);
            seen.digest ^= u64::from(altered && s == 2500) << 60;
            oracle.reread(conv, &mut reading, &seen);
        }
        let expected: &[ViolationKind] = if altered { &[ViolationKind::Fork] } else { &[] };
        assert_eq!(kinds(&oracle), expected);
    }
}

#[test]
fn event_seen_after_the_window_is_still_judged() {
    let (mut oracle, conv) = run(RetentionSettings::default(), 0, 6000);
    oracle.sighted(conv, 1, &message(11));
    oracle.acked(conv, message(11).tag.unwrap(), 11);
    assert_eq!((kinds(&oracle), oracle.late()), (Vec::new(), 2));
    oracle.acked(conv, message(12).tag.unwrap(), 11);
    let other = SeenEvent {
        digest: 7,
        ..message(12)
    };
    oracle.sighted(conv, 1, &other);
    assert_eq!(kinds(&oracle), [ViolationKind::AckedOther, ViolationKind::Fork]);
}

#[test]
fn event_older_than_the_archive_is_a_violation() {
    let (mut oracle, conv) = run(RetentionSettings::default(), 0, 30_000);
    assert!(oracle.archived() <= 9 * 1024, "{}", oracle.archived());
    oracle.sighted(conv, 1, &message(11));
    assert_eq!(kinds(&oracle), [ViolationKind::LateSight]);
}

#[test]
fn a_resync_that_nothing_explains_is_caught() {
    let judged = |whys: &[(&str, Option<u64>)], retention: RetentionSettings| {
        let mut oracle = Oracle::new();
        oracle.retain(retention);
        let mut session = Resyncs::default();
        for (why, now) in whys {
            oracle.resynced(0, &mut session, why, 2, now.map(|now| now * SECOND));
        }
        assert_eq!(oracle.counts().resyncs, whys.len() as u64);
        kinds(&oracle)
    };
    let off = RetentionSettings::default();
    let on = retention("retention.group_max_messages=50");
    let caught = [ViolationKind::ResyncUnexplained];
    assert_eq!(judged(&[("slow", Some(1)), ("slow", Some(40))], off), []);
    assert_eq!(judged(&[("slow", Some(1)), ("slow", Some(9))], off), caught);
    assert_eq!(
        judged(&[("slow", None), ("slow", None)], off),
        [],
        "it reads slowly"
    );
    assert_eq!(judged(&[("gone", Some(1))], on), []);
    assert_eq!(judged(&[("gone", Some(1))], off), caught);
    assert_eq!(judged(&[("late", Some(1)), ("late", Some(1))], off), []);
    assert_eq!(
        judged(&[("late", Some(1)), ("late", Some(1)), ("late", Some(1))], off),
        caught
    );
    assert_eq!(judged(&[("because", Some(1))], off), caught);
}
