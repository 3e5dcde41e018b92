//! Step 10: an event is encoded once, as the *tail* that all receivers share.
//!
//! A session's frame is `{"n":413,` followed by the tail, `"t":"msg",…}`. The tail is also what is stored,
//! so live, history and sync are the same bytes by construction. The step before is the committed batch, the
//! step after the fan-out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Conv;
use crate::body::Body;
use crate::codec::{Head, shapes, splice};
use crate::ids::{Cid, ConvId, UserId};
use crate::role::{Role, Why};

mod change;

mod ephemeral;

pub use change::{Del, Edit, Meta, React, edited, tombstone};
pub use ephemeral::{Activity, Bye, Presence, PresenceState, Receipt, Resync, Typing};

shapes! {
    /// Everything the server pushes.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Event {
        /// A message.
        Msg(Msg) = "msg",
        /// The body of a message changed.
        Edit(Edit) = "edit",
        /// A message was deleted.
        Del(Del) = "del",
        /// A reaction was set or taken back.
        React(React) = "react",
        /// The title or a setting changed.
        Meta(Meta) = "meta",
        /// A membership changed.
        Member(Member) = "member",
        /// A conversation is new to the session, or another device of the user changed what is its own.
        Conv(Conv) = "conv",
        /// Something happened in a conversation of which the session was not told live.
        Activity(Activity) = "activity",
        /// A member's cursors moved.
        Receipt(Receipt) = "receipt",
        /// Somebody types, or no longer.
        Typing(Typing) = "typing",
        /// A user came or went.
        Presence(Presence) = "presence",
        /// Events were dropped: the client must sync.
        Resync(Resync) = "resync",
        /// The server is about to close the connection.
        Bye(Bye) = "bye",
    }
}

/// `msg`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Msg)]
pub struct Msg {
    /// The conversation.
    pub c: ConvId,
    /// The place in the log.
    pub s: u64,
    /// The message's ordinal.
    pub mn: u64,
    /// The time, in milliseconds since the epoch.
    pub ts: u64,
    /// The sender.
    pub u: UserId,
    /// The sender's idempotency key.
    pub cid: Cid,
    /// The message.
    pub b: Body,
    /// The `s` of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// Users to alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub mentions: Vec<UserId>,
    /// The message was deleted since; `b` is then empty and nobody is mentioned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
}

/// A [`Msg`] in parts, for the hot path: nothing is cloned to encode it.
#[derive(Clone, Copy, Debug)]
pub struct MsgParts<'a> {
    /// The conversation.
    pub c: &'a ConvId,
    /// The place in the log.
    pub s: u64,
    /// The message's ordinal.
    pub mn: u64,
    /// The time, in milliseconds since the epoch.
    pub ts: u64,
    /// The sender.
    pub u: &'a UserId,
    /// The sender's idempotency key.
    pub cid: &'a Cid,
    /// The message: the text of a JSON object.
    pub b: &'a str,
    /// The `s` of the message that this one answers.
    pub reply_to: Option<u64>,
    /// Users to alert.
    pub mentions: &'a [UserId],
    /// The message was deleted since.
    pub deleted: bool,
}

/// `member`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Member)]
pub struct Member {
    /// The conversation.
    pub c: ConvId,
    /// The place in the log.
    pub s: u64,
    /// The time, in milliseconds since the epoch.
    pub ts: u64,
    /// Who did it.
    pub u: UserId,
    /// Whom it concerns.
    pub who: UserId,
    /// The role from now on, null after removal.
    #[serde(default)]
    pub role: Option<Role>,
    /// What happened.
    pub why: Why,
}

// === impl Event ===

impl Event {
    /// Returns everything after `{"n":413,`.
    pub fn tail(&self) -> String {
        match self {
            Event::Msg(msg) => msg.parts().tail(),
            Event::Member(member) => member.tail(),
            _ => splice(self.tag(), None, &self.fields()).split_off(1),
        }
    }

