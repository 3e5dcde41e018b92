//! Middleware for every HTTP request: request id, CORS, `HEAD`, HTTP/1.0 responses and `nosniff`.

use std::rc::Rc;

use actix_cors::Cors;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{ConnectionType, Method, Version};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use tracing::Instrument;

use crate::config::ServerConfig;
use crate::session::WorkerContext;
use crate::telemetry::metrics::HttpLabels;

/// Header with the id of a request, in requests and responses.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Paths that no page of another origin may use.
const NO_CORS: [&str; 2] = ["/v1/server/", "/v1/admin/"];

/// Maximum length in bytes of a request id taken from the client.
const LONGEST: usize = 64;

/// Assigns the request id, the client's own if it is well-formed, excludes paths from CORS, and logs the response status.
pub(super) async fn identify<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    // An unchecked id would let clients write arbitrary text into the log.
    let id = match request.headers().get(REQUEST_ID) {
        Some(id) if well_formed(id) => id.clone(),
        _ => HeaderValue::try_from(ulid::Ulid::generate().to_string()).expect("a ULID is text"),
    };
    // Handlers exist for `GET` only. The HTTP encoder omits the body by the method of the request line.
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    // API keys and admin tokens do not belong into browsers: without `Origin` the CORS layer answers nothing.
    if NO_CORS.iter().any(|path| request.path().starts_with(path)) {
        request.headers_mut().remove(ORIGIN);
        request.headers_mut().remove(ACCESS_CONTROL_REQUEST_METHOD);
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
            // HTTP/1.0 has no chunked encoding: the end of the connection delimits such a body.
            let head = response.response_mut().head_mut();
            head.no_chunking(true);
            head.set_connection_type(ConnectionType::Close);
        }
        count(&response);
        tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
        Ok(response)
    }
    .instrument(span)
    .await
}

/// Counts an answered request by its route.
fn count<B>(response: &ServiceResponse<B>) {
    let request = response.request();
    if let Some(worker) = request.app_data::<web::Data<Rc<WorkerContext>>>() {
        let labels = HttpLabels {
            route: request.match_pattern().unwrap_or_default(),
            status: response.status().as_u16(),
        };
        worker.metrics.http_requests.get_or_create(&labels).inc();
    }
}

/// Builds the CORS rules. Tokens travel in a header and never in cookies, so an allowed origin gains no access by
/// itself.
pub(super) fn cors(settings: &ServerConfig) -> Cors {
    let cors = Cors::default()
        .allow_any_method()
        .allow_any_header()
        // Browsers hide all other response headers from scripts.
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
