//! How frames are put together and taken apart: `t` decides the shape, so a frame is read twice, once for
//! its head and once for the fields of its shape.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What every frame may carry besides the fields of its shape. Unread values stay raw, so an ill-typed
/// `t` doesn't hide the `id`.
#[derive(Deserialize)]
struct RawHead<'a> {
    #[serde(borrow)]
    t: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    n: Option<&'a RawValue>,
}

/// The head of a frame: `t`, `id` and `n`, each if present and well-typed.
pub(crate) struct Head<'a> {
    pub(crate) t: Option<Cow<'a, str>>,
    pub(crate) id: Result<Option<i64>, &'static str>,
    pub(crate) n: Option<u64>,
}

/// Fields of a shape, read from and written to one JSON object.
pub(crate) trait Fields: Sized {
    fn read(text: &str) -> Result<Self, serde_json::Error>;
    fn write(&self) -> String;
}

// === impl Head, Fields ===

impl<'a> Head<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Head<'a>, serde_json::Error> {
        let raw: RawHead<'a> = serde_json::from_str(text)?;
        Ok(Head {
            t: raw.t.and_then(|t| text_of(t.get())),
            id: match raw.id {
                None => Ok(None),
                Some(id) => serde_json::from_str(id.get()).map_err(|_| "id must be an integer of 64 bits"),
            },
            n: raw.n.and_then(|n| serde_json::from_str(n.get()).ok()),
        })
    }
}

fn text_of(json: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(json).ok().map(|Text(text)| text)
}

impl<T: Serialize + DeserializeOwned> Fields for T {
    fn read(text: &str) -> Result<T, serde_json::Error> {
        serde_json::from_str(text)
    }

    fn write(&self) -> String {
        // The shapes of this crate have string keys and no failing parts.
        serde_json::to_string(self).expect("a wire shape always serialises")
    }
}

/// Returns `{"t":<tag>,"id":<id>,<fields>}`.
pub(crate) fn splice(tag: &str, id: Option<i64>, fields: &str) -> String {
    let mut text = String::with_capacity(fields.len() + tag.len() + 32);
    text.push_str("{\"t\":\"");
    text.push_str(tag);
    text.push('"');
    if let Some(id) = id {
        text.push_str(",\"id\":");
        text.push_str(&id.to_string());
    }
    if fields != "{}" {
        text.push(',');
    }
    text.push_str(&fields[1..]);
    text
}

/// Declares an enum of shapes, each with its `t`: the one place where a shape is added.
macro_rules! shapes {
    ($(#[$doc:meta])* pub enum $name:ident { $(#[doc = $about:literal] $variant:ident($fields:ty) = $tag:literal,)* }) => {
        $(#[$doc])*
        pub enum $name { $(#[doc = $about] $variant($fields),)* }

        impl $name {
            /// Returns the `t` of the shape.
            pub fn tag(&self) -> &'static str {
                match self { $($name::$variant(_) => $tag,)* }
            }

            /// Returns every shape with its schema.
            pub fn shapes() -> Vec<$crate::schema::Shape> {
                vec![$($crate::schema::Shape::of::<$fields>($tag, $about),)*]
            }

            /// Returns the fields as a JSON object, without `t`.
            fn fields(&self) -> String {
                match self { $($name::$variant(fields) => $crate::codec::Fields::write(fields),)* }
            }

            /// Reads the fields of the shape named `tag`; `None` if there is no such shape.
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
