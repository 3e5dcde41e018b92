//! The oracle's own proof: sound histories pass, however their views interleave, and each kind of defect planted
//! in one is caught by its name.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::payload::Payload;
use crate::wire::WireFrame;

/// What the oracle hears, in order.
#[derive(Clone, Debug)]
enum HistoryStep {
    Issue(ClientIx),
    Ack(MessageTag, u64),
    Refuse(MessageTag),
    Apply(ClientIx, SeenEvent),
    Reread(SeenEvent),
}

const CLIENTS: u32 = 4;
/// The member events at the front of every log.
const FIRST: u64 = 3;

fn seen(s: u64, tag: Option<MessageTag>, mn: Option<u64>) -> SeenEvent {
    let digest = s << 32 | tag.map_or(1, |tag| u64::from(tag.sender) << 20 | u64::from(tag.ordinal));
    SeenEvent {
        s,
        digest,
        body: digest ^ 0x5555,
        deleted: false,
        ts: 1000 + s / 3,
        mn,
        tag,
        due: 0,
        member: None,
        change: None,
    }
}

/// A sound run of `messages` messages: acks and views lag behind the log at random, each in its order.
fn sound(seed: u64, messages: u64) -> Vec<HistoryStep> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut log: Vec<SeenEvent> = (1..=FIRST).map(|s| seen(s, None, None)).collect();
    let (mut steps, mut ordinals, mut unacked) = (Vec::new(), [0; CLIENTS as usize], Vec::new());
    let mut views = [FIRST as usize; CLIENTS as usize];
    for mn in 1..=messages {
        let sender = rng.random_range(0..CLIENTS);
        loop {
            ordinals[sender as usize] += 1;
            steps.push(HistoryStep::Issue(sender));
            let tag = MessageTag {
                sender,
                ordinal: ordinals[sender as usize],
            };
            if rng.random_bool(0.02) {
                steps.push(HistoryStep::Refuse(tag));
                continue;
            }
            let s = log.len() as u64 + 1;
            log.push(seen(s, Some(tag), Some(mn)));
            unacked.push((tag, s));
            break;
        }
        while !unacked.is_empty() && rng.random_bool(0.6) {
            let (tag, s) = unacked.remove(0);
            steps.push(HistoryStep::Ack(tag, s));
        }
        for client in 0..CLIENTS {
            while views[client as usize] < log.len() && rng.random_bool(0.7) {
                steps.push(HistoryStep::Apply(client, log[views[client as usize]].clone()));
                views[client as usize] += 1;
            }
        }
    }
    steps.extend(unacked.into_iter().map(|(tag, s)| HistoryStep::Ack(tag, s)));
    for client in 0..CLIENTS {
        steps.extend(
            log[views[client as usize]..]
                .iter()
                .map(|seen| HistoryStep::Apply(client, seen.clone())),
        );
    }
    steps.extend(
        log[FIRST as usize..]
            .iter()
            .map(|seen| HistoryStep::Reread(seen.clone())),
    );
    steps
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
            HistoryStep::Refuse(tag) => {
                oracle.removal_asked(conv, tag.sender);
                oracle.refused(conv, *tag, "not_member");
            }
            HistoryStep::Apply(client, seen) => oracle.applied(conv, *client, seen),
            HistoryStep::Reread(seen) => oracle.reread(conv, &mut reading, seen),
        }
    }
    oracle.finish();
    oracle
}

fn kinds(steps: &[HistoryStep]) -> Vec<ViolationKind> {
    replay(steps, 100_000)
        .violations()
        .iter()
        .map(|violation| violation.kind)
        .collect()
}

/// Every place of `s` in the history, so that a defect of the log itself is seen alike by all.
fn in_every_view(steps: &mut [HistoryStep], s: u64, mut change: impl FnMut(&mut SeenEvent)) {
    for step in steps {
        if let HistoryStep::Apply(_, seen) | HistoryStep::Reread(seen) = step
            && seen.s == s
        {
            change(seen);
        }
    }
}

