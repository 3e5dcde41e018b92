//! Head of an event's tail, read by prefix: the gateways route events without parsing them.

use protocol::{EncodedEvent, Event, UserId};

/// Tail of an event: everything behind `{"n":413,`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct EventTail<'a> {
    /// Tag `t`, the kind of the event. Empty for a tail that does not begin with one.
    pub(in crate::gateway) name: &'a str,
    /// Conversation of the event; `None` for an event of the whole session.
    pub(in crate::gateway) conversation: Option<&'a str>,
    /// Position in the log of the conversation; `None` for an event outside of the log.
    pub(in crate::gateway) seq: Option<u64>,
}

// === impl EventTail ===

impl<'a> EventTail<'a> {
    /// Reads the head of a tail. The order of its fields is that of the protocol's types: `t`, `c`, `s`.
    pub(in crate::gateway) fn read(tail: &'a [u8]) -> EventTail<'a> {
        let (name, behind) = string(tail, br#""t":""#).unwrap_or(("", b""));
        let Some((conversation, behind)) = string(behind, br#","c":""#) else {
            return EventTail {
                name,
                conversation: None,
                seq: None,
            };
        };
        EventTail {
            name,
            conversation: Some(conversation),
            seq: behind.strip_prefix(br#","s":"#).and_then(number),
        }
    }
}

/// Decodes a whole tail; `None` for an event of another version.
pub(in crate::gateway) fn decode(tail: &[u8]) -> Option<Event> {
    EncodedEvent::from_tail(tail).ok()?.event()
}

/// Returns true if the event removes this user from its conversation.
pub(in crate::gateway) fn removes(tail: &[u8], user: &UserId) -> bool {
    // Only the rare events of this name are decoded.
    if !tail.starts_with(br#""t":"member""#) {
        return false;
    }
    match decode(tail) {
        Some(Event::Member(member)) => member.member == *user && member.role.is_none(),
        _ => false,
    }
}

/// Returns the string behind a prefix that ends with its opening quote, and the rest behind its closing one. Tags and
/// ids have no escapes.
fn string<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<(&'a str, &'a [u8])> {
    let behind = bytes.strip_prefix(prefix)?;
    let end = behind.iter().position(|byte| *byte == b'"')?;
    let (text, rest) = behind.split_at_checked(end)?;
    Some((std::str::from_utf8(text).ok()?, rest.get(1..)?))
}

fn number(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_events_have_a_conversation_and_a_position() {
        for name in ["msg", "edit", "del", "react", "meta", "member"] {
            let tail = format!(r#""t":"{name}","c":"g_1","s":812,"ts":9,"u":"al"}}"#);
            let head = EventTail::read(tail.as_bytes());
            assert_eq!(
                (head.name, head.conversation, head.seq),
                (name, Some("g_1"), Some(812))
            );
        }
    }

    #[test]
    fn removal_names_its_user() {
        let alice = "alice".parse().unwrap();
        let member = |who: &str, role: &str| {
            let tail = format!(
                r#""t":"member","c":"g_1","s":5,"ts":9,"u":"bob","who":"{who}","role":{role},"why":"kick"}}"#
            );
            removes(tail.as_bytes(), &alice)
        };
        assert!(member("alice", "null"));
        assert!(!member("carol", "null") && !member("alice", r#""admin""#));
        assert!(!removes(br#""t":"msg","c":"g_1"}"#, &alice));
    }

    #[test]
    fn other_events_have_no_position() {
        let conversation = |tail: &'static str| {
            let head = EventTail::read(tail.as_bytes());
            (head.name, head.conversation, head.seq)
        };
        assert_eq!(
            conversation(r#""t":"conv","c":"d_x","kind":"direct","last":{"s":3}}"#),
            ("conv", Some("d_x"), None)
        );
        assert_eq!(
            conversation(r#""t":"presence","u":"bob","state":"online"}"#),
            ("presence", None, None)
        );
        assert_eq!(conversation(r#""t":"bye"}"#), ("bye", None, None));
        assert_eq!(conversation("nonsense"), ("", None, None));
    }
}
