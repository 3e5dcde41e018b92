//! Observation of an event by one receiver, reduced to the values that the oracle compares.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::changes::{ChangeKind, MessageChange};
use super::violation::ViolationKind;
use crate::payload::{ClientIx, MessageTag, SentMessages};
use crate::wire::WireFrame;

/// Observation of one event. Two receivers observed the same event if and only if `digest` is equal, and `body` too
/// unless it was deleted in between.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeenEvent {
    pub(crate) s: u64,
    /// Digest of all fields of the event except for the body.
    pub(crate) digest: u64,
    /// Digest of the body's bytes; 0 if it was deleted.
    pub(crate) body: u64,
    /// `true` if the body is missing, because the message was deleted.
    pub(crate) deleted: bool,
    pub(crate) ts: u64,
    /// Message ordinal; `None` for an event that is no message.
    pub(crate) mn: Option<u64>,
    /// Message of this run; `None` for other events.
    pub(crate) tag: Option<MessageTag>,
    /// Due time of the message at its sender, in nanoseconds of the run; 0 if the body is missing.
    pub(crate) due: u64,
    /// Client that became a member (`true`) or ceased to be one (`false`).
    pub(crate) member: Option<(ClientIx, bool)>,
    /// Change of an earlier message; `None` for other events.
    pub(crate) change: Option<MessageChange>,
}

// === impl SeenEvent ===

impl SeenEvent {
    /// Parses a durable event. Returns `None` for one without `s`, and an error for one that no client of this run can
    /// have sent.
    pub(crate) fn read(
        frame: &WireFrame<'_>,
        conversation: &str,
        sent: &impl SentMessages,
    ) -> Result<Option<SeenEvent>, (ViolationKind, String)> {
        let Some(s) = frame.s else { return Ok(None) };
        // Positions begin at 1, and 0 stands for "unknown" in the log.
        if s == 0 {
            return Err((ViolationKind::Malformed, format!("s=0 in event {:?}", frame.t)));
        }
        let mut seen = SeenEvent {
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
                // A missing field fails the checks below like a wrong one.
                let (cid, user) = (frame.cid.unwrap_or_default(), frame.u.unwrap_or_default());
                let body = frame.b.map_or("", |body| body.get());
                let Some(tag) = sent.message(cid) else {
                    return Err((
                        ViolationKind::Phantom,
                        format!("cid {cid:?} was never used in this run"),
                    ));
                };
                if sent.client(user) != Some(tag.sender) {
                    return Err((ViolationKind::Phantom, format!("{cid:?} has the sender {user:?}")));
                }
                // A deleted body has no checksum to verify.
                let due = if frame.deleted {
                    Some(0)
                } else {
                    sent.verify(conversation, cid, body)
                };
                let Some(due) = due else {
                    return Err((
                        ViolationKind::Altered,
                        format!("{cid:?} arrived with the body {body}"),
                    ));
                };
                (seen.mn, seen.tag, seen.due) = (frame.mn, Some(tag), due);
            }
            "member" => {
                let client = frame.who.and_then(|who| sent.client(who));
                // An event without a role is a removal.
                seen.member = client.map(|client| (client, frame.role.is_some()));
            }
            "edit" | "del" | "react" => {
                let user = frame.u.unwrap_or_default();
                let (Some(by), Some(of)) = (sent.client(user), frame.of) else {
                    return Err((
                        ViolationKind::Phantom,
                        format!("event {:?} of {:?} by {user:?}", frame.t, frame.of),
                    ));
                };
                let (what, with) = match frame.t {
                    "edit" => (ChangeKind::Edit, frame.b.map_or("", |body| body.get())),
                    "del" => (ChangeKind::Delete, ""),
                    _ => (ChangeKind::React, frame.k.as_deref().unwrap_or_default()),
                };
                seen.change = Some(MessageChange {
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

    /// Returns the message that the event edits.
    pub(crate) fn edited(&self) -> Option<u64> {
        self.change.filter(|_| self.is_edit()).map(|change| change.of)
    }

    /// Returns `true` if the event is an edit.
    pub(crate) fn is_edit(&self) -> bool {
        self.change
            .as_ref()
            .is_some_and(|change| change.what == ChangeKind::Edit)
    }
}

/// Returns the digest of an edit's body, or of a reaction.
pub(crate) fn mark(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

fn body(frame: &WireFrame<'_>) -> u64 {
    mark(frame.b.map_or("", |body| body.get())).max(1) // 0 stands for "not known"
}

fn digest(frame: &WireFrame<'_>) -> u64 {
    // Only fields that are equal for all receivers; the session's event number, for example, is not.
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
