//! Verdicts of a bulk request: one for each item, so that a partial success is visible.

use protocol::{ErrorCode, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::shard_client::CommandError;

/// The verdicts of a bulk request, in the order of its items.
#[derive(Serialize, ToSchema)]
pub(super) struct Verdicts {
    pub(super) items: Vec<ItemVerdict>,
}

/// The verdict on one user of a bulk request.
#[derive(Serialize, ToSchema)]
pub(super) struct ItemVerdict {
    /// The id of the user.
    u: UserId,
    /// True if the requested state holds.
    ok: bool,
    /// The reason of a refusal as a code for programs; absent if `ok` is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    err: Option<ErrorCode>,
    /// The reason of a refusal as text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<String>,
    /// True if a repeat may succeed; absent if `ok` is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    temp: Option<bool>,
    /// Milliseconds to wait before a repeat; present on temporary refusals only.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_ms: Option<u64>,
}

// === impl ItemVerdict ===

impl ItemVerdict {
    /// Returns the verdict on a user; without a refusal the requested state holds.
    pub(super) fn new(u: UserId, refusal: Option<CommandError>) -> ItemVerdict {
        let ok = refusal.is_none();
        let code = refusal.as_ref().map(|refusal| refusal.code);
        let temp = code.map(ErrorCode::temporary);
        let retry_ms = refusal.as_ref().and_then(|refusal| refusal.retry_ms);
        ItemVerdict {
            u,
            ok,
            err: code,
            temp,
            retry_ms: retry_ms.or((temp == Some(true)).then_some(1_000)),
            msg: refusal.map(|refusal| refusal.msg),
        }
    }
}
