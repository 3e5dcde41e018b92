//! `/v1/me/sessions`: sessions of the caller on all nodes, listed and ended one by one.

use actix_web::web::Path;
use actix_web::{HttpResponse, delete, get, web};
use protocol::{CommandCost, ErrorCode};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, ChangeErrors, QueryErrors};
use super::{Problem, response};
use crate::auth::DeviceTokens;
use crate::session::{OwnSession, SessionRegistry};
use crate::shard_client::CommandError;

/// Hexadecimal digits of the mark in the id of a session.
const MARK_DIGITS: usize = 16;

/// Session in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfSession {
    /// The id of the session in the list.
    #[param(min_length = 17, max_length = 32)]
    session: String,
}

/// The sessions of a user.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionList {
    /// The sessions, the latest first.
    pub(super) items: Vec<ListedSession>,
    /// True if a node did not respond in time, so that its sessions are missing; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) partial: bool,
}

/// A session of a user.
#[derive(Serialize, ToSchema)]
pub(super) struct ListedSession {
    /// The id of the session in this list. It ends the session, and does not resume it.
    pub(super) id: String,
    /// The device; absent if the client named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    /// The node that has the session.
    pub(super) node: u64,
    /// The time at which the session began or continued on its node, in milliseconds since the epoch.
    pub(super) since: u64,
    /// True if the session has no connection and waits for its client.
    pub(super) detached: bool,
}

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type SessionPath = Path<String>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(list_sessions).service(end_session);
}

/// Lists the sessions of the caller on all nodes, connected and detached ones.
#[utoipa::path(tag = ApiTag::USERS, responses(
    (status = 200, description = "The sessions of the caller.", body = SessionList), QueryErrors
))]
#[get("/v1/me/sessions")]
async fn list_sessions(caller: AuthenticatedUser) -> Result<HttpResponse, Problem> {
    caller.pay(CommandCost::QUERY)?;
    let found = caller.sessions().of_user(&caller.user).await;
    Ok(response::json(&SessionList {
        items: found.items.into_iter().map(ListedSession::from).collect(),
        partial: found.is_partial,
    }))
}

/// Ends a session of the caller: its connection is closed with 4403, and it cannot be resumed. A login that it has ends
/// with it: the refresh token or device token, and the other sessions of that login. A device token ends only sessions of
/// its own.
#[utoipa::path(tag = ApiTag::USERS, params(OfSession), responses(
    (status = 204, description = "The session has ended."), ChangeErrors
))]
#[delete("/v1/me/sessions/{session}")]
async fn end_session(
    caller: AuthenticatedUser,
    devices: web::Data<DeviceTokens>,
    path: SessionPath,
) -> Result<HttpResponse, Problem> {
    caller.pay(CommandCost::CHANGE)?;
    let unknown = || Problem::new(ErrorCode::NotFound, "the caller has no such session");
    let (node, mark) = parse(&path).ok_or_else(unknown)?;
    let sessions: SessionRegistry = caller.sessions().clone();
    let unreached = || caller.refused(CommandError::unavailable());
    let found = sessions.on_node(&caller.user, node).await.ok_or_else(unreached)?;
    let found = found.into_iter().find(|session| session.mark == mark);
    let OwnSession { login, .. } = found.ok_or_else(unknown)?;
    // A stolen device token must not log its user out.
    if caller.device.is_some() && caller.login != login {
        let detail = "a device token ends only its own sessions";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    // The login first: its client could otherwise begin another session at once.
    if let Some(login) = login {
        let ended = devices.end_login(&caller.user, &login).await;
        ended.map_err(|refusal| caller.refused(refusal))?;
    }
    if !sessions.end_one(&caller.user, node, mark).await {
        return Err(unreached());
    }
    Ok(response::nothing())
}

/// Returns the node and the mark of an id; `None` for any other text.
pub(super) fn parse(id: &str) -> Option<(u64, u64)> {
    let digits = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (node, mark) = id
        .split_at_checked(id.len().checked_sub(MARK_DIGITS)?)
        .filter(|_| digits)?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(node)?, number(mark)?))
}

// === impl ListedSession ===

impl From<OwnSession> for ListedSession {
    fn from(session: OwnSession) -> ListedSession {
        ListedSession {
            id: format!("{:x}{:016x}", session.node, session.mark),
            device: session.device,
            node: session.node,
            since: session.since_ms,
            detached: session.is_detached,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is_read() {
        for (node, mark) in [(1, 0), (17, u64::MAX), (u64::MAX, 7)] {
            let session = OwnSession {
                node,
                mark,
                device: None,
                since_ms: 0,
                is_detached: false,
                login: None,
                figures: None,
            };
            assert_eq!(parse(&ListedSession::from(session).id), Some((node, mark)));
        }
        for text in [
            "",
            "1",
            "0123456789abcdef",
            "1-123456789abcdef",
            "g0123456789abcdef",
            "1é123456789abcdef",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
