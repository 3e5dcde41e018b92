//! The examples of the declared shapes.

use protocol::schema::Shape;
use protocol::{ClientCommand, Event, Request, Response, ServerFrame};

/// Returns the frame of a shape's example, with this head behind the `t`.
fn frame(shape: &Shape, head: &str) -> String {
    let fields = shape.example.strip_prefix('{').unwrap();
    let comma = if fields == "}" { "" } else { "," };
    format!("{{\"t\":\"{}\"{head}{comma}{fields}", shape.tag)
}

#[test]
fn every_example_is_encoded_as_it_stands() {
    for shape in ClientCommand::shapes() {
        let text = frame(&shape, ",\"id\":7");
        let request = Request::decode(&text).unwrap().unwrap();
        assert_eq!(request.encode(), text);
    }
    for shape in Response::shapes() {
        let text = frame(&shape, ",\"id\":7");
        match ServerFrame::decode(&text) {
            Ok(ServerFrame::Response { id, response }) => assert_eq!(response.encode(id), text),
            other => panic!("{text}: {other:?}"),
        }
    }
    for shape in Event::shapes() {
        let text = frame(&shape, "");
        let event = Event::decode(&text).unwrap();
        assert_eq!(format!("{{{}", event.tail()), text);
    }
}
