//! JSON that is passed on verbatim: message bodies, and events inside answers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::event::{Event, event_frame};
use crate::text;

/// A message body: a JSON object, kept as it was written except that line breaks between tokens become
/// spaces, so that an event is always one line (server-sent events and JSON lines rely on it).
#[derive(Clone)]
pub struct Body(Box<RawValue>);

/// An event without its number, as it stands inside `hist`, `conv`, `delta` and `inbox`: the stored bytes,
/// verbatim, with an opening brace before them.
#[derive(Clone)]
pub struct RawEvent(Box<RawValue>);

// === impl Body ===

impl Body {
    /// Returns the body if `text` is one JSON object that keeps to what [`scan`](crate::text::scan) asks.
    pub fn new(text: impl Into<String>) -> Result<Body, String> {
        let text = text.into();
        text::scan(&text).map_err(|flaw| flaw.to_string())?;
        Body::checked(RawValue::from_string(text).map_err(|error| error.to_string())?)
    }

    /// Returns the JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    fn checked(raw: Box<RawValue>) -> Result<Body, String> {
        if !raw.get().starts_with('{') {
            return Err("b must be an object".to_owned());
        }
        // A raw line break can only stand between tokens: inside a string JSON wants it escaped.
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

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies are people's words: a log line gets the size only.
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

// === impl RawEvent ===

impl RawEvent {
    /// Returns the event whose stored tail is `tail` (everything after `{"n":413,`).
    pub fn from_tail(tail: &[u8]) -> Result<RawEvent, String> {
        let tail = std::str::from_utf8(tail).map_err(|error| error.to_string())?;
        let mut text = String::with_capacity(tail.len() + 1);
        text.push('{');
        text.push_str(tail);
        Ok(RawEvent(
            RawValue::from_string(text).map_err(|error| error.to_string())?,
        ))
    }

    /// Returns the whole JSON object.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Returns everything after the opening brace, the bytes that were fanned out live.
    pub fn tail(&self) -> &str {
        self.0.get().trim_start_matches('{')
    }

    /// Returns the frame of this event under a session's number.
    pub fn frame(&self, n: u64) -> String {
        event_frame(n, self.tail())
    }

    /// Returns the typed event, `None` for one that this version doesn't know.
    pub fn event(&self) -> Option<Event> {
        Event::decode(self.as_str())
    }
}

impl PartialEq for RawEvent {
    fn eq(&self, other: &RawEvent) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawEvent({} bytes)", self.as_str().len())
    }
}

impl Serialize for RawEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawEvent, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if !raw.get().starts_with('{') {
            return Err(de::Error::custom("an event must be an object"));
        }
        Ok(RawEvent(raw))
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
