//! `/v1/users/{u}`: what concerns one other user.

use actix_web::web::Path;
use actix_web::{HttpResponse, post};
use protocol::answer::Ack;
use protocol::{Command, UserId};
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::describe::{Changed, IdempotencyKey, OfUser, Tag};
use super::input::Input;
use super::messages::NewMessage;
use super::{Problem, answer};

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(send_to_user);
}

/// Sends a message to a user: into the direct conversation of the two, which is made at need.
#[utoipa::path(tag = Tag::USERS, params(OfUser, IdempotencyKey), request_body = NewMessage, responses(
    (status = 201, description = "It is on a majority's disks.", body = Ack),
    (status = 200, description = "It had been sent with this key before.", body = Ack),
    Changed
))]
#[post("/v1/users/{u}/messages")]
async fn send_to_user(
    caller: Caller,
    u: Path<UserId>,
    input: Input<NewMessage>,
) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let send = input.fields.send(None, Some(u.into_inner()), cid.clone());
    Ok(answer::created(cid, caller.change(Command::Send(send)).await?))
}
