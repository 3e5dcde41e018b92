//! Frames as read by the simulated clients.
//!
//! Reading borrows from the text of the frame, and covers only the fields that the harness judges. At twenty thousand
//! messages per second the harness shares its cores with the measured servers. Error and close codes are those of the
//! crate `protocol`.

use std::borrow::Cow;

use protocol::ErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;

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
}
