//! `/v1/admin/conversations/{c}`: a conversation without its messages, and its owners, for operators.

use std::rc::Rc;

use actix_web::{HttpResponse, get, post, web};
use protocol::command::OpenConversation;
use protocol::response::ConversationSnapshot as ConvView;
use protocol::{ClientMessageId, ConversationId, ErrorCode, Role, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::commands::{ClientQuery, ClientQueryContext};
use crate::gateway::operator::{Operator, Reader};
use crate::gateway::problem::Problem;
use crate::gateway::rest::ConversationPath;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, InConversation, OperatorQueryErrors};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::session::WorkerContext;
use crate::shard_client::CommandError;
use crate::state_machine::{CommandOrigin, ConversationOp};

/// State of this worker thread.
type Worker = web::Data<Rc<WorkerContext>>;

/// The new owner of a conversation.
#[derive(Deserialize, ToSchema)]
struct NewOwner {
    /// The id of the user. One who is no member is added.
    u: UserId,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(admin_open).service(admin_add_owner);
}

/// Shows a conversation, without its messages and without its members' own settings and cursors: `role` is null, `read` and
/// `delivered` are 0.
#[utoipa::path(tag = ApiTag::OPERATION, params(InConversation), responses(
    (status = 200, description = "The conversation.", body = ConvView), OperatorQueryErrors
))]
#[get("/v1/admin/conversations/{c}")]
async fn admin_open(_reader: Reader, c: ConversationPath, worker: Worker) -> Result<HttpResponse, Problem> {
    let conversation = c.into_inner();
    let question = OpenConversation {
        conversation,
        have: None,
    };
    question.command().check()?;
    let context = ClientQueryContext {
        conversations: &worker.conversations,
        sessions: &worker.sessions,
        user: &UserId::system(),
    };
    let view = question.run(&context).await.map_err(missing)?;
    Ok(response::json(&ConvView {
        role: None,
        read: 0,
        delivered: 0,
        peer: None,
        events: None,
        ..view
    }))
}

/// Makes a user an owner of a group or channel whose owners are gone. Other owners stay.
#[utoipa::path(tag = ApiTag::OPERATION, params(InConversation), request_body = NewOwner, responses(
    (status = 204, description = "The user is an owner."), ChangeErrors
))]
#[post("/v1/admin/conversations/{c}/owner")]
async fn admin_add_owner(
    operator: Operator,
    c: ConversationPath,
    worker: Worker,
    input: Input<NewOwner>,
) -> Result<HttpResponse, Problem> {
    let (conv, user): (ConversationId, UserId) = (c.into_inner(), input.fields.u);
    if user.is_reserved() {
        return Err(Problem::bad(format!("the id {user} is reserved")));
    }
    let target = conv.to_string();
    let origin = CommandOrigin {
        user: UserId::system(),
        cid: Some(fresh_cid()),
        exclude_session: 0,
    };
    let op = ConversationOp::PutMember {
        who: user,
        role: Some(Role::Owner),
    };
    let changing = async {
        worker
            .conversations
            .submit(conv, origin, op)
            .await
            .map_err(missing)?;
        Ok(())
    };
    operator.change("conversations.owner", &target, changing).await?;
    Ok(response::nothing())
}

/// Converts a refusal. The system is a member of every conversation that exists.
fn missing(refusal: CommandError) -> Problem {
    match refusal.code {
        ErrorCode::NotMember => Problem::new(ErrorCode::NotFound, "there is no such conversation"),
        _ => Problem::from(refusal),
    }
}

/// Returns a key for one change. The change describes a state, so a repeat needs no key of the operator.
fn fresh_cid() -> ClientMessageId {
    let text = ulid::Ulid::generate().to_string();
    ClientMessageId::parse(&text).expect("a ULID is a well-formed id")
}
