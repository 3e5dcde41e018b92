//! AsyncAPI 3.0 description of the WebSocket protocol, generated from the wire types so that it cannot differ from
//! them.
//!
//! The document describes the server: it *receives* commands and *sends* answers and events, all on one channel.
//!
//! The schema of a command is closed (`additionalProperties: false`), so that a misspelt field is found before it is
//! sent. That needs one object with `t`, `id` and the fields: draft 7 has no way to close an `allOf`. Answers and events
//! are open, because later versions add fields, and share the schema of their fields by `allOf`.

use protocol::schema::Shape;
use protocol::{ClientCommand, Event, Response, SUBPROTOCOL};
use serde_json::{Map, Value, json};

/// Group of wire messages in the description.
#[derive(Clone, Copy)]
enum VocabularyPart {
    Command,
    Response,
    Event,
}

pub(super) fn describe() -> Value {
    let mut all = Map::new();
    let mut schemas = Map::new();
    let (commands, answers, events) = (ClientCommand::shapes(), Response::shapes(), Event::shapes());
    for (part, shapes) in [
        (VocabularyPart::Command, &commands),
        (VocabularyPart::Response, &answers),
        (VocabularyPart::Event, &events),
    ] {
        for shape in shapes {
            all.insert(part.key(shape), part.message(shape));
            // The fields of a command are in its message, under no name of their own.
            let named = shape.schemas.iter().skip(usize::from(part.is_closed()));
            for (name, schema) in named {
                let mut schema = draft_7(to_value(schema));
                if name.starts_with("command.") {
                    close(&mut schema);
                }
                schemas.insert(name.clone(), schema);
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
        .zip(ClientCommand::responses())
        .map(|(shape, (_, response))| (shape.tag.to_owned(), receive(shape, response)))
        .collect();
    operations.insert(
        "greet".to_owned(),
        send(
            "The server sends its greeting when the connection opens.",
            &["answer.hello".to_owned()],
        ),
    );
    let events: Vec<_> = events
        .iter()
        .map(|shape| VocabularyPart::Event.key(shape))
        .collect();
    operations.insert(
        "push".to_owned(),
        send(
            "The server sends the events of the user's conversations, numbered without gaps.",
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
                "description": "Any node of the cluster; wss behind a proxy that terminates TLS.",
                "variables": { "host": { "default": "127.0.0.1:8080", "description": "The host and port of the node." } },
            },
        },
        "channels": {
            "session": {
                "address": "/v1/ws",
                "description": "One session. After hello the client sends auth, unless the upgrade request carried a token.",
                "messages": channel,
                "bindings": { "ws": { "method": "GET", "headers": handshake(), "bindingVersion": "0.1.0" } },
            },
        },
        "operations": operations,
        "components": { "messages": all, "schemas": schemas },
    })
}

// === impl VocabularyPart ===

impl VocabularyPart {
    fn key(self, shape: &Shape) -> String {
        let part = match self {
            VocabularyPart::Command => "command",
            VocabularyPart::Response => "answer",
            VocabularyPart::Event => "event",
        };
        format!("{part}.{}", shape.tag)
    }

    /// Returns whether a message has no fields but the described ones.
    fn is_closed(self) -> bool {
        matches!(self, VocabularyPart::Command)
    }

    /// Describes one message: its tag `t`, the envelope field `id` or `n`, and its payload.
    fn message(self, shape: &Shape) -> Value {
        let (name, schema) = match self {
            VocabularyPart::Command => (
                "id",
                json!({ "type": "integer", "format": "int64", "description": "The number of the command, repeated in the answer." }),
            ),
            VocabularyPart::Response => (
                "id",
                json!({ "type": "integer", "format": "int64", "description": "The number of the command that this message answers." }),
            ),
            VocabularyPart::Event => (
                "n",
                json!({ "type": "integer", "format": "int64", "minimum": 1, "description": "The number of the event in the session: one more than that of the previous event." }),
            ),
        };
        let payload = if self.is_closed() {
            closed(shape, name, schema)
        } else {
            let mut payload = draft_7(to_value(&shape.tagged()));
            payload["allOf"][0]["properties"][name] = schema;
            payload
        };
        let mut message = json!({
            "name": shape.tag,
            "title": shape.tag,
            "summary": shape.about,
            "payload": payload,
            "examples": [{ "payload": self.example(shape) }],
        });
        // Only events require their envelope field; a command may omit `id`.
        match self {
            VocabularyPart::Event => message["payload"]["allOf"][0]["required"] = json!(["n", "t"]),
            VocabularyPart::Command | VocabularyPart::Response => {
                message["correlationId"] = json!({ "location": "$message.payload#/id" });
            }
        }
        message
    }

    /// Returns the example of a shape as a whole message.
    fn example(self, shape: &Shape) -> Value {
        let mut example: Value = serde_json::from_str(shape.example).expect("an example is valid JSON");
        example["t"] = shape.tag.into();
        match self {
            VocabularyPart::Event => example["n"] = 413.into(),
            // `hello` opens the connection and responds to nothing.
            VocabularyPart::Response if shape.tag == "hello" => {}
            VocabularyPart::Command | VocabularyPart::Response => example["id"] = 7.into(),
        }
        example
    }
}

/// Describes a message as one closed object: its tag, the envelope field and its fields.
fn closed(shape: &Shape, envelope: &str, envelope_schema: Value) -> Value {
    let (_, fields) = shape
        .schemas
        .first()
        .expect("a shape has the schema of its fields");
    let mut payload = draft_7(to_value(fields));
    payload["description"] = shape.about.into();
    payload["properties"][envelope] = envelope_schema;
    payload["properties"]["t"] = json!({ "type": "string", "enum": [shape.tag] });
    let mut required = vec![json!("t")];
    required.extend(payload["required"].as_array().into_iter().flatten().cloned());
    payload["required"] = required.into();
    close(&mut payload);
    payload
}

/// Permits no other properties in a schema of an object with fields.
fn close(schema: &mut Value) {
    if schema["properties"].is_object() {
        schema["additionalProperties"] = false.into();
    }
}

/// Describes the operation of a command: the server receives it and sends the answer.
fn receive(shape: &Shape, response: Option<&str>) -> Value {
    let mut operation = json!({
        "action": "receive",
        "summary": shape.about,
        "channel": { "$ref": "#/channels/session" },
        "messages": [message_of_channel(&VocabularyPart::Command.key(shape))],
    });
    // A command without a response has no reply. Every other command may also be answered by `err`.
    if let Some(response) = response {
        let answers = [response, "err"].map(|tag| message_of_channel(&format!("answer.{tag}")));
        operation["reply"] = json!({ "channel": { "$ref": "#/channels/session" }, "messages": answers });
    }
    operation
}

/// Describes an operation that the server starts itself.
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

/// Describes the headers of the upgrade request.
fn handshake() -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "type": "object",
        "properties": {
            "Sec-WebSocket-Protocol": { "type": "string", "const": SUBPROTOCOL, "description": "The subprotocol; optional." },
            "Authorization": text("The word Bearer and the access token. Clients that cannot set headers send the command auth instead."),
            "X-Device": text("The device; used with Authorization."),
            "X-Instance": text("A random value per start of the app; used with Authorization."),
            "X-Resume": text("<sid>:<n>: the session to resume and the number of the last applied event; used with Authorization."),
        },
    })
}

