//! `/v1/server/conversations`: conversations created for others, and read without a membership.

use actix_web::{HttpResponse, get, post};
use data_encoding::BASE32_NOPAD;
use protocol::command::{CreateConversation, OpenConversation};
use protocol::response::ConversationSnapshot as ConvView;
use protocol::{ClientCommand, ClientMessageId, ConversationId, ConversationKind, CustomData, UserId};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::back_end::{BackEnd, CONVERSATIONS, READ, of_a_person};
use crate::commands::changes;
use crate::gateway::problem::Problem;
use crate::gateway::rest::ConversationPath;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, IdempotencyKey, InConversation, QueryErrors};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::state_machine::ApiKeyId;

/// A conversation to create for others.
#[derive(Deserialize, ToSchema)]
struct ServerConversation {
    /// The kind of the conversation: direct, group or channel.
    kind: ConversationKind,
    /// The owner of a group or channel; one of the two users of a direct conversation.
    owner: UserId,
    /// The other initial members; exactly one for a direct conversation.
    #[serde(default)]
    #[schema(max_items = 256)]
    members: Vec<UserId>,
    /// The title; not permitted for direct conversations.
    #[schema(max_length = 256)]
    title: Option<String>,
    /// Custom data of the application, a JSON object of at most 4 KiB; not permitted for direct conversations.
    data: Option<CustomData>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(server_create).service(server_open);
}

/// Creates a conversation for others. The users are not asked for their consent. The idempotency key counts per API
/// key. Scope: `conversations`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(IdempotencyKey), request_body = ServerConversation, responses(
    (status = 201, description = "The conversation was created.", body = ConvView),
    (status = 200, description = "The conversation existed: created with this idempotency key before, or the direct conversation of the two users.", body = ConvView),
    ChangeErrors
))]
#[post("/v1/server/conversations")]
async fn server_create(
    caller: BackEnd<CONVERSATIONS>,
    input: Input<ServerConversation>,
) -> Result<HttpResponse, Problem> {
    let cid = of_key(caller.key(), &input.cid()?);
    let ServerConversation {
        kind,
        owner,
        members,
        title,
        data,
    } = input.fields;
    let create = CreateConversation {
        kind,
        client_message_id: cid,
        members,
        title,
        data,
    };
    ClientCommand::Create(create.clone()).check()?;
    let (cid, spec) = changes::specified(create)?;
    spec.members.iter().chain([&owner]).try_for_each(of_a_person)?;
    let users = 1 + spec.members.len();
    caller.pay(users)?;
    caller
        .record("conversations.create", owner.as_str(), users)
        .await?;
    let made = caller.conversations().create_as_system(cid, owner, spec).await;
    let done = made.map_err(|refusal| caller.refused(refusal))?;
    // Read for a repeat as well, whose create command changes nothing.
    Ok(response::made(&open(&caller, done.conv).await?, done.dup))
}

/// Shows a conversation, without its members' own settings and cursors: `role` is null, `unread`,
/// `mentions`, `read` and `delivered` are 0.
/// Scope: `read`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(InConversation), responses(
    (status = 200, description = "The conversation.", body = ConvView), QueryErrors
))]
#[get("/v1/server/conversations/{c}")]
async fn server_open(caller: BackEnd<READ>, c: ConversationPath) -> Result<HttpResponse, Problem> {
    caller.pay(1)?;
    Ok(response::json(&open(&caller, c.into_inner()).await?))
}

/// Reads a conversation as the system, which has no role, cursors and peer of its own.
async fn open<const SCOPE: u8>(
    caller: &BackEnd<SCOPE>,
    conversation: ConversationId,
) -> Result<ConvView, Problem> {
    let have = None;
    let view = caller.ask(OpenConversation { conversation, have }).await?;
    Ok(ConvView {
        role: None,
        unread: 0,
        mentions: 0,
        read: 0,
        delivered: 0,
        peer: None,
        ..view
    })
}

/// Returns the idempotency key of the system for that of an API key: two keys may use the same text.
fn of_key(key: ApiKeyId, cid: &ClientMessageId) -> ClientMessageId {
    let hash = Sha256::new()
        .chain_update(key.0)
        .chain_update(cid.as_str())
        .finalize();
    let text = BASE32_NOPAD.encode(&hash).to_ascii_lowercase();
    ClientMessageId::parse(&text).expect("base32 is a well-formed id")
}
