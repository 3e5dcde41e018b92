//! The interface described by itself: `/v1/openapi.json`, `/v1/asyncapi.json`, a page to browse both, and what an unknown
//! path is told.

use std::fmt::Write as _;
use std::rc::Rc;

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use actix_web::{HttpRequest, HttpResponse, ResponseError, get, web};
use bytes::Bytes;
use protocol::ErrorCode;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::problem::Problem;
use super::rest::describe::{Known, Tag};
use super::{asyncapi, etag, operations, poll, rest, sse, websocket};

/// The page that shows the description. It loads nothing from elsewhere.
const PAGE: &str = include_str!("api.html");

/// What is described, ready to be served.
pub(super) struct Api {
    openapi: Document,
    asyncapi: Document,
    /// Per path: its segments (`None` is any) and its methods.
    paths: Vec<(Vec<Option<String>>, Vec<&'static str>)>,
}

/// A text that stays the same while the process lives, and its entity tag.
struct Document {
    text: Bytes,
    tag: String,
}

/// Adds every resource of the gateway.
pub(super) fn routes(config: &mut ServiceConfig) {
    operations::routes(config);
    rest::routes(config);
    websocket::routes(config);
    sse::routes(config);
    poll::routes(config);
    config
        .service(openapi_document)
        .service(asyncapi_document)
        .service(browse);
}

/// The description without the operations.
pub(super) fn outline() -> OpenApi {
    let bearer = SecurityScheme::Http(
        Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The token of a user; in development also dev:<user>."))
            .build(),
    );
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", bearer)
        .schemas_from_iter(schemas)
        .build();
    let info = InfoBuilder::new()
        .title("Rookery")
        .version(concat!("1 (server ", env!("CARGO_PKG_VERSION"), ")"))
        .description(Some(
            "The REST interface of a Rookery node. Every node serves every conversation, with the same ids. \
             What a WebSocket says is described by /v1/asyncapi.json.",
        ))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .build();
    let tags = Tag::ALL.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new("bearer", Vec::<String>::new())]))
        .tags(Some(tags))
        .build()
}

// === impl Api, Document ===

impl Api {
    /// Takes the finished description.
    pub(super) fn new(mut openapi: OpenApi) -> Api {
        for item in openapi.paths.paths.values_mut() {
            for (_, operation) in operations_mut(item) {
                if let Some(tags) = &mut operation.tags {
                    tags.dedup();
                }
            }
        }
        let mut paths = Vec::new();
        for (path, item) in &mut openapi.paths.paths {
            let segments = path
                .split('/')
                .map(|segment| (!segment.starts_with('{')).then(|| segment.to_owned()));
            let mut methods: Vec<_> = operations_mut(item)
                .into_iter()
                .map(|(method, _)| method)
                .collect();
            if methods.contains(&"GET") {
                methods.push("HEAD");
            }
            paths.push((segments.collect(), methods));
        }
        let mut openapi = serde_json::to_value(&openapi).expect("a description always serialises");
        unsigned(&mut openapi);
        let mut asyncapi = asyncapi::describe();
        unsigned(&mut asyncapi);
        Api {
            openapi: Document::new(openapi.to_string()),
            asyncapi: Document::new(asyncapi.to_string()),
            paths,
        }
    }

    /// The methods that a path has, for `Allow`; `None` for a path that isn't there.
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
        let known = etag::is_known(request, &self.tag);
        let mut response = if known {
            HttpResponse::NotModified()
        } else {
            HttpResponse::Ok()
        };
        response
            .insert_header((CACHE_CONTROL, "no-cache"))
            .insert_header((ETAG, self.tag.as_str()));
        if known {
            return response.finish();
        }
        response
            .insert_header((CONTENT_TYPE, "application/json"))
            .body(self.text.clone())
    }
}

/// This description.
#[utoipa::path(tag = Tag::OPERATION, security(()), params(Known), responses(
    (status = 200, description = "OpenAPI 3.1.", body = Object, content_type = "application/json",
        headers(("ETag" = String, description = "Of exactly this answer."))),
    (status = 304, description = "The client has it: If-None-Match names its entity tag.")
))]
#[get("/v1/openapi.json")]
async fn openapi_document(request: HttpRequest, api: web::Data<Rc<Api>>) -> HttpResponse {
    api.openapi.answer(&request)
}

/// The description of what is said over a WebSocket.
#[utoipa::path(tag = Tag::OPERATION, security(()), params(Known), responses(
    (status = 200, description = "AsyncAPI 3.0.", body = Object, content_type = "application/json",
        headers(("ETag" = String, description = "Of exactly this answer."))),
    (status = 304, description = "The client has it: If-None-Match names its entity tag.")
))]
#[get("/v1/asyncapi.json")]
async fn asyncapi_document(request: HttpRequest, api: web::Data<Rc<Api>>) -> HttpResponse {
    api.asyncapi.answer(&request)
}

/// A page that shows this description and that of the WebSocket.
#[utoipa::path(tag = Tag::OPERATION, security(()), responses(
    (status = 200, description = "HTML.", body = String, content_type = "text/html")
))]
#[get("/v1/docs")]
async fn browse() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'",
        ))
        .body(PAGE)
}

/// Everything else: what is asked about a path, a method that the path doesn't have, or a path that isn't there.
pub(super) async fn unknown(request: HttpRequest, api: web::Data<Rc<Api>>) -> HttpResponse {
    match api.allowed(request.path()) {
        Some(allow) if request.method() == Method::OPTIONS => {
            return HttpResponse::NoContent().insert_header((ALLOW, allow)).finish();
        }
        Some(allow) => Problem::method_not_allowed(allow),
        None => Problem::new(ErrorCode::NotFound, "there is nothing here"),
    }
    .error_response()
}

/// Says of numbers of 64 bits without a sign that they are such: they are derived as `int64` from zero, which would
/// forbid the upper half.
fn unsigned(description: &mut Value) {
    match description {
        Value::Object(fields) => {
            let from_zero = fields.get("minimum").and_then(Value::as_u64) == Some(0);
            if from_zero && fields.get("format").is_some_and(|format| format == "int64") {
                fields.insert("format".to_owned(), "uint64".into());
            }
            fields.values_mut().for_each(unsigned);
        }
        Value::Array(items) => items.iter_mut().for_each(unsigned),
        _ => {}
    }
}

fn operations_mut(item: &mut PathItem) -> Vec<(&'static str, &mut Operation)> {
    let all = [
        ("GET", &mut item.get),
        ("HEAD", &mut item.head),
        ("POST", &mut item.post),
        ("PUT", &mut item.put),
        ("PATCH", &mut item.patch),
        ("DELETE", &mut item.delete),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
        .collect()
}
