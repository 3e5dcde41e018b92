//! Checks of text that other clients will read: a scan of the JSON before any parser, and a rule for displayed names.
//!
//! Bodies are passed on verbatim, so JSON that a common reader rejects would fail at every receiver, together with the
//! rest of its page. The scan refuses nesting beyond [`DEPTH`], escapes of half a surrogate pair, numbers that are too
//! long or not finite in a double, and duplicate keys. (Of a duplicate key some readers use the first value and others
//! the last.) The scan is linear and not recursive; invalid JSON is left to the parser.

use std::borrow::Cow;
use std::fmt;

use crate::limits::{DEPTH, NUMBER_CHARS, REACTION_BYTES};

/// Defect of a text and its position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub struct TextFlaw {
    what: &'static str,
    line: usize,
    column: usize,
}

/// An object or array that is not closed yet.
#[derive(Clone, Copy)]
struct OpenBracket {
    is_object: bool,
    /// Index of the first key of this object in the list of open keys. A frame has fewer keys than a `u32` can count.
    keys: u32,
}

/// Key of an object, without its quotes, as start and end offset.
type ObjectKey = (usize, usize);

/// Up to this number, keys are compared pairwise; more keys are sorted.
const FEW_KEYS: usize = 8;

/// Refuses valid JSON that a common JSON reader could reject.
///
/// # Errors
/// The first defect with its line and column.
pub fn scan(text: &str) -> Result<(), TextFlaw> {
    let bytes = text.as_bytes();
    // A fixed array instead of recursion: hostile nesting must cost neither stack nor heap.
    let mut open = [OpenBracket {
        is_object: false,
        keys: 0,
    }; DEPTH];
    let (mut depth, mut at) = (0usize, 0usize);
    let mut keys: Vec<ObjectKey> = Vec::with_capacity(16);
    let mut is_key = false;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' | b'[' => {
                let is_object = byte == b'{';
                let slot = open.get_mut(depth);
                *slot.ok_or_else(|| TextFlaw::at(text, start, "nested too deeply"))? = OpenBracket {
                    is_object,
                    keys: keys.len() as u32,
                };
                depth += 1;
                is_key = is_object;
            }
            b'}' | b']' => {
                is_key = false;
                // Saturates: unbalanced brackets are invalid JSON, which the parser refuses with a better message.
                depth = depth.saturating_sub(1);
                let OpenBracket {
                    is_object,
                    keys: first,
                } = open[depth];
                let first = first as usize;
                if is_object && first < keys.len() {
                    // Checked when the object closes, then dropped: the list holds only the keys of open objects.
                    once(text, &mut keys[first..])?;
                    keys.truncate(first);
                }
            }
            b',' => is_key = depth > 0 && open[depth - 1].is_object,
            b'"' => {
                at = skip_string(text, at)?;
                // Strings in arrays and in values are no keys, and may repeat.
                if is_key {
                    keys.push((start + 1, at.saturating_sub(1)));
                    is_key = false;
                }
            }
            b'-' | b'0'..=b'9' => at = skip_number(text, start)?,
            _ => {}
        }
    }
    Ok(())
}

/// Returns the `id` of a frame if it can be read, even from an otherwise malformed frame; `None` if it is absent or
/// given twice.
pub fn id(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (mut depth, mut at, mut is_key) = (0usize, 0usize, false);
    let mut found = None;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                is_key = depth == 1 && byte == b'{';
            }
            // Saturates, as in `scan`: the frame may be malformed, and this function must not panic.
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => is_key = depth == 1,
            b'"' => {
                let start = at;
                at = end_of_string(bytes, at);
                let is_id = bytes.get(start..at).is_some_and(|key| key == b"id\"");
                // A duplicate is ambiguous: the client could match the error to the wrong request.
                if std::mem::take(&mut is_key) && is_id && found.replace(integer(&text[at..])?).is_some() {
                    return None;
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns the integer value behind a key; `None` unless a comma or brace follows it.
fn integer(rest: &str) -> Option<i64> {
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = value.find(|c: char| c != '-' && !c.is_ascii_digit())?;
    let ends = value[end..].trim_start().starts_with([',', '}']);
    value[..end].parse().ok().filter(|_| ends)
}

/// Refuses a name that must not be displayed: with control characters, with characters that override the writing
/// direction, or without a visible character.
pub fn visible(name: &str) -> Result<(), &'static str> {
    if name.chars().any(misleads) {
        return Err("no control characters and no characters that override the writing direction");
    }
    if name.chars().all(is_unseen) {
        return Err("a visible character");
    }
    Ok(())
}

/// Refuses a URL that a client must not load as a picture: anything but an `http` or `https` URL with a host, or a
/// reference relative to the application. A node never loads it.
pub fn picture_url(url: &str) -> Result<(), &'static str> {
    const FORM: &str = "an http or https URL, or a relative one";
    if url.is_empty() || url.chars().any(|c| c.is_whitespace() || misleads(c) || c == '\\') {
        return Err(FORM);
    }
    // The scheme ends at the first colon, unless a slash, query or fragment begins before it.
    let end = url
        .find([':', '/', '?', '#'])
        .filter(|end| url[*end..].starts_with(':'));
    let Some((scheme, rest)) = end.map(|end| (&url[..end], &url[end + 1..])) else {
        // Two slashes begin a host, which would take the scheme of the page.
        return if url.starts_with("//") { Err(FORM) } else { Ok(()) };
    };
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host = rest
        .strip_prefix("//")
        .map(|rest| rest.split(['/', '?', '#']).next());
    match host {
        Some(Some(host)) if is_web && !host.is_empty() && !host.contains('@') => Ok(()),
        _ => Err(FORM),
    }
}

