//! Frames as read and written by the simulated clients.
//!
//! Reading borrows from the text of the frame, and covers only the fields that the harness judges. At twenty thousand
//! messages per second the harness shares its cores with the measured servers. Error and close codes are those of the
//! crate `protocol`.

use std::borrow::Cow;
use std::fmt::Write;

use protocol::ErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;

/// WebSocket subprotocol that the client requests.
pub(crate) const SUBPROTOCOL: &str = "chat.v1.json";
/// Path of the WebSocket endpoint.
pub(crate) const PATH: &str = "/v1/ws";

/// Any frame of a node: a response, an event, or an event inside a response.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct WireFrame<'a> {
    #[serde(borrow)]
    pub(crate) t: &'a str,
    /// Session seq of an event; in `ready`, the point of the resume.
    pub(crate) n: Option<u64>,
    /// Id of the answered request; `None` for events.
    pub(crate) id: Option<u64>,
    pub(crate) c: Option<&'a str>,
    pub(crate) cid: Option<&'a str>,
    pub(crate) s: Option<u64>,
    pub(crate) mn: Option<u64>,
    pub(crate) ts: Option<u64>,
    pub(crate) u: Option<&'a str>,
    pub(crate) who: Option<&'a str>,
    pub(crate) role: Option<&'a str>,
    pub(crate) why: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) b: Option<&'a RawValue>,
    pub(crate) dup: bool,
    pub(crate) code: Option<WireCode<'a>>,
    pub(crate) retry_ms: Option<u64>,
    #[serde(borrow)]
    pub(crate) msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) last: Option<WireLast<'a>>,
    #[serde(borrow)]
    pub(crate) events: Vec<WireFrame<'a>>,
    #[serde(borrow)]
    pub(crate) items: Vec<WireFrame<'a>>,
    #[serde(borrow)]
    pub(crate) as_of: Vec<(&'a str, u64)>,
    /// `true` if the page does not reach the end of the log.
    pub(crate) more: bool,
    /// `true` if the events do not continue the requested position.
    pub(crate) gap: bool,
    pub(crate) sid: Option<&'a str>,
    pub(crate) resumed: bool,
    pub(crate) hb_ms: Option<u64>,
    /// Seq of the message that an edit, deletion or reaction refers to.
    pub(crate) of: Option<u64>,
    #[serde(borrow)]
    pub(crate) k: Option<Cow<'a, str>>,
    pub(crate) on: Option<bool>,
    /// `true` if the body was removed by a deletion.
    pub(crate) deleted: bool,
    pub(crate) unread: u64,
    pub(crate) read: u64,
    pub(crate) delivered: u64,
    /// `true` for a row of the conversation list without current values.
    pub(crate) stale: bool,
    /// Cursor of the next page; `None` on the last one.
    #[serde(borrow)]
    pub(crate) next: Option<Cow<'a, str>>,
}

/// Last event: `conv.last` is an object of numbers, that of a list row an event. Both have an `s`.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct WireLast<'a> {
    pub(crate) s: u64,
    #[serde(borrow, rename = "t")]
    _kind: Option<&'a str>,
}

/// Code of a frame: a name in `err`, the number of the close code in `bye`.
#[derive(Deserialize, Debug)]
#[serde(untagged)]
pub(crate) enum WireCode<'a> {
    Name(&'a str),
    Number(u16),
}

/// Consequence of a refusal for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WireRefusal {
    /// The same command may succeed after this number of milliseconds.
    Later(u64),
    /// The same command can never succeed.
    Never,
}

// === impl WireFrame ===

