//! Frames about the presence of members, as AnyCable has them. Pure.

use bytes::{BufMut, BytesMut};
use protocol::UserId;

use super::presence_table::MemberState;
use crate::gateway::native_command::quoted;

/// Appends the members that are online. `identifier`: a JSON string, as in all functions below.
pub(super) fn presence_info(out: &mut BytesMut, identifier: &str, online: &[(&UserId, MemberState)]) {
    head(out, identifier, "info");
    put(out, r#","total":"#);
    put(out, itoa::Buffer::new().format(online.len()));
    put(out, r#","records":["#);
    for (at, (user, state)) in online.iter().enumerate() {
        if at > 0 {
            put(out, ",");
        }
        put(out, "{");
        record(out, user, Some(state));
        put(out, "}");
    }
    put(out, "]}}");
}

/// Appends the refusal of a request for presence.
pub(super) fn presence_error(out: &mut BytesMut, identifier: &str) {
    head(out, identifier, "error");
    put(out, "}}");
}

/// Appends a member that came online.
pub(super) fn presence_join(out: &mut BytesMut, identifier: &str, user: &UserId, state: &MemberState) {
    head(out, identifier, "join");
    put(out, ",");
    record(out, user, Some(state));
    put(out, "}}");
}

/// Appends a member that went offline or was removed.
pub(super) fn presence_leave(out: &mut BytesMut, identifier: &str, user: &UserId) {
    head(out, identifier, "leave");
    put(out, ",");
    record(out, user, None);
    put(out, "}}");
}

fn head(out: &mut BytesMut, identifier: &str, kind: &str) {
    put(out, r#"{"type":"presence","identifier":"#);
    put(out, identifier);
    put(out, r#","message":{"type":""#);
    put(out, kind);
    put(out, r#"""#);
}

fn record(out: &mut BytesMut, user: &UserId, state: Option<&MemberState>) {
    put(out, r#""id":"#);
    put(out, &quoted(user.as_str()));
    if let Some(state) = state {
        put(out, r#","info":{"seen":"#);
        match state.seen_ms {
            Some(seen) => put(out, itoa::Buffer::new().format(seen)),
            None => put(out, "null"),
        }
        put(out, "}");
    }
}

fn put(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Golden bytes: stock clients read these frames.
    #[test]
    fn presence_frames_are_frozen() {
        let (ann, bob): (UserId, UserId) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        let state = |seen_ms| MemberState {
            is_online: true,
            seen_ms,
        };
        let online = [(&ann, state(Some(7))), (&bob, state(None))];
        for (frame, text) in [
            (
                written(|out| presence_info(out, r#""i""#, &online)),
                r#"{"type":"presence","identifier":"i","message":{"type":"info","total":2,"records":[{"id":"ann","info":{"seen":7}},{"id":"bob","info":{"seen":null}}]}}"#,
            ),
            (
                written(|out| presence_info(out, r#""i""#, &[])),
                r#"{"type":"presence","identifier":"i","message":{"type":"info","total":0,"records":[]}}"#,
            ),
            (
                written(|out| presence_error(out, r#""i""#)),
                r#"{"type":"presence","identifier":"i","message":{"type":"error"}}"#,
            ),
            (
                written(|out| presence_join(out, r#""i""#, &ann, &state(Some(7)))),
                r#"{"type":"presence","identifier":"i","message":{"type":"join","id":"ann","info":{"seen":7}}}"#,
            ),
            (
                written(|out| presence_leave(out, r#""i""#, &ann)),
                r#"{"type":"presence","identifier":"i","message":{"type":"leave","id":"ann"}}"#,
            ),
        ] {
            assert_eq!(frame, text);
        }
    }
}
