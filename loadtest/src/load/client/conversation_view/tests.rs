//! Tests of the view of a conversation.

use super::*;

fn conversation() -> ConversationId {
    ConversationId::parse("g_1").unwrap()
}

fn seen(s: u64) -> SeenEvent {
    SeenEvent {
        s,
        digest: s,
        ts: 0,
        mn: None,
        tag: None,
        due: 0,
        member: None,
        body: s,
        deleted: false,
        change: None,
    }
}

fn sent(view: &mut ConversationView, now: Nanos) -> Vec<Ordinal> {
    let mut out = Vec::new();
    view.send_due(now, AcknowledgedSeqs::default(), |ordinal, _| out.push(ordinal));
    out
}

fn sender(messages: Ordinal) -> ConversationView {
    let mut view = ConversationView::new(conversation(), 0);
    (1..=messages).for_each(|ordinal| view.offer(ordinal, 0));
    view
}

#[test]
fn events_are_applied_in_order_whatever_order_they_come_in() {
    let mut view = ConversationView::new(conversation(), 0);
    view.opened(4);
    assert!(view.live);
    let rules: Vec<_> = [7, 4, 5, 7].into_iter().map(|s| view.rule(&seen(s))).collect();
    assert_eq!(
        rules,
        [
            EventDecision::Held,
            EventDecision::Ignore,
            EventDecision::Apply,
            EventDecision::Held
        ]
    );
    assert_eq!(view.needs_page(), Some(5));
    assert_eq!(view.next_held(), None);
    assert_eq!(view.rule(&seen(6)), EventDecision::Apply);
    assert_eq!(view.next_held().map(|seen| seen.s), Some(7));
    assert_eq!(
        (view.next_held(), view.cursor, view.needs_page()),
        (None, Some(7), None)
    );
}

#[test]
fn a_stream_is_live_only_when_it_is_applied_up_to_the_answer() {
    let mut view = ConversationView::new(conversation(), 0);
    view.opened(4);
    view.interrupted();
    assert_eq!(view.rule(&seen(9)), EventDecision::Held);
    assert_eq!(view.needs_page(), None, "the answer to sync comes first");
    view.synced(8);
    assert!(!view.live);
    assert_eq!(view.needs_page(), Some(4));
    for s in 5..=8 {
        assert_eq!(view.rule(&seen(s)), EventDecision::Apply);
    }
    while view.next_held().is_some() {}
    view.complete();
    assert!(view.live);
    assert_eq!(view.cursor, Some(9));
}

#[test]
fn view_reads_missed_events_and_allows_no_gap_above_them() {
    let mut view = ConversationView::new(conversation(), 0);
    view.opened(4);
    view.fell_behind(4);
    assert!(view.live, "the client has it");
    view.fell_behind(7);
    assert_eq!((view.live, view.needs_page()), (false, Some(4)));
    assert_eq!((view.streamed(8), view.streamed(10)), (None, Some(9)));
}

#[test]
fn interruption_excuses_a_gap_only_up_to_the_sync_response() {
    let interrupted = || {
        let mut view = ConversationView::new(conversation(), 0);
        view.opened(4);
        view.interrupted();
        view
    };
    let mut view = interrupted();
    assert_eq!((view.streamed(7), view.streamed(8)), (None, None));
    assert_eq!(view.synced(6), None, "5 and 6 are in the answer");
    assert_eq!(view.streamed(9), None);
    assert_eq!(view.streamed(11), Some(10));

    let mut view = interrupted();
    assert_eq!((view.streamed(7), view.streamed(9)), (None, None));
    assert_eq!(view.synced(6), Some(8), "missing above the answer");

    let mut view = interrupted();
    assert_eq!(view.streamed(9), None);
    assert_eq!(view.synced(6), Some(8), "7 never came");

    let mut view = interrupted();
    assert_eq!(view.synced(6), None);
    assert_eq!(view.streamed(6), None, "in both");
    assert_eq!(view.streamed(8), Some(7));
}

#[test]
fn a_refusal_holds_back_everything_newer() {
    let mut view = sender(3);
    assert_eq!(sent(&mut view, 0), [1, 2, 3]);
    assert!(view.answered(1).is_some());
    assert!(view.refused(2, 50));
    view.offer(4, 0);
    assert_eq!(
        sent(&mut view, 60),
        [0; 0],
        "3 is unanswered: its refusal may be on its way"
    );
    assert!(view.refused(3, 70));
    assert_eq!(sent(&mut view, 60), [0; 0], "before its time");
    assert_eq!(sent(&mut view, 70), [2, 3, 4]);
    view.offer(5, 0);
    assert_eq!(sent(&mut view, 70), [5]);
    assert_eq!(view.unanswered(), 4);
}

#[test]
fn lost_connection_repeats_only_the_unanswered_messages() {
    let mut view = sender(4);
    assert_eq!(sent(&mut view, 0), [1, 2, 3, 4]);
    assert!(view.answered(2).is_some());
    assert_eq!(view.disconnected(), 3);
    view.offer(5, 0);
    assert_eq!(sent(&mut view, 0), [1, 3, 4, 5]);
    assert!(view.answered(2).is_none(), "a second answer is unsolicited");
    for ordinal in [1, 3, 4, 5] {
        assert!(view.answered(ordinal).is_some());
    }
    assert_eq!((view.unanswered(), view.has_work()), (0, false));
}
