//! `/v1/admin/sessions`: sessions of a user on all nodes, for operators.

use actix_web::web::Path;
use actix_web::{HttpResponse, delete, get, web};
use protocol::{ErrorCode, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::gateway::operator::{Operator, Reader};
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, QueryErrors};
use crate::gateway::rest::response;
use crate::gateway::rest::sessions::{self, ListedSession, OfSession};
use crate::session::{OwnSession, SessionRegistry};
use crate::shard_client::CommandError;

/// User whose sessions are meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SessionsOf {
    /// The id of the user.
    user: UserId,
}

/// The sessions of a user, for operators.
#[derive(Serialize, ToSchema)]
struct WatchedSessionList {
    /// The sessions, the latest first.
    items: Vec<WatchedSession>,
    /// True if a node did not respond in time, so that its sessions are missing; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

/// A session of a user, for operators.
#[derive(Serialize, ToSchema)]
struct WatchedSession {
    /// The id of the session in this list. It ends the session, and does not resume it.
    id: String,
    /// The device; absent if the client named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// The node that has the session.
    node: u64,
    /// The time at which the session began or continued on its node, in milliseconds since the epoch.
    since: u64,
    /// True if the session has no connection and waits for its client.
    detached: bool,
    /// The number of sessions that this one has continued, one after the other; null if the session did not answer in time.
    #[schema(required)]
    resumes: Option<u32>,
    /// The bytes of the events that the client has not confirmed; null if the session did not answer in time.
    #[schema(required)]
    outbox_bytes: Option<u64>,
}

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type SessionPath = Path<String>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(sessions_of_user).service(disconnect_session);
}

/// Lists the sessions of a user on all nodes, connected and detached ones.
#[utoipa::path(tag = ApiTag::OPERATION, params(SessionsOf), responses(
    (status = 200, description = "The sessions of the user.", body = WatchedSessionList), QueryErrors
))]
#[get("/v1/admin/sessions")]
async fn sessions_of_user(
    _reader: Reader,
    query: web::Query<SessionsOf>,
    sessions: web::Data<SessionRegistry>,
) -> HttpResponse {
    let found = sessions.of_user(&query.user).await;
    response::json(&WatchedSessionList {
        items: found.items.into_iter().map(WatchedSession::from).collect(),
        partial: found.is_partial,
    })
}

/// Ends a session of a user: its connection is closed with 4403, and it cannot be resumed. The login of the user goes on, so
/// the user may begin another session.
#[utoipa::path(tag = ApiTag::OPERATION, params(OfSession, SessionsOf), responses(
    (status = 204, description = "The session has ended."), ChangeErrors
))]
#[delete("/v1/admin/sessions/{session}")]
async fn disconnect_session(
    operator: Operator,
    path: SessionPath,
    query: web::Query<SessionsOf>,
    sessions: web::Data<SessionRegistry>,
) -> Result<HttpResponse, Problem> {
    let user = &query.user;
    let unknown = || Problem::new(ErrorCode::NotFound, "the user has no such session");
    let (node, mark) = sessions::parse(&path).ok_or_else(unknown)?;
    let ending = async {
        let found = sessions.on_node(user, node).await;
        let found = found.ok_or_else(CommandError::unavailable)?;
        if !found.iter().any(|session| session.mark == mark) {
            return Err(unknown());
        }
        match sessions.end_one(user, node, mark).await {
            true => Ok(()),
            false => Err(CommandError::unavailable().into()),
        }
    };
    operator.change("sessions.disconnect", &path, ending).await?;
    Ok(response::nothing())
}

// === impl WatchedSession ===

impl From<OwnSession> for WatchedSession {
    fn from(session: OwnSession) -> WatchedSession {
        let figures = session.figures;
        let ListedSession {
            id,
            device,
            node,
            since,
            detached,
        } = ListedSession::from(session);
        WatchedSession {
            id,
            device,
            node,
            since,
            detached,
            resumes: figures.map(|(resumes, _)| resumes),
            outbox_bytes: figures.map(|(_, bytes)| bytes),
        }
    }
}
