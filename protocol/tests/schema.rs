//! The schemas of the wire name each other and nothing else, and no two shapes share a name.

use std::collections::BTreeMap;

use protocol::schema::Shape;
use protocol::{ClientCommand, EncodedEvent, Event, Response, ServerFrame};
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

/// Returns the schema of a name, or the schema itself if it refers to none. A nullable reference is the reference.
fn resolved<'a>(schema: &'a Value, named: &'a BTreeMap<String, Value>) -> &'a Value {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let mut references = std::iter::once(schema)
        .chain(choices)
        .filter_map(|one| one["$ref"].as_str());
    match references.next().and_then(|to| to.rsplit('/').next()) {
        // Events are passed on verbatim, so their fields are not those of the shape.
        Some("Event") | None => schema,
        Some(name) => &named[name],
    }
}

/// Removes every field that the schema does not require.
fn strip(value: &mut Value, schema: &Value, named: &BTreeMap<String, Value>) {
    let schema = resolved(schema, named);
    match value {
        Value::Object(fields) if schema["properties"].is_object() => {
            let required = schema["required"].as_array();
            fields
                .retain(|name, _| required.is_some_and(|required| required.contains(&name.as_str().into())));
            for (name, field) in fields {
                strip(field, &schema["properties"][name], named);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| strip(item, &schema["items"], named)),
        _ => {}
    }
}

/// Asserts that the value has no field of the schema beyond the required ones.
fn has_only_required(value: &Value, schema: &Value, named: &BTreeMap<String, Value>, at: &str) {
    let schema = resolved(schema, named);
    if schema["properties"].is_object() {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, field) in value.as_object().into_iter().flatten() {
            assert!(
                required.contains(&name.as_str().into()),
                "{at}.{name} is always sent: mark it as required"
            );
            has_only_required(field, &schema["properties"][name], named, &format!("{at}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        has_only_required(item, &schema["items"], named, at);
    }
}

#[test]
fn a_field_that_is_always_sent_is_required() {
    let mut checked = 0;
    for (is_event, shapes) in [(false, Response::shapes()), (true, Event::shapes())] {
        for shape in shapes {
            let named: BTreeMap<String, Value> = shape
                .schemas
                .iter()
                .map(|(name, schema)| (name.clone(), serde_json::to_value(schema).unwrap()))
                .collect();
            let schema = &named[shape.name.as_ref()];
            let mut least: Value = serde_json::from_str(shape.example).unwrap();
            strip(&mut least, schema, &named);
            let text = least
                .to_string()
                .replacen('{', &format!("{{\"t\":{:?},", shape.tag), 1);
            let text = text.replace(",}", "}");
            let sent = if is_event {
                format!("{{{}", Event::decode(&text).unwrap().tail())
            } else {
                match ServerFrame::decode(&text) {
                    Ok(ServerFrame::Response { response, .. }) => response.encode(None),
                    other => panic!("{text}: {other:?}"),
                }
            };
            let mut sent: Value = serde_json::from_str(&sent).unwrap();
            sent.as_object_mut().unwrap().remove("t");
            has_only_required(&sent, schema, &named, shape.tag);
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}
