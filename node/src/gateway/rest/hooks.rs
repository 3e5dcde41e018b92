//! `/v1/conversations/{c}/hooks/{name}`: under which names the node's hook is told of the conversation's messages.

use actix_web::web::Path;
use actix_web::{HttpResponse, delete, put};
use protocol::answer::Ack;
use protocol::{ConvId, ErrorCode};
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::describe::{Changed, IdempotencyKey, Tag};
use super::input::{Nothing, Optional};
use super::{Problem, answer};
use crate::conversation::timeline::Op;

/// The conversation and the name in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
struct OfHook {
    /// The conversation.
    c: ConvId,
    /// The name, by which the receiver knows for whom it is told: 1 to 32 letters, digits, `-` and `_`.
    name: String,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(put_hook).service(delete_hook);
}

/// Has the node's hook told of every message of the conversation under a name; for owners and admins. 404 where none is
/// configured.
#[utoipa::path(tag = Tag::CONVERSATIONS, params(OfHook, IdempotencyKey), responses(
    (status = 200, description = "It is so.", body = Ack), Changed
))]
#[put("/v1/conversations/{c}/hooks/{name}")]
async fn put_hook(
    caller: Caller,
    path: Path<(ConvId, String)>,
    key: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    if caller.worker().config.hooks.url.is_empty() {
        // Nobody would ever be told, and whoever asks believes to be.
        let detail = "no hook is configured on this node";
        return Err(Problem::new(ErrorCode::NotFound, detail));
    }
    switch(&caller, path, key, true).await
}

/// Has it told no longer under that name.
#[utoipa::path(tag = Tag::CONVERSATIONS, params(OfHook, IdempotencyKey), responses(
    (status = 200, description = "It is so.", body = Ack), Changed
))]
#[delete("/v1/conversations/{c}/hooks/{name}")]
async fn delete_hook(
    caller: Caller,
    path: Path<(ConvId, String)>,
    key: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    switch(&caller, path, key, false).await
}

async fn switch(
    caller: &Caller,
    path: Path<(ConvId, String)>,
    key: Optional<Nothing>,
    on: bool,
) -> Result<HttpResponse, Problem> {
    let ((c, name), cid) = (path.into_inner(), key.cid);
    let name = name.into();
    let done = caller.operate(c, cid.clone(), Op::Hook { name, on }).await?;
    Ok(answer::changed(cid, done))
}
