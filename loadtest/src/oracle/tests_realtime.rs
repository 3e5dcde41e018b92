//! As in `tests`, for what holds in real time, for definite refusals, and for those who were removed while they were not
//! there.

use super::changes::CHANGE;
use super::*;

const CLIENTS: u32 = 3;

fn event(s: u64, tag: Option<MessageTag>) -> SeenEvent {
    SeenEvent {
        s,
        digest: s << 8 | 1,
        body: s,
        deleted: false,
        ts: s,
        mn: tag.map(|_| s),
        tag,
        due: 0,
        member: None,
        change: None,
    }
}

fn tag(sender: ClientIx, ordinal: Ordinal) -> MessageTag {
    MessageTag { sender, ordinal }
}

/// Ten acknowledged messages of client 0, which everybody has.
fn ten() -> (Oracle, ConvIx) {
    let mut oracle = Oracle::new();
    let conv = oracle.conversation("g_1");
    (0..CLIENTS).for_each(|client| oracle.joined(conv, client, 0));
    for ordinal in 1..=10 {
        oracle.issue(conv, 0);
        let s = u64::from(ordinal);
        for client in 0..CLIENTS {
            oracle.received(conv, client, s);
            oracle.applied(conv, client, &event(s, Some(tag(0, ordinal))));
        }
        oracle.acked(conv, tag(0, ordinal), s);
    }
    assert!(oracle.violations().is_empty(), "{:?}", oracle.violations());
    (oracle, conv)
}

fn kinds(oracle: &Oracle) -> Vec<ViolationKind> {
    let violations = oracle.violations().iter();
    violations.map(|violation| violation.kind).collect()
}

/// The removal of client 2 at s=11, and a message above it, as the members see them.
fn remove(oracle: &mut Oracle, conv: ConvIx) {
    let mut removal = event(11, None);
    removal.member = Some((2, false));
    oracle.issue(conv, 0);
    for client in 0..2 {
        oracle.applied(conv, client, &removal);
        oracle.applied(
            conv,
            client,
            &SeenEvent {
                mn: Some(11),
                ..event(12, Some(tag(0, 11)))
            },
        );
    }
    oracle.acked(conv, tag(0, 11), 12);
}

#[test]
fn stale_read_that_began_after_an_ack_is_caught() {
    let (mut oracle, conv) = ten();
    let before = AcknowledgedSeqs::default();
    let since = oracle.since(conv);
    assert_eq!((since.event, since.message), (10, 10));
    oracle.read_reached(conv, 1, "hist", 9, before.event);
    oracle.read_reached(conv, 1, "hist", 10, since.event);
    assert_eq!(kinds(&oracle), [], "one that began before may or may not show it");
    oracle.read_reached(conv, 1, "hist", 9, since.event);
    assert_eq!(kinds(&oracle), [ViolationKind::StaleRead]);
    assert_eq!(oracle.counts().reads, 3);
}

#[test]
fn message_sent_after_an_ack_but_ordered_before_it_is_caught() {
    let (mut oracle, conv) = ten();
    oracle.appended(conv, 1, 4, AcknowledgedSeqs { event: 3, message: 3 });
    oracle.appended(conv, 1, 11, oracle.since(conv));
    assert_eq!(kinds(&oracle), []);
    oracle.appended(conv, 1, 10, oracle.since(conv));
    assert_eq!(kinds(&oracle), [ViolationKind::StaleAppend]);
}

/// A sender whose messages up to s=18 are committed, of which only a page of the newest five was received.
fn page_before_the_live_events() -> (Oracle, ConvIx) {
    let mut oracle = Oracle::new();
    let conv = oracle.conversation("d_1");
    // The first view begins later than the others, so it does not decide where the log begins.
    oracle.joined(conv, 2, 3);
    (0..2).for_each(|client| oracle.joined(conv, client, 2));
    for _ in 3..=18 {
        oracle.issue(conv, 0);
    }
    oracle.acked(conv, tag(0, 1), 3);
    for s in 14..=18 {
        oracle.sighted(conv, 1, &event(s, Some(tag(0, s as Ordinal - 2))));
    }
    (oracle, conv)
}

#[test]
fn early_page_hides_no_event_below_it() {
    let (mut oracle, conv) = page_before_the_live_events();
    for s in 3..=18 {
        let tag = tag(0, s as Ordinal - 2);
        oracle.acked(conv, tag, s);
        let members = if s == 3 { 0..2 } else { 0..3 };
        members.for_each(|client| oracle.applied(conv, client, &event(s, Some(tag))));
    }
    assert_eq!(oracle.reread_after(conv), 2);
    oracle.finish();
    assert_eq!(kinds(&oracle), []);
    assert!(oracle.level());
}

#[test]
fn wrong_event_below_the_first_received_page_is_caught() {
    let (mut oracle, conv) = page_before_the_live_events();
    let third = event(3, Some(tag(0, 1)));
    oracle.applied(conv, 0, &third);
    oracle.applied(conv, 1, &SeenEvent { digest: 7, ..third });
    assert_eq!(kinds(&oracle), [ViolationKind::Fork]);

    let (mut oracle, conv) = page_before_the_live_events();
    oracle.applied(conv, 0, &event(3, Some(tag(0, 2))));
    assert_eq!(kinds(&oracle), [ViolationKind::AckedOther]);
}

#[test]
fn ack_of_a_position_below_every_view_is_caught() {
    let (mut oracle, conv) = page_before_the_live_events();
    oracle.acked(conv, tag(0, 2), 2);
    assert_eq!(kinds(&oracle), [ViolationKind::StaleAppend]);
}

