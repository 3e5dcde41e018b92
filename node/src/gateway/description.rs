//! Descriptions of the interface: OpenAPI, collected from the handlers, and AsyncAPI, from the wire types. A node serves
//! them, and `rookery schema` prints them without a node.

use actix_web::App;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, SecurityRequirement,
    ServerBuilder,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_actix_web::AppExt;

use super::problem::Problem;
use super::rest::describe::ApiTag;
use super::{api, asyncapi, examples};

/// Licence of the program, an SPDX expression.
const LICENSE: &str = "MIT OR Apache-2.0";

/// Returns the OpenAPI description, which is the one that a node of this build serves.
#[must_use]
pub fn openapi_description() -> Value {
    let app = App::new().into_utoipa_app().openapi(outline());
    let (_, collected) = app.configure(api::routes).split_for_parts();
    finished(collected)
}

/// Returns the AsyncAPI description.
#[must_use]
pub fn asyncapi_description() -> Value {
    let mut description = asyncapi::describe();
    unsigned(&mut description);
    description
}

/// Returns the OpenAPI description without its operations, which `utoipa` collects from the handlers.
pub(super) fn outline() -> OpenApi {
    let bearer = SecurityScheme::Http(
        Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "Access token of a user; with auth.dev_tokens also dev:<user>.",
            ))
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
        .license(Some(
            LicenseBuilder::new()
                .name(LICENSE)
                .identifier(Some(LICENSE))
                .build(),
        ))
        .build();
    let server = ServerBuilder::new()
        .url("/")
        .description(Some(
            "The node that serves this document; any other node of the cluster does as well.",
        ))
        .build();
    let tags = ApiTag::ALL.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([server]))
        .components(Some(components))
        .security(Some([SecurityRequirement::new("bearer", Vec::<String>::new())]))
        .tags(Some(tags))
        .build()
}

/// Completes the collected OpenAPI description: one tag for each operation, formats of numbers, examples.
pub(super) fn finished(mut collected: OpenApi) -> Value {
    for item in collected.paths.paths.values_mut() {
        for (_, operation) in operations_mut(item) {
            if let Some(tags) = &mut operation.tags {
                tags.dedup();
            }
        }
    }
    let mut description = serde_json::to_value(&collected).expect("a description always serialises");
    unsigned(&mut description);
    examples::add(&mut description);
    description
}

/// Returns the operations of a path with their methods.
pub(super) fn operations_mut(item: &mut PathItem) -> Vec<(&'static str, &mut Operation)> {
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

/// Changes the format of unsigned 64-bit integers to `uint64`. The derived `int64` with a minimum of zero would forbid
/// the upper half of the range.
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
