//! What a request says: its JSON body, read within a bound of size and time, and its idempotency key.
//!
//! [`Input`] is a body that must be there, [`Optional`] one that may be missing. Both may carry the key.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest};
use bytes::BytesMut;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use protocol::{Cid, ErrorCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::gateway::problem::Problem;
use crate::session::Worker;

/// A JSON body, and what of the request may name the idempotency key.
pub(super) struct Input<T> {
    /// The fields.
    pub(super) fields: T,
    cid: Option<Cid>,
}

/// A JSON body that may be missing, and the idempotency key of the request, which has one.
pub(super) struct Optional<T> {
    /// The fields; as by default if there is no body.
    pub(super) fields: T,
    /// The idempotency key.
    pub(super) cid: Cid,
}

/// A body of which only the key counts.
#[derive(Default, Deserialize)]
pub(super) struct Nothing {}

/// Every body may carry the key.
#[derive(Deserialize)]
struct Keyed {
    #[serde(default)]
    cid: Option<Cid>,
}

// === impl Input, Optional ===

impl<T> Input<T> {
    /// The idempotency key: of the header, else of the body.
    pub(super) fn cid(&self) -> Result<Cid, Problem> {
        self.cid.clone().ok_or_else(no_key)
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Input<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Input<T>, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let key = header(&request)?;
            is_json(&request)?;
            let text = text(&request, payload).await?;
            let (fields, cid) = read(&text, key)?;
            Ok(Input { fields, cid })
        })
    }
}

impl<T: DeserializeOwned + Default + 'static> FromRequest for Optional<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Optional<T>, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let key = header(&request)?;
            let text = text(&request, payload).await?;
            let (fields, cid) = if text.is_empty() {
                (T::default(), key)
            } else {
                is_json(&request)?;
                let (fields, cid) = read::<Option<T>>(&text, key)?;
                (fields.unwrap_or_default(), cid)
            };
            let cid = cid.ok_or_else(no_key)?;
            Ok(Optional { fields, cid })
        })
    }
}

/// The fields, and the key: of the header, else of the body.
fn read<T: DeserializeOwned>(text: &str, key: Option<Cid>) -> Result<(T, Option<Cid>), Problem> {
    // What reads fields would take them from a list too, by their order.
    if text.trim_start().starts_with('[') {
        return Err(Problem::bad(
            "the body is not as described: it must be an object, at line 1 column 1",
        ));
    }
    let fields = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    if key.is_some() {
        return Ok((fields, key));
    }
    let keyed: Option<Keyed> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    Ok((fields, keyed.and_then(|keyed| keyed.cid)))
}

fn header(request: &HttpRequest) -> Result<Option<Cid>, Problem> {
    let Some(value) = request.headers().get("Idempotency-Key") else {
        return Ok(None);
    };
    let text =
        std::str::from_utf8(value.as_bytes()).map_err(|_| Problem::bad("Idempotency-Key must be UTF-8"))?;
    Ok(Some(Cid::parse(text)?))
}

fn no_key() -> Problem {
    Problem::bad("give the request an idempotency key: the header Idempotency-Key, or cid in the body")
}

fn is_json(request: &HttpRequest) -> Result<(), Problem> {
    let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.to_str());
    let essence = match kind {
        Some(Ok(kind)) => kind.split(';').next().unwrap_or_default().trim(),
        _ => "",
    };
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let msg = "the body must be JSON: Content-Type: application/json";
    Err(Problem::bad(msg).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// The whole body, within the bounds of the node.
async fn text(request: &HttpRequest, mut payload: Payload) -> Result<String, Problem> {
    let worker = request
        .app_data::<actix_web::web::Data<std::rc::Rc<Worker>>>()
        .ok_or_else(|| Problem::new(ErrorCode::Internal, "the gateway is not set up"))?;
    let most = worker.config.limits.max_frame_bytes;
    let too_large = || Problem::new(ErrorCode::TooLarge, format!("the body is over {most} bytes"));
    let declared = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let all = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::bad(format!("the body can't be read: {error}")))?;
            if body.len() + chunk.len() > most {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    let patience: Duration = worker.config.server.request_timeout_ms.duration();
    let body = tokio::time::timeout(patience, all)
        .await
        .map_err(|_| Problem::bad("the body took too long").with_status(StatusCode::REQUEST_TIMEOUT))??;
    let text = String::from_utf8(body.to_vec()).map_err(|_| Problem::bad("the body must be UTF-8"))?;
    protocol::text::scan(&text).map_err(|flaw| Problem::bad(flaw.to_string()))?;
    Ok(text)
}

/// `error` says the line and the column.
fn malformed(error: &serde_json::Error) -> Problem {
    Problem::bad(format!("the body is not as described: {error}"))
}
