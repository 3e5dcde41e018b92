//! Checks of a command's fields that their types cannot express.

use std::fmt;

use crate::error::ErrorCode;
use crate::payload::{Body, CustomData};
use crate::{limits, text};

/// Refusal of a command by its fields: the code and a description for the developer of the client.
pub(crate) type Rejection = (ErrorCode, String);

/// Returns the rejection of a request that breaks a rule of the protocol.
pub(crate) fn bad(why: impl fmt::Display) -> Rejection {
    (ErrorCode::BadRequest, why.to_string())
}

/// Checks the length of a text in bytes.
pub(crate) fn longest(name: &str, text: Option<&str>, bytes: usize) -> Result<(), Rejection> {
    match text {
        Some(text) if text.len() > bytes => Err(bad(format_args!("{name} exceeds {bytes} bytes"))),
        _ => Ok(()),
    }
}

/// Checks the length of a list.
pub(crate) fn most(name: &str, len: usize, limit: usize) -> Result<(), Rejection> {
    if len > limit {
        Err(bad(format_args!("{name} has more than {limit} entries")))
    } else {
        Ok(())
    }
}

/// Checks the length of the cursor of a page.
pub(crate) fn cursor(cursor: Option<&str>) -> Result<(), Rejection> {
    longest("cursor", cursor, limits::CURSOR_BYTES)
}

/// Checks that a title is within its limit and displayable. An empty title means none.
pub(crate) fn title(title: Option<&str>) -> Result<(), Rejection> {
    longest("title", title, limits::TITLE_BYTES)?;
    match title.filter(|title| !title.is_empty()).map(text::visible) {
        Some(Err(why)) => Err(bad(format_args!("title must have {why}"))),
        _ => Ok(()),
    }
}

/// Checks the displayed name of a user.
pub(crate) fn name(name: Option<&str>) -> Result<(), Rejection> {
    longest("name", name, limits::NAME_BYTES)?;
    match name.map(text::visible) {
        Some(Err(why)) => Err(bad(format_args!("name must have {why}"))),
        _ => Ok(()),
    }
}

/// Checks the URL of a user's picture.
pub(crate) fn avatar(url: Option<&str>) -> Result<(), Rejection> {
    longest("avatar", url, limits::AVATAR_BYTES)?;
    match url.map(text::picture_url) {
        Some(Err(why)) => Err(bad(format_args!("avatar must be {why}"))),
        _ => Ok(()),
    }
}

/// Checks the size of custom data.
pub(crate) fn data(data: Option<&CustomData>) -> Result<(), Rejection> {
    match data {
        Some(data) if data.as_str().len() > limits::DATA_BYTES => Err((
            ErrorCode::TooLarge,
            format!("data exceeds {} bytes", limits::DATA_BYTES),
        )),
        _ => Ok(()),
    }
}

/// Checks the size of a message body.
pub(crate) fn body(body: &Body) -> Result<(), Rejection> {
    // Measured on the JSON text, because that is stored and sent to every member.
    if body.as_str().len() > limits::BODY_BYTES {
        return Err((
            ErrorCode::TooLarge,
            format!("b exceeds {} bytes", limits::BODY_BYTES),
        ));
    }
    Ok(())
}