#[test]
fn acks_of_changes_and_removals_raise_the_acknowledged_seqs() {
    let (mut oracle, conv) = ten();
    let ordinal = oracle.next_change(conv, 0);
    assert_eq!(ordinal & CHANGE, CHANGE);
    oracle.change_acked(conv, tag(0, ordinal), 11);
    assert_eq!(
        oracle.since(conv),
        AcknowledgedSeqs {
            event: 11,
            message: 10
        }
    );
    oracle.removal_asked(conv, 2);
    oracle.removal_acked(conv, 2, 12);
    assert_eq!(oracle.since(conv).event, 12);
}

#[test]
fn event_to_a_removed_member_is_caught_in_either_order() {
    // The event first, held back because something below it is missing, then the ack of the removal.
    let (mut oracle, conv) = ten();
    oracle.removal_asked(conv, 2);
    oracle.received(conv, 2, 12);
    assert_eq!(kinds(&oracle), []);
    oracle.removal_acked(conv, 2, 11);
    assert_eq!(kinds(&oracle), [ViolationKind::AfterRemoval]);

    // The ack first.
    let (mut oracle, conv) = ten();
    oracle.removal_asked(conv, 2);
    oracle.removal_acked(conv, 2, 11);
    oracle.received(conv, 2, 11);
    assert_eq!(kinds(&oracle), []);
    oracle.received(conv, 2, 12);
    assert_eq!(kinds(&oracle), [ViolationKind::AfterRemoval]);

    // No ack at all: the others have seen the removal, later.
    let (mut oracle, conv) = ten();
    oracle.received(conv, 2, 12);
    remove(&mut oracle, conv);
    oracle.finish();
    assert_eq!(kinds(&oracle), [ViolationKind::AfterRemoval]);

    // Taken in again: what comes then is its own.
    let (mut oracle, conv) = ten();
    oracle.removal_asked(conv, 2);
    oracle.removal_acked(conv, 2, 11);
    oracle.invitation_asked(conv, 2);
    oracle.received(conv, 2, 12);
    assert_eq!(kinds(&oracle), []);
}

#[test]
fn response_to_a_member_after_an_acked_removal_is_caught() {
    let (mut oracle, conv) = ten();
    oracle.removal_asked(conv, 2);
    assert!(!oracle.removal_is_acked(conv, 2));
    oracle.removal_acked(conv, 2, 11);
    assert!(oracle.removal_is_acked(conv, 2));
    oracle.answered_as_member(conv, 2, "open", false);
    assert_eq!(kinds(&oracle), [], "it was on its way");
    oracle.answered_as_member(conv, 2, "open", true);
    assert_eq!(kinds(&oracle), [ViolationKind::AfterRemoval]);
}

#[test]
fn a_refusal_that_nothing_explains_is_caught() {
    let (mut oracle, conv) = ten();
    oracle.removal_asked(conv, 2);
    for command in ["read", "open", "hist"] {
        oracle.refused_there(conv, 2, command, "not_member");
    }
    assert_eq!(kinds(&oracle), []);
    oracle.refused_there(conv, 1, "read", "not_member");
    oracle.refused_there(conv, 2, "read", "forbidden");
    oracle.refused_anywhere(1, "create", "conflict");
    let ordinal = oracle.issue(conv, 1);
    oracle.refused(conv, tag(1, ordinal), "not_member");
    assert_eq!(kinds(&oracle), [ViolationKind::RefusedWrongly; 4]);
}

#[test]
fn change_conflict_requires_a_deletable_or_full_message() {
    let change = |by, what, of| MessageChange {
        by,
        what,
        of,
        mark: 7,
    };
    let ask = |oracle: &mut Oracle, conv, change: MessageChange| {
        let ordinal = oracle.next_change(conv, change.by);
        oracle.issue_change(conv, ordinal, change);
        tag(change.by, ordinal)
    };
    let (mut oracle, conv) = ten();
    ask(&mut oracle, conv, change(0, ChangeKind::Delete, 5));
    let edit = ask(&mut oracle, conv, change(1, ChangeKind::Edit, 5));
    oracle.change_refused(conv, edit, "conflict");
    for _ in 0..33 {
        let reaction = ask(&mut oracle, conv, change(2, ChangeKind::React, 6));
        oracle.change_refused(conv, reaction, "not_member");
        oracle.removal_asked(conv, 2);
    }
    let full = oracle.counts().violations;
    assert_eq!(full, 1, "the first was refused to a member");
    let reaction = ask(&mut oracle, conv, change(1, ChangeKind::React, 6));
    oracle.change_refused(conv, reaction, "conflict");
    assert_eq!(oracle.counts().violations, full, "the message may have its fill");
    let edit = ask(&mut oracle, conv, change(1, ChangeKind::Edit, 7));
    oracle.change_refused(conv, edit, "conflict");
    assert_eq!(oracle.counts().violations, full + 1);
}

#[test]
fn refused_command_in_the_log_is_caught_in_either_order() {
    let (mut oracle, conv) = ten();
    oracle.removal_asked(conv, 0);
    oracle.refused(conv, tag(0, 10), "not_member");
    assert_eq!(kinds(&oracle), [ViolationKind::RefusedVisible]);

    let (mut oracle, conv) = ten();
    oracle.removal_asked(conv, 1);
    let ordinal = oracle.next_change(conv, 1);
    let change = MessageChange {
        by: 1,
        what: ChangeKind::React,
        of: 5,
        mark: 7,
    };
    oracle.issue_change(conv, ordinal, change);
    let visible = SeenEvent {
        mn: None,
        change: Some(change),
        ..event(11, None)
    };
    oracle.applied(conv, 0, &visible);
    oracle.change_refused(conv, tag(1, ordinal), "not_member");
    assert_eq!(kinds(&oracle), [ViolationKind::RefusedVisible]);
}
