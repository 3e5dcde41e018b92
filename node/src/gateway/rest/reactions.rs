//! `/v1/conversations/{c}/messages/{s}/reactions/{k}`: the caller's reactions to a message, and those of others that are
//! taken back.

use actix_web::web::{Path, Query};
use actix_web::{HttpResponse, delete, put};
use protocol::answer::Ack;
use protocol::command::React;
use protocol::{Cid, Command, ConvId, UserId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::describe::{Changed, IdempotencyKey, OfReaction, Tag};
use super::input::{Nothing, Optional};
use super::{Problem, answer};

/// A conversation, a message and a reaction.
type Reaction = Path<(ConvId, u64, String)>;

/// Whose reaction is taken back.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// The user, if not the caller; for owners and admins.
    who: Option<UserId>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(put_reaction).service(delete_reaction);
}

/// Reacts to a message.
#[utoipa::path(tag = Tag::MESSAGES, params(OfReaction, IdempotencyKey), responses(
    (status = 201, description = "The reaction is set.", body = Ack),
    (status = 200, description = "It had been done with this key before.", body = Ack),
    Changed
))]
#[put("/v1/conversations/{c}/messages/{s}/reactions/{k}")]
async fn put_reaction(
    caller: Caller,
    reaction: Reaction,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let react = react(reaction, input.cid.clone(), true, None);
    Ok(answer::created(input.cid, caller.change(react).await?))
}

/// Takes a reaction back.
#[utoipa::path(tag = Tag::MESSAGES, params(OfReaction, Whose, IdempotencyKey), responses(
    (status = 200, description = "There is no such reaction of the user any more.", body = Ack), Changed
))]
#[delete("/v1/conversations/{c}/messages/{s}/reactions/{k}")]
async fn delete_reaction(
    caller: Caller,
    reaction: Reaction,
    whose: Query<Whose>,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let react = react(reaction, input.cid.clone(), false, whose.into_inner().who);
    Ok(answer::changed(input.cid, caller.change(react).await?))
}

fn react(reaction: Reaction, cid: Cid, on: bool, who: Option<UserId>) -> Command {
    let (c, of, k) = reaction.into_inner();
    Command::React(React {
        c,
        of,
        cid,
        k,
        on,
        who,
    })
}