    /// Returns the conversation of a durable event, its place in the log there, and its time.
    pub fn place(&self) -> Option<(&ConvId, u64, u64)> {
        match self {
            Event::Msg(e) => Some((&e.c, e.s, e.ts)),
            Event::Edit(e) => Some((&e.c, e.s, e.ts)),
            Event::Del(e) => Some((&e.c, e.s, e.ts)),
            Event::React(e) => Some((&e.c, e.s, e.ts)),
            Event::Meta(e) => Some((&e.c, e.s, e.ts)),
            Event::Member(e) => Some((&e.c, e.s, e.ts)),
            Event::Conv(_)
            | Event::Activity(_)
            | Event::Receipt(_)
            | Event::Typing(_)
            | Event::Presence(_)
            | Event::Resync(_)
            | Event::Bye(_) => None,
        }
    }

    /// Reads an event with or without its number; `None` if it isn't one of this version.
    pub fn decode(text: &str) -> Option<Event> {
        let head = Head::read(text).ok()?;
        Event::decode_as(head.t.as_deref()?, text)?.ok()
    }

    /// Reads the shape named `tag`; `None` if there is no such event.
    pub(crate) fn decode_as(tag: &str, text: &str) -> Option<Result<Event, serde_json::Error>> {
        Event::read(tag, text)
    }
}

/// Returns the frame of an event: a session's number, then the bytes that all receivers share.
pub fn event_frame(n: u64, tail: &str) -> String {
    let mut frame = String::with_capacity(tail.len() + 26);
    frame.push_str("{\"n\":");
    push_u64(&mut frame, n);
    frame.push(',');
    frame.push_str(tail);
    frame
}

// === impl Msg, MsgParts, Member ===

impl Msg {
    /// Returns the parts.
    pub fn parts(&self) -> MsgParts<'_> {
        MsgParts {
            c: &self.c,
            s: self.s,
            mn: self.mn,
            ts: self.ts,
            u: &self.u,
            cid: &self.cid,
            b: self.b.as_str(),
            reply_to: self.reply_to,
            mentions: &self.mentions,
            deleted: self.deleted,
        }
    }
}

impl MsgParts<'_> {
    /// Returns everything after `{"n":413,`.
    pub fn tail(&self) -> String {
        let mut out = String::with_capacity(self.b.len() + 256 + self.mentions.len() * 24);
        out.push_str("\"t\":\"msg\",\"c\":\"");
        out.push_str(self.c.as_str());
        out.push_str("\",\"s\":");
        push_u64(&mut out, self.s);
        out.push_str(",\"mn\":");
        push_u64(&mut out, self.mn);
        out.push_str(",\"ts\":");
        push_u64(&mut out, self.ts);
        out.push_str(",\"u\":\"");
        out.push_str(self.u.as_str());
        out.push_str("\",\"cid\":");
        push_text(&mut out, self.cid.as_str());
        out.push_str(",\"b\":");
        out.push_str(self.b);
        if let Some(reply_to) = self.reply_to {
            out.push_str(",\"reply_to\":");
            push_u64(&mut out, reply_to);
        }
        for (i, user) in self.mentions.iter().enumerate() {
            out.push_str(if i == 0 { ",\"mentions\":[\"" } else { ",\"" });
            out.push_str(user.as_str());
            out.push('"');
        }
        if !self.mentions.is_empty() {
            out.push(']');
        }
        out.push_str(if self.deleted { ",\"deleted\":true}" } else { "}" });
        out
    }
}

impl Member {
    /// Returns everything after `{"n":413,`.
    pub fn tail(&self) -> String {
        let mut out = String::with_capacity(256);
        out.push_str("\"t\":\"member\",\"c\":\"");
        out.push_str(self.c.as_str());
        out.push_str("\",\"s\":");
        push_u64(&mut out, self.s);
        out.push_str(",\"ts\":");
        push_u64(&mut out, self.ts);
        out.push_str(",\"u\":\"");
        out.push_str(self.u.as_str());
        out.push_str("\",\"who\":\"");
        out.push_str(self.who.as_str());
        match self.role {
            Some(role) => {
                out.push_str("\",\"role\":\"");
                out.push_str(role.as_str());
                out.push_str("\",\"why\":\"");
            }
            None => out.push_str("\",\"role\":null,\"why\":\""),
        }
        out.push_str(self.why.as_str());
        out.push_str("\"}");
        out
    }
}

/// Appends the decimal digits.
fn push_u64(out: &mut String, mut value: u64) {
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

/// Appends a JSON string; the escapes are those of `serde_json`.
fn push_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("a string always serialises"));
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}
