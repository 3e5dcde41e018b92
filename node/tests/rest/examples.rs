//! The examples of the OpenAPI description: every operation has them, and its schemas accept them.

use serde_json::Value;

use node::testkit::{Call, Node};

#[tokio::test]
async fn every_body_of_the_description_has_a_valid_example() {
    let node = Node::start().await;
    let document = Call::new("GET", "/v1/openapi.json").to(&node).await.is(200);
    let (mut checked, mut without) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let request = std::iter::once(&operation["requestBody"]);
            let responses = operation["responses"].as_object().unwrap().values();
            for body in request.chain(responses) {
                let media = body["content"].as_object().into_iter().flatten();
                for (kind, media) in media {
                    let at = format!("{method} {path} {kind}");
                    match &media["example"] {
                        Value::Null => without.push(at),
                        example => {
                            check(&document, &media["schema"], example, &at);
                            checked += 1;
                        }
                    }
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let at = format!("{method} {path} {}", parameter["name"]);
                // A type such as an id brings the example itself.
                let own = &parameter["schema"]["examples"][0];
                let example = if own.is_null() { &parameter["example"] } else { own };
                if parameter["required"] == true && parameter["schema"]["$ref"].is_null() {
                    check(&document, &parameter["schema"], example, &at);
                }
            }
        }
    }
    assert_eq!(without, Vec::<String>::new(), "bodies without an example");
    assert!(checked > 100, "{checked} examples");
    node.stop().await;
}

/// Panics unless the schema accepts the value: type, enumeration, required and known fields, items.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        let named = &document["components"]["schemas"][name];
        assert!(named.is_object(), "{at}: schema {name}");
        return check(document, named, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let fits = |choice: &&Value| is_of_type(document, choice, value);
        let choice = choices.iter().find(fits);
        let choice = choice.unwrap_or_else(|| panic!("{at}: no choice for {value}"));
        return check(document, choice, value, at);
    }
    assert!(
        is_of_type(document, schema, value),
        "{at}: {value} against {schema}"
    );
    if let Some(known) = schema["enum"].as_array() {
        assert!(known.contains(value), "{at}: {value} is none of {known:?}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(
            value.get(name.as_str().unwrap()).is_some(),
            "{at}: {name} is missing"
        );
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => {
                let open = schema["properties"].is_null();
                assert!(open, "{at}: no such property");
            }
            (Value::Null, additional) => check(document, additional, field, &at),
            (property, _) => check(document, property, field, &at),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        if schema["items"].is_object() {
            check(document, &schema["items"], item, at);
        }
    }
}

/// True if the value has a type of the schema; a reference is followed, a schema without a type takes any value.
fn is_of_type(document: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return is_of_type(document, &document["components"]["schemas"][name], value);
    }
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    };
    match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}