impl<'a> WireFrame<'a> {
    /// Parses one text frame.
    pub(crate) fn parse(text: &'a str) -> Result<WireFrame<'a>, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns the code name of an `err` frame, and the consequence.
    pub(crate) fn refusal(&self) -> (&'a str, WireRefusal) {
        let name = match self.code {
            Some(WireCode::Name(name)) => name,
            _ => "unnamed",
        };
        // A code of a later protocol version is unknown here. It counts as temporary if it has a delay.
        let known = ErrorCode::ALL.into_iter().find(|code| code.as_str() == name);
        let temporary = known.is_some_and(ErrorCode::temporary) || self.retry_ms.is_some();
        (
            name,
            if temporary {
                WireRefusal::Later(self.retry_ms.unwrap_or(100))
            } else {
                WireRefusal::Never
            },
        )
    }
}

// === what the client says ===

/// Returns `text` as a JSON string with its quotes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Authentication, the first frame. `device` is constant for a client, `instance` for a process.
pub(crate) fn auth(
    id: u64,
    token: &str,
    device: &str,
    instance: &str,
    resume: Option<(&str, u64)>,
) -> String {
    let mut out = format!(
        r#"{{"t":"auth","id":{id},"token":{},"device":{},"instance":{}"#,
        quoted(token),
        quoted(device),
        quoted(instance)
    );
    if let Some((sid, n)) = resume {
        let _ = write!(out, r#","resume":{{"sid":{},"n":{n}}}"#, quoted(sid));
    }
    out.push('}');
    out
}

/// Message. `c` and `cid` must be ids without characters that need escaping, which holds for all of this harness.
pub(crate) fn send(id: u64, c: &str, cid: &str, body: &str) -> String {
    // Allocated once: this is the hot path of the harness.
    let mut out = String::with_capacity(48 + c.len() + cid.len() + body.len());
    let _ = write!(
        out,
        r#"{{"t":"send","id":{id},"c":"{c}","cid":"{cid}","b":{body}}}"#
    );
    out
}

/// Creation of a conversation.
pub(crate) fn create(id: u64, kind: &str, cid: &str, members: &[String]) -> String {
    let members = serde_json::Value::from(members.to_vec());
    format!(r#"{{"t":"create","id":{id},"kind":"{kind}","cid":"{cid}","members":{members}}}"#)
}

/// Invitation of one user.
pub(crate) fn invite(id: u64, c: &str, cid: &str, who: &str) -> String {
    format!(r#"{{"t":"invite","id":{id},"c":"{c}","cid":"{cid}","who":"{who}"}}"#)
}

/// Removal of one user.
pub(crate) fn kick(id: u64, c: &str, cid: &str, who: &str) -> String {
    format!(r#"{{"t":"kick","id":{id},"c":"{c}","cid":"{cid}","who":"{who}"}}"#)
}

/// Join of a channel.
pub(crate) fn join(id: u64, c: &str, cid: &str) -> String {
    format!(r#"{{"t":"join","id":{id},"c":"{c}","cid":"{cid}"}}"#)
}

/// Change of a member's role.
pub(crate) fn role(id: u64, c: &str, cid: &str, who: &str, role: &str) -> String {
    format!(r#"{{"t":"role","id":{id},"c":"{c}","cid":"{cid}","who":"{who}","role":"{role}"}}"#)
}

/// Change of a message's body.
pub(crate) fn edit(id: u64, c: &str, cid: &str, of: u64, body: &str) -> String {
    format!(r#"{{"t":"edit","id":{id},"c":"{c}","of":{of},"cid":"{cid}","b":{body}}}"#)
}

pub(crate) fn del(id: u64, c: &str, cid: &str, of: u64) -> String {
    format!(r#"{{"t":"del","id":{id},"c":"{c}","of":{of},"cid":"{cid}"}}"#)
}

/// Reaction to a message.
pub(crate) fn react(id: u64, c: &str, cid: &str, of: u64, k: &str) -> String {
    format!(
        r#"{{"t":"react","id":{id},"c":"{c}","of":{of},"cid":"{cid}","k":{},"on":true}}"#,
        quoted(k)
    )
}

/// Move of the read cursor.
pub(crate) fn read(id: u64, c: &str, s: u64) -> String {
    format!(r#"{{"t":"read","id":{id},"c":"{c}","s":{s}}}"#)
}

/// Typing notice, which has no response.
pub(crate) fn typing(c: &str) -> String {
    format!(r#"{{"t":"typing","c":"{c}","on":true}}"#)
}

/// Request for a page of the conversation list.
pub(crate) fn list(id: u64, cursor: Option<&str>) -> String {
    let cursor = cursor.map_or_else(String::new, |cursor| format!(r#","cursor":{}"#, quoted(cursor)));
    format!(
        r#"{{"t":"list","id":{id},"limit":{}{cursor}}}"#,
        protocol::limits::PAGE
    )
}

/// Watch of the presence of others.
pub(crate) fn watch(id: u64, users: &[String]) -> String {
    let users = serde_json::Value::from(users.to_vec());
    format!(r#"{{"t":"watch","id":{id},"users":{users}}}"#)
}

/// Request for a conversation's state.
pub(crate) fn open(id: u64, c: &str) -> String {
    format!(r#"{{"t":"open","id":{id},"c":"{c}"}}"#)
}

/// Request for a page of the log above `after`.
pub(crate) fn hist(id: u64, c: &str, after: u64, limit: usize) -> String {
    format!(r#"{{"t":"hist","id":{id},"c":"{c}","after":{after},"limit":{limit}}}"#)
}

/// Request for the newest page of the log.
pub(crate) fn newest(id: u64, c: &str, limit: usize) -> String {
    format!(r#"{{"t":"hist","id":{id},"c":"{c}","limit":{limit}}}"#)
}

/// Request for the first page of the members.
pub(crate) fn members(id: u64, c: &str) -> String {
    format!(
        r#"{{"t":"members","id":{id},"c":"{c}","limit":{}}}"#,
        protocol::limits::PAGE
    )
}

/// Request for the events above each position.
pub(crate) fn sync<'a>(id: u64, have: impl Iterator<Item = (&'a str, u64)>, cursor: Option<&str>) -> String {
    let mut out = format!(r#"{{"t":"sync","id":{id},"have":["#);
    for (i, (c, s)) in have.enumerate() {
        let _ = write!(out, r#"{}["{c}",{s}]"#, if i == 0 { "" } else { "," });
    }
    out.push(']');
    if let Some(cursor) = cursor {
        let _ = write!(out, r#","cursor":{}"#, quoted(cursor));
    }
    out.push('}');
    out
}

/// Heartbeat with the session seq of the last processed event. Without an id, so that the response needs no handling.
pub(crate) fn heartbeat(n: u64) -> String {
    format!(r#"{{"t":"hb","n":{n}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_without_copying_its_body() {
        let text = r#"{"n":413,"t":"msg","c":"g_1","s":7,"mn":5,"ts":9,"u":"ann","cid":"x","b":{"a":[1,2]},"new":1}"#;
        let frame = WireFrame::parse(text).unwrap();
        assert_eq!(
            (frame.t, frame.n, frame.s, frame.mn),
            ("msg", Some(413), Some(7), Some(5))
        );
        assert_eq!(frame.b.map(RawValue::get), Some(r#"{"a":[1,2]}"#));
    }

    #[test]
    fn a_refusal_says_whether_to_come_again() {
        let busy = WireFrame::parse(
            r#"{"t":"err","id":7,"code":"busy","http":503,"temp":true,"retry_ms":40,"msg":"a \"full\" queue"}"#,
        );
        assert_eq!(busy.unwrap().refusal(), ("busy", WireRefusal::Later(40)));
        let unknown = WireFrame::parse(r#"{"t":"err","code":"timeout_unknown"}"#);
        assert_eq!(
            unknown.unwrap().refusal(),
            ("timeout_unknown", WireRefusal::Later(100))
        );
        let never = WireFrame::parse(r#"{"t":"err","code":"not_member","http":403,"temp":false,"msg":""}"#);
        assert_eq!(never.unwrap().refusal(), ("not_member", WireRefusal::Never));
    }

    #[test]
    fn a_delta_and_a_bye_are_read() {
        let delta = r#"{"t":"delta","id":3,"as_of":[["g_1",9]],"items":[{"c":"g_1","events":[{"t":"msg","s":9}],"gap":true}],"next":null}"#;
        let delta = WireFrame::parse(delta).unwrap();
        assert_eq!(delta.as_of, [("g_1", 9)]);
        assert_eq!(delta.items[0].events[0].s, Some(9));
        let bye = WireFrame::parse(r#"{"n":4,"t":"bye","code":4012,"retry_ms":100}"#).unwrap();
        assert!(matches!(bye.code, Some(WireCode::Number(4012))));
    }

    #[test]
    fn what_is_written_is_json() {
        for text in [
            auth(1, "dev:ann \"x\"", "d", "i", Some(("s", 4))),
            send(2, "g_1", "r.1.2", r#"{"x":1}"#),
            create(3, "group", "r.c", &["a".into(), "b".into()]),
            invite(4, "g_1", "r.i", "bob"),
            open(5, "g_1"),
            hist(6, "g_1", 0, 100),
            sync(7, [("g_1", 4), ("g_2", 0)].into_iter(), None),
            sync(19, [("g_1", 4)].into_iter(), Some("g_0")),
            heartbeat(3),
            join(8, "ch_1", "r.j"),
            role(9, "ch_1", "r.r", "bob", "member"),
            edit(10, "g_1", "r.2", 4, r#"{"x":1}"#),
            del(11, "g_1", "r.3", 4),
            react(12, "g_1", "r.4", 4, "\u{1f44d}"),
            read(13, "g_1", 4),
            typing("g_1"),
            list(14, Some("x\"y")),
            watch(15, &["a".into()]),
            newest(17, "g_1", 5),
            members(18, "g_1"),
            kick(16, "g_1", "r.k", "bob"),
        ] {
            serde_json::from_str::<serde_json::Value>(&text)
                .unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}
