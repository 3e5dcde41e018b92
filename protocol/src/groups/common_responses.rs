//! Responses that commands of several groups share: `ack`, `ok` and `err`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::is_false;
use crate::error::ErrorCode;
use crate::ids::{ClientMessageId, ConversationId};
use crate::shape::ShapeFields;

/// Fields of the `ack` response: the change is durable and applied.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ack {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key of the command.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// Sequence number of the event; absent if the command made none.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Ordinal of the message; absent if the event is no message.
    #[serde(rename = "mn", default, skip_serializing_if = "Option::is_none")]
    pub message_number: Option<u64>,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts", default, skip_serializing_if = "Option::is_none")]
    pub timestamp_ms: Option<u64>,
    /// True if the command was a repetition; the other fields are the first result.
    #[serde(rename = "dup", default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
}

/// A response without any fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OkResponse {}

/// Fields of the `err` response: the command was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorResponse {
    /// The reason for the refusal, for programs.
    pub code: ErrorCode,
    /// HTTP status that corresponds to the code.
    #[serde(rename = "http")]
    pub http_status: u16,
    /// True if the same command may succeed later.
    #[serde(rename = "temp")]
    pub temporary: bool,
    /// Text of the reason, for people.
    #[serde(rename = "msg")]
    pub message: String,
    /// Time to wait before the next attempt, in milliseconds; present on temporary refusals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

// === impl ErrorResponse ===

impl ErrorResponse {
    /// Returns a refusal whose other fields follow from its code. A temporary one without `retry_ms` gets 1,000 ms.
    pub fn new(code: ErrorCode, message: impl Into<String>, retry_ms: Option<u64>) -> ErrorResponse {
        let temporary = code.temporary();
        // A permanent refusal carries no delay: a client could take it as permission to retry.
        let retry_ms = if temporary { retry_ms.or(Some(1_000)) } else { None };
        ErrorResponse {
            code,
            http_status: code.http(),
            temporary,
            message: message.into(),
            retry_ms,
        }
    }
}

// === shapes ===

impl ShapeFields for Ack {
    const EXAMPLE: &'static str =
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","cid":"7f3a2c","s":4,"mn":1,"ts":1795912692652}"#;
}

impl ShapeFields for OkResponse {
    const EXAMPLE: &'static str = "{}";
}

impl ShapeFields for ErrorResponse {
    const EXAMPLE: &'static str =
        r#"{"code":"busy","http":503,"temp":true,"msg":"the shard has no leader","retry_ms":1000}"#;
}
