//! JSON schemas of what is said, from the types themselves: the source of the node's OpenAPI and AsyncAPI documents.
//!
//! Types of plain fields derive theirs; here are the ones that check their own text, and the lists of shapes.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, AllOf, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::body::{Body, RawEvent};
use crate::event;
use crate::ids::{Cid, ConvId, MAX_ID_BYTES, UserId};

/// Schemas by name.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A shape of the wire: its `t` and the schema of its fields.
#[derive(Clone)]
pub struct Shape {
    /// The `t`.
    pub tag: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// The name of the schema of its fields.
    pub name: Cow<'static, str>,
    /// The schema of its fields and all that it refers to, by name.
    pub schemas: Schemas,
}

/// What each command is answered, by their `t`: nothing for the one that has no answer. Any may be answered `err` instead.
pub const ANSWERS: [(&str, Option<&str>); 28] = [
    ("auth", Some("ready")),
    ("send", Some("ack")),
    ("edit", Some("ack")),
    ("del", Some("ack")),
    ("react", Some("ack")),
    ("create", Some("conv")),
    ("invite", Some("ack")),
    ("kick", Some("ack")),
    ("ban", Some("ack")),
    ("unban", Some("ack")),
    ("role", Some("ack")),
    ("join", Some("ack")),
    ("leave", Some("ack")),
    ("set", Some("ack")),
    ("read", Some("ok")),
    ("recv", Some("ok")),
    ("open", Some("conv")),
    ("list", Some("inbox")),
    ("hist", Some("hist")),
    ("sync", Some("delta")),
    ("members", Some("members")),
    ("typing", None),
    ("watch", Some("ok")),
    ("unwatch", Some("ok")),
    ("block", Some("ok")),
    ("unblock", Some("ok")),
    ("me", Some("me")),
    ("hb", Some("hb")),
];

// === impl Shape ===

impl Shape {
    pub(crate) fn of<T: ToSchema>(tag: &'static str, about: &'static str) -> Shape {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        Shape {
            tag,
            about: about.trim(),
            name: T::name(),
            schemas,
        }
    }

    /// Returns the schema of the whole object: `t` and the fields.
    pub fn tagged(&self) -> AllOf {
        let tag = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some([self.tag]));
        let mut all = AllOf::new();
        all.description = Some(self.about.to_owned());
        all.items.push(RefOr::T(Schema::Object(
            ObjectBuilder::new().property("t", tag).required("t").build(),
        )));
        all.items
            .push(RefOr::Ref(Ref::from_schema_name(self.name.as_ref())));
        all
    }
}

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

id!(UserId, "A user.", Some("^[A-Za-z0-9_.@+-]+$"), "alice");
id!(
    ConvId,
    "A conversation.",
    Some("^[A-Za-z0-9_-]+$"),
    "g_01ARZ3NDEKTSV4RRFFQ69G5FAV"
);
id!(
    Cid,
    "An idempotency key, chosen by the client: 1 to 64 bytes of UTF-8.",
    None,
    "01ARZ3NDEKTSV4RRFFQ69G5FAV"
);

// === schemas of Body and RawEvent ===

impl PartialSchema for Body {
    fn schema() -> RefOr<Schema> {
        let body = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "A message: any JSON object of at most 16 KiB, passed on verbatim.",
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

impl PartialSchema for RawEvent {
    fn schema() -> RefOr<Schema> {
        let mut one = OneOfBuilder::new().description(Some("An event with a place in the log, by its `t`."));
        for shape in durable() {
            one = one.item(Schema::AllOf(shape.tagged()));
        }
        RefOr::T(Schema::OneOf(one.build()))
    }
}

impl ToSchema for RawEvent {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Event")
    }

    fn schemas(schemas: &mut Schemas) {
        schemas.extend(durable().into_iter().flat_map(|shape| shape.schemas));
    }
}

/// The events that have a place in the log.
fn durable() -> [Shape; 6] {
    [
        Shape::of::<event::Msg>("msg", "A message."),
        Shape::of::<event::Edit>("edit", "The body of a message changed."),
        Shape::of::<event::Del>("del", "A message was deleted."),
        Shape::of::<event::React>("react", "A reaction was set or taken back."),
        Shape::of::<event::Meta>("meta", "The title or a setting changed."),
        Shape::of::<event::Member>("member", "A membership changed."),
    ]
}
