//! What the scan lets pass, every reader takes the same way; and what is refused is named, whatever stands around it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use protocol::{ErrorCode, Request, text};

/// A JSON text, with keys that may be there twice.
#[derive(Clone, Debug)]
enum Json {
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

/// Spellings of keys: some are of the same key.
const KEYS: [&str; 7] = ["a", "b", "\\u0061", "c", "", "\\\\u0061", "\u{e9}"];

impl Json {
    fn render(&self) -> String {
        match self {
            Json::Number(number) => number.clone(),
            Json::Text(text) => serde_json::to_string(text).unwrap(),
            Json::List(items) => {
                let items: Vec<_> = items.iter().map(Json::render).collect();
                format!("[{}]", items.join(" ,"))
            }
            Json::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| format!("\"{key}\" : {}", value.render()));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(",\n"))
            }
        }
    }

    /// Whether an object in it has a key twice, as a reader has it.
    fn has_twice(&self) -> bool {
        match self {
            Json::Number(_) | Json::Text(_) => false,
            Json::List(items) => items.iter().any(Json::has_twice),
            Json::Object(fields) => {
                let read = |key: &str| serde_json::from_str::<String>(&format!("\"{key}\"")).unwrap();
                let names: BTreeSet<_> = fields.iter().map(|(key, _)| read(key)).collect();
                names.len() < fields.len() || fields.iter().any(|(_, value)| value.has_twice())
            }
        }
    }

    /// Whether a number in it is more than a double holds, or longer than 64 characters.
    fn has_monster(&self) -> bool {
        match self {
            Json::Number(number) => number.len() > 64 || number.parse::<f64>().unwrap().is_infinite(),
            Json::Text(_) => false,
            Json::List(items) => items.iter().any(Json::has_monster),
            Json::Object(fields) => fields.iter().any(|(_, value)| value.has_monster()),
        }
    }
}

fn json() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (any::<u32>(), -400..400i32).prop_map(|(number, exponent)| format!("{number}e{exponent}")),
        "[1-9][0-9]{0,70}",
    ];
    let leaf = prop_oneof![
        number.prop_map(Json::Number),
        any::<String>().prop_map(Json::Text),
    ];
    leaf.prop_recursive(5, 64, 12, |inner| {
        let field = (proptest::sample::select(KEYS.to_vec()), inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..5).prop_map(Json::List),
            proptest::collection::vec(field, 0..12).prop_map(Json::Object),
        ]
    })
}

proptest! {
    #[test]
    fn exactly_what_readers_take_differently_is_refused(json in json()) {
        let text = json.render();
        prop_assert_eq!(text::scan(&text).is_err(), json.has_twice() || json.has_monster(), "{}", text);
    }

    #[test]
    fn a_refusal_has_the_id_wherever_that_stands(json in json(), id in any::<i64>(), first in any::<bool>()) {
        let b = json.render();
        let frame = if first {
            format!("{{\"id\":{id},\"t\":\"send\",\"b\":{b}}}")
        } else {
            format!("{{\"b\":{b},\"t\":\"send\",\"id\" : {id} }}")
        };
        let error = Request::decode(&frame).unwrap_err();
        prop_assert_eq!((error.id, error.code), (Some(id), ErrorCode::BadRequest));
    }

    #[test]
    fn no_text_makes_the_scan_panic(text in "[\\[\\]{}\",:\\\\u0-9aefdé\n.-]{0,60}") {
        let _ = text::scan(&text);
        let _ = text::id(&text);
        let _ = text::visible(&text);
    }
}
