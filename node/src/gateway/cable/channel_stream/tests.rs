//! Tests of the stream of one conversation, against a model of the log.

use proptest::prelude::*;

use super::*;

/// Model of a log, of the live events on their way, and of the queries.
struct Model {
    stream: ChannelStream,
    /// Time of each event in milliseconds; the first one has position 1.
    log: Vec<u64>,
    /// Position up to which live events arrived.
    delivered: u64,
    /// Last position of a removed user.
    removed: Option<u64>,
    query: Option<LogPage>,
    /// Answer to the query on its way: the page, and whether the log goes on.
    answer: Option<(Vec<PageEvent>, bool)>,
    sent: Vec<u64>,
    outcomes: Vec<StreamEffect>,
    is_over: bool,
}

/// Events on a page of the model: few, so that histories have several pages.
const MODEL_PAGE: usize = 3;

// === impl Model ===

impl Model {
    fn new(stream: ChannelStream, log: Vec<u64>) -> Model {
        let delivered = log.len() as u64;
        Model {
            stream,
            log,
            delivered,
            removed: None,
            query: None,
            answer: None,
            sent: Vec::new(),
            outcomes: Vec::new(),
            is_over: false,
        }
    }

    fn end(&self) -> u64 {
        self.log.len() as u64
    }

    fn last(&self) -> LastEvent {
        let ts = self.log.last().copied().unwrap_or_default();
        LastEvent {
            seq: self.end(),
            message_number: 0,
            timestamp_ms: ts,
        }
    }

    fn page(&self, seqs: impl Iterator<Item = u64>) -> Vec<PageEvent> {
        let event = |seq: u64| PageEvent {
            seq,
            ts: self.log[seq as usize - 1],
        };
        seqs.map(event).collect()
    }

    fn apply(&mut self, effects: Vec<StreamEffect>, page: &[PageEvent]) {
        for effect in effects {
            assert!(!self.is_over, "{effect:?} behind the end");
            match effect {
                StreamEffect::Send(from) => self.sent.extend(page[from..].iter().map(|event| event.seq)),
                StreamEffect::SendRemoval(_) => {
                    self.sent.push(self.removed.expect("a removal"));
                    self.is_over = true;
                }
                StreamEffect::Query(query) => {
                    assert_eq!(self.query.replace(query), None, "one query at a time");
                }
                StreamEffect::Reject | StreamEffect::Forget => self.is_over = true,
                outcome => self.outcomes.push(outcome),
            }
        }
    }

    /// Delivers the next live event.
    fn deliver(&mut self) {
        if self.delivered == self.end() || self.is_over {
            return;
        }
        self.delivered += 1;
        let is_removal = self.removed == Some(self.delivered);
        let tail = Bytes::from_static(b"tail");
        let verdict = self.stream.on_event(self.delivered, is_removal.then_some(&tail));
        if verdict == EventEffect::Send {
            self.sent.push(self.delivered);
            self.is_over |= is_removal;
        }
    }

    /// Reads the page of the query from the present log. Its answer comes later.
    fn read(&mut self) {
        let (Some(LogPage { after, limit }), None) = (self.query, &self.answer) else {
            return;
        };
        let limit = limit.min(MODEL_PAGE as u64);
        self.answer = Some(match after {
            Some(after) => (
                self.page(after + 1..=self.end().min(after + limit)),
                self.end() > after + limit,
            ),
            None => {
                let from = self.end().saturating_sub(limit);
                (self.page(from + 1..=self.end()), from > 0)
            }
        });
    }

    /// Answers the query.
    fn serve(&mut self) {
        if self.removed.is_none() {
            self.read();
        }
        if self.query.take().is_none() {
            return;
        }
        let Some((page, more)) = self.answer.take() else {
            let effects = self.stream.on_page_refused(false);
            return self.apply(effects, &[]);
        };
        let effects = self.stream.on_page(&page, more, false);
        self.apply(effects, &page);
    }

    fn run_out(&mut self) {
        for _ in 0..3 * self.log.len() + 64 {
            self.deliver();
            self.serve();
        }
        assert_eq!(self.query, None, "the history ends");
    }
}

fn opened(log: Vec<u64>, history: Option<HistoryStart>) -> Model {
    let mut model = Model::new(ChannelStream::opening(history), log);
    let effects = model.stream.on_opened(model.last());
    model.apply(effects, &[]);
    model
}

