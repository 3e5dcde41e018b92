//! `/v1/conversations/{c}/hooks/{name}`: webhooks of a conversation, by name.

use actix_web::web::Path;
use actix_web::{HttpResponse, delete, put};
use protocol::response::Ack;
use protocol::{ConversationId, ErrorCode};
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, ChangeErrors, IdempotencyKey};
use super::input::{Nothing, Optional};
use super::{Problem, response};
use crate::state_machine::ConversationOp;

/// Conversation and webhook name in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
struct OfHook {
    /// The id of the conversation.
    c: ConversationId,
    /// The name under which the receiver is notified: 1 to 32 letters, digits, `-` and `_`.
    name: String,
}

/// By a name of its own: utoipa would describe the parameters of a bare `Path` a second time.
type HookPath = Path<(ConversationId, String)>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(put_hook).service(delete_hook);
}

/// Sets a webhook: the node's webhook receiver is notified of every message of the conversation under this name. For
/// owners and admins. Returns 404 on a node without a configured receiver.
#[utoipa::path(tag = ApiTag::CONVERSATIONS, params(OfHook, IdempotencyKey), responses(
    (status = 200, description = "The webhook is set. Repeating the request changes nothing.", body = Ack), ChangeErrors
))]
#[put("/v1/conversations/{c}/hooks/{name}")]
async fn put_hook(
    caller: AuthenticatedUser,
    path: HookPath,
    key: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    if caller.worker().config.webhook.url.is_empty() {
        // An acknowledged webhook that never fires would go unnoticed by the client.
        let detail = "no webhook is configured on this node";
        return Err(Problem::new(ErrorCode::NotFound, detail));
    }
    switch(&caller, path, key, true).await
}

/// Removes the webhook of this name.
#[utoipa::path(tag = ApiTag::CONVERSATIONS, params(OfHook, IdempotencyKey), responses(
    (status = 200, description = "The webhook is not set any more. Repeating the request changes nothing.", body = Ack), ChangeErrors
))]
#[delete("/v1/conversations/{c}/hooks/{name}")]
async fn delete_hook(
    caller: AuthenticatedUser,
    path: HookPath,
    key: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    switch(&caller, path, key, false).await
}

async fn switch(
    caller: &AuthenticatedUser,
    path: HookPath,
    key: Optional<Nothing>,
    on: bool,
) -> Result<HttpResponse, Problem> {
    let ((c, name), cid) = (path.into_inner(), key.cid);
    let name = name.into();
    let done = caller
        .operate(c, cid.clone(), ConversationOp::Hook { name, on })
        .await?;
    Ok(response::changed(cid, done))
}
