//! As in `tests`, for what happens to messages that are there, for cursors and for the count of the unread; and that the
//! oracle's memory is bounded.

use std::collections::HashSet;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::changes::CHANGE;
use super::*;

/// What the oracle hears, in order.
#[derive(Clone, Debug)]
enum HistoryStep {
    Issue(ClientIx),
    Ack(MessageTag, u64),
    IssueChange(MessageChange),
    AckChange(MessageTag, u64),
    RefuseChange(MessageTag),
    Apply(ClientIx, SeenEvent),
    Receipt(ClientIx, ClientIx, u64, u64),
    List(ClientIx, ListedRow),
    Reread(SeenEvent),
}

const CLIENTS: u32 = 4;
/// The member events at the front of every log.
const FIRST: u64 = 3;

fn entry(s: u64, tag: Option<MessageTag>, mn: Option<u64>, change: Option<MessageChange>) -> SeenEvent {
    let tagged = tag.map_or(1, |tag| u64::from(tag.sender) << 20 | u64::from(tag.ordinal));
    let changed = change.map_or(0, |change| change.of << 8 | u64::from(change.by));
    SeenEvent {
        s,
        digest: (s << 32 | tagged) ^ changed,
        body: s | 1 << 50,
        deleted: false,
        ts: 1000 + s / 3,
        mn,
        tag,
        due: 0,
        member: None,
        change,
    }
}

/// The same event after a deletion.
fn tombstone(seen: &SeenEvent) -> SeenEvent {
    let change = seen.change.map(|change| MessageChange { mark: 0, ..change });
    SeenEvent {
        body: 0,
        deleted: true,
        change,
        ..seen.clone()
    }
}

/// A sound run: messages and, between them, edits, deletions and reactions; views lag at random, and what was deleted
/// is read late without its words; everybody reads, is told of the others' cursors and looks into the inbox.
fn sound(seed: u64, events: u64) -> Vec<HistoryStep> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut log: Vec<SeenEvent> = (1..=FIRST).map(|s| entry(s, None, None, None)).collect();
    let mut steps = Vec::new();
    let (mut ordinals, mut changes) = ([0; CLIENTS as usize], [0; CLIENTS as usize]);
    let (mut views, mut reads) = ([FIRST; CLIENTS as usize], [FIRST; CLIENTS as usize]);
    let (mut gone, mut mn) = (HashSet::new(), 0);
    for _ in 0..events {
        let by = rng.random_range(0..CLIENTS);
        let s = log.len() as u64 + 1;
        let own: Vec<u64> = log
            .iter()
            .rev()
            .filter(|seen| seen.tag.is_some_and(|tag| tag.sender == by) && seen.change.is_none())
            .map(|seen| seen.s)
            .filter(|s| !gone.contains(s))
            .take(8)
            .collect();
        if let (false, true) = (own.is_empty(), rng.random_bool(0.3)) {
            let of = own[rng.random_range(0..own.len())];
            let what = match rng.random_range(0..10) {
                0..5 => ChangeKind::Edit,
                5..8 => ChangeKind::React,
                _ => ChangeKind::Delete,
            };
            changes[by as usize] += 1;
            let ordinal = changes[by as usize] | CHANGE;
            let mark = if what == ChangeKind::Delete { 0 } else { s };
            let change = MessageChange { by, what, of, mark };
            steps.push(HistoryStep::IssueChange(change));
            let tag = MessageTag { sender: by, ordinal };
            if rng.random_bool(0.05) {
                steps.push(HistoryStep::RefuseChange(tag));
                continue;
            }
            log.push(entry(s, None, None, Some(change)));
            if what == ChangeKind::Delete {
                let edits = log[of as usize..]
                    .iter()
                    .filter(|seen| seen.change.is_some_and(|change| change.of == of));
                let edits: Vec<u64> = edits.filter(|seen| seen.is_edit()).map(|seen| seen.s).collect();
                gone.insert(of);
                gone.extend(edits);
            }
            steps.push(HistoryStep::AckChange(tag, s));
        } else {
            mn += 1;
            ordinals[by as usize] += 1;
            let tag = MessageTag {
                sender: by,
                ordinal: ordinals[by as usize],
            };
            steps.push(HistoryStep::Issue(by));
            log.push(entry(s, Some(tag), Some(mn), None));
            steps.push(HistoryStep::Ack(tag, s));
        }
        for client in 0..CLIENTS {
            let view = &mut views[client as usize];
            while *view < log.len() as u64 && rng.random_bool(0.6) {
                let seen = &log[*view as usize];
                // By a page instead of the live stream: the words may be gone by then.
                let late = gone.contains(&seen.s) && rng.random_bool(0.5);
                steps.push(HistoryStep::Apply(
                    client,
                    if late { tombstone(seen) } else { seen.clone() },
                ));
                *view += 1;
            }
            if rng.random_bool(0.1) {
                reads[client as usize] = *view;
                steps.push(HistoryStep::Receipt((client + 1) % CLIENTS, client, *view, *view));
            }
            if rng.random_bool(0.05) {
                steps.push(HistoryStep::List(
                    client,
                    row(&log, &gone, reads[client as usize], false),
                ));
            }
        }
    }
    for client in 0..CLIENTS {
        let rest = log[views[client as usize] as usize..].iter();
        steps.extend(rest.map(|seen| HistoryStep::Apply(client, seen.clone())));
        steps.push(HistoryStep::List(
            client,
            row(&log, &gone, reads[client as usize], true),
        ));
    }
    let reread = log[FIRST as usize..].iter();
    steps.extend(reread.map(|seen| {
        HistoryStep::Reread(if gone.contains(&seen.s) {
            tombstone(seen)
        } else {
            seen.clone()
        })
    }));
    steps
}

