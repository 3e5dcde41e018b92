//! Native commands of the gateways: a tag and the fields of a JSON object become a [`Request`].
//!
//! The text of the native frame is put together and read by the protocol's own decoder, so every check of the native
//! protocol holds for every gateway. No number of a client becomes a `cid`: a command that needs a `cid` and has none is
//! refused. A short id counts again from 1 in each connection, and another message under a used `cid` would be lost.

use std::borrow::Cow;
use std::fmt;

use protocol::{DecodeError, ErrorCode, Request, text};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Fields of a command in the order in which the client wrote them. Values stay verbatim.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct CommandFields<'a> {
    fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Name of a field; borrowed unless it has an escape.
#[derive(Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);

/// Visitor that collects the fields of one JSON object.
struct FieldVisitor;

// === impl CommandFields ===

impl<'a> CommandFields<'a> {
    /// Reads the text of one JSON object.
    ///
    /// # Errors
    /// The defect, in words fit for the client.
    pub(in crate::gateway) fn parse(text: &'a str) -> Result<CommandFields<'a>, String> {
        // The scan bounds the nesting and refuses duplicate keys before any parser reads the text.
        text::scan(text).map_err(|flaw| flaw.to_string())?;
        if !text.trim_start().starts_with('{') {
            return Err("the fields of a command must be one JSON object".to_owned());
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = deserializer.deserialize_map(FieldVisitor);
        let fields = fields.map_err(|error| error.to_string())?;
        deserializer.end().map_err(|error| error.to_string())?;
        Ok(CommandFields { fields })
    }

    /// Removes a field and returns the text of its value.
    pub(in crate::gateway) fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let at = self.fields.iter().position(|(known, _)| known == name)?;
        Some(self.fields.remove(at).1)
    }

    /// Removes a field and returns its value if that is a string.
    pub(in crate::gateway) fn take_string(&mut self, name: &str) -> Option<String> {
        serde_json::from_str(&self.take(name)?).ok()
    }

    pub(in crate::gateway) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    /// Sets a field to a string, in the place of another value.
    pub(in crate::gateway) fn set_string(&mut self, name: &'static str, value: &str) {
        self.set(name, quoted(value).into());
    }

    /// Sets a field to the text of a JSON value, in the place of another value.
    pub(in crate::gateway) fn set(&mut self, name: &'static str, json: Cow<'a, str>) {
        self.take(name);
        self.fields.push((Cow::Borrowed(name), json));
    }

    /// Returns the fields as the text of one JSON object.
    pub(in crate::gateway) fn object(&self) -> String {
        let mut text = String::from("{");
        self.append_to(&mut text);
        text.push('}');
        text
    }

    /// Returns the request that the fields make together with a tag. `id` is the gateway's number of the request; an
    /// `id` or `t` among the fields has no meaning.
    ///
    /// # Errors
    /// The refusal of the protocol's decoder, with this `id`.
    pub(in crate::gateway) fn request(mut self, tag: &str, id: i64) -> Result<Request, DecodeError> {
        self.take("t");
        self.take("id");
        let mut text = format!("{{\"t\":{},\"id\":{id}", quoted(tag));
        if !self.fields.is_empty() {
            text.push(',');
        }
        self.append_to(&mut text);
        text.push('}');
        // A request with an id is never ignored: an unknown tag is refused.
        let unknown = || refused(id, format!("unknown command {tag:?}"));
        Request::decode(&text)?.ok_or_else(unknown)
    }

    fn append_to(&self, text: &mut String) {
        for (at, (name, json)) in self.fields.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(&quoted(name));
            text.push(':');
            text.push_str(json);
        }
    }
}

/// Returns the refusal of a malformed command.
pub(in crate::gateway) fn refused(id: i64, message: String) -> DecodeError {
    DecodeError {
        id: Some(id),
        code: ErrorCode::BadRequest,
        message,
    }
}

/// Returns the JSON text of a string.
pub(in crate::gateway) fn quoted(text: &str) -> String {
    // A string is always serialisable; the empty string is unreachable.
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Vec<(Cow<'de, str>, Cow<'de, str>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((FieldName(name), json)) = map.next_entry::<FieldName<'de>, &'de RawValue>()? {
            fields.push((name, Cow::Borrowed(json.get())));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::ClientCommand;

    use super::*;

    fn request(tag: &str, fields: &str) -> Result<Request, DecodeError> {
        CommandFields::parse(fields).unwrap().request(tag, 7)
    }

    #[test]
    fn fields_and_tag_make_the_native_request() {
        let made = request("send", r#"{"c":"g_1","cid":"k1","b":{"n":9007199254740993}}"#).unwrap();
        let native = r#"{"t":"send","id":7,"c":"g_1","cid":"k1","b":{"n":9007199254740993}}"#;
        assert_eq!(made, Request::decode(native).unwrap().unwrap());
        assert!(matches!(
            request("list", "{}").unwrap().command,
            ClientCommand::List(_)
        ));
    }

    #[test]
    fn no_number_becomes_a_cid() {
        for fields in [
            r#"{"c":"g_1","b":{}}"#,
            r#"{"id":3,"c":"g_1","b":{}}"#,
            r#"{"id":"3","c":"g_1","b":{}}"#,
        ] {
            let refusal = request("send", fields).unwrap_err();
            assert_eq!(
                (refusal.id, refusal.code),
                (Some(7), ErrorCode::BadRequest),
                "{fields}"
            );
            assert!(refusal.message.contains("cid"), "{}", refusal.message);
        }
    }

    #[test]
    fn tag_and_id_come_from_the_gateway() {
        let made = request("list", r#"{"t":"send","id":99,"limit":3}"#).unwrap();
        assert_eq!(made.id, Some(7));
        assert!(matches!(made.command, ClientCommand::List(list) if list.limit == Some(3)));
        let refusal = request("nonsense\"", "{}").unwrap_err();
        assert_eq!((refusal.id, refusal.code), (Some(7), ErrorCode::BadRequest));
    }

    #[test]
    fn hostile_text_is_refused_before_a_tree_is_built() {
        let deep = format!("{}{}{}", r#"{"b":"#, "[".repeat(100_000), "]".repeat(100_000));
        for text in [
            deep.as_str(),
            r#"{"cid":"a","cid":"b"}"#,
            r#"{"c\u0069d":"a","cid":"b"}"#,
            "[1]",
            "{}{}",
            "{",
            "",
            r#"{"n":1e999}"#,
        ] {
            assert!(
                CommandFields::parse(text).is_err(),
                "{}",
                &text[..text.len().min(40)]
            );
        }
    }

    proptest! {
        /// Verbatim values, names with escapes, and in the order in which they came.
        #[test]
        fn fields_survive_verbatim(names in prop::collection::btree_set(any::<String>(), 0..8), number in any::<u64>()) {
            let mut text = String::from("{");
            for (at, name) in names.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&format!("{}:{{\"v\":{number}{at}}}", quoted(name)));
            }
            text.push('}');
            prop_assert_eq!(CommandFields::parse(&text).unwrap().object(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            if let Ok(fields) = CommandFields::parse(&text) {
                let _refused = fields.request("send", 1);
            }
        }
    }
}
