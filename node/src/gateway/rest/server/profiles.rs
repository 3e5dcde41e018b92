//! `/v1/server/users`: profiles of users, written in bulk and read with the state of the users.

use actix_web::{HttpResponse, get, post, web};
use futures::future::join_all;
use protocol::command::UpdateProfile;
use protocol::response::UserProfile;
use protocol::{ClientCommand, CustomData, FieldPatch, UserId, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::back_end::{BackEnd, USERS, of_a_person};
use super::verdict::{ItemVerdict, Verdicts};
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, QueryErrors};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::gateway::rest::users::UserIds;
use crate::shard_client::CommandError;
use crate::state_machine::query::UserAccessQuery;

/// Profiles of users to write.
#[derive(Deserialize, ToSchema)]
struct ServerUsers {
    /// The users, each at most once.
    #[schema(min_items = 1, max_items = 100)]
    users: Vec<ServerUser>,
}

/// A merge patch of the profile of a user: null removes, and what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
struct ServerUser {
    /// The id of the user.
    u: UserId,
    /// Displayed name, at most 256 bytes with a visible character.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 256)]
    name: FieldPatch<String>,
    /// URL of the user's picture, at most 1,024 bytes: `http`, `https`, or relative to the application.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1024)]
    avatar: FieldPatch<String>,
    /// Custom data of the application, a JSON object of at most 4 KiB.
    #[serde(default)]
    #[schema(value_type = Option<CustomData>)]
    data: FieldPatch<CustomData>,
}

/// The users that a back end asked for.
#[derive(Serialize, ToSchema)]
struct ServerProfiles {
    /// The users in the order of the request. A user whose shard did not respond is left out.
    items: Vec<ServerProfile>,
}

/// The profile and the state of a user.
#[derive(Serialize, ToSchema)]
struct ServerProfile {
    /// The id of the user.
    u: UserId,
    /// Displayed name; absent if the user has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// URL of the user's picture; absent if the user has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
    /// Custom data of the application; absent if the user has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<CustomData>,
    /// Version of the profile, greater after each change; 0 without a profile, whether the user exists or not.
    ver: u64,
    /// True if the user is deactivated.
    deactivated: bool,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(put_users).service(server_users);
}

/// Writes the profiles of at most 100 users; a user need not have logged in before. Each user has a verdict of its own; a
/// repeat changes nothing. Scope: `users`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), request_body = ServerUsers, responses(
    (status = 200, description = "One verdict for each user, in the order of the request.", body = Verdicts), ChangeErrors
))]
#[post("/v1/server/users")]
async fn put_users(caller: BackEnd<USERS>, input: Input<ServerUsers>) -> Result<HttpResponse, Problem> {
    let users = input.fields.users;
    let Some(first) = users.first().filter(|_| users.len() <= limits::USERS) else {
        return Err(Problem::bad(format!(
            "users must have 1 to {} entries",
            limits::USERS
        )));
    };
    users.iter().try_for_each(|user| of_a_person(&user.u))?;
    caller.pay(users.len())?;
    caller.record("users.put", first.u.as_str(), users.len()).await?;
    let verdicts = users.into_iter().map(|user| async {
        let u = user.u.clone();
        ItemVerdict::new(u, put(&caller, user).await.err())
    });
    let items = join_all(verdicts).await;
    Ok(response::json(&Verdicts { items }))
}

/// Shows the profiles of at most 100 users, and whether they are deactivated. Scope: `users`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(UserIds), responses(
    (status = 200, description = "The users.", body = ServerProfiles), QueryErrors
))]
#[get("/v1/server/users")]
async fn server_users(caller: BackEnd<USERS>, query: web::Query<UserIds>) -> Result<HttpResponse, Problem> {
    let command = ClientCommand::Users(query.into_inner().users()?);
    command.check()?;
    let ClientCommand::Users(asked) = command else {
        return Err(Problem::bad("ids are missing"));
    };
    caller.pay(asked.ids.len())?;
    let profiles = caller.conversations().profiles(asked.ids).await;
    let states = profiles.into_iter().map(|profile| with_state(&caller, profile));
    let items = join_all(states).await.into_iter().flatten().collect();
    Ok(response::json(&ServerProfiles { items }))
}

/// Checks and writes one profile.
async fn put(caller: &BackEnd<USERS>, user: ServerUser) -> Result<(), CommandError> {
    let patch = UpdateProfile {
        group_invite: None,
        name: user.name,
        avatar: user.avatar,
        data: user.data,
    };
    // The rules of the user's own command.
    let command = ClientCommand::Me(patch.clone());
    command
        .check()
        .map_err(|(code, msg)| CommandError::new(code, msg))?;
    caller.conversations().put_profile(user.u, &patch).await
}

/// Adds the state of a user to its profile; `None` if the user's shard did not respond.
async fn with_state(caller: &BackEnd<USERS>, profile: UserProfile) -> Option<ServerProfile> {
    let question = UserAccessQuery {
        user: profile.user.clone(),
    };
    let access = caller.conversations().query(&question).await.ok()?;
    Some(ServerProfile {
        u: profile.user,
        name: profile.name,
        avatar: profile.avatar,
        data: profile.data,
        ver: profile.version,
        deactivated: access.deactivated,
    })
}
