//! Id of an engine connection: the node that holds it, and 128 random bits. Any node finds the connection by it. Pure.

use std::fmt;
use std::str::FromStr;

/// Hexadecimal digits of the random part.
const SECRET_DIGITS: usize = 32;

/// Id of an engine connection. It gives access to the connection, so it is never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EngineId {
    /// Node that holds the connection.
    pub(super) node: u64,
    /// Random part, which cannot be guessed.
    pub(super) secret: u128,
}

/// The text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidEngineId;

// === impl EngineId ===

impl EngineId {
    /// Draws a new id on this node.
    pub(super) fn draw(node: u64) -> EngineId {
        EngineId {
            node,
            secret: rand::random(),
        }
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:032x}", self.node, self.secret)
    }
}

impl FromStr for EngineId {
    type Err = InvalidEngineId;

    fn from_str(text: &str) -> Result<EngineId, InvalidEngineId> {
        let (node, secret) = text.split_once('-').ok_or(InvalidEngineId)?;
        let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if secret.len() != SECRET_DIGITS || !is_hex(node) || !is_hex(secret) {
            return Err(InvalidEngineId);
        }
        Ok(EngineId {
            node: u64::from_str_radix(node, 16).map_err(|_| InvalidEngineId)?,
            secret: u128::from_str_radix(secret, 16).map_err(|_| InvalidEngineId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_names_its_node() {
        let id = EngineId {
            node: 0x1f,
            secret: 0xab,
        };
        let text = "1f-000000000000000000000000000000ab";
        assert_eq!(id.to_string(), text);
        assert!(text.parse() == Ok(id));
        for text in [
            "",
            "-",
            "1f-ab",
            &text[1..],
            &format!("{text}0"),
            "g-000000000000000000000000000000ab",
        ] {
            let parsed: Result<EngineId, _> = text.parse();
            assert!(parsed.is_err() || text.starts_with("f-"), "{text}");
        }
    }
}
