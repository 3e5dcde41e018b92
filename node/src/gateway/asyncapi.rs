//! What is said over a WebSocket, as AsyncAPI 3.0: generated from the types of the wire, so that it can't say anything else.
//!
//! The document describes this server: it *receives* commands and *sends* answers and events, all on one channel.

use protocol::schema::{ANSWERS, Shape};
use protocol::{Answer, Command, Event, SUBPROTOCOL};
use serde_json::{Map, Value, json};

/// What a message of the channel is, by the part of the vocabulary it belongs to.
#[derive(Clone, Copy)]
enum Part {
    Command,
    Answer,
    Event,
}

/// Returns the document.
pub(super) fn describe() -> Value {
    let mut all = Map::new();
    let mut schemas = Map::new();
    let (commands, answers, events) = (Command::shapes(), Answer::shapes(), Event::shapes());
    for (part, shapes) in [
        (Part::Command, &commands),
        (Part::Answer, &answers),
        (Part::Event, &events),
    ] {
        for shape in shapes {
            all.insert(part.key(shape), part.message(shape));
            for (name, schema) in &shape.schemas {
                schemas.insert(name.clone(), draft_7(to_value(schema)));
            }
        }
    }
    let in_channel = |key: &String| {
        (
            key.clone(),
            json!({ "$ref": format!("#/components/messages/{key}") }),
        )
    };
    let channel: Map<String, Value> = all.keys().map(in_channel).collect();
    let mut operations: Map<String, Value> = commands
        .iter()
        .map(|shape| (shape.tag.to_owned(), receive(shape)))
        .collect();
    operations.insert(
        "greet".to_owned(),
        send("The first word of a connection.", &["answer.hello".to_owned()]),
    );
    let events: Vec<_> = events.iter().map(|shape| Part::Event.key(shape)).collect();
    operations.insert(
        "push".to_owned(),
        send(
            "What happens in the user's conversations, numbered without a hole.",
            &events,
        ),
    );
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rookery",
            "version": concat!("1 (server ", env!("CARGO_PKG_VERSION"), ")"),
            "description": "The WebSocket of a Rookery node. Every node serves every conversation, with the same ids. \
                One JSON object per text message. /v1/openapi.json describes the same over HTTP.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "node": {
                "host": "{host}",
                "protocol": "ws",
                "description": "Any node; wss behind a proxy that terminates TLS.",
                "variables": { "host": { "default": "127.0.0.1:8080", "description": "Where the node listens." } },
            },
        },
        "channels": {
            "session": {
                "address": "/v1/ws",
                "description": "A session: after hello the client says auth, unless the upgrade carried a token.",
                "messages": channel,
                "bindings": { "ws": { "method": "GET", "headers": handshake(), "bindingVersion": "0.1.0" } },
            },
        },
        "operations": operations,
        "components": { "messages": all, "schemas": schemas },
    })
}

// === impl Part ===

impl Part {
    fn key(self, shape: &Shape) -> String {
        let part = match self {
            Part::Command => "command",
            Part::Answer => "answer",
            Part::Event => "event",
        };
        format!("{part}.{}", shape.tag)
    }

    /// The message: its `t`, what goes around the fields, and the fields.
    fn message(self, shape: &Shape) -> Value {
        let mut payload = draft_7(to_value(&shape.tagged()));
        let head = &mut payload["allOf"][0];
        let (name, schema) = match self {
            Part::Command => (
                "id",
                json!({ "type": "integer", "format": "int64", "description": "Comes back in the answer." }),
            ),
            Part::Answer => (
                "id",
                json!({ "type": "integer", "format": "int64", "description": "That of the command." }),
            ),
            Part::Event => (
                "n",
                json!({ "type": "integer", "format": "int64", "minimum": 1, "description": "One more than that of the event before." }),
            ),
        };
        head["properties"][name] = schema;
        let mut message = json!({
            "name": shape.tag,
            "title": shape.tag,
            "summary": shape.about,
            "payload": payload,
        });
        match self {
            Part::Event => message["payload"]["allOf"][0]["required"] = json!(["n", "t"]),
            Part::Command | Part::Answer => {
                message["correlationId"] = json!({ "location": "$message.payload#/id" });
            }
        }
        message
    }
}