/// The inbox's row of somebody who has read up to there.
fn row(log: &[SeenEvent], gone: &HashSet<u64>, read: u64, is_final: bool) -> ListedRow {
    let there = |seen: &&SeenEvent| seen.mn.is_some() && !gone.contains(&seen.s);
    let unread = log[read as usize..].iter().filter(there);
    ListedRow {
        last: log.len() as u64,
        unread: unread.count() as u64,
        read,
        delivered: read,
        floor: read,
        is_final,
        at: 0,
    }
}

fn replay(steps: &[HistoryStep], window: usize) -> Oracle {
    let mut oracle = Oracle::with_window(window);
    let conv = oracle.conversation("g_1");
    let mut reading = Reading::default();
    (0..CLIENTS).for_each(|client| oracle.joined(conv, client, FIRST));
    for step in steps {
        match step {
            HistoryStep::Issue(client) => drop(oracle.issue(conv, *client)),
            HistoryStep::Ack(tag, s) => oracle.acked(conv, *tag, *s),
            HistoryStep::IssueChange(change) => {
                let ordinal = oracle.next_change(conv, change.by);
                oracle.issue_change(conv, ordinal, *change);
            }
            HistoryStep::AckChange(tag, s) => oracle.change_acked(conv, *tag, *s),
            HistoryStep::RefuseChange(tag) => {
                oracle.removal_asked(conv, tag.sender);
                oracle.change_refused(conv, *tag, "not_member");
            }
            HistoryStep::Apply(client, seen) => oracle.applied(conv, *client, seen),
            HistoryStep::Receipt(viewer, of, delivered, read) => {
                oracle.receipt(conv, *viewer, *of, *delivered, *read);
            }
            HistoryStep::List(client, row) => oracle.listed(conv, *client, *row),
            HistoryStep::Reread(seen) => oracle.reread(conv, &mut reading, seen),
        }
    }
    oracle.finish();
    oracle
}

fn kinds(steps: &[HistoryStep]) -> Vec<ViolationKind> {
    let oracle = replay(steps, 100_000);
    let violations = oracle.violations().iter();
    violations.map(|violation| violation.kind).collect()
}

/// A sound history in which something was changed; returns what the oracle finds first.
fn violation_after(change: impl FnOnce(&mut Vec<HistoryStep>)) -> Option<ViolationKind> {
    let mut steps = sound(77, 400);
    assert_eq!(kinds(&steps), []);
    change(&mut steps);
    kinds(&steps).first().copied()
}

/// The first change of a sort that the log shows, as it was seen.
fn first(steps: &[HistoryStep], what: ChangeKind) -> SeenEvent {
    let seen = steps.iter().find_map(|step| match step {
        HistoryStep::Reread(seen)
            if seen.change.is_some_and(|change| change.what == what) && !seen.deleted =>
        {
            Some(seen.clone())
        }
        _ => None,
    });
    seen.unwrap()
}

