//! Frame codec. `t` selects the shape, so a frame is parsed twice: once for its head and once for the fields of its
//! shape.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOf, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};

/// Fields that every frame may carry besides those of its shape. They stay raw, so that an ill-typed `t` does not hide
/// the `id`.
#[derive(Deserialize)]
struct RawHead<'a> {
    #[serde(borrow)]
    t: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    n: Option<&'a RawValue>,
}

/// Head of a frame: `t`, `id` and `n`, each if it is present and well-typed.
pub(crate) struct FrameHead<'a> {
    pub(crate) t: Option<Cow<'a, str>>,
    pub(crate) id: Result<Option<i64>, &'static str>,
    pub(crate) n: Option<u64>,
}

/// Fields of a shape, decoded from and encoded as one JSON object.
pub(crate) trait Fields: Sized {
    fn read(text: &str) -> Result<Self, serde_json::Error>;
    fn write(&self) -> String;
}

/// Schemas with their names, in the order of registration.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A shape of the wire: its `t` and the schema of its fields.
#[derive(Clone)]
pub struct Shape {
    /// Value of `t` that selects the shape.
    pub tag: &'static str,
    /// Purpose of the shape, in one sentence.
    pub about: &'static str,
    /// Name of the schema of its fields.
    pub name: Cow<'static, str>,
    /// The schema of its fields and every schema that it refers to, by name.
    pub schemas: Schemas,
}

// === impl FrameHead, Fields ===

impl<'a> FrameHead<'a> {
    pub(crate) fn read(text: &'a str) -> Result<FrameHead<'a>, serde_json::Error> {
        let raw: RawHead<'a> = serde_json::from_str(text)?;
        Ok(FrameHead {
            t: raw.t.and_then(|t| text_of(t.get())),
            id: match raw.id {
                // Only `id` reports its error: the client matches its response by it, so ignoring a malformed one would
                // lose the response.
                None => Ok(None),
                Some(id) => serde_json::from_str(id.get()).map_err(|_| "id must be a 64-bit integer"),
            },
            n: raw.n.and_then(|n| serde_json::from_str(n.get()).ok()),
        })
    }
}

fn text_of(json: &str) -> Option<Cow<'_, str>> {
    // `Cow` borrows the usual `t` and allocates only if it contains an escape.
    #[derive(Deserialize)]
    struct FrameText<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<FrameText<'_>>(json)
        .ok()
        .map(|FrameText(text)| text)
}

impl<T: Serialize + DeserializeOwned> Fields for T {
    fn read(text: &str) -> Result<T, serde_json::Error> {
        serde_json::from_str(text)
    }

    fn write(&self) -> String {
        // The shapes of this crate have string keys and no field whose serialisation can fail.
        serde_json::to_string(self).expect("a wire shape always serialises")
    }
}

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
        // `allOf` with a reference, not a copy: the fields of a shape keep one schema, which generated clients can
        // share.
        all.description = Some(self.about.to_owned());
        all.items.push(RefOr::T(Schema::Object(
            ObjectBuilder::new().property("t", tag).required("t").build(),
        )));
        all.items
            .push(RefOr::Ref(Ref::from_schema_name(self.name.as_ref())));
        all
    }
}

/// Returns the frame `{"t":<tag>,"id":<id>,<fields>}`.
pub(crate) fn splice(tag: &str, id: Option<i64>, fields: &str) -> String {
    let mut text = String::with_capacity(fields.len() + tag.len() + 32);
    text.push_str("{\"t\":\"");
    text.push_str(tag);
    text.push('"');
    if let Some(id) = id {
        text.push_str(",\"id\":");
        text.push_str(&id.to_string());
    }
    // `fields` keeps its closing brace; without fields only that brace follows, and a comma would break the JSON.
    if fields != "{}" {
        text.push(',');
    }
    text.push_str(&fields[1..]);
    text
}

/// Declares an enum of shapes with the `t` of each. A new shape is added only there. Each variant has exactly one line
/// of docs, which becomes its summary in AsyncAPI.
macro_rules! shapes {
    ($(#[$doc:meta])* pub enum $name:ident { $(#[doc = $about:literal] $variant:ident($fields:ty) = $tag:literal,)* }) => {
        $(#[$doc])*
        pub enum $name { $(#[doc = $about] $variant($fields),)* }

        impl $name {
            /// Returns the `t` of the shape.
            pub fn tag(&self) -> &'static str {
                match self { $($name::$variant(_) => $tag,)* }
            }

            /// Returns the schemas of all shapes.
            pub fn shapes() -> Vec<$crate::codec::Shape> {
                vec![$($crate::codec::Shape::of::<$fields>($tag, $about),)*]
            }

            /// Encodes the fields as a JSON object, without `t`.
            fn fields(&self) -> String {
                match self { $($name::$variant(fields) => $crate::codec::Fields::write(fields),)* }
            }

            /// Decodes the fields of the shape named `tag`; `None` if there is no such shape.
            fn read(tag: &str, text: &str) -> Option<Result<$name, serde_json::Error>> {
                match tag {
                    $($tag => Some(<$fields as $crate::codec::Fields>::read(text).map($name::$variant)),)*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use shapes;
