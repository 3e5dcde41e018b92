//! Limits of protocol version 1. The checks of texts are in [`text`](crate::text).
//!
//! These are the bounds of the protocol. A node may set lower ones, which its `ready` reports, but never higher ones:
//! the replicated state machine checks against these constants, and all replicas must agree.

/// The largest message body, in bytes of JSON.
pub const BODY_BYTES: usize = 16 * 1024;
/// The deepest nesting of a frame. It is below the 128 levels at which common JSON readers fail, so every client can
/// read every accepted message.
pub const DEPTH: usize = 64;
/// The longest number in a frame, in characters. Longer ones make some readers refuse the page, and others parse for a
/// second.
pub const NUMBER_CHARS: usize = 64;
/// The most users mentioned by one message.
pub const MENTIONS: usize = 50;
/// The most initial members of a conversation, its creator not counted.
pub const MEMBERS_AT_CREATE: usize = 256;
/// The longest reaction, in bytes.
pub const REACTION_BYTES: usize = 32;
/// The most different reactions to one message.
pub const REACTIONS: usize = 32;
/// The most edits of one message.
pub const EDITS: usize = 256;
/// The most users in one `watch`.
pub const WATCH_USERS: usize = 500;
/// The longest title, in bytes.
pub const TITLE_BYTES: usize = 256;
/// The longest displayed name of a user, in bytes.
pub const NAME_BYTES: usize = 256;
/// The longest URL of a user's picture, in bytes.
pub const AVATAR_BYTES: usize = 1024;
/// The largest custom data of a user, a conversation or a member, in bytes of JSON.
pub const DATA_BYTES: usize = 4 * 1024;
/// The longest `data_kind` of a `list`, in bytes.
pub const DATA_KIND_BYTES: usize = 64;
/// The most users in one `users`.
pub const USERS: usize = 100;
/// The most conversations in one `sync`.
pub const SYNC_HAVE: usize = 200;
/// The largest page of `list` and `hist`, in rows; a larger `limit` is reduced to it.
pub const PAGE: usize = 100;
/// Page size of `list` and `hist` without a `limit`, in rows.
pub const PAGE_DEFAULT: usize = 50;
/// The longest `device` and `instance`, in bytes.
pub const DEVICE_BYTES: usize = 64;
/// The longest token, in bytes.
pub const TOKEN_BYTES: usize = 8 * 1024;
/// The longest `sid` and page cursor, in bytes.
pub const CURSOR_BYTES: usize = 512;
/// Default of the largest frame, in bytes.
pub const FRAME_BYTES: usize = 64 * 1024;

/// Returns the page size for a `limit`: the default for `None`, otherwise between 1 and [`PAGE`].
pub fn page(limit: Option<u64>) -> usize {
    limit.map_or(PAGE_DEFAULT, |limit| {
        usize::try_from(limit).unwrap_or(PAGE).clamp(1, PAGE)
    })
}

/// The most webhook names of one conversation.
pub const HOOKS: usize = 8;

/// Refuses a webhook name that is not 1 to 32 letters, digits, `-` and `_`.
pub fn hook(name: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) {
        return Err("the name of a webhook must have 1 to 32 letters, digits, - and _");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_between_one_and_a_hundred() {
        assert_eq!(
            [None, Some(0), Some(7), Some(u64::MAX)].map(page),
            [50, 1, 7, 100]
        );
    }
}
