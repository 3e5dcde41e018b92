//! The schemas of the wire name each other and nothing else, and no two shapes share a name.

use std::collections::BTreeMap;

use protocol::schema::ANSWERS;
use protocol::{ClientCommand, Event, Response};
use serde_json::Value;

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
fn every_command_has_its_answer() {
    let commands: Vec<_> = ClientCommand::shapes().iter().map(|shape| shape.tag).collect();
    assert_eq!(ANSWERS.map(|(command, _)| command).to_vec(), commands);
    let answers: Vec<_> = Response::shapes().iter().map(|shape| shape.tag).collect();
    for (command, answer) in ANSWERS {
        assert!(
            answer.is_none_or(|answer| answers.contains(&answer)),
            "{command}: {answer:?}"
        );
    }
}
