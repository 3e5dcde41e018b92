//! The schemas of the wire name each other and nothing else, and no two shapes share a name.

use std::collections::BTreeMap;

use protocol::schema::Shape;
use protocol::{ClientCommand, EncodedEvent, Event, Response};
use serde_json::Value;
use utoipa::PartialSchema;

#[test]
fn every_shape_has_a_schema_and_every_name_in_it_is_there() {
    let mut named: BTreeMap<String, Value> = BTreeMap::new();
    for shape in [ClientCommand::shapes(), Response::shapes(), Event::shapes()].concat() {
        assert!(!shape.about.is_empty(), "{}", shape.tag);
        let mut whole = serde_json::to_value(shape.tagged()).unwrap();
        whole["of"] = serde_json::to_value(shape.schemas.first().unwrap()).unwrap();
        for (name, schema) in shape.schemas {
            let schema = serde_json::to_value(schema).unwrap();
            let before = named.insert(name.clone(), schema.clone());
            assert!(
                before.is_none_or(|before| before == schema),
                "{name} is two things"
            );
        }
        named.insert(format!("{} {}", shape.name, shape.tag), whole);
    }
    let text = serde_json::to_string(&named).unwrap();
    let mut names = text.split("#/components/schemas/").skip(1);
    assert!(names.all(|rest| named.contains_key(rest.split('"').next().unwrap())));
    for name in [
        "UserId",
        "Event",
        "command.Edit",
        "event.Edit",
        "ConversationSnapshot",
        "ErrorCode",
    ] {
        assert!(named.contains_key(name), "{name} in {:?}", named.keys());
    }
    assert_eq!(
        named["event.Msg"]["properties"]["c"]["$ref"],
        "#/components/schemas/ConversationId"
    );
    assert_eq!(
        named["command.Create"]["required"],
        serde_json::json!(["kind", "cid"])
    );
}

#[test]
fn the_schema_of_a_stored_event_has_every_durable_event() {
    let shapes = Event::shapes();
    let is_durable = |shape: &&Shape| {
        let event = Event::decode(
            &shape
                .example
                .replacen('{', &format!("{{\"t\":{:?},", shape.tag), 1),
        );
        event.unwrap().position().is_some()
    };
    let durable: Vec<_> = shapes.iter().filter(is_durable).map(|shape| shape.tag).collect();
    assert_eq!(durable, ["msg", "edit", "del", "react", "meta", "member"]);
    let schema = serde_json::to_value(EncodedEvent::schema()).unwrap();
    let choices = schema["oneOf"].as_array().unwrap();
    let tags: Vec<_> = choices
        .iter()
        .map(|choice| choice["allOf"][0]["properties"]["t"]["enum"][0].as_str().unwrap())
        .collect();
    assert_eq!(tags, durable);
}
