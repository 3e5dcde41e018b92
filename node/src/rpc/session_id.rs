//! Session id: the node that has the session, and 128 random bits. Any node finds the session by it, without a
//! directory. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Hexadecimal digits of the random part.
const SECRET_DIGITS: usize = 32;

/// Id of a session. Together with a token of its user it grants access to the session, so it is never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// The node that has the session.
    pub node: u64,
    /// Random part, which cannot be guessed.
    pub secret: u128,
}

/// The text is not a valid session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSessionId;

// === impl SessionId ===

impl SessionId {
    /// Draws a new id on this node.
    #[must_use]
    pub fn draw(node: u64) -> SessionId {
        let secret = rand::random();
        SessionId { node, secret }
    }

    /// Upper half of the random part. It distinguishes a user's sessions and grants no access to them.
    #[must_use]
    pub fn mark(self) -> u64 {
        (self.secret >> 64) as u64
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}{:032x}", self.node, self.secret)
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    /// Parses exactly what [`Display`](fmt::Display) writes: a session has only one id.
    fn from_str(text: &str) -> Result<SessionId, InvalidSessionId> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let split = text
            .len()
            .checked_sub(SECRET_DIGITS)
            .filter(|_| digits)
            .ok_or(InvalidSessionId)?;
        let (node, secret) = text.split_at(split);
        let sid = SessionId {
            node: u64::from_str_radix(node, 16).map_err(|_| InvalidSessionId)?,
            secret: u128::from_str_radix(secret, 16).map_err(|_| InvalidSessionId)?,
        };
        // Leading zeros are refused: a second spelling of an id would bypass comparisons as text.
        if sid.to_string() == text {
            Ok(sid)
        } else {
            Err(InvalidSessionId)
        }
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sid")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_nothing_else_is_read() {
        for node in [0, 1, 17, u64::MAX] {
            let sid = SessionId::draw(node);
            assert_eq!(sid.to_string().parse(), Ok(sid));
        }
        let zeros = "0".repeat(32);
        assert_eq!(format!("7{zeros}").parse(), Ok(SessionId { node: 7, secret: 0 }));
        for text in [
            String::new(),
            "00".to_owned(),
            zeros.clone(),
            format!("07{zeros}"),
            format!("+7{zeros}"),
            format!("A{zeros}"),
            format!("7{zeros} "),
            format!("é{zeros}"),
            "f".repeat(49),
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(InvalidSessionId), "{text}");
        }
    }

    #[test]
    fn a_name_does_not_print() {
        assert_eq!(
            format!("{:?}", SessionId { node: 7, secret: 77 }),
            "Sid { node: 7, .. }"
        );
    }
}
