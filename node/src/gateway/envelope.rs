//! What every HTTP request goes through: a request id, the rules for browsers of other origins, `HEAD`, and clients of HTTP/1.0. What is sent
//! is what it says it is, so browsers are told not to guess.

use actix_cors::Cors;
use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{ConnectionType, Method, Version};
use actix_web::middleware::Next;
use tracing::Instrument;

use crate::config::Server;

/// The header that carries the id of a request, both ways.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from the client.
const LONGEST: usize = 64;

/// Gives the request its id, the client's if it has one, and says how it ended.
pub(super) async fn identify<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let id = match request.headers().get(REQUEST_ID) {
        Some(id) if well_formed(id) => id.clone(),
        _ => HeaderValue::try_from(ulid::Ulid::new().to_string()).expect("a ULID is text"),
    };
    // What is asked about a resource that can be read needs no handler of its own; the body is left out when the
    // answer is written, by what the request line said.
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    let span = tracing::debug_span!("request", id = id.to_str().unwrap_or_default());
    async move {
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let version = request.version();
        let mut response = next.call(request).await?;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if version < Version::HTTP_11 && response.response().body().size() == BodySize::Stream {
            // HTTP/1.0 knows no chunks: such a body ends with the connection.
            let head = response.response_mut().head_mut();
            head.no_chunking(true);
            head.set_connection_type(ConnectionType::Close);
        }
        tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
        Ok(response)
    }
    .instrument(span)
    .await
}

/// Which pages of other origins may use the interface from a browser. Tokens travel in a header and never in cookies,
/// so an origin gains nothing that it doesn't hold already.
pub(super) fn cors(settings: &Server) -> Cors {
    let cors = Cors::default()
        .allow_any_method()
        .allow_any_header()
        .expose_headers(["ETag", "Location", "Retry-After", "X-Request-Id"])
        .max_age(3_600);
    if settings.allowed_origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin().send_wildcard();
    }
    let allowed = settings.allowed_origins.clone();
    cors.allowed_origin_fn(move |origin, _| {
        let known = |allowed: &String| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        allowed.iter().any(known)
    })
}

fn well_formed(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}
