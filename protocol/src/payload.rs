//! JSON that is passed on verbatim: message bodies, and events inside responses.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::text;

/// A message body: a JSON object, kept as it was written. Only line breaks between tokens become spaces, so that an
/// event is always one line, as server-sent events and JSON lines require.
#[derive(Clone)]
pub struct Body(Box<RawValue>);

/// Custom data of an application: a JSON object, kept as a [`Body`] is.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomData(Body);

/// An event without its session number, as it appears inside `hist`, `conv`, `delta` and `inbox`: the stored bytes,
/// verbatim, behind an opening brace.
#[derive(Clone)]
pub struct EncodedEvent(Box<RawValue>);

// === impl Body ===

impl Body {
    /// Returns the body if `text` is one JSON object that passes [`scan`](crate::text::scan).
    pub fn new(text: impl Into<String>) -> Result<Body, String> {
        let text = text.into();
        text::scan(&text).map_err(|flaw| flaw.to_string())?;
        Body::checked(RawValue::from_string(text).map_err(|error| error.to_string())?)
    }

    /// Returns the JSON text of the body.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    fn checked(raw: Box<RawValue>) -> Result<Body, String> {
        if !raw.get().starts_with('{') {
            return Err("b must be an object".to_owned());
        }
        // A raw line break can only occur between tokens: JSON requires an escape inside a string.
        // Replacing it byte by byte is therefore safe, and parsing the body again would change its numbers.
        if raw.get().contains(['\n', '\r']) {
            let line = raw.get().replace(['\n', '\r'], " ");
            return Ok(Body(
                RawValue::from_string(line).map_err(|error| error.to_string())?,
            ));
        }
        Ok(Body(raw))
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Body {}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies are private: a log line shows the size only.
        write!(f, "Body({} bytes)", self.as_str().len())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        Body::checked(Box::<RawValue>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

// === impl CustomData ===

impl CustomData {
    /// Returns the data if `text` is one JSON object that passes [`scan`](crate::text::scan).
    pub fn new(text: impl Into<String>) -> Result<CustomData, String> {
        Body::new(text).map(CustomData)
    }

    /// Returns the JSON text of the data.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for CustomData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomData({} bytes)", self.as_str().len())
    }
}

impl Serialize for CustomData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CustomData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CustomData, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let body = Body::checked(raw).map_err(|_| de::Error::custom("data must be an object"))?;
        Ok(CustomData(body))
    }
}

// === impl EncodedEvent ===

impl EncodedEvent {
    /// Returns the event of a stored tail, which is everything after `{"n":413,`.
    pub fn from_tail(tail: &[u8]) -> Result<EncodedEvent, String> {
        let tail = std::str::from_utf8(tail).map_err(|error| error.to_string())?;
        let mut text = String::with_capacity(tail.len() + 1);
        text.push('{');
        text.push_str(tail);
        Ok(EncodedEvent(
            RawValue::from_string(text).map_err(|error| error.to_string())?,
        ))
    }

    /// Returns the JSON text of the event.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Returns everything after the opening brace: the bytes that were also fanned out live.
    pub fn tail(&self) -> &str {
        self.0.get().trim_start_matches('{')
    }
}

impl PartialEq for EncodedEvent {
    fn eq(&self, other: &EncodedEvent) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for EncodedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawEvent({} bytes)", self.as_str().len())
    }
}

impl Serialize for EncodedEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EncodedEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EncodedEvent, D::Error> {
        // Only the brace is checked: an event of a later version must pass undecoded.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if !raw.get().starts_with('{') {
            return Err(de::Error::custom("an event must be an object"));
        }
        Ok(EncodedEvent(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_verbatim_and_on_one_line() {
        assert_eq!(
            Body::new(r#"{"x" : 9007199254740993}"#).unwrap().as_str(),
            r#"{"x" : 9007199254740993}"#
        );
        assert_eq!(
            Body::new("{\n\"x\":\r\n\"\\n\"}").unwrap().as_str(),
            "{ \"x\":  \"\\n\"}"
        );
        assert!(Body::new("[]").is_err() && Body::new("{} {}").is_err() && Body::new("").is_err());
    }

    #[test]
    fn a_body_in_a_log_line_shows_no_words() {
        assert_eq!(
            format!("{:?}", Body::new(r#"{"text":"secret"}"#).unwrap()),
            "Body(17 bytes)"
        );
    }
}
