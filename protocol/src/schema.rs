//! JSON schemas of the protocol, generated from its types: the source of the node's OpenAPI and AsyncAPI documents.
//!
//! Types with plain fields derive their schemas. This module holds those of the types that check their own text, and of
//! the durable events. No other module imports it.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::event::Event;
use crate::ids::{ClientMessageId, ConversationId, MAX_ID_BYTES, UserId};
use crate::payload::{Body, CustomData, EncodedEvent};
pub use crate::shape::{Schemas, Shape};

// === schemas of ids ===

macro_rules! id {
    ($id:ident, $about:literal, $pattern:expr, $example:literal) => {
        impl PartialSchema for $id {
            fn schema() -> RefOr<Schema> {
                let pattern: Option<&str> = $pattern;
                let text = ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($about))
                    .pattern(pattern)
                    .min_length(Some(1))
                    .max_length(Some(MAX_ID_BYTES))
                    .examples([$example]);
                RefOr::T(Schema::Object(text.build()))
            }
        }

        impl ToSchema for $id {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($id))
            }
        }
    };
}

id!(UserId, "The id of a user.", Some("^[A-Za-z0-9_.@+-]+$"), "alice");
id!(
    ConversationId,
    "The id of a conversation.",
    Some("^[A-Za-z0-9_-]+$"),
    "g_01ARZ3NDEKTSV4RRFFQ69G5FAV"
);
id!(
    ClientMessageId,
    "The idempotency key of a command, chosen by the client: 1 to 64 bytes of UTF-8.",
    None,
    "01ARZ3NDEKTSV4RRFFQ69G5FAV"
);

// === schemas of Body, CustomData and EncodedEvent ===

impl PartialSchema for Body {
    fn schema() -> RefOr<Schema> {
        let body = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "The body of a message: any JSON object of at most 16 KiB, delivered verbatim.",
            ))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .examples([serde_json::json!({ "text": "hi" })]);
        RefOr::T(Schema::Object(body.build()))
    }
}

impl ToSchema for Body {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Body")
    }
}

impl PartialSchema for CustomData {
    fn schema() -> RefOr<Schema> {
        let data = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "Custom data of the application: any JSON object of at most 4 KiB, kept verbatim.",
            ))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .examples([serde_json::json!({ "team": "red" })]);
        RefOr::T(Schema::Object(data.build()))
    }
}

impl ToSchema for CustomData {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("CustomData")
    }
}

impl PartialSchema for EncodedEvent {
    fn schema() -> RefOr<Schema> {
        let mut one = OneOfBuilder::new()
            .description(Some("A durable event of a conversation's log; `t` is its type."));
        for shape in Event::durable_shapes() {
            one = one.item(Schema::AllOf(shape.tagged()));
        }
        RefOr::T(Schema::OneOf(one.build()))
    }
}

impl ToSchema for EncodedEvent {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Event")
    }

    fn schemas(schemas: &mut Schemas) {
        // The variants are inlined above, so their own schemas must be registered too, or the references would dangle.
        let shapes = Event::durable_shapes().into_iter();
        schemas.extend(shapes.flat_map(|shape| shape.schemas));
    }
}
