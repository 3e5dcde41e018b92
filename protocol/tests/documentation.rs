//! The page that client authors read says what the code does.

use protocol::{CloseCode, ErrorCode, Frame, Request};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The frames shown in the page that begin with `prefix`, abbreviated ids made whole, abbreviated lists left out.
fn frames(prefix: &str) -> Vec<String> {
    let frames = PAGE.lines().filter_map(|line| line.strip_prefix(prefix));
    frames
        .filter(|frame| !frame.contains(",…") && !frame.contains("[…]"))
        .map(|frame| frame.replace('…', "x"))
        .collect()
}

#[test]
fn the_requests_shown_are_requests() {
    let frames = frames("C> ");
    assert!(frames.len() >= 6, "{frames:?}");
    for frame in frames {
        assert!(
            matches!(Request::decode(&frame), Ok(Some(_))),
            "{frame}: {:?}",
            Request::decode(&frame)
        );
    }
}

#[test]
fn the_frames_shown_are_frames_as_the_server_writes_them() {
    let frames = frames("S> ");
    assert!(frames.len() >= 10, "{frames:?}");
    for frame in frames {
        let written = match Frame::decode(&frame) {
            Ok(Frame::Answer { id, answer }) => answer.encode(id),
            Ok(Frame::Event { n, event }) => protocol::event::event_frame(n, &event.tail()),
            other => panic!("{frame}: {other:?}"),
        };
        assert_eq!(written, frame);
    }
}

#[test]
fn every_code_is_in_the_tables() {
    for code in ErrorCode::ALL {
        let temporary = if code.temporary() { "yes" } else { "" };
        let row = format!("| `{code}` | {} | {temporary}", code.http());
        assert!(PAGE.contains(&row), "{row}");
    }
    for code in CloseCode::ALL.map(CloseCode::code) {
        assert!(code == 1000 || PAGE.contains(&code.to_string()), "{code}");
    }
}