fn to_value<T: serde::Serialize>(schema: &T) -> Value {
    serde_json::to_value(schema).expect("a schema always serialises")
}

/// Converts a schema to JSON Schema draft 7, the dialect of AsyncAPI: the elements of a tuple are named `items`, and a
/// reference has no other keyword beside it.
fn draft_7(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            // Readers of draft 7 ignore a keyword beside a reference, or copy the schema under a number of its own.
            if fields.len() > 1
                && let Some(reference) = fields.remove("$ref")
            {
                fields.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
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

    /// Collects every `$ref` of the document with its target.
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
    fn asyncapi_lists_every_message_and_every_command() {
        let document = describe();
        let messages = document["channels"]["session"]["messages"].as_object().unwrap();
        let all = ClientCommand::shapes().len() + Response::shapes().len() + Event::shapes().len();
        assert_eq!(messages.len(), all);
        for shape in ClientCommand::shapes() {
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
        assert_eq!(send["properties"]["t"]["enum"], json!(["send"]));
        assert_eq!(send["properties"]["id"]["type"], "integer");
        assert_eq!(send["required"], json!(["t", "cid", "b"]));
        let message = payload("event.msg");
        assert_eq!(message["allOf"][0]["required"], json!(["n", "t"]));
        assert_eq!(message["allOf"][1]["$ref"], "#/components/schemas/event.Msg");
        let example = &document["components"]["messages"]["command.hb"]["examples"][0]["payload"];
        assert_eq!(*example, json!({ "t": "hb", "id": 7, "n": 413 }));
    }

    #[test]
    fn commands_are_closed_and_what_the_server_sends_is_open() {
        let document = describe();
        for (key, message) in document["components"]["messages"].as_object().unwrap() {
            let closed = message["payload"]["additionalProperties"] == false;
            assert_eq!(closed, key.starts_with("command."), "{key}");
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let has_fields = schema["properties"].is_object();
            let closed = schema["additionalProperties"] == false;
            assert_eq!(closed, has_fields && name.starts_with("command."), "{name}");
        }
    }

    #[test]
    fn a_reference_stands_alone() {
        fn find(at: &Value) {
            match at {
                Value::Object(fields) => {
                    assert!(!fields.contains_key("$ref") || fields.len() == 1, "{at}");
                    fields.values().for_each(find);
                }
                Value::Array(items) => items.iter().for_each(find),
                _ => {}
            }
        }
        find(&describe());
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
        let sync = &describe()["components"]["messages"]["command.sync"]["payload"];
        let have = &sync["properties"]["have"];
        assert_eq!(have["items"]["additionalItems"], false, "{have}");
    }
}
