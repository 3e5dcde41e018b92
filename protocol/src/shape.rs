//! Shapes: the `t` of a frame and the fields that belong to it, with an example.
//!
//! The file of a command group implements the traits for its requests, responses and events. The macros declare the
//! enums from them, so that what a shape must have is asked for by the compiler.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOf, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};

use crate::check::Rejection;
use crate::codec::splice;
use crate::cost::CommandCost;
use crate::ids::ConversationId;

/// Schemas with their names, in the order of registration.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A shape of the wire: its `t`, the schema of its fields, and an example.
#[derive(Clone)]
pub struct Shape {
    /// Value of `t` that selects the shape.
    pub tag: &'static str,
    /// Purpose of the shape, in one sentence.
    pub about: &'static str,
    /// An example of its fields, a JSON object.
    pub example: &'static str,
    /// Name of the schema of its fields.
    pub name: Cow<'static, str>,
    /// The schema of its fields and every schema that it refers to, by name.
    pub schemas: Schemas,
}

/// Fields of a shape, decoded from and encoded as one JSON object.
pub(crate) trait ShapeFields: Serialize + DeserializeOwned + ToSchema {
    /// An example of the fields: a JSON object, byte for byte as it is encoded.
    const EXAMPLE: &'static str;

    fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    fn write(&self) -> String {
        // The shapes of this crate have string keys and no field whose serialisation can fail.
        serde_json::to_string(self).expect("a wire shape always serialises")
    }
}

/// Fields of a command. No method has a default: a new command must be neither unchecked nor free by accident.
pub(crate) trait CommandFields: ShapeFields {
    /// The response to the command, unless it is refused.
    type Response: ResponseFields;

    /// Checks the rules that the types cannot express: sizes, and fields that exclude each other.
    fn check(&self) -> Result<(), Rejection>;

    /// Returns the cost for the command's user.
    fn cost(&self) -> CommandCost;
}

/// Fields of a response. The declaration of the enum implements it.
pub(crate) trait ResponseFields {
    /// The `t` of the response; `None` if nothing is sent.
    const TAG: Option<&'static str>;
}

/// The response of a command that has none.
pub(crate) enum NoResponse {}

/// Fields of an event.
pub(crate) trait EventFields: ShapeFields {
    /// Returns the conversation of a durable event, its `s` there, and its time in milliseconds; `None` for an
    /// ephemeral event. No default: a new event must decide whether it is durable.
    fn position(&self) -> Option<(&ConversationId, u64, u64)>;

    /// Returns whether events of this shape are durable, which their example decides.
    fn is_durable() -> bool {
        Self::read(Self::EXAMPLE).is_ok_and(|event| event.position().is_some())
    }

    /// Returns the encoded event without `{"n":413,`.
    fn tail(&self, tag: &str) -> String {
        splice(tag, None, &self.write()).split_off(1)
    }
}

// === impl NoResponse, Shape ===

impl ResponseFields for NoResponse {
    const TAG: Option<&'static str> = None;
}

impl Shape {
    pub(crate) fn of<T: ShapeFields>(tag: &'static str, about: &'static str) -> Shape {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        Shape {
            tag,
            about: about.trim(),
            example: T::EXAMPLE,
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

            /// Returns the schemas and examples of all shapes.
            pub fn shapes() -> Vec<$crate::shape::Shape> {
                vec![$($crate::shape::Shape::of::<$fields>($tag, $about),)*]
            }

            /// Decodes the fields of the shape named `tag`; `None` if there is no such shape.
            pub(crate) fn read(tag: &str, text: &str) -> Option<Result<$name, serde_json::Error>> {
                match tag {
                    $($tag => Some(<$fields as $crate::shape::ShapeFields>::read(text).map($name::$variant)),)*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use shapes;

/// Declares the enum of the commands.
macro_rules! commands {
    ($(#[$doc:meta])* pub enum $name:ident { $(#[doc = $about:literal] $variant:ident($fields:ty) = $tag:literal,)* }) => {
        $crate::shape::shapes! {
            $(#[$doc])* pub enum $name { $(#[doc = $about] $variant($fields) = $tag,)* }
        }

        impl $name {
            /// Returns the `t` of each command and that of its response; `None` for a command without a response.
            /// Every command may also get `err`.
            pub fn responses() -> Vec<(&'static str, Option<&'static str>)> {
                use $crate::shape::{CommandFields, ResponseFields};
                vec![$(($tag, <<$fields as CommandFields>::Response as ResponseFields>::TAG),)*]
            }

            /// Checks the rules that the types cannot express: sizes, and fields that exclude each other.
            pub fn check(&self) -> Result<(), $crate::check::Rejection> {
                match self { $($name::$variant(fields) => $crate::shape::CommandFields::check(fields),)* }
            }

            /// Returns the cost of the command for its user.
            pub fn cost(&self) -> $crate::cost::CommandCost {
                match self { $($name::$variant(fields) => $crate::shape::CommandFields::cost(fields),)* }
            }

            /// Encodes the fields as a JSON object, without `t`.
            fn fields(&self) -> String {
                match self { $($name::$variant(fields) => $crate::shape::ShapeFields::write(fields),)* }
            }
        }
    };
}
pub(crate) use commands;

/// Declares the enum of the responses.
macro_rules! responses {
    ($(#[$doc:meta])* pub enum $name:ident { $(#[doc = $about:literal] $variant:ident($fields:ty) = $tag:literal,)* }) => {
        $crate::shape::shapes! {
            $(#[$doc])* pub enum $name { $(#[doc = $about] $variant($fields) = $tag,)* }
        }

        $(impl $crate::shape::ResponseFields for $fields {
            const TAG: Option<&'static str> = Some($tag);
        })*

        impl $name {
            /// Encodes the fields as a JSON object, without `t`.
            fn fields(&self) -> String {
                match self { $($name::$variant(fields) => $crate::shape::ShapeFields::write(fields),)* }
            }
        }
    };
}
pub(crate) use responses;

/// Declares the enum of the events.
macro_rules! events {
    ($(#[$doc:meta])* pub enum $name:ident { $(#[doc = $about:literal] $variant:ident($fields:ty) = $tag:literal,)* }) => {
        $crate::shape::shapes! {
            $(#[$doc])* pub enum $name { $(#[doc = $about] $variant($fields) = $tag,)* }
        }

        impl $name {
            /// Returns the conversation of a durable event, its `s` there, and its time in milliseconds; `None` for an
            /// ephemeral event.
            pub fn position(&self) -> Option<(&$crate::ids::ConversationId, u64, u64)> {
                match self { $($name::$variant(fields) => $crate::shape::EventFields::position(fields),)* }
            }

            /// Returns the shapes of the durable events, which have a position in the log.
            // The others are not even built: their schemas contain that of the durable events.
            pub(crate) fn durable_shapes() -> Vec<$crate::shape::Shape> {
                let mut shapes = Vec::new();
                $(if <$fields as $crate::shape::EventFields>::is_durable() {
                    shapes.push($crate::shape::Shape::of::<$fields>($tag, $about));
                })*
                shapes
            }

            /// Returns the tail: the encoded event without `{"n":413,`.
            pub fn tail(&self) -> String {
                match self { $($name::$variant(fields) => $crate::shape::EventFields::tail(fields, $tag),)* }
            }
        }
    };
}
pub(crate) use events;
