//! API description: `/v1/openapi.json`, `/v1/asyncapi.json`, the documentation page and the fallback handler for
//! unknown paths. The texts are those of `description` and `docs_page`.

use std::fmt::Write as _;
use std::rc::Rc;

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, ResponseError, get, web};
use bytes::Bytes;
use protocol::ErrorCode;
use utoipa::openapi::OpenApi;
use utoipa_actix_web::service_config::ServiceConfig;

use super::description::{self, operations_mut};
use super::problem::Problem;
use super::rest::describe::{ApiTag, EntityTag, PublicErrors};
use super::{docs_page, etag, long_poll, operations, rest, sse, websocket};

/// Rendered descriptions, and the table of paths for `Allow` headers.
pub(super) struct Api {
    openapi: Document,
    asyncapi: Document,
    /// Segments and methods of each path; a segment of `None` is a path parameter.
    paths: Vec<(Vec<Option<String>>, Vec<&'static str>)>,
}

/// Immutable JSON document with its entity tag.
struct Document {
    text: Bytes,
    tag: String,
}

/// Registers every resource: those of clients and those of operators.
pub(super) fn routes(config: &mut ServiceConfig) {
    client_routes(config);
    operations::routes(config);
    rest::operator_routes(config);
}

/// Registers the resources of clients and the probes.
pub(super) fn client_routes(config: &mut ServiceConfig) {
    rest::errors(config);
    operations::probes(config);
    rest::routes(config);
    websocket::routes(config);
    sse::routes(config);
    long_poll::routes(config);
    config
        .service(openapi_document)
        .service(asyncapi_document)
        .service(browse);
}

/// Registers the resources of operators, the probes, and the description of both.
pub(super) fn operator_routes(config: &mut ServiceConfig) {
    rest::errors(config);
    operations::probes(config);
    operations::routes(config);
    rest::operator_routes(config);
    config.service(openapi_document);
}

// === impl Api, Document ===

impl Api {
    /// Renders the finished description and derives the table of allowed methods from it.
    pub(super) fn new(mut openapi: OpenApi) -> Api {
        let mut paths = Vec::new();
        for (path, item) in &mut openapi.paths.paths {
            let segments = path
                .split('/')
                .map(|segment| (!segment.starts_with('{')).then(|| segment.to_owned()));
            let mut methods: Vec<_> = operations_mut(item)
                .into_iter()
                .map(|(method, _)| method)
                .collect();
            // The `identify` middleware serves `HEAD` by the handler of `GET`.
            if methods.contains(&"GET") {
                methods.push("HEAD");
            }
            paths.push((segments.collect(), methods));
        }
        Api {
            openapi: Document::new(description::finished(openapi).to_string()),
            asyncapi: Document::new(description::asyncapi_description().to_string()),
            paths,
        }
    }

    /// Returns the methods of a path for the `Allow` header, or `None` for an unknown path.
    fn allowed(&self, path: &str) -> Option<String> {
        let fits = |segments: &[Option<String>]| {
            let mut wanted = path.split('/');
            let fit = segments.iter().all(|segment| match (segment, wanted.next()) {
                (Some(segment), Some(wanted)) => segment == wanted,
                (None, Some(wanted)) => !wanted.is_empty(),
                (_, None) => false,
            });
            fit && wanted.next().is_none()
        };
        let found = self.paths.iter().filter(|(segments, _)| fits(segments));
        let mut allow = String::new();
        for method in found.flat_map(|(_, methods)| methods) {
            let comma = if allow.is_empty() { "" } else { ", " };
            let _infallible = write!(allow, "{comma}{method}");
        }
        if !allow.is_empty() {
            allow.push_str(", OPTIONS");
        }
        (!allow.is_empty()).then_some(allow)
    }
}

impl Document {
    fn new(text: String) -> Document {
        let tag = etag::tag(text.as_bytes());
        let text = Bytes::from(text);
        Document { text, tag }
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let (mut response, known) = etag::begin(request, &self.tag);
        response
            // Clients revalidate on each use: an upgraded node serves another description under the same path.
            .insert_header((CACHE_CONTROL, "no-cache"));
        if known {
            return response.finish();
        }
        response
            .insert_header((CONTENT_TYPE, "application/json"))
            .body(self.text.clone())
    }
}

/// Returns the OpenAPI description of the REST interface.
#[utoipa::path(tag = ApiTag::OPERATION, security(()), params(EntityTag), responses(
    (status = 200, description = "The OpenAPI 3.1 document of the REST API.", body = Object, content_type = "application/json",
        headers(("ETag" = String, description = "The entity tag of this response."))),
    (status = 304, description = "The response did not change: If-None-Match contains its entity tag."),
    PublicErrors
))]
#[get("/v1/openapi.json")]
async fn openapi_document(request: HttpRequest, api: web::Data<Rc<Api>>) -> HttpResponse {
    api.openapi.answer(&request)
}

/// Returns the AsyncAPI description of the WebSocket messages.
#[utoipa::path(tag = ApiTag::OPERATION, security(()), params(EntityTag), responses(
    (status = 200, description = "The AsyncAPI 3.0 document of the WebSocket protocol.", body = Object, content_type = "application/json",
        headers(("ETag" = String, description = "The entity tag of this response."))),
    (status = 304, description = "The response did not change: If-None-Match contains its entity tag."),
    PublicErrors
))]
#[get("/v1/asyncapi.json")]
async fn asyncapi_document(request: HttpRequest, api: web::Data<Rc<Api>>) -> HttpResponse {
    api.asyncapi.answer(&request)
}

/// Shows an HTML page for browsing both descriptions.
#[utoipa::path(tag = ApiTag::OPERATION, security(()), responses(
    (status = 200, description = "The API reference as an HTML page.", body = String, content_type = "text/html"),
    PublicErrors
))]
#[get("/v1/docs")]
async fn browse() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        // The page has inline scripts and styles. Everything else is blocked, so injected text cannot load or send data
        // elsewhere, and no other page can show this one around a token.
        .insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
             base-uri 'none'; frame-ancestors 'none'",
        ))
        .body(docs_page::text())
}

/// Fallback handler: answers `OPTIONS` of a known path, 405 for a method that the path lacks, 404 for an unknown path.
pub(super) async fn unknown(request: HttpRequest, api: web::Data<Rc<Api>>) -> HttpResponse {
    match api.allowed(request.path()) {
        Some(allow) if request.method() == Method::OPTIONS => {
            return HttpResponse::NoContent().insert_header((ALLOW, allow)).finish();
        }
        Some(allow) => Problem::method_not_allowed(allow),
        None => Problem::new(ErrorCode::NotFound, "this path does not exist"),
    }
    .error_response()
}
