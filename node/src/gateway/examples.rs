//! Examples of the OpenAPI description: one for each schema that is a whole body, and for each path parameter.
//!
//! Those of the protocol's shapes are declared with the shapes. The others are data (`examples.json`), so that a
//! description of a hundred bodies needs no code. The test of the description finds a body without an example, and an
//! example that its schema refuses.

use protocol::{ClientCommand, Event, Response};
use serde_json::Value;

/// Examples by the name of a schema, by an operation without a named schema, and by the name of a parameter.
const EXAMPLES: &str = include_str!("examples.json");

/// Adds the examples to the bodies and parameters of every operation.
pub(super) fn add(openapi: &mut Value) {
    let mut examples: Value = serde_json::from_str(EXAMPLES).expect("the examples are valid JSON");
    for shape in [ClientCommand::shapes(), Response::shapes(), Event::shapes()].concat() {
        let example = serde_json::from_str(shape.example).expect("an example is valid JSON");
        examples["schemas"][shape.name.as_ref()] = example;
    }
    for (path, item) in fields_mut(openapi, "paths") {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let name = format!("{} {path}", method.to_uppercase());
            if let Some(request) = operation.get_mut("requestBody") {
                add_bodies(request, &name, &examples);
            }
            for (_, response) in fields_mut(operation, "responses") {
                add_bodies(response, &name, &examples);
            }
            if let Some(parameters) = operation.get_mut("parameters") {
                add_parameters(parameters, &examples);
            }
        }
    }
}

/// Adds an example to each media type of a request or response.
fn add_bodies(body: &mut Value, operation: &str, examples: &Value) {
    for (_, media) in fields_mut(body, "content") {
        let example = match schema_name(&media["schema"]) {
            Some(schema) => &examples["schemas"][schema],
            None => &examples["operations"][operation],
        };
        if !example.is_null() {
            media["example"] = example.clone();
        }
    }
}

/// Adds an example to each parameter that is required; optional ones are mostly cursors of a previous response.
fn add_parameters(parameters: &mut Value, examples: &Value) {
    for parameter in parameters.as_array_mut().into_iter().flatten() {
        let example = parameter["name"]
            .as_str()
            .map(|name| &examples["parameters"][name]);
        if let Some(example) = example.filter(|example| !example.is_null() && parameter["required"] == true) {
            parameter["example"] = example.clone();
        }
    }
}

/// Returns the name of the component that a schema refers to, also as the non-null choice of two.
fn schema_name(schema: &Value) -> Option<&str> {
    let reference = schema["$ref"].as_str().or_else(|| {
        let choices = schema["oneOf"].as_array()?;
        choices.iter().find_map(|choice| choice["$ref"].as_str())
    })?;
    reference.rsplit('/').next()
}

fn fields_mut<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    value
        .get_mut(key)
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
}
