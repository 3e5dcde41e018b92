//! `/v1/server/messages`: messages as a user or as the system.

use actix_web::{HttpResponse, post};
use protocol::command::SendMessage;
use protocol::response::Ack;
use protocol::{Body, ClientCommand, ConversationId, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::back_end::{BackEnd, MESSAGES};
use crate::commands::changes::ConversationChange;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, IdempotencyKey};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;

/// A message of a back end. Exactly one of `c` and `to` is required.
#[derive(Deserialize, ToSchema)]
struct ServerMessage {
    /// The conversation that receives the message.
    c: Option<ConversationId>,
    /// The user of the direct conversation, which is created if it does not exist.
    to: Option<UserId>,
    /// The author: a user, whose rights in the conversation are checked, or `system`.
    #[serde(rename = "as")]
    author: UserId,
    /// The content of the message.
    b: Body,
    /// The `s` of the message that this one replies to.
    reply_to: Option<u64>,
    /// The users to alert.
    #[serde(default)]
    #[schema(max_items = 50)]
    mentions: Vec<UserId>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(server_send);
}

/// Sends a message as a user or as the system. A message as a user shares the idempotency keys of that user, so that a
/// device and the back end do not send it twice. Scope: `messages`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(IdempotencyKey), request_body = ServerMessage, responses(
    (status = 201, description = "The message is committed: a majority of the replicas has it on disk.", body = Ack),
    (status = 200, description = "The message had been sent with this idempotency key before.", body = Ack),
    ChangeErrors
))]
#[post("/v1/server/messages")]
async fn server_send(
    caller: BackEnd<MESSAGES>,
    input: Input<ServerMessage>,
) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let ServerMessage {
        c,
        to,
        author,
        b,
        reply_to,
        mentions,
    } = input.fields;
    let send = SendMessage {
        conversation: c,
        to,
        client_message_id: cid.clone(),
        body: b,
        reply_to,
        mentions,
        // All sessions of the author receive the event, since none of them sent it.
        echo: true,
    };
    ClientCommand::Send(send.clone()).check()?;
    caller.pay(1)?;
    let most = caller.worker().config.limits.max_body_size.as_usize();
    let change = ConversationChange::send(&author, send, most)?;
    caller.may_act_as(&author).await?;
    caller.record("messages.send", change.conv.as_str(), 1).await?;
    let done = change.submit(caller.conversations(), author, 0).await;
    let done = done.map_err(|refusal| caller.refused(refusal))?;
    Ok(response::created(cid, done))
}
