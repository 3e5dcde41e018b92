//! An event as one receiver saw it, reduced to what the oracle compares.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::changes::{Change, What};
use super::violation::Kind;
use crate::payload::{ClientIx, Payload, Tag};
use crate::wire::Frame;

/// One event of one conversation. Two receivers saw the same event if and only if they agree on `digest`, and on `body`
/// unless it was deleted between them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) s: u64,
    /// Over every field that the protocol calls part of the event, but for the body.
    pub(crate) digest: u64,
    /// Over the body's bytes; 0 if it was deleted.
    pub(crate) body: u64,
    /// The words are gone: somebody deleted the message.
    pub(crate) deleted: bool,
    pub(crate) ts: u64,
    /// The message ordinal; `None` for an event that is no message.
    pub(crate) mn: Option<u64>,
    /// Which message of this run it is.
    pub(crate) tag: Option<Tag>,
    /// When the message was due at its sender, in nanoseconds of the run.
    pub(crate) due: u64,
    /// A client that became a member (`true`) or ceased to be one (`false`).
    pub(crate) member: Option<(ClientIx, bool)>,
    /// What it does to a message that was there before.
    pub(crate) change: Option<Change>,
}

// === impl Seen ===

impl Seen {
    /// Reads a durable event. Returns `None` for one without `s`, and the broken promise if the event could not have
    /// been sent by anybody of this run.
    pub(crate) fn read(
        frame: &Frame<'_>,
        conversation: &str,
        payload: &Payload,
    ) -> Result<Option<Seen>, (Kind, String)> {
        let Some(s) = frame.s else { return Ok(None) };
        if s == 0 {
            return Err((Kind::Malformed, format!("s=0 in a {:?}", frame.t)));
        }
        let mut seen = Seen {
            s,
            digest: digest(frame),
            body: if frame.deleted { 0 } else { body(frame) },
            deleted: frame.deleted,
            ts: frame.ts.unwrap_or(0),
            mn: None,
            tag: None,
            due: 0,
            member: None,
            change: None,
        };
        match frame.t {
            "msg" => {
                let (cid, user) = (frame.cid.unwrap_or_default(), frame.u.unwrap_or_default());
                let body = frame.b.map_or("", |body| body.get());
                let Some(tag) = payload.parse_cid(cid) else {
                    return Err((Kind::Phantom, format!("cid {cid:?} was never used in this run")));
                };
                if user != payload.user(tag.sender) {
                    return Err((Kind::Phantom, format!("{cid:?} is shown as sent by {user:?}")));
                }
                let due = if frame.deleted {
                    Some(0)
                } else {
                    payload.verify(conversation, tag, body)
                };
                let Some(due) = due else {
                    return Err((Kind::Altered, format!("{cid:?} arrived with the body {body}")));
                };
                (seen.mn, seen.tag, seen.due) = (frame.mn, Some(tag), due);
            }
            "member" => {
                let client = frame.who.and_then(|who| payload.client(who));
                seen.member = client.map(|client| (client, frame.role.is_some()));
            }
            "edit" | "del" | "react" => {
                let user = frame.u.unwrap_or_default();
                let (Some(by), Some(of)) = (payload.client(user), frame.of) else {
                    return Err((
                        Kind::Phantom,
                        format!("a {:?} of {:?} by {user:?}", frame.t, frame.of),
                    ));
                };
                let (what, with) = match frame.t {
                    "edit" => (What::Edit, frame.b.map_or("", |body| body.get())),
                    "del" => (What::Delete, ""),
                    _ => (What::React, frame.k.as_deref().unwrap_or_default()),
                };
                seen.change = Some(Change {
                    by,
                    what,
                    of,
                    mark: mark(with),
                });
            }
            _ => {}
        }
        Ok(Some(seen))
    }

    /// The message that it edits.
    pub(crate) fn edited(&self) -> Option<u64> {
        self.change.filter(|_| self.is_edit()).map(|change| change.of)
    }

    /// Its body is that of an edit.
    pub(crate) fn is_edit(&self) -> bool {
        self.change
            .as_ref()
            .is_some_and(|change| change.what == What::Edit)
    }
}

/// What an edit or a reaction says, for comparison.
pub(crate) fn mark(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

fn body(frame: &Frame<'_>) -> u64 {
    mark(frame.b.map_or("", |body| body.get())).max(1) // 0 stands for "not known"
}

fn digest(frame: &Frame<'_>) -> u64 {
    let mut hash = Xxh3::new();
    let mut field = |text: &str| {
        hash.update(text.as_bytes());
        hash.update(&[0xff]); // no UTF-8 text holds it, so fields cannot run into each other
    };
    field(frame.t);
    field(frame.u.unwrap_or_default());
    field(frame.cid.unwrap_or_default());
    field(frame.k.as_deref().unwrap_or_default());
    field(frame.who.unwrap_or_default());
    field(frame.role.unwrap_or_default());
    field(frame.why.unwrap_or_default());
    for number in [frame.s, frame.mn, frame.ts, frame.of, frame.on.map(u64::from)] {
        hash.update(&number.unwrap_or(0).to_le_bytes());
    }
    hash.digest().max(1) // 0 stands for "not known"
}
