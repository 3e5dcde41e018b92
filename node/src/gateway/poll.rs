//! `GET /v1/poll`: a session whose client fetches its events, a batch at a time.
//!
//! The session is like any other, without a connection: it is found by its name, on this node or on another, and between
//! two polls it waits for its client as one does whose connection was lost.

use std::rc::Weak;
use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, get, web};
use protocol::answer::NotResumed;
use protocol::event::event_frame;
use protocol::{Cost, ErrorCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::connection::Connection;
use super::problem::Problem;
use super::rest::Caller;
use super::rest::describe::{Asked, Tag};
use super::sse::Seat;
use crate::session::messages::{Fetch, Fetched};
use crate::session::outbox::{Bounds, Outbox};
use crate::session::sid::Sid;
use crate::session::{Link, Point, Session, Transport, left};

/// Seconds that a poll waits unless it says so.
const WAIT: u64 = 25;
/// Bytes of what may be the name of a session.
const NAME: usize = 256;

/// What is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Question {
    /// The session, of the answer before; without it a new one begins.
    #[param(max_length = 256)]
    sid: Option<String>,
    /// The last event that the client has, which confirms everything up to it; 0 unless given.
    #[param(maximum = 9_223_372_036_854_775_807_i64)]
    after: Option<u64>,
    /// Seconds to wait for an event, if there is none; 25 unless given, and clamped by the node.
    wait: Option<u64>,
}

/// What has happened.
#[derive(Serialize, ToSchema)]
struct Polled {
    /// The session to ask for next time.
    sid: String,
    /// Whether nothing is missing: the events are those behind `after`. If not, the client asks `POST /v1/sync`.
    resumed: bool,
    /// Why the session that was asked for does not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NotResumed>)]
    why: Option<NotResumed>,
    /// The number of the last event that the client has, with these: the next `after`.
    n: u64,
    /// The events, each with its `n`, as on a WebSocket. None if the time passed, or another poll of the session began.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Box<RawValue>>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(poll);
}

/// Waits for what happens.
#[utoipa::path(tag = Tag::EVENTS, params(Question, Seat), responses(
    (status = 200, description = "What happened, perhaps nothing.", body = Polled),
    (status = 409, description = "Another client of the device keeps the session, or the user has too many sessions.",
        body = Problem, content_type = "application/problem+json"),
    Asked
))]
#[get("/v1/poll")]
async fn poll(
    caller: Caller,
    request: HttpRequest,
    question: web::Query<Question>,
    seat: web::Query<Seat>,
) -> Result<HttpResponse, Problem> {
    let (Question { sid, after, wait }, seat) = (question.into_inner(), seat.into_inner());
    let after = after.unwrap_or(0);
    if sid.as_ref().is_some_and(|sid| sid.len() > NAME) {
        return Err(Problem::bad("sid is longer than any that was ever given"));
    }
    if i64::try_from(after).is_err() {
        return Err(Problem::bad("after is no number that was ever given"));
    }
    let device = seat.device()?;
    let worker = caller.worker().clone();
    let fetch = |after| Fetch {
        after,
        wait: patience(
            wait,
            worker.config.session.poll_ms.duration(),
            caller.expires.map(|at| left(at, worker.conversations.clock())),
        ),
        expires: caller.expires,
        login: caller.login.clone(),
    };
    let known = sid.as_ref().and_then(|text| {
        let sid = text.parse::<Sid>().ok()?;
        Some((text, worker.sessions.find(sid, &caller.user, device).ok()?))
    });
    let cost = if known.is_some() {
        Cost::QUESTION
    } else {
        Cost::SESSION
    };
    caller.may_listen(request.headers(), cost)?;
    if let Some((text, session)) = known
        && let Ok(Ok(fetched)) = session.send(fetch(after)).await
    {
        return Ok(answer(text.clone(), None, true, after, fetched));
    }

    // One that is new here: it goes on with the one that was asked for, wherever that is.
    let point = sid.map(|sid| match sid.parse() {
        Ok(sid) => Point::Behind(sid, after),
        Err(_) => Point::Nowhere,
    });
    let (told, ready) = oneshot::channel();
    let mut newcomer = seat.newcomer(&caller, point)?;
    newcomer.told = Some(told);
    let bounds = Bounds::from(&worker.config.limits);
    let link = Link::new(Outbox::unconnected(bounds), Weak::<Connection>::new());
    let session = Session::open(worker.clone(), link, Transport::Poll, Some(newcomer));
    let over = || Problem::new(ErrorCode::Unavailable, "the session ended meanwhile");
    // A session that is not let in says nothing.
    let refused = "too many sessions of this user, or another instance of this device";
    let ready = ready
        .await
        .map_err(|_| Problem::new(ErrorCode::Conflict, refused))?;
    let fetched = if ready.resumed {
        let fetched = session.send(fetch(ready.n)).await;
        fetched.map_err(|_| over())?.map_err(|_| over())?
    } else {
        Fetched::default()
    };
    Ok(answer(ready.sid, ready.why, ready.resumed, ready.n, fetched))
}

/// How long to wait: what was asked for, within the node's bound, and not beyond the token.
fn patience(asked: Option<u64>, most: Duration, left: Option<Duration>) -> Duration {
    let wait = Duration::from_secs(asked.unwrap_or(WAIT)).min(most);
    left.map_or(wait, |left| wait.min(left))
}

fn answer(sid: String, why: Option<NotResumed>, resumed: bool, n: u64, fetched: Fetched) -> HttpResponse {
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
