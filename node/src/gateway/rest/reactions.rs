//! `/v1/conversations/{c}/messages/{s}/reactions/{k}`: reactions to a message.

use actix_web::web::{Path, Query};
use actix_web::{HttpResponse, delete, put};
use protocol::command::SetReaction;
use protocol::response::Ack;
use protocol::{ClientCommand, ClientMessageId, ConversationId, UserId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, ChangeErrors, IdempotencyKey, OfReaction};
use super::input::{Nothing, Optional};
use super::{Problem, response};

/// Conversation, message and reaction in the path.
type Reaction = Path<(ConversationId, u64, String)>;

/// Author of the reaction to remove.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// The user whose reaction is removed; default: the caller. Others require an owner or admin.
    who: Option<UserId>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(put_reaction).service(delete_reaction);
}

/// Adds the caller's reaction to a message.
#[utoipa::path(tag = ApiTag::MESSAGES, params(OfReaction, IdempotencyKey), responses(
    (status = 201, description = "The reaction was added.", body = Ack),
    (status = 200, description = "A request with this idempotency key had added the reaction before.", body = Ack),
    ChangeErrors
))]
#[put("/v1/conversations/{c}/messages/{s}/reactions/{k}")]
async fn put_reaction(
    caller: AuthenticatedUser,
    reaction: Reaction,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let react = react(reaction, input.cid.clone(), true, None);
    Ok(response::created(input.cid, caller.change(react).await?))
}

/// Removes a reaction from a message.
#[utoipa::path(tag = ApiTag::MESSAGES, params(OfReaction, Whose, IdempotencyKey), responses(
    (status = 200, description = "The caller does not have this reaction on the message any more.", body = Ack), ChangeErrors
))]
#[delete("/v1/conversations/{c}/messages/{s}/reactions/{k}")]
async fn delete_reaction(
    caller: AuthenticatedUser,
    reaction: Reaction,
    whose: Query<Whose>,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let react = react(reaction, input.cid.clone(), false, whose.into_inner().who);
    Ok(response::changed(input.cid, caller.change(react).await?))
}

fn react(reaction: Reaction, cid: ClientMessageId, on: bool, who: Option<UserId>) -> ClientCommand {
    let (c, of, k) = reaction.into_inner();
    ClientCommand::React(SetReaction {
        conversation: c,
        target_seq: of,
        client_message_id: cid,
        reaction: k,
        active: on,
        member: who,
    })
}
