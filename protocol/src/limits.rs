//! The limits of version 1, and the scan that keeps hostile text away from every later parser.
//!
//! These are the protocol's own bounds; a node may set lower ones (its `ready` says which), never higher
//! ones: the replicated state machine checks against the constants here, and all replicas must agree.

/// The largest message body, in bytes of JSON.
pub const BODY_BYTES: usize = 16 * 1024;
/// The deepest nesting of a frame. Below the 128 levels at which common JSON readers give up, so that every
/// client can read what another was permitted to send.
pub const DEPTH: usize = 64;
/// The most users mentioned by one message.
pub const MENTIONS: usize = 50;
/// The most initial members of a conversation, its creator not counted.
pub const MEMBERS_AT_CREATE: usize = 256;
/// The longest reaction, in bytes.
pub const REACTION_BYTES: usize = 32;
/// The most different reactions to one message.
pub const REACTIONS: usize = 32;
/// The most edits of one message.
pub const EDITS: usize = 256;
/// The most users in one `watch`.
pub const WATCH_USERS: usize = 500;
/// The longest title, in bytes.
pub const TITLE_BYTES: usize = 256;
/// The most conversations in one `sync`.
pub const SYNC_HAVE: usize = 200;
/// The largest page of `list` and `hist`; more is clamped.
pub const PAGE: usize = 100;
/// The page of `list` and `hist` without a `limit`.
pub const PAGE_DEFAULT: usize = 50;
/// The longest `device` and `instance`, in bytes.
pub const DEVICE_BYTES: usize = 64;
/// The longest token, in bytes.
pub const TOKEN_BYTES: usize = 8 * 1024;
/// The longest `sid` and page cursor, in bytes.
pub const CURSOR_BYTES: usize = 256;
/// The default of the largest frame, in bytes.
pub const FRAME_BYTES: usize = 64 * 1024;

/// Returns a page size: the default if none was asked, otherwise between 1 and [`PAGE`].
pub fn page(limit: Option<u64>) -> usize {
    limit.map_or(PAGE_DEFAULT, |limit| {
        usize::try_from(limit).unwrap_or(PAGE).clamp(1, PAGE)
    })
}

/// The most names under which the hook is told of a conversation's messages.
pub const HOOKS: usize = 8;

/// Refuses what is no name for a hook: it is 1 to 32 letters, digits, `-` and `_`.
pub fn hook(name: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) {
        return Err("the name of a hook is 1 to 32 letters, digits, - and _");
    }
    Ok(())
}

/// Refuses what is no reaction: it is 1 to [`REACTION_BYTES`] bytes without control characters.
pub fn reaction(k: &str) -> Result<(), &'static str> {
    if k.is_empty() || k.len() > REACTION_BYTES || k.chars().any(char::is_control) {
        return Err("k must be 1 to 32 bytes without control characters");
    }
    Ok(())
}

/// Refuses text that a JSON reader could choke on although it is JSON: nesting beyond [`DEPTH`] (bodies are
/// passed on verbatim, so it would hit every receiver) and escapes that name half a surrogate pair (text
/// that no UTF-8 reader can hold). Linear, without recursion; anything else is left to the JSON parser.
pub fn scan(text: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0usize);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH {
                    return Err("nested too deeply");
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = skip_string(bytes, at)?,
            _ => {}
        }
    }
    Ok(())
}

/// Returns the position after the string whose first character is at `at`.
fn skip_string(bytes: &[u8], mut at: usize) -> Result<usize, &'static str> {
    const LONE: &str = "an escape names half a surrogate pair";
    loop {
        match bytes.get(at) {
            None => return Ok(at),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match unit(bytes, at) {
                Some(0xD800..=0xDBFF) => {
                    if !matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) {
                        return Err(LONE);
                    }
                    at += 12;
                }
                Some(0xDC00..=0xDFFF) => return Err(LONE),
                _ => at += 2,
            },
            Some(_) => at += 1,
        }
    }
}

/// Returns the UTF-16 unit of a `\uXXXX` escape at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let hex = escape.strip_prefix(b"\\u")?;
    if !hex.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_between_one_and_a_hundred() {
        assert_eq!(
            [None, Some(0), Some(7), Some(u64::MAX)].map(page),
            [50, 1, 7, 100]
        );
    }

    #[test]
    fn brackets_inside_strings_do_not_nest() {
        let text = format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(1000));
        assert_eq!(scan(&text), Ok(()));
        assert!(scan(&"[".repeat(DEPTH + 1)).is_err());
        assert_eq!(
            scan(&format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))),
            Ok(())
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        assert_eq!(scan(r#"{"a":"\ud83d\ude00"}"#), Ok(()));
        assert_eq!(scan(r#"{"a":"\\ud83d"}"#), Ok(()));
        assert!(scan(r#"{"a":"\ud83d"}"#).is_err());
        assert!(scan(r#"{"a":"\ude00\ud83d"}"#).is_err());
        assert!(scan(r#"{"a":"\ud83d\\ude00"}"#).is_err());
    }
}