#[test]
fn subscription_without_history_begins_at_its_confirmation() {
    let mut model = opened(vec![1, 2, 3], None);
    assert_eq!(model.outcomes, [StreamEffect::ConfirmSubscription]);
    model.log.push(4);
    model.run_out();
    assert_eq!(model.sent, [4]);
}

#[test]
fn events_behind_an_empty_page_are_read_again() {
    let mut model = opened(vec![1, 2, 3], None);
    let effects = model.stream.on_loss();
    model.apply(effects, &[]);
    model.read();
    // While the answer is on its way.
    model.log.extend([4, 5]);
    model.deliver();
    model.deliver();
    model.serve();
    model.log.push(6);
    model.run_out();
    assert_eq!(model.sent, [4, 5, 6]);
}

#[test]
fn history_follows_the_confirmation_and_ends_with_its_own() {
    let mut model = opened(vec![1; 8], Some(HistoryStart::Behind(2)));
    model.run_out();
    assert_eq!(model.sent, [3, 4, 5, 6, 7, 8]);
    assert_eq!(
        model.outcomes,
        [StreamEffect::ConfirmSubscription, StreamEffect::ConfirmHistory]
    );
}

#[test]
fn history_that_cannot_be_complete_is_rejected_whole() {
    for start in [
        HistoryStart::Behind(2_001),
        HistoryStart::Behind(999),
        HistoryStart::Unknown,
        HistoryStart::Since(0),
    ] {
        let mut model = opened(vec![1; 2_000], Some(start));
        model.run_out();
        assert_eq!(model.outcomes[1..], [StreamEffect::RejectHistory], "{start:?}");
        assert!(model.sent.is_empty(), "{start:?}");
    }
    let mut model = opened(vec![1; 2_000], Some(HistoryStart::Behind(1_000)));
    model.run_out();
    assert_eq!(model.sent, (1_001..=2_000).collect::<Vec<_>>());
}

#[test]
fn hole_by_retention_is_a_rejection() {
    let mut model = opened(vec![1; 8], Some(HistoryStart::Behind(2)));
    let page = model.page(6..=8);
    let effects = model.stream.on_page(&page, false, true);
    assert_eq!(effects, [StreamEffect::RejectHistory]);
    assert_eq!(model.stream.on_event(9, None), EventEffect::Send);
}

#[test]
fn live_event_ahead_of_the_confirmation_is_read_from_the_log() {
    let mut model = Model::new(ChannelStream::opening(None), vec![1, 2]);
    let stale = model.last();
    model.log.push(3);
    model.deliver();
    let effects = model.stream.on_opened(stale);
    model.apply(effects, &[]);
    model.run_out();
    assert_eq!(model.sent, [3]);
    assert_eq!(model.outcomes, [StreamEffect::ConfirmSubscription]);
}

#[test]
fn restored_subscription_waits_for_the_history_of_its_client() {
    let mut model = Model::new(ChannelStream::restored(2), vec![1; 4]);
    model.delivered = 2;
    model.deliver();
    model.deliver();
    assert!(model.sent.is_empty());
    let effects = model.stream.on_history(HistoryStart::Behind(3));
    model.apply(effects, &[]);
    model.run_out();
    assert_eq!(
        (&*model.sent, &*model.outcomes),
        (&[4][..], &[StreamEffect::ConfirmHistory][..])
    );

    let mut without_position = Model::new(ChannelStream::restored(2), vec![1; 4]);
    assert_eq!(without_position.stream.on_opened(without_position.last()), []);
    let effects = without_position.stream.on_history(HistoryStart::Since(9_999));
    without_position.apply(effects, &[]);
    without_position.run_out();
    assert_eq!(without_position.sent, [3, 4], "all since its confirmation");

    let mut silent = Model::new(ChannelStream::restored(2), vec![1; 4]);
    assert_eq!(silent.stream.on_opened(silent.last()), []);
    assert_eq!(silent.stream.on_patience_over(), [StreamEffect::Resync]);
    assert_eq!(silent.stream.on_event(5, None), EventEffect::Send);
}

#[test]
fn removal_during_a_history_is_the_last_event() {
    let mut model = opened(vec![1; 8], Some(HistoryStart::Behind(0)));
    model.serve();
    model.log.push(2);
    model.removed = Some(9);
    model.deliver();
    model.run_out();
    assert_eq!(model.sent, [1, 2, 3, 9]);
    assert_eq!(model.outcomes[1..], [StreamEffect::RejectHistory]);
    assert!(model.is_over);
}

