//! Extractors of JSON bodies with bounds on size and time, and of the idempotency key.
//!
//! [`Input`] is a required body, [`Optional`] one that may be missing. The key is in the header or in the body.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest};
use bytes::BytesMut;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use protocol::{ClientMessageId, ErrorCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::gateway::problem::Problem;
use crate::session::WorkerContext;

/// Required JSON body, and the idempotency key if there is one.
pub(super) struct Input<T> {
    pub(super) fields: T,
    cid: Option<ClientMessageId>,
}

/// Optional JSON body, and the required idempotency key.
pub(super) struct Optional<T> {
    /// Fields of the body, or their defaults without a body.
    pub(super) fields: T,
    pub(super) cid: ClientMessageId,
}

/// Body without fields of its own; it may carry the idempotency key.
#[derive(Default, Deserialize)]
pub(super) struct Nothing {}

/// The key field that every body may have.
#[derive(Deserialize)]
struct Keyed {
    #[serde(default)]
    cid: Option<ClientMessageId>,
}

// === impl Input, Optional ===

impl<T> Input<T> {
    /// Returns the idempotency key; the header has precedence over the body.
    pub(super) fn cid(&self) -> Result<ClientMessageId, Problem> {
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
            // Refused before the body is read.
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
            // An empty body needs no content type.
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

/// Parses the fields and the key; the header has precedence over the body.
fn read<T: DeserializeOwned>(
    text: &str,
    key: Option<ClientMessageId>,
) -> Result<(T, Option<ClientMessageId>), Problem> {
    // Derived deserializers also accept a list of values in the order of the fields, which is not part of the API.
    if text.trim_start().starts_with('[') {
        return Err(Problem::bad(
            "the body does not match its schema: it must be an object, at line 1 column 1",
        ));
    }
    let fields = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    if key.is_some() {
        return Ok((fields, key));
    }
    // Parsed a second time for the key, so that the types of the fields need not declare it.
    let keyed: Option<Keyed> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    Ok((fields, keyed.and_then(|keyed| keyed.cid)))
}

fn header(request: &HttpRequest) -> Result<Option<ClientMessageId>, Problem> {
    let Some(value) = request.headers().get("Idempotency-Key") else {
        return Ok(None);
    };
    let text =
        std::str::from_utf8(value.as_bytes()).map_err(|_| Problem::bad("Idempotency-Key must be UTF-8"))?;
    Ok(Some(ClientMessageId::parse(text)?))
}

fn no_key() -> Problem {
    Problem::bad("the request needs an idempotency key: the header Idempotency-Key, or cid in the body")
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

/// Reads the whole body within the size and time limits, and checks that it is JSON text the server accepts.
async fn text(request: &HttpRequest, mut payload: Payload) -> Result<String, Problem> {
    let worker = request
        .app_data::<actix_web::web::Data<std::rc::Rc<WorkerContext>>>()
        .ok_or_else(|| Problem::new(ErrorCode::Internal, "the request has no gateway context"))?;
    let most = worker.config.max_frame();
    let too_large = || Problem::new(ErrorCode::TooLarge, format!("the body exceeds {most} bytes"));
    let declared = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // Refused by its declared length, so that no bytes of it are buffered.
    if declared.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let all = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::bad(format!("the body cannot be read: {error}")))?;
            // A chunked body declares no length, so the bound is also checked while reading.
            if body.len() + chunk.len() > most {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    // Bounds a client that sends its body byte by byte.
    let patience: Duration = worker.config.tuning.request_timeout.0;
    let body = tokio::time::timeout(patience, all).await.map_err(|_| {
        Problem::bad("the body did not arrive in time").with_status(StatusCode::REQUEST_TIMEOUT)
    })??;
    let text = String::from_utf8(body.to_vec()).map_err(|_| Problem::bad("the body must be UTF-8"))?;
    // Checked before the parser runs: deep nesting and long numbers are valid JSON, but costly or lossy to parse.
    protocol::text::scan(&text).map_err(|flaw| Problem::bad(flaw.to_string()))?;
    Ok(text)
}

/// Converts a parse error; its text contains the line and column.
fn malformed(error: &serde_json::Error) -> Problem {
    Problem::bad(format!("the body does not match its schema: {error}"))
}