/// The server takes a command and answers it.
fn receive(shape: &Shape) -> Value {
    let mut operation = json!({
        "action": "receive",
        "summary": shape.about,
        "channel": { "$ref": "#/channels/session" },
        "messages": [message_of_channel(&Part::Command.key(shape))],
    });
    let answer = ANSWERS.iter().find(|(command, _)| *command == shape.tag);
    if let Some(answer) = answer.and_then(|(_, answer)| *answer) {
        let answers = [answer, "err"].map(|tag| message_of_channel(&format!("answer.{tag}")));
        operation["reply"] = json!({ "channel": { "$ref": "#/channels/session" }, "messages": answers });
    }
    operation
}

/// The server says something by itself.
fn send(about: &str, messages: &[String]) -> Value {
    let messages: Vec<_> = messages.iter().map(|key| message_of_channel(key)).collect();
    json!({
        "action": "send",
        "summary": about,
        "channel": { "$ref": "#/channels/session" },
        "messages": messages,
    })
}

fn message_of_channel(key: &str) -> Value {
    json!({ "$ref": format!("#/channels/session/messages/{key}") })
}

/// The headers of the upgrade request.
fn handshake() -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "type": "object",
        "properties": {
            "Sec-WebSocket-Protocol": { "type": "string", "const": SUBPROTOCOL, "description": "May be left out." },
            "Authorization": text("Bearer and the token. Clients that can't set headers use the command auth."),
            "X-Device": text("The device, with Authorization."),
            "X-Instance": text("Random per start of the app, with Authorization."),
            "X-Resume": text("<sid>:<n>: the session to go on with, and the last event applied, with Authorization."),
        },
    })
}

fn to_value<T: serde::Serialize>(schema: &T) -> Value {
    serde_json::to_value(schema).expect("a schema always serialises")
}

/// Schemas of AsyncAPI are of JSON Schema draft 7, which calls the parts of a tuple `items`.
fn draft_7(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            if let Some(parts) = fields.remove("prefixItems") {
                fields.insert("items".to_owned(), parts);
                fields.insert("additionalItems".to_owned(), false.into());
            }
            for field in fields.values_mut() {
                *field = draft_7(field.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = draft_7(item.take());
            }
        }
        _ => {}
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of the document, with what it points to.
    fn refs<'a>(document: &'a Value, at: &'a Value, found: &mut Vec<(String, Option<&'a Value>)>) {
        match at {
            Value::Object(fields) => {
                if let Some(Value::String(to)) = fields.get("$ref") {
                    let pointer = to.strip_prefix('#').expect("refers to itself");
                    found.push((to.clone(), document.pointer(pointer)));
                }
                fields.values().for_each(|field| refs(document, field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| refs(document, item, found)),
            _ => {}
        }
    }

    #[test]
    fn everything_that_is_referred_to_is_there() {
        let document = describe();
        let mut found = Vec::new();
        refs(&document, &document, &mut found);
        assert!(found.len() > 100, "{}", found.len());
        for (to, target) in found {
            assert!(target.is_some(), "{to}");
        }
    }

    #[test]
    fn every_shape_is_a_message_of_the_channel_and_every_command_an_operation() {
        let document = describe();
        let messages = document["channels"]["session"]["messages"].as_object().unwrap();
        let all = Command::shapes().len() + Answer::shapes().len() + Event::shapes().len();
        assert_eq!(messages.len(), all);
        for shape in Command::shapes() {
            let operation = &document["operations"][shape.tag];
            assert_eq!(operation["action"], "receive", "{}", shape.tag);
            let silent = shape.tag == "typing";
            assert_eq!(operation["reply"].is_null(), silent, "{operation}");
        }
        let pushed = document["operations"]["push"]["messages"].as_array().unwrap();
        assert_eq!(pushed.len(), Event::shapes().len());
    }

    #[test]
    fn a_message_says_its_tag_its_number_and_its_fields() {
        let document = describe();
        let payload = |key: &str| document["components"]["messages"][key]["payload"].clone();
        let send = payload("command.send");
        assert_eq!(send["allOf"][0]["properties"]["t"]["enum"], json!(["send"]));
        assert_eq!(send["allOf"][0]["properties"]["id"]["type"], "integer");
        assert_eq!(send["allOf"][1]["$ref"], "#/components/schemas/command.Send");
        assert_eq!(payload("event.msg")["allOf"][0]["required"], json!(["n", "t"]));
    }

    #[test]
    fn schemas_use_the_words_of_draft_7_only() {
        let text = describe().to_string();
        for later in [
            "prefixItems",
            "unevaluatedProperties",
            "$defs",
            "dependentRequired",
        ] {
            assert!(!text.contains(later), "{later}");
        }
        let have = &describe()["components"]["schemas"]["command.Sync"]["properties"]["have"];
        assert_eq!(have["items"]["additionalItems"], false, "{have}");
    }
}
