//! Every encoded value decodes to the same value. Each module has one strategy per declared shape.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::TestRunner;
use protocol::event::event_frame;
use protocol::schema::Shape;
use protocol::{ClientCommand, Event, MessageState, Request, Response, ServerFrame};

mod commands;
mod events;
mod responses;
mod values;

use values::{opt, reaction};

fn command() -> impl Strategy<Value = ClientCommand> {
    Union::new(commands::strategies())
}

/// Panics unless there is exactly one strategy for each of the shapes.
fn assert_one_for_each<T: std::fmt::Debug>(
    shapes: &[Shape],
    strategies: Vec<BoxedStrategy<T>>,
    tag: fn(&T) -> &'static str,
) {
    let mut runner = TestRunner::deterministic();
    let values = strategies
        .iter()
        .map(|of| of.new_tree(&mut runner).unwrap().current());
    let tags: Vec<_> = values.map(|value| tag(&value)).collect();
    let declared: BTreeSet<_> = shapes.iter().map(|shape| shape.tag).collect();
    assert_eq!(tags.iter().copied().collect::<BTreeSet<_>>(), declared);
    assert_eq!(tags.len(), declared.len(), "{tags:?}");
}

#[test]
fn every_shape_has_a_strategy() {
    assert_one_for_each(
        &ClientCommand::shapes(),
        commands::strategies(),
        ClientCommand::tag,
    );
    assert_one_for_each(&Event::shapes(), events::strategies(), Event::tag);
    assert_one_for_each(&Response::shapes(), responses::strategies(), Response::tag);
}

proptest! {
    #[test]
    fn requests_round_trip(id in opt(any::<i64>()), command in command()) {
        let request = Request { id, command };
        let text = request.encode();
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(Request::decode(&text), Ok(Some(request)));
    }

    #[test]
    fn events_round_trip_on_one_line(session_seq in any::<u64>(), event in Union::new(events::strategies())) {
        let frame = event_frame(session_seq, &event.tail());
        prop_assert!(!frame.contains('\n'));
        prop_assert_eq!(ServerFrame::decode(&frame), Ok(ServerFrame::Event { session_seq, event }));
    }

    #[test]
    fn responses_round_trip(id in opt(any::<i64>()), response in Union::new(responses::strategies())) {
        prop_assert_eq!(ServerFrame::decode(&response.encode(id)), Ok(ServerFrame::Response { id, response }));
    }

    #[test]
    fn messages_round_trip(msg in events::msg(), edited_timestamp_ms in opt(any::<u64>()), counts in proptest::collection::btree_map(reaction(), any::<u64>(), 0..4)) {
        let message = MessageState { edited_timestamp_ms, reactions: counts, ..MessageState::from(msg) };
        let text = serde_json::to_string(&message).unwrap();
        prop_assert_eq!(serde_json::from_str::<MessageState>(&text).unwrap(), message);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = Request::decode(&text);
        let _ = ServerFrame::decode(&text);
    }

    #[test]
    fn no_damage_makes_the_reader_panic(command in command(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut text: Vec<char> = Request { id: Some(1), command }.encode().chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        let text: String = text.into_iter().collect();
        let _ = Request::decode(&text);
    }
}
