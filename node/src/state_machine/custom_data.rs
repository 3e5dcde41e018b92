//! Custom data of conversations and members: rows of their own, because a message needs neither.

use protocol::{CustomData, FieldPatch, limits};
use serde::{Deserialize, Serialize};
use storage::Error;

use super::ChatTable;
use super::row_store::{RowReader, RowWriter};
use super::rows::{VersionedRow, corrupt};

/// Custom data of a conversation or a member. Without data there is no row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct CustomDataRow {
    /// Data as JSON, an object.
    pub(super) data: Box<str>,
}

/// The field of custom data by which lists are filtered.
#[derive(Deserialize)]
struct DataKind {
    kind: String,
}

impl VersionedRow for CustomDataRow {}

/// Returns the data under a key; `None` without data.
pub(super) fn read(rows: &impl RowReader, key: &[u8]) -> Result<Option<Box<str>>, Error> {
    let row = rows.get(ChatTable::Member, key)?;
    row.map(|row| decode(&row)).transpose()
}

/// Returns the data in a row.
pub(super) fn decode(row: &[u8]) -> Result<Box<str>, Error> {
    Ok(CustomDataRow::decode(row)?.data)
}

/// Writes the data under a key; an empty text removes it.
pub(super) fn write(rows: &mut impl RowWriter, key: &[u8], data: &str) {
    if data.is_empty() {
        rows.delete(ChatTable::Member, key);
    } else {
        let row = CustomDataRow { data: data.into() };
        rows.put(ChatTable::Member, key, &row.encode());
    }
}

/// Returns true if the data is within its limit. The form was checked before the log.
pub(super) fn fits(data: Option<&str>) -> bool {
    data.is_none_or(|data| data.len() <= limits::DATA_BYTES)
}

/// Returns the change for an event; `None` changes nothing, an empty text removes.
pub(super) fn patch(data: Option<&str>) -> Result<FieldPatch<CustomData>, Error> {
    Ok(match data {
        None => FieldPatch::Keep,
        Some("") => FieldPatch::Remove,
        Some(data) => FieldPatch::Set(CustomData::new(data).map_err(|why| corrupt(&why))?),
    })
}

/// Returns true if the field `kind` of the data is this text.
pub(super) fn is_of_kind(data: Option<&str>, kind: &str) -> bool {
    let found = data.and_then(|data| serde_json::from_str::<DataKind>(data).ok());
    found.is_some_and(|found| found.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_a_text_of_the_outermost_object() {
        for (data, expected) in [
            (Some(r#"{"kind":"support"}"#), true),
            (Some(r#"{"x":{"kind":"y"},"kind":"s\u0075pport"}"#), true),
            (Some(r#"{"kind":"other"}"#), false),
            (Some(r#"{"kind":7}"#), false),
            (Some(r#"{"x":{"kind":"support"}}"#), false),
            (Some("{}"), false),
            (None, false),
        ] {
            assert_eq!(is_of_kind(data, "support"), expected, "{data:?}");
        }
    }
}
