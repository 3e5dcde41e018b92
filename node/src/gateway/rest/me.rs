//! `/v1/me`: profile and settings of the caller.

use actix_web::{HttpResponse, get, patch};
use protocol::ClientCommand;
use protocol::command::UpdateProfile;
use protocol::response::MeResponse;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, ChangeErrors, QueryErrors};
use super::input::Input;
use super::{Problem, response};
use crate::commands::changes;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(get_me).service(patch_me);
}

/// Shows the profile and the settings of the caller.
#[utoipa::path(tag = ApiTag::USERS, responses((status = 200, description = "The profile and the settings of the caller.", body = MeResponse), QueryErrors))]
#[get("/v1/me")]
async fn get_me(caller: AuthenticatedUser) -> Result<HttpResponse, Problem> {
    let me = UpdateProfile::default();
    caller.may(&ClientCommand::Me(me.clone()))?;
    visible(&caller, me).await
}

/// Changes the profile and the settings of the caller by a merge patch: null removes, and what is absent stays as it is.
#[utoipa::path(tag = ApiTag::USERS, request_body = UpdateProfile, responses(
    (status = 200, description = "The profile and the settings of the caller after the change.", body = MeResponse), ChangeErrors
))]
#[patch("/v1/me")]
async fn patch_me(caller: AuthenticatedUser, input: Input<UpdateProfile>) -> Result<HttpResponse, Problem> {
    let me = input.fields;
    caller.may(&ClientCommand::Me(me.clone()))?;
    visible(&caller, me).await
}

async fn visible(caller: &AuthenticatedUser, me: UpdateProfile) -> Result<HttpResponse, Problem> {
    let me = changes::me(caller.conversations(), caller.user.clone(), me).await;
    Ok(response::json(&me.map_err(|refusal| caller.refused(refusal))?))
}
