//! Fields of a merge patch (RFC 7396): an absent field keeps its value, null removes it, and a value replaces it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Change of one optional value. Absent fields are [`FieldPatch::Keep`] by the default of serde.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum FieldPatch<T> {
    /// The value stays as it is.
    #[default]
    Keep,
    /// The value is removed.
    Remove,
    /// The value is replaced.
    Set(T),
}

// === impl FieldPatch ===

impl<T> FieldPatch<T> {
    /// Returns true if the value stays as it is.
    pub fn is_keep(&self) -> bool {
        matches!(self, FieldPatch::Keep)
    }

    /// Returns the new value; `None` if the value stays or is removed.
    pub fn new_value(&self) -> Option<&T> {
        match self {
            FieldPatch::Set(value) => Some(value),
            FieldPatch::Keep | FieldPatch::Remove => None,
        }
    }

    /// Returns the change as the state machine takes it: `None` if the value stays, an empty text if it is removed.
    pub fn change<'a>(&'a self, text: impl Fn(&'a T) -> &'a str) -> Option<Box<str>> {
        match self {
            FieldPatch::Keep => None,
            FieldPatch::Remove => Some("".into()),
            FieldPatch::Set(value) => Some(text(value).into()),
        }
    }
}

impl<T: Serialize> Serialize for FieldPatch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // `Keep` is omitted by the struct that has the field.
        self.new_value().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FieldPatch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FieldPatch<T>, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            Some(value) => FieldPatch::Set(value),
            None => FieldPatch::Remove,
        })
    }
}
