//! Commands about messages: `send`, `edit`, `del`, `react`, and `typing`, which precedes one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reject, bad, most};
use crate::body::Body;
use crate::error::ErrorCode;
use crate::ids::{Cid, ConvId, UserId};
use crate::limits;
use crate::text;

/// `send`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Send)]
pub struct Send {
    /// The conversation; exactly one of `c` and `to` is there, see [`Send::target`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub c: Option<ConvId>,
    /// The other user of a direct conversation, which is made at need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UserId>,
    /// The idempotency key.
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
    /// Whether the sending session gets the event as well as the `ack`.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub echo: bool,
}

/// Where a `send` goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// To an existing conversation.
    Conv(&'a ConvId),
    /// To a user.
    User(&'a UserId),
}

/// `edit`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Edit)]
pub struct Edit {
    /// The conversation.
    pub c: ConvId,
    /// The `s` of the message.
    pub of: u64,
    /// The idempotency key.
    pub cid: Cid,
    /// The new body.
    pub b: Body,
    /// Users to alert from now on; without it those whom the message mentioned before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub mentions: Option<Vec<UserId>>,
}

/// `del`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Del)]
pub struct Del {
    /// The conversation.
    pub c: ConvId,
    /// The `s` of the message.
    pub of: u64,
    /// The idempotency key.
    pub cid: Cid,
}

/// `react`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::React)]
pub struct React {
    /// The conversation.
    pub c: ConvId,
    /// The `s` of the message.
    pub of: u64,
    /// The idempotency key.
    pub cid: Cid,
    /// The reaction, see [`reaction`](crate::text::reaction).
    #[schema(min_length = 1, max_length = 32)]
    pub k: String,
    /// Whether it is set or taken back.
    pub on: bool,
    /// Whose reaction is taken back, if not one's own; for owners and admins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<UserId>,
}

/// `typing`: has no answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Typing)]
pub struct Typing {
    /// The conversation.
    pub c: ConvId,
    /// Whether the user types, or has stopped.
    pub on: bool,
}

// === impl Send, Edit, React ===

impl Send {
    /// Returns where the message goes; `None` unless exactly one of `c` and `to` is there, which
    /// [`Request::decode`](crate::Request::decode) has seen to.
    pub fn target(&self) -> Option<Target<'_>> {
        match (&self.c, &self.to) {
            (Some(c), None) => Some(Target::Conv(c)),
            (None, Some(to)) => Some(Target::User(to)),
            _ => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), Reject> {
        if self.target().is_none() {
            return Err(bad("exactly one of c and to must be given"));
        }
        body(&self.b)?;
        most("mentions", self.mentions.len(), limits::MENTIONS)
    }
}

impl Edit {
    pub(super) fn check(&self) -> Result<(), Reject> {
        body(&self.b)?;
        most(
            "mentions",
            self.mentions.as_ref().map_or(0, Vec::len),
            limits::MENTIONS,
        )
    }
}

impl React {
    pub(super) fn check(&self) -> Result<(), Reject> {
        if self.on && self.who.is_some() {
            return Err(bad("who names whose reaction is taken back: on must be false"));
        }
        text::reaction(&self.k).map_err(bad)
    }
}

fn body(b: &Body) -> Result<(), Reject> {
    if b.as_str().len() > limits::BODY_BYTES {
        return Err((
            ErrorCode::TooLarge,
            format!("b is over {} bytes", limits::BODY_BYTES),
        ));
    }
    Ok(())
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}
