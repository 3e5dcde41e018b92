//! The name of a session, as its client presents it to any node: 128 random bits, and before them the node that has
//! the session, so that it is found without a directory. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Digits of the random half.
const SECRET_DIGITS: usize = 32;

/// The name of a session. Whoever has it, and a token of its user, has the session: it is never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sid {
    /// The node that has the session.
    pub node: u64,
    /// What nobody can guess.
    pub secret: u128,
}

/// The text can't be the name of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSid;

// === impl Sid ===

impl Sid {
    /// A new name on a node.
    #[must_use]
    pub fn draw(node: u64) -> Sid {
        let secret = rand::random();
        Sid { node, secret }
    }

    /// What tells it from the user's other sessions, and gives nobody the session.
    #[must_use]
    pub fn mark(self) -> u64 {
        (self.secret >> 64) as u64
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}{:032x}", self.node, self.secret)
    }
}

impl FromStr for Sid {
    type Err = NoSid;

    /// Reads exactly what [`Display`](fmt::Display) writes: one session has one name.
    fn from_str(text: &str) -> Result<Sid, NoSid> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let split = text
            .len()
            .checked_sub(SECRET_DIGITS)
            .filter(|_| digits)
            .ok_or(NoSid)?;
        let (node, secret) = text.split_at(split);
        let sid = Sid {
            node: u64::from_str_radix(node, 16).map_err(|_| NoSid)?,
            secret: u128::from_str_radix(secret, 16).map_err(|_| NoSid)?,
        };
        if sid.to_string() == text {
            Ok(sid)
        } else {
            Err(NoSid)
        }
    }
}

impl fmt::Debug for Sid {
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
            let sid = Sid::draw(node);
            assert_eq!(sid.to_string().parse(), Ok(sid));
        }
        let zeros = "0".repeat(32);
        assert_eq!(format!("7{zeros}").parse(), Ok(Sid { node: 7, secret: 0 }));
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
            assert_eq!(text.parse::<Sid>(), Err(NoSid), "{text}");
        }
    }

    #[test]
    fn a_name_does_not_print() {
        assert_eq!(
            format!("{:?}", Sid { node: 7, secret: 77 }),
            "Sid { node: 7, .. }"
        );
    }
}
