//! `/v1/conversations/{c}/members`: who is in it.

use actix_web::{HttpResponse, delete, put};
use protocol::Command;
use protocol::answer::Ack;
use protocol::command::{ActOn, Leave};
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::describe::{Changed, IdempotencyKey, OfMember, Tag};
use super::input::Key;
use super::{Problem, Seat, answer};

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(put_member).service(delete_member);
}

/// Brings a user in.
#[utoipa::path(tag = Tag::MEMBERS, params(OfMember, IdempotencyKey), responses(
    (status = 200, description = "It is so.", body = Ack), Changed
))]
#[put("/v1/conversations/{c}/members/{u}")]
async fn put_member(caller: Caller, seat: Seat, key: Key) -> Result<HttpResponse, Problem> {
    let ((c, who), cid) = (seat.into_inner(), key.0);
    let invite = Command::Invite(ActOn {
        c,
        cid: cid.clone(),
        who,
    });
    Ok(answer::changed(cid, caller.change(invite).await?))
}

/// Puts a member out, or lets the caller itself leave.
#[utoipa::path(tag = Tag::MEMBERS, params(OfMember, IdempotencyKey), responses(
    (status = 200, description = "It is so.", body = Ack), Changed
))]
#[delete("/v1/conversations/{c}/members/{u}")]
async fn delete_member(caller: Caller, seat: Seat, key: Key) -> Result<HttpResponse, Problem> {
    let ((c, who), cid) = (seat.into_inner(), key.0);
    let command = if who == caller.user {
        Command::Leave(Leave { c, cid: cid.clone() })
    } else {
        let cid = cid.clone();
        Command::Kick(ActOn { c, cid, who })
    };
    Ok(answer::changed(cid, caller.change(command).await?))
}
