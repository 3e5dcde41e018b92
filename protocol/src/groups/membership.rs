//! Membership of a conversation: `invite`, `kick`, `ban`, `unban`, `role`, `join`, `leave` and the `member` event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::Ack;
use crate::check::{Rejection, bad, data};
use crate::codec::push_u64;
use crate::cost::CommandCost;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::patch::FieldPatch;
use crate::payload::CustomData;
use crate::role::{MembershipChange, Role};
use crate::shape::{CommandFields, EventFields, ShapeFields};

/// Fields of the `invite`, `kick`, `ban` and `unban` commands, which act on one user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::ActOn)]
pub struct MemberAction {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The user on whom the command acts.
    #[serde(rename = "who")]
    pub member: UserId,
}

/// Fields of the `leave` command, which ends the user's membership.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Leave)]
pub struct LeaveConversation {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
}

/// Fields of the `join` command, which makes the user a member of a channel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Join)]
pub struct JoinConversation {
    /// Id of the channel.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
}

/// Fields of the `role` command, which changes the role or the custom data of a member; at least one must be given.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::SetRole)]
pub struct SetRole {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The member whose role changes.
    #[serde(rename = "who")]
    pub member: UserId,
    /// The new role of the member; absent to leave it unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// New custom data of the member, a JSON object of at most 4 KiB; null removes it.
    #[serde(default, skip_serializing_if = "FieldPatch::is_keep")]
    #[schema(value_type = Option<CustomData>)]
    pub data: FieldPatch<CustomData>,
}

/// Fields of the `member` event: a membership changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Member)]
pub struct MemberEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Sequence number of the event in its conversation.
    #[serde(rename = "s")]
    pub seq: u64,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
    /// The user who made the change.
    #[serde(rename = "u")]
    pub user: UserId,
    /// The user whose membership changed.
    #[serde(rename = "who")]
    pub member: UserId,
    /// The new role; null if the user is no longer a member.
    #[serde(default)]
    #[schema(required)]
    pub role: Option<Role>,
    /// Kind of the membership change.
    #[serde(rename = "why")]
    pub change: MembershipChange,
    /// The new custom data of the member, if it was changed; null means that it was removed.
    #[serde(default, skip_serializing_if = "FieldPatch::is_keep")]
    #[schema(value_type = Option<CustomData>)]
    pub data: FieldPatch<CustomData>,
}

// === impl MemberEvent ===

impl MemberEvent {
    /// Returns the tail: the encoded event without `{"n":413,`.
    pub fn tail(&self) -> String {
        // Written by hand because the event is frequent; `tests/golden.rs` freezes the bytes.
        let mut out = String::with_capacity(256);
        out.push_str("\"t\":\"member\",\"c\":\"");
        out.push_str(self.conversation.as_str());
        out.push_str("\",\"s\":");
        push_u64(&mut out, self.seq);
        out.push_str(",\"ts\":");
        push_u64(&mut out, self.timestamp_ms);
        out.push_str(",\"u\":\"");
        out.push_str(self.user.as_str());
        out.push_str("\",\"who\":\"");
        out.push_str(self.member.as_str());
        match self.role {
            Some(role) => {
                out.push_str("\",\"role\":\"");
                out.push_str(role.as_str());
                out.push_str("\",\"why\":\"");
            }
            None => out.push_str("\",\"role\":null,\"why\":\""),
        }
        out.push_str(self.change.as_str());
        out.push('"');
        if !self.data.is_keep() {
            out.push_str(",\"data\":");
            out.push_str(self.data.new_value().map_or("null", CustomData::as_str));
        }
        out.push('}');
        out
    }
}

// === shapes ===

impl ShapeFields for MemberAction {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","cid":"7f3a2d","who":"ben"}"#;
}

impl CommandFields for MemberAction {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for LeaveConversation {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","cid":"7f3a2d"}"#;
}

impl CommandFields for LeaveConversation {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for JoinConversation {
    const EXAMPLE: &'static str = r#"{"c":"ch_01M8JBSWWP98W05E6QCDQ99WQY","cid":"7f3a2d"}"#;
}

impl CommandFields for JoinConversation {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for SetRole {
    const EXAMPLE: &'static str =
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","cid":"7f3a2d","who":"ben","role":"admin"}"#;
}

impl CommandFields for SetRole {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        if self.role.is_none() && self.data.is_keep() {
            return Err(bad("at least one of role and data must be given"));
        }
        data(self.data.new_value())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for MemberEvent {
    const EXAMPLE: &'static str = concat!(
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":3,"ts":1795912692641,"u":"ada","who":"ben","role":"member","#,
        r#""why":"invite"}"#,
    );
}

impl EventFields for MemberEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        Some((&self.conversation, self.seq, self.timestamp_ms))
    }

    fn tail(&self, _tag: &str) -> String {
        MemberEvent::tail(self)
    }
}