#[test]
fn removal_of_an_earlier_membership_ends_nothing() {
    let mut stream = ChannelStream::opening(None);
    assert_eq!(
        stream.on_event(3, Some(&Bytes::from_static(b"tail"))),
        EventEffect::Skip
    );
    let last = LastEvent {
        seq: 5,
        message_number: 0,
        timestamp_ms: 0,
    };
    assert_eq!(stream.on_opened(last), [StreamEffect::ConfirmSubscription]);
    assert_eq!(stream.on_event(6, None), EventEffect::Send);
}

#[test]
fn refused_page_ends_the_subscription_with_the_removal_or_alone() {
    let mut model = opened(vec![1; 8], Some(HistoryStart::Behind(0)));
    model.log.push(2);
    model.removed = Some(9);
    model.serve();
    assert!(!model.is_over, "the removal is on its way");
    model.run_out();
    assert_eq!((&*model.sent, model.is_over), (&[9][..], true));

    let mut lost = opened(vec![1; 8], Some(HistoryStart::Behind(0)));
    assert_eq!(lost.stream.on_page_refused(false), [StreamEffect::RejectHistory]);
    assert_eq!(lost.stream.on_loss().len(), 1);
    assert_eq!(lost.stream.on_page_refused(false), [StreamEffect::Reject]);
}

#[test]
fn refused_membership_rejects_and_a_temporary_refusal_forgets() {
    let mut stream = ChannelStream::opening(None);
    assert_eq!(stream.on_refused(false), [StreamEffect::Reject]);
    assert_eq!(stream.on_refused(true), [StreamEffect::Forget]);
}

proptest! {
    /// Whatever the order of appends, live events, answers and losses: each event once, in order, without a hole.
    #[test]
    fn history_and_live_join_without_overlap_or_hole(
        before in 0usize..40,
        start in prop::option::of(0u64..40),
        steps in prop::collection::vec(0u8..6, 0..60),
        removed in any::<bool>(),
    ) {
        let start = start.map(|start| start.min(before as u64));
        let history = start.map(HistoryStart::Behind);
        let mut model = Model::new(ChannelStream::opening(history), vec![1; before]);
        let mut stale = Some(model.last());
        for step in steps {
            match step {
                0 => model.log.push(1),
                1 => model.deliver(),
                2 => model.serve(),
                3 => model.read(),
                4 if stale.is_none() => {
                    let effects = model.stream.on_loss();
                    model.apply(effects, &[]);
                }
                _ => if let Some(last) = stale.take() {
                    let effects = model.stream.on_opened(last);
                    model.apply(effects, &[]);
                },
            }
        }
        if let Some(last) = stale.take() {
            let effects = model.stream.on_opened(last);
            model.apply(effects, &[]);
        }
        if removed {
            model.log.push(1);
            model.removed = Some(model.end());
        }
        model.run_out();
        let from = start.unwrap_or(before as u64);
        let expected: Vec<u64> = (from + 1..=model.end()).collect();
        if removed {
            // Some of what was not read before the removal cannot be read any more; the removal itself always comes.
            prop_assert_eq!(model.sent.last(), Some(&model.end()));
            prop_assert!(model.sent.is_sorted_by(|one, next| one < next));
            prop_assert!(model.sent.iter().all(|s| expected.contains(s)));
        } else {
            prop_assert_eq!(model.sent, expected);
        }
    }

    /// The first event of the time is found, whatever the times.
    #[test]
    fn history_by_time_begins_at_the_first_event_of_it(
        steps in prop::collection::vec(0u64..3, 1..400),
        since in 0u64..500,
    ) {
        let mut now = 0;
        let log: Vec<u64> = steps.into_iter().map(|step| { now += step * 1_000; now }).collect();
        let expected: Vec<u64> = (1..=log.len() as u64).filter(|s| log[*s as usize - 1] >= since * 1_000).collect();
        let mut model = opened(log, Some(HistoryStart::Since(since)));
        model.run_out();
        prop_assert_eq!(model.sent, expected);
        prop_assert_eq!(&model.outcomes[1..], &[StreamEffect::ConfirmHistory]);
    }
}
