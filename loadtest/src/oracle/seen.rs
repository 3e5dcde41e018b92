//! An event as one receiver saw it, reduced to what the oracle compares.

use xxhash_rust::xxh3::Xxh3;

use super::violation::Kind;
use crate::payload::{ClientIx, Payload, Tag};
use crate::wire::Frame;

/// One event of one conversation. Two receivers saw the same event if and only if they agree on `digest`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) s: u64,
    /// Over every field that the protocol calls part of the event, the body's bytes included.
    pub(crate) digest: u64,
    pub(crate) ts: u64,
    /// The message ordinal; `None` for an event that is no message.
    pub(crate) mn: Option<u64>,
    /// Which message of this run it is.
    pub(crate) tag: Option<Tag>,
    /// When the message was due at its sender, in nanoseconds of the run.
    pub(crate) due: u64,
    /// A client that became a member (`true`) or ceased to be one (`false`).
    pub(crate) member: Option<(ClientIx, bool)>,
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
            ts: frame.ts.unwrap_or(0),
            mn: None,
            tag: None,
            due: 0,
            member: None,
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
                let Some(due) = payload.verify(conversation, tag, body) else {
                    return Err((Kind::Altered, format!("{cid:?} arrived with the body {body}")));
                };
                (seen.mn, seen.tag, seen.due) = (frame.mn, Some(tag), due);
            }
            "member" => {
                let client = frame.who.and_then(|who| client_of(payload, who));
                seen.member = client.map(|client| (client, frame.role.is_some()));
            }
            _ => {}
        }
        Ok(Some(seen))
    }
}

fn client_of(payload: &Payload, user: &str) -> Option<ClientIx> {
    let client = user.rsplit_once('-')?.1.parse().ok()?;
    (payload.user(client) == user).then_some(client)
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
    field(frame.b.map_or("", |body| body.get()));
    field(frame.who.unwrap_or_default());
    field(frame.role.unwrap_or_default());
    field(frame.why.unwrap_or_default());
    for number in [frame.s, frame.mn, frame.ts] {
        hash.update(&number.unwrap_or(0).to_le_bytes());
    }
    hash.digest().max(1) // 0 stands for "not known"
}
