//! Frame codec. `t` selects the shape, so a frame is parsed twice: once for its head and once for the fields of its
//! shape.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Fields that every frame may carry besides those of its shape. They stay raw, so that an ill-typed `t` does not hide
/// the `id`.
#[derive(Deserialize)]
struct RawHead<'a> {
    #[serde(borrow, rename = "t")]
    tag: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "n")]
    session_seq: Option<&'a RawValue>,
}

/// Head of a frame: `t`, `id` and `n`, each if it is present and well-typed.
pub(crate) struct FrameHead<'a> {
    pub(crate) tag: Option<Cow<'a, str>>,
    pub(crate) id: Result<Option<i64>, &'static str>,
    pub(crate) session_seq: Option<u64>,
}

// === impl FrameHead ===

impl<'a> FrameHead<'a> {
    pub(crate) fn read(text: &'a str) -> Result<FrameHead<'a>, serde_json::Error> {
        let raw: RawHead<'a> = serde_json::from_str(text)?;
        Ok(FrameHead {
            tag: raw.tag.and_then(|tag| text_of(tag.get())),
            id: match raw.id {
                // Only `id` reports its error: the client matches its response by it, so ignoring a malformed one would
                // lose the response.
                None => Ok(None),
                Some(id) => serde_json::from_str(id.get()).map_err(|_| "id must be a 64-bit integer"),
            },
            session_seq: raw.session_seq.and_then(|n| serde_json::from_str(n.get()).ok()),
        })
    }
}

fn text_of(json: &str) -> Option<Cow<'_, str>> {
    // `Cow` borrows the usual `t` and allocates only if it contains an escape.
    #[derive(Deserialize)]
    struct FrameText<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<FrameText<'_>>(json)
        .ok()
        .map(|FrameText(text)| text)
}

/// Returns the frame `{"t":<tag>,"id":<id>,<fields>}`.
pub(crate) fn splice(tag: &str, id: Option<i64>, fields: &str) -> String {
    let mut text = String::with_capacity(fields.len() + tag.len() + 32);
    text.push_str("{\"t\":\"");
    text.push_str(tag);
    text.push('"');
    if let Some(id) = id {
        text.push_str(",\"id\":");
        text.push_str(&id.to_string());
    }
    // `fields` keeps its closing brace; without fields only that brace follows, and a comma would break the JSON.
    if fields != "{}" {
        text.push(',');
    }
    text.push_str(&fields[1..]);
    text
}

/// Returns the frame of an event: a session's event number, then the shared tail.
pub fn event_frame(session_seq: u64, tail: &str) -> String {
    // 26 bytes hold the longest number and the punctuation: one allocation per frame and session.
    let mut frame = String::with_capacity(tail.len() + 26);
    frame.push_str("{\"n\":");
    push_u64(&mut frame, session_seq);
    frame.push(',');
    frame.push_str(tail);
    frame
}

/// Appends a number in decimal digits.
pub(crate) fn push_u64(out: &mut String, mut value: u64) {
    // 20 digits hold every u64; `to_string` would allocate for each number of each event.
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    for digit in &digits[at..] {
        out.push(char::from(*digit));
    }
}

/// Appends a JSON string with the same escapes as `serde_json`.
pub(crate) fn push_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("a string always serialises"));
    }
}

/// Condition of serde for a flag that is omitted while it is false.
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}