/// The places of two neighbouring messages of one sender.
fn two_of_one_sender(steps: &[HistoryStep]) -> (SeenEvent, SeenEvent) {
    let log: Vec<_> = steps
        .iter()
        .filter_map(|step| {
            if let HistoryStep::Reread(seen) = step {
                Some(seen)
            } else {
                None
            }
        })
        .collect();
    let sender = |seen: &SeenEvent| seen.tag.map(|tag| tag.sender);
    let first = log[20];
    let second = log[21..]
        .iter()
        .find(|seen| sender(seen) == sender(first))
        .unwrap();
    (first.clone(), (*second).clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sound_histories_pass(seed: u64, messages in 1u64..6000, window in 0usize..4096) {
        let oracle = replay(&sound(seed, messages), window);
        prop_assert_eq!(oracle.violations().iter().map(|v| (v.kind, v.detail.clone())).collect::<Vec<_>>(), []);
        prop_assert_eq!(oracle.counts().applied, messages * u64::from(CLIENTS));
        prop_assert_eq!(oracle.counts().read_back, messages);
        prop_assert!(oracle.level());
    }

    #[test]
    fn one_altered_event_is_caught_wherever_it_is(seed: u64, at in 0usize..3000, window in 0usize..4096) {
        let mut steps = sound(seed, 700);
        let sights: Vec<_> = (0..steps.len()).filter(|i| matches!(steps[*i], HistoryStep::Apply(..) | HistoryStep::Reread(_))).collect();
        let at = sights[at % sights.len()];
        if let HistoryStep::Apply(_, seen) | HistoryStep::Reread(seen) = &mut steps[at] {
            seen.digest ^= 1 << 60;
        }
        let oracle = replay(&steps, window);
        prop_assert_eq!(oracle.violations().first().map(|violation| violation.kind), Some(ViolationKind::Fork));
    }
}

#[test]
fn a_view_with_a_hole_is_caught() {
    let mut steps = sound(1, 200);
    let at = steps
        .iter()
        .position(|step| matches!(step, HistoryStep::Apply(2, seen) if seen.s == 50))
        .unwrap();
    steps.remove(at);
    assert_eq!(kinds(&steps)[0], ViolationKind::Hole);
}

#[test]
fn an_event_applied_twice_is_caught() {
    let mut steps = sound(2, 200);
    let at = steps
        .iter()
        .position(|step| matches!(step, HistoryStep::Apply(1, seen) if seen.s == 50))
        .unwrap();
    steps.insert(at, steps[at].clone());
    assert_eq!(kinds(&steps)[0], ViolationKind::Hole);
}

#[test]
fn a_message_with_two_places_is_caught() {
    let mut steps = sound(3, 200);
    let (first, second) = two_of_one_sender(&steps);
    in_every_view(&mut steps, second.s, |seen| {
        (seen.tag, seen.digest) = (first.tag, seen.digest ^ 7)
    });
    steps.retain(|step| !matches!(step, HistoryStep::Ack(_, s) if *s == second.s));
    assert_eq!(kinds(&steps)[0], ViolationKind::Duplicate);
}

#[test]
fn swapped_messages_of_one_sender_are_caught() {
    let mut steps = sound(4, 200);
    let (first, second) = two_of_one_sender(&steps);
    in_every_view(&mut steps, first.s, |seen| seen.tag = second.tag);
    in_every_view(&mut steps, second.s, |seen| seen.tag = first.tag);
    for step in &mut steps {
        if let HistoryStep::Ack(tag, s) = step {
            *tag = if *s == first.s {
                second.tag.unwrap()
            } else if *s == second.s {
                first.tag.unwrap()
            } else {
                *tag
            };
        }
    }
    assert!(
        kinds(&steps)
            .iter()
            .any(|kind| matches!(kind, ViolationKind::Reordered | ViolationKind::Phantom)),
        "{:?}",
        kinds(&steps)
    );
}

#[test]
fn an_acked_message_that_is_not_in_the_log_is_caught() {
    let mut steps = sound(5, 200);
    let last = FIRST + 200;
    steps.retain(
        |step| !matches!(step, HistoryStep::Apply(_, seen) | HistoryStep::Reread(seen) if seen.s == last),
    );
    assert_eq!(kinds(&steps), [ViolationKind::AckedLost]);
}

#[test]
fn an_ack_with_the_position_of_another_is_caught() {
    for delay in [false, true] {
        let mut steps = sound(6, 200);
        let at = steps
            .iter()
            .position(|step| matches!(step, HistoryStep::Ack(_, 60)))
            .unwrap();
        let HistoryStep::Ack(tag, _) = steps.remove(at) else {
            unreachable!()
        };
        steps.insert(if delay { steps.len() } else { at }, HistoryStep::Ack(tag, 61));
        assert_eq!(kinds(&steps)[0], ViolationKind::AckedOther);
    }
}

#[test]
fn a_holed_ordinal_and_a_falling_time_are_caught() {
    let mut steps = sound(7, 200);
    in_every_view(&mut steps, 70, |seen| seen.mn = seen.mn.map(|mn| mn + 1));
    assert_eq!(kinds(&steps)[0], ViolationKind::OrdinalHole);
    let mut steps = sound(7, 200);
    in_every_view(&mut steps, 70, |seen| seen.ts = 1);
    assert_eq!(kinds(&steps)[0], ViolationKind::TimeFell);
}

#[test]
fn a_refused_message_that_is_delivered_is_caught() {
    let mut steps = sound(8, 200);
    let (first, _) = two_of_one_sender(&steps);
    let at = steps
        .iter()
        .position(|step| matches!(step, HistoryStep::Apply(_, seen) if seen.s == first.s))
        .unwrap();
    steps.insert(at, HistoryStep::Refuse(first.tag.unwrap()));
    assert_eq!(kinds(&steps)[0], ViolationKind::RefusedVisible);
}

#[test]
fn an_invented_message_is_caught() {
    let mut steps = sound(9, 200);
    in_every_view(&mut steps, 90, |seen| {
        seen.tag = Some(MessageTag {
            sender: 0,
            ordinal: 100_000,
        })
    });
    assert!(kinds(&steps).contains(&ViolationKind::Phantom));
}

#[test]
fn what_reaches_or_comes_from_a_removed_member_is_caught() {
    let mut steps = sound(10, 200);
    in_every_view(&mut steps, 100, |seen| seen.member = Some((1, false)));
    let found = kinds(&steps);
    assert!(
        found.contains(&ViolationKind::AfterRemoval) && found.contains(&ViolationKind::ExMemberAccepted),
        "{found:?}"
    );
}

#[test]
fn a_member_who_misses_the_end_is_caught() {
    let mut steps = sound(11, 200);
    steps.retain(|step| !matches!(step, HistoryStep::Apply(3, seen) if seen.s > 190));
    assert_eq!(kinds(&steps), [ViolationKind::MissedAtEnd]);
}

#[test]
fn a_log_that_reads_back_shorter_or_other_is_caught() {
    for window in [0, 100_000] {
        let mut steps = sound(12, 3000);
        steps.retain(|step| !matches!(step, HistoryStep::Reread(seen) if seen.s == 500));
        assert_eq!(replay(&steps, window).violations()[0].kind, ViolationKind::Hole);
    }
}

#[test]
fn an_altered_or_invented_body_is_caught_when_it_is_read() {
    let payload = Payload::new(0xf, 80);
    let tag = MessageTag {
        sender: 2,
        ordinal: 9,
    };
    let text = |user: &str, body: &str| {
        let cid = payload.cid(tag);
        format!(r#"{{"n":1,"t":"msg","c":"g_1","s":4,"mn":1,"ts":5,"u":"{user}","cid":"{cid}","b":{body}}}"#)
    };
    let read = |text: &str| {
        SeenEvent::read(&WireFrame::parse(text).unwrap(), "g_1", &payload).map_err(|(kind, _)| kind)
    };
    let body = payload.body("g_1", tag, 77);
    let sound = read(&text(&payload.user(2), &body)).unwrap().unwrap();
    assert_eq!((sound.s, sound.due, sound.tag), (4, 77, Some(tag)));
    assert_eq!(read(&text(&payload.user(3), &body)), Err(ViolationKind::Phantom));
    assert_eq!(
        read(&text(&payload.user(2), &body.replace("quick", "quack"))),
        Err(ViolationKind::Altered)
    );
    assert_eq!(
        read(r#"{"t":"msg","c":"g_1","s":4,"u":"x","cid":"other"}"#),
        Err(ViolationKind::Phantom)
    );
}

impl Oracle {
    /// Number of stored entries, and of block digests. The first is bounded for any length of run.
    pub(super) fn entries(&self) -> (usize, usize) {
        let all = self.conversations.iter();
        let views = all.clone().flat_map(|conversation| conversation.views.values());
        let views: usize = views.map(|view| 1 + view.receipts.len()).sum();
        let logs: usize = all
            .clone()
            .map(|conversation| {
                conversation.log.entries() + conversation.rows.len() + conversation.touches.entries()
            })
            .sum();
        (
            logs + views,
            all.map(|conversation| conversation.log.blocks()).sum(),
        )
    }

    /// Number of archived events.
    pub(super) fn archived(&self) -> usize {
        let logs = self
            .conversations
            .iter()
            .map(|conversation| conversation.log.archived());
        logs.sum()
    }
}