/// Every sight of `s`.
fn in_every_view(steps: &mut [HistoryStep], s: u64, mut change: impl FnMut(&mut SeenEvent)) {
    for step in steps {
        if let HistoryStep::Apply(_, seen) | HistoryStep::Reread(seen) = step
            && seen.s == s
        {
            change(seen);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sound_histories_with_changes_and_cursors_pass(seed: u64, events in 1u64..5000, window in 0usize..4096) {
        let oracle = replay(&sound(seed, events), window);
        prop_assert_eq!(oracle.violations().iter().map(|v| (v.kind, v.detail.clone())).collect::<Vec<_>>(), []);
        prop_assert!(oracle.level());
        prop_assert!(events >= 2000 || oracle.counts().recounted >= u64::from(CLIENTS), "the window holds all of a short log");
    }
}

#[test]
fn an_invented_or_altered_change_is_caught() {
    for what in [ChangeKind::Edit, ChangeKind::React] {
        let found = violation_after(|steps| {
            let s = first(steps, what).s;
            in_every_view(steps, s, |seen| {
                seen.change = seen.change.map(|change| MessageChange {
                    mark: 1 << 40,
                    ..change
                });
            });
        });
        assert_eq!(found, Some(ViolationKind::Phantom));
    }
    let found = violation_after(|steps| {
        let s = first(steps, ChangeKind::Delete).s;
        in_every_view(steps, s, |seen| {
            seen.change = seen.change.map(|change| MessageChange { of: 1, ..change });
        });
    });
    assert_eq!(found, Some(ViolationKind::Phantom));
}

#[test]
fn a_refused_change_that_is_delivered_is_caught() {
    let found = violation_after(|steps| {
        let seen = first(steps, ChangeKind::React);
        let change = seen.change.unwrap();
        let at = steps
            .iter()
            .position(|step| matches!(step, HistoryStep::AckChange(_, s) if *s == seen.s))
            .unwrap();
        let HistoryStep::AckChange(tag, _) = steps[at] else {
            unreachable!()
        };
        assert_eq!(tag.sender, change.by);
        steps[at] = HistoryStep::RefuseChange(tag);
    });
    assert_eq!(found, Some(ViolationKind::RefusedVisible));
}

#[test]
fn a_change_that_is_in_the_log_twice_is_caught() {
    let found = violation_after(|steps| {
        let seen = first(steps, ChangeKind::Edit);
        let next = steps.iter().find_map(|step| match step {
            HistoryStep::Reread(other) if other.s > seen.s && other.tag.is_some() => Some(other.s),
            _ => None,
        });
        let next = next.unwrap();
        steps.retain(
            |step| !matches!(step, HistoryStep::Ack(_, s) | HistoryStep::AckChange(_, s) if *s == next),
        );
        in_every_view(steps, next, |other| {
            let (digest, body) = (other.digest ^ 9, other.body);
            *other = SeenEvent {
                s: next,
                ts: other.ts,
                digest,
                body,
                ..seen.clone()
            };
        });
    });
    assert_eq!(found, Some(ViolationKind::Duplicate));
}

#[test]
fn an_acked_change_at_another_position_is_caught() {
    let found = violation_after(|steps| {
        let s = first(steps, ChangeKind::Edit).s;
        for step in steps {
            if let HistoryStep::AckChange(_, position) = step
                && *position == s
            {
                *position += 1;
            }
        }
    });
    assert_eq!(found, Some(ViolationKind::AckedOther));
}

#[test]
fn words_that_vanish_without_a_deletion_are_caught() {
    let found = violation_after(|steps| {
        let edit = first(steps, ChangeKind::Edit);
        let target = edit.change.unwrap().of;
        let last = steps.iter_mut().rev().find_map(|step| match step {
            HistoryStep::Reread(seen) if seen.s == target => Some(seen),
            _ => None,
        });
        let seen = last.unwrap();
        assert!(
            !seen.deleted,
            "the first edit that is left is of a message that is left"
        );
        *seen = tombstone(seen);
    });
    assert_eq!(found, Some(ViolationKind::Vanished));
}

#[test]
fn deleted_words_that_are_served_again_are_caught() {
    let found = violation_after(|steps| {
        let of = first(steps, ChangeKind::Delete).change.unwrap().of;
        for step in steps {
            if let HistoryStep::Reread(seen) = step
                && seen.s == of
            {
                (seen.deleted, seen.body) = (false, of | 1 << 50);
            }
        }
    });
    assert_eq!(found, Some(ViolationKind::Undeleted));
}

#[test]
fn a_cursor_that_falls_or_is_beyond_the_last_is_caught() {
    let end = |steps: &Vec<HistoryStep>| steps.len() - 1;
    let found = violation_after(|steps| steps.insert(end(steps), HistoryStep::Receipt(1, 0, FIRST, 2)));
    assert_eq!(found, Some(ViolationKind::CursorFell));
    let found = violation_after(|steps| steps.insert(0, HistoryStep::Receipt(1, 0, 4, 5)));
    assert_eq!(
        found,
        Some(ViolationKind::CursorOrder),
        "more was read than was delivered"
    );
    let found =
        violation_after(|steps| steps.insert(end(steps), HistoryStep::Receipt(1, 0, 100_000, 99_999)));
    assert_eq!(
        found,
        Some(ViolationKind::CursorOrder),
        "nobody has what isn't there"
    );
    let found = violation_after(|steps| {
        let row = steps.iter_mut().find_map(|step| match step {
            HistoryStep::List(_, row) => Some(row),
            _ => None,
        });
        row.unwrap().floor += 100_000;
    });
    assert_eq!(
        found,
        Some(ViolationKind::CursorFell),
        "what was read is unread again"
    );
}

#[test]
fn wrong_unread_count_is_caught_in_every_listing() {
    for is_final in [false, true] {
        for by in [1, u64::MAX] {
            let found = violation_after(|steps| {
                let row = steps.iter_mut().rev().find_map(|step| match step {
                    HistoryStep::List(_, row) if row.is_final == is_final && row.unread > 0 => Some(row),
                    _ => None,
                });
                let row = row.unwrap();
                row.unread = row.unread.wrapping_add(by);
            });
            assert_eq!(
                found,
                Some(ViolationKind::UnreadWrong),
                "settled {is_final}, by {by}"
            );
        }
    }
    let found = violation_after(|steps| {
        let row = steps.iter_mut().rev().find_map(|step| match step {
            HistoryStep::List(_, row) => Some(row),
            _ => None,
        });
        row.unwrap().last -= 20;
    });
    assert_eq!(
        found,
        Some(ViolationKind::MissedAtEnd),
        "an inbox that stays behind"
    );
}

#[test]
fn the_memory_is_bounded_however_long_the_history() {
    let window = 4096;
    let held = |events: u64| replay(&sound(5, events), window).entries();
    let ((short, few), (long, many)) = (held(20_000), held(80_000));
    let most = window + 2 * super::log::BLOCK + 1024;
    assert!(
        short <= most && long <= most,
        "{short} and {long} entries, with a window of {window}"
    );
    assert!(
        few < many && many <= 80_000 / super::log::BLOCK,
        "one block digest for {} events",
        super::log::BLOCK
    );
}

#[test]
fn late_joiner_may_see_an_edit_without_the_message_text() {
    // Whether words are missed where the second client's view begins behind that event.
    let missed = |began: u64| {
        let mut oracle = Oracle::with_window(1_000);
        let conv = oracle.conversation("g_1");
        oracle.joined(conv, 0, 0);
        let ordinal = oracle.issue(conv, 0);
        let tag = MessageTag { sender: 0, ordinal };
        let change = MessageChange {
            by: 0,
            what: ChangeKind::Edit,
            of: 1,
            mark: 3,
        };
        let log = [
            entry(1, Some(tag), Some(1), None),
            entry(2, None, None, None),
            entry(3, None, None, Some(change)),
        ];
        oracle.acked(conv, tag, 1);
        let ordinal = oracle.next_change(conv, 0);
        oracle.issue_change(conv, ordinal, change);
        log.iter().for_each(|seen| oracle.applied(conv, 0, seen));
        oracle.change_acked(conv, MessageTag { sender: 0, ordinal }, 3);
        oracle.joined(conv, 1, began);
        for seen in &log[began as usize..2] {
            oracle.applied(conv, 1, seen);
        }
        oracle.applied(conv, 1, &tombstone(&log[2]));
        oracle.finish();
        let violations = oracle.violations().iter();
        violations.map(|violation| violation.kind).collect::<Vec<_>>()
    };
    assert_eq!(missed(2), []);
    assert_eq!(missed(0), [ViolationKind::Vanished]);
}
