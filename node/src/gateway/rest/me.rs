//! `/v1/me`: the caller's own settings.

use actix_web::{HttpResponse, get, patch};
use protocol::Command;
use protocol::answer::Me as Shown;
use protocol::command::Me;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::describe::{Asked, Changed, Tag};
use super::input::Input;
use super::{Problem, answer};
use crate::commands::changes;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(get_me).service(patch_me);
}

/// Shows the caller's own settings.
#[utoipa::path(tag = Tag::USERS, responses((status = 200, description = "The settings.", body = Shown), Asked))]
#[get("/v1/me")]
async fn get_me(caller: Caller) -> Result<HttpResponse, Problem> {
    let me = Me::default();
    caller.may(&Command::Me(me.clone()))?;
    shown(&caller, me).await
}

/// Changes those of the caller's own settings that are given.
#[utoipa::path(tag = Tag::USERS, request_body = Me, responses(
    (status = 200, description = "The settings from now on.", body = Shown), Changed
))]
#[patch("/v1/me")]
async fn patch_me(caller: Caller, input: Input<Me>) -> Result<HttpResponse, Problem> {
    let me = input.fields;
    caller.may(&Command::Me(me.clone()))?;
    shown(&caller, me).await
}

async fn shown(caller: &Caller, me: Me) -> Result<HttpResponse, Problem> {
    let shown = changes::me(caller.conversations(), caller.user.clone(), me).await;
    Ok(answer::json(&shown.map_err(|refusal| caller.refused(refusal))?))
}
