//! `/v1/server/conversations/{c}/members`: members and roles in bulk.

use actix_web::{HttpResponse, delete, get, put, web};
use futures::future::join_all;
use protocol::command::ListMembers;
use protocol::response::MembersResponse as MembersOf;
use protocol::{ClientMessageId, ConversationId, ErrorCode, Role, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::back_end::{BackEnd, CONVERSATIONS, READ};
use super::verdict::{ItemVerdict, Verdicts};
use crate::gateway::problem::Problem;
use crate::gateway::rest::ConversationPath;
use crate::gateway::rest::conversations::PageQuery;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, InConversation, QueryErrors};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::state_machine::{CommandOrigin, ConversationOp};

/// Maximum number of items of a bulk request.
const ITEMS: usize = 100;

/// Members of a conversation to add or to change.
#[derive(Deserialize, ToSchema)]
struct ServerMembers {
    /// The users, each at most once.
    #[schema(min_items = 1, max_items = 100)]
    members: Vec<ServerMember>,
}

/// A member of a conversation.
#[derive(Deserialize, ToSchema)]
struct ServerMember {
    /// The id of the user.
    u: UserId,
    /// The role of the member. Without it, a user is added with the usual role, and that of a member stays.
    role: Option<Role>,
}

/// Members of a conversation to remove.
#[derive(Deserialize, ToSchema)]
struct RemovedMembers {
    /// The users to remove from the conversation.
    #[schema(min_items = 1, max_items = 100)]
    members: Vec<RemovedMember>,
}

/// A member to remove.
#[derive(Deserialize, ToSchema)]
struct RemovedMember {
    /// The id of the user.
    u: UserId,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(server_members)
        .service(server_put_members)
        .service(server_remove_members);
}

/// Lists the members in the order of their ids. Scope: `read`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(InConversation, PageQuery), responses(
    (status = 200, description = "A page of the members.", body = MembersOf), QueryErrors
))]
#[get("/v1/server/conversations/{c}/members")]
async fn server_members(
    caller: BackEnd<READ>,
    c: ConversationPath,
    page: web::Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let PageQuery { cursor, limit } = page.into_inner();
    caller.pay(1)?;
    let members = ListMembers {
        conversation: c.into_inner(),
        cursor,
        limit,
    };
    Ok(response::json(&caller.ask(members).await?))
}

/// Adds users and sets roles, at most 100, without asking for consent. Each user has a verdict of its own; a repeat
/// changes nothing. Scope: `conversations`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(InConversation), request_body = ServerMembers, responses(
    (status = 200, description = "One verdict for each user, in the order of the request.", body = Verdicts), ChangeErrors
))]
#[put("/v1/server/conversations/{c}/members")]
async fn server_put_members(
    caller: BackEnd<CONVERSATIONS>,
    c: ConversationPath,
    input: Input<ServerMembers>,
) -> Result<HttpResponse, Problem> {
    let changes = input.fields.members.into_iter().map(|ServerMember { u, role }| {
        let op = ConversationOp::PutMember { who: u.clone(), role };
        (u, op)
    });
    change(&caller, "members.put", c.into_inner(), changes.collect()).await
}

/// Removes members, at most 100. Each user has a verdict of its own; the removal of a user who is no member is `ok`.
/// Scope: `conversations`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(InConversation), request_body = RemovedMembers, responses(
    (status = 200, description = "One verdict for each user, in the order of the request.", body = Verdicts), ChangeErrors
))]
#[delete("/v1/server/conversations/{c}/members")]
async fn server_remove_members(
    caller: BackEnd<CONVERSATIONS>,
    c: ConversationPath,
    input: Input<RemovedMembers>,
) -> Result<HttpResponse, Problem> {
    let changes = input.fields.members.into_iter().map(|RemovedMember { u }| {
        let op = ConversationOp::Kick { who: u.clone() };
        (u, op)
    });
    change(&caller, "members.remove", c.into_inner(), changes.collect()).await
}

/// Submits one change per user, and returns the verdicts.
async fn change(
    caller: &BackEnd<CONVERSATIONS>,
    act: &'static str,
    conv: ConversationId,
    changes: Vec<(UserId, ConversationOp)>,
) -> Result<HttpResponse, Problem> {
    if changes.is_empty() || changes.len() > ITEMS {
        return Err(Problem::bad(format!("members must have 1 to {ITEMS} entries")));
    }
    caller.pay(changes.len())?;
    caller.record(act, conv.as_str(), changes.len()).await?;
    // Queued in the order of the request before any is awaited, so that they share log entries.
    let submitted: Vec<_> = changes
        .into_iter()
        .map(|(user, op)| {
            let removes = matches!(op, ConversationOp::Kick { .. });
            let origin = CommandOrigin {
                user: UserId::system(),
                cid: Some(fresh_cid()),
                exclude_session: 0,
            };
            let done = caller.conversations().submit(conv.clone(), origin, op);
            async move {
                let refusal = match done.await {
                    Ok(_) => None,
                    // The state that was asked for holds already.
                    Err(refusal) if removes && refusal.code == ErrorCode::NotFound => None,
                    Err(refusal) => Some(refusal),
                };
                ItemVerdict::new(user, refusal)
            }
        })
        .collect();
    let items = join_all(submitted).await;
    Ok(response::json(&Verdicts { items }))
}

/// Returns a key for one change. The change describes a state, so a repeat needs no key of the back end.
fn fresh_cid() -> ClientMessageId {
    let text = ulid::Ulid::generate().to_string();
    ClientMessageId::parse(&text).expect("a ULID is a well-formed id")
}