/// Refuses a reaction that is not 1 to [`REACTION_BYTES`] bytes of [displayable](visible) text.
pub fn reaction(k: &str) -> Result<(), String> {
    if k.is_empty() || k.len() > REACTION_BYTES {
        return Err(format!("k must be 1 to {REACTION_BYTES} bytes"));
    }
    visible(k).map_err(|why| format!("k must have {why}"))
}

/// Returns the canonical form of a reaction: without the variation selectors U+FE0E and U+FE0F, which choose between a
/// plain and a coloured picture. Reactions with the same form are one.
pub fn reaction_of(k: &str) -> Cow<'_, str> {
    const MARKS: [char; 2] = ['\u{fe0e}', '\u{fe0f}'];
    if k.contains(MARKS) {
        Cow::Owned(k.replace(MARKS, ""))
    } else {
        Cow::Borrowed(k)
    }
}

/// Returns whether the character changes the text around it: controls, line and paragraph separators, and embeddings,
/// overrides and isolates of the writing direction. The plain direction marks occur in many names and are permitted.
fn misleads(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fff9}'..='\u{fffb}')
}

/// Returns whether the character is invisible: white space, characters that Unicode ignores where they cannot be shown,
/// and blank letters.
fn is_unseen(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}'
                | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fff8}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Refuses duplicate keys. May reorder `keys`.
fn once(text: &str, keys: &mut [ObjectKey]) -> Result<(), TextFlaw> {
    let raw = |key: &ObjectKey| &text[key.0..key.1];
    let twice = |again: &ObjectKey| TextFlaw::at(text, again.0, "duplicate key in an object");
    // Escapes can spell one key in two ways, so the decoded names are compared. This is rare, hence a path of its own.
    if keys.iter().any(|key| raw(key).contains('\\')) {
        let mut names: Vec<(Cow<'_, str>, ObjectKey)> =
            keys.iter().map(|key| (unescaped(raw(key)), *key)).collect();
        names.sort_unstable();
        let same = names.windows(2).find(|pair| pair[0].0 == pair[1].0);
        return same.map_or(Ok(()), |pair| Err(twice(&pair[1].1)));
    }
    if keys.len() <= FEW_KEYS {
        for (i, key) in keys.iter().enumerate() {
            if keys[..i].iter().any(|before| raw(before) == raw(key)) {
                return Err(twice(key));
            }
        }
        return Ok(());
    }
    // Above a few keys pairwise comparison would be quadratic, and a frame of 64 KiB can hold thousands.
    keys.sort_unstable_by(|a, b| raw(a).cmp(raw(b)).then(a.cmp(b)));
    let same = keys.windows(2).find(|pair| raw(&pair[0]) == raw(&pair[1]));
    same.map_or(Ok(()), |pair| Err(twice(&pair[1])))
}

/// Returns a key with its escapes decoded. A malformed key is returned as it is: the parser refuses it.
fn unescaped(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    serde_json::from_str(&format!("\"{raw}\"")).map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// Returns the offset behind the number that begins at `start`.
fn skip_number(text: &str, start: usize) -> Result<usize, TextFlaw> {
    let rest = &text.as_bytes()[start..];
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let len = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
    let number = &text[start..start + len];
    if len > NUMBER_CHARS {
        return Err(TextFlaw::at(text, start, "a number has more than 64 characters"));
    }
    // Without an exponent no number of this length exceeds a double, so the parse is skipped.
    if number.contains(['e', 'E']) && number.parse::<f64>().is_ok_and(f64::is_infinite) {
        return Err(TextFlaw::at(text, start, "a number is not finite"));
    }
    Ok(start + len)
}

/// Returns the offset behind the string whose first character is at `at`.
fn skip_string(text: &str, mut at: usize) -> Result<usize, TextFlaw> {
    let lone = |at| Err(TextFlaw::at(text, at, "an escape is half of a surrogate pair"));
    let bytes = text.as_bytes();
    loop {
        // An unterminated string ends the scan; the parser refuses it.
        match bytes.get(at) {
            None => return Ok(at),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match unit(bytes, at) {
                Some(0xD800..=0xDBFF) => {
                    if !matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) {
                        return lone(at);
                    }
                    at += 12;
                }
                Some(0xDC00..=0xDFFF) => return lone(at),
                _ => at += 2,
            },
            Some(_) => at += 1,
        }
    }
}

/// Returns the offset behind the string whose first character is at `at`, without checking its escapes.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// Returns the UTF-16 unit of a `\uXXXX` escape at `at`; `None` for any other text.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let hex = escape.strip_prefix(b"\\u")?;
    if !hex.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

// === impl TextFlaw ===

impl TextFlaw {
    #[cold]
    fn at(text: &str, at: usize, what: &'static str) -> TextFlaw {
        let before = &text.as_bytes()[..at.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let begins = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let column = before.len() - begins + 1;
        TextFlaw { what, line, column }
    }
}

impl fmt::Display for TextFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at line {} column {}", self.what, self.line, self.column)
    }
}

#[cfg(test)]
mod tests;
