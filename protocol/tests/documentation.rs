//! The page that client authors read says what the code does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use protocol::schema::Shape;
use protocol::{ClientCommand, CloseCode, ErrorCode, Event, Request, Response, ServerFrame};

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
fn documented_requests_are_valid() {
    let frames = frames("C> ");
    assert!(frames.len() >= 11, "{frames:?}");
    for frame in frames {
        assert!(
            matches!(Request::decode(&frame), Ok(Some(_))),
            "{frame}: {:?}",
            Request::decode(&frame)
        );
    }
}

#[test]
fn documented_frames_are_as_the_server_writes_them() {
    let frames = frames("S> ");
    assert!(frames.len() >= 17, "{frames:?}");
    for frame in frames {
        let written = match ServerFrame::decode(&frame) {
            Ok(ServerFrame::Response { id, response }) => response.encode(id),
            Ok(ServerFrame::Event {
                session_seq: n,
                event,
            }) => protocol::event::event_frame(n, &event.tail()),
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

/// The rows of the table that follows this heading.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let lines = PAGE.lines().skip_while(|line| *line != heading).skip(1);
    let rows = lines.skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// The words in backticks, each up to what isn't part of its name.
fn names(cell: &str) -> Vec<&str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .map(|name| {
            name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
                .unwrap()
        })
        .collect()
}

#[test]
fn every_documented_command_has_its_documented_response() {
    let rows = table("## 3. Commands");
    let mut responses: BTreeMap<_, _> = ClientCommand::responses().into_iter().collect();
    // Section 2 explains how a session begins.
    responses.remove("auth");
    for row in rows {
        let answer = names(row.last().unwrap()).first().copied();
        for command in names(row[0]) {
            let known = responses.remove(command);
            assert_eq!(known, Some(answer), "{command}");
        }
    }
    assert_eq!(responses, BTreeMap::new(), "every command is in the table");
}

#[test]
fn every_event_is_in_the_table_with_its_fields() {
    let rows = table("## 4. Events");
    for shape in Event::shapes() {
        let row = rows.iter().find(|row| names(row[0]) == [shape.tag]);
        let row = row.unwrap_or_else(|| panic!("{} is in the table", shape.tag));
        if shape.tag != "conv" {
            let (_, documented) = row[0].split_once('{').unwrap();
            let documented = documented.trim_end_matches(['`', '}']).split(',');
            let documented: BTreeSet<_> = documented
                .map(|name| name.trim_end_matches('?').to_owned())
                .collect();
            assert_eq!(documented, fields(&shape), "{}", shape.tag);
        }
    }
}

#[test]
fn every_answer_that_is_explained_names_its_fields() {
    for tag in ["ack", "conv", "inbox", "hist", "members", "delta", "err"] {
        let shapes = Response::shapes();
        let shape = shapes.iter().find(|shape| shape.tag == tag).unwrap();
        let start = format!("* `{tag}{{");
        let line = PAGE.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        for field in fields(shape) {
            let named = line
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .any(|word| word == field);
            assert!(named, "{field} of {tag}");
        }
    }
}

/// The names of a shape's fields.
fn fields(shape: &Shape) -> BTreeSet<String> {
    let schema = shape.schemas.iter().find(|(name, _)| *name == shape.name);
    let schema = serde_json::to_value(&schema.unwrap().1).unwrap();
    schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}
