//! Long polling, `GET /v1/poll`: a session whose client fetches its events in batches.
//!
//! The session has no connection. Each poll names its session id, on this node or another. Between two polls the
//! session is detached and expires like one that lost its connection.

use std::rc::Weak;
use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, get, web};
use protocol::event::event_frame;
use protocol::response::NotResumed;
use protocol::{CommandCost, ErrorCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::connection::TrackedConnection;
use super::problem::Problem;
use super::rest::AuthenticatedUser;
use super::rest::describe::{ApiTag, QueryErrors};
use super::sse::EventStreamQuery;
use crate::rpc::SessionId;
use crate::session::messages::{PollRequest, PollResponse};
use crate::session::{
    ConnectionHandle, OutboundQueue, QueueBounds, ResumePoint, Session, TransportPolicy, left,
};

/// Default wait in seconds.
const WAIT: u64 = 25;
/// Maximum length of a session id in bytes.
const NAME: usize = 256;
/// Maximum time that a poll waits for an event. Proxies close requests after a minute.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Query of a poll.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PollQuery {
    /// The session id from the previous answer. Without it, a new session begins.
    #[param(max_length = 256)]
    sid: Option<String>,
    /// The last event that the client has. It confirms all events up to it; default 0.
    #[param(maximum = 9_223_372_036_854_775_807_i64)]
    after: Option<u64>,
    /// Seconds to wait if there is no event; default 25, clamped by the node.
    wait: Option<u64>,
}

/// Answer to a poll.
#[derive(Serialize, ToSchema)]
struct Polled {
    /// The session id for the next poll.
    sid: String,
    /// True if no event is missing: the events follow `after`. If false, the client catches up by `POST /v1/sync`.
    resumed: bool,
    /// The reason for a new session in place of the requested one; absent if it was resumed or none was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NotResumed>)]
    why: Option<NotResumed>,
    /// The session number of the last event that the client has after this answer: the next `after`.
    n: u64,
    /// The events, each with its session number `n`, as on a WebSocket. Empty if the wait ended or another poll of the
    /// session began.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Box<RawValue>>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(poll);
}

/// Waits for events of the caller's session.
#[utoipa::path(tag = ApiTag::EVENTS, params(PollQuery, EventStreamQuery), responses(
    (status = 200, description = "The events of the session since the last request; an empty list if none arrived in time.", body = Polled),
    (status = 409, description = "Another instance of the device holds the session, or the user has too many sessions.",
        body = Problem, content_type = "application/problem+json"),
    QueryErrors
))]
#[get("/v1/poll")]
async fn poll(
    caller: AuthenticatedUser,
    request: HttpRequest,
    question: web::Query<PollQuery>,
    query: web::Query<EventStreamQuery>,
) -> Result<HttpResponse, Problem> {
    let (PollQuery { sid, after, wait }, query) = (question.into_inner(), query.into_inner());
    let after = after.unwrap_or(0);
    if sid.as_ref().is_some_and(|sid| sid.len() > NAME) {
        return Err(Problem::bad("sid is longer than any session id of this cluster"));
    }
    if i64::try_from(after).is_err() {
        return Err(Problem::bad(
            "after is not the number of an event of this session",
        ));
    }
    let device = caller.identity().device_of(query.device()?)?;
    let worker = caller.worker().clone();
    let fetch = |after| PollRequest {
        after,
        wait: patience(
            wait,
            MAX_WAIT,
            caller.expires.map(|at| left(at, worker.conversations.clock())),
        ),
        expires: caller.expires,
        login: caller.login.clone(),
    };
    // The lookup compares user and device: a session id alone gives no access to another user's events.
    let known = sid.as_ref().and_then(|text| {
        let sid = text.parse::<SessionId>().ok()?;
        Some((
            text,
            worker.sessions.find(sid, &caller.user, device.as_deref()).ok()?,
        ))
    });
    // Charged only now: continuing a session on this node costs one query, beginning or transferring one costs more.
    let cost = if known.is_some() {
        CommandCost::QUERY
    } else {
        CommandCost::SESSION
    };
    caller.may_listen(request.headers(), cost)?;
    // A failed send means that the session ended since the lookup. The poll then tries to resume it below.
    if let Some((text, session)) = known
        && let Ok(Ok(fetched)) = session.send(fetch(after)).await
    {
        return Ok(answer(text.clone(), None, true, after, fetched));
    }

    // No such session on this node: a new one is opened, which resumes the requested session from wherever it is.
    let point = sid.map(|sid| match sid.parse() {
        Ok(sid) => ResumePoint::Behind(sid, after),
        Err(_) => ResumePoint::Invalid,
    });
    let (opened_sender, opened) = oneshot::channel();
    let mut client = query.client(&caller, point)?;
    client.opened_sender = Some(opened_sender);
    // No connection drains this queue. Events are read from the replay buffer.
    let bounds = QueueBounds::from(&*worker.config);
    let link = ConnectionHandle::new(
        OutboundQueue::unconnected(bounds),
        Weak::<TrackedConnection>::new(),
    );
    let session = Session::open(worker.clone(), link, TransportPolicy::LONG_POLL, Some(client));
    let over = || Problem::new(ErrorCode::Unavailable, "the session ended during the request");
    // A refused session drops the sender without a reply. The cause is one of these two.
    let refused = "the user has too many sessions, or another instance of this device is connected";
    let ready = opened
        .await
        .map_err(|_| Problem::new(ErrorCode::Conflict, refused))?
        .ready;
    // A new session is answered at once: the client has to catch up before it can wait for events.
    let fetched = if ready.resumed {
        let fetched = session.send(fetch(ready.session_seq)).await;
        fetched.map_err(|_| over())?.map_err(|_| over())?
    } else {
        PollResponse::default()
    };
    Ok(answer(
        ready.session_id,
        ready.reason,
        ready.resumed,
        ready.session_seq,
        fetched,
    ))
}

/// Returns the time to wait: the requested one, at most the node's bound and the remaining lifetime of the token.
fn patience(asked: Option<u64>, most: Duration, left: Option<Duration>) -> Duration {
    let wait = Duration::from_secs(asked.unwrap_or(WAIT)).min(most);
    left.map_or(wait, |left| wait.min(left))
}

fn answer(
    sid: String,
    why: Option<NotResumed>,
    resumed: bool,
    n: u64,
    fetched: PollResponse,
) -> HttpResponse {
    let last = fetched.events.last().map_or(n, |(n, _)| *n);
    let events = fetched.events.iter().filter_map(|(n, tail)| {
        let text = event_frame(*n, &String::from_utf8_lossy(tail));
        RawValue::from_string(text).ok()
    });
    let polled = Polled {
        sid,
        resumed,
        why,
        n: last,
        events: events.collect(),
    };
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(polled)
}
