//! Tokens of operators, compared in constant time.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::{AdminRole, AdminToken, ServerConfig};

/// Tokens of operators that a node accepts. Cheap to clone.
#[derive(Clone)]
pub struct AdminTokens {
    entries: Arc<[AcceptedToken]>,
}

/// Holder of an accepted token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminIdentity {
    pub role: AdminRole,
    /// Name of the token.
    pub name: Arc<str>,
}

struct AcceptedToken {
    /// SHA-256 hash of the token: hashes have one length, so a comparison does not reveal that of the token.
    hash: [u8; 32],
    identity: AdminIdentity,
}

/// The tokens of operators cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnusableTokens {
    #[error("server.admin_token: {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    /// The reason contains no part of a token.
    #[error("server.admin_token: {0}")]
    Invalid(String),
}

// === impl AdminTokens ===

impl AdminTokens {
    /// Reads the tokens of the setting, or of the file that it names.
    ///
    /// # Errors
    /// [`UnusableTokens`], which names the setting.
    pub fn open(config: &ServerConfig) -> Result<AdminTokens, UnusableTokens> {
        let setting = &config.admin_token;
        let Some(path) = AdminToken::file(setting) else {
            return AdminTokens::parse(&setting.0).map_err(UnusableTokens::Invalid);
        };
        let text = std::fs::read_to_string(path).map_err(|source| UnusableTokens::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let tokens = AdminTokens::parse(&text)
            .map_err(|reason| UnusableTokens::Invalid(format!("{path}: {reason}")))?;
        // An emptied file must not open a development node.
        if tokens.is_empty() {
            return Err(UnusableTokens::Invalid(format!("{path}: has no token")));
        }
        Ok(tokens)
    }

    fn parse(text: &str) -> Result<AdminTokens, String> {
        let entries = AdminToken::parse_all(text)?
            .into_iter()
            .map(|token| AcceptedToken {
                hash: hash(&token.token.0),
                identity: AdminIdentity {
                    role: token.role,
                    name: token.name.into(),
                },
            });
        Ok(AdminTokens {
            entries: entries.collect(),
        })
    }

    /// Returns `true` if no token is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the holder of a token, or `None` for an unknown one. Every configured token is compared, whichever
    /// matches.
    #[must_use]
    pub fn identify(&self, token: &str) -> Option<&AdminIdentity> {
        let presented = hash(token);
        let none = u32::MAX;
        let found = (0..).zip(self.entries.iter()).fold(none, |found, (at, entry)| {
            let same: Choice = entry.hash.ct_eq(&presented);
            u32::conditional_select(&found, &at, same)
        });
        let entry = self.entries.get(usize::try_from(found).ok()?)?;
        Some(&entry.identity)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretString;

    fn open(setting: &str) -> Result<AdminTokens, UnusableTokens> {
        AdminTokens::open(&ServerConfig {
            admin_token: SecretString(setting.to_owned()),
            ..ServerConfig::default()
        })
    }

    #[test]
    fn each_of_several_tokens_has_its_holder_and_others_have_none() {
        let tokens =
            open("operate:old:0123456789abcdef operate:new:abcdef0123456789 read:p:aaaaaaaaaaaaaaaa")
                .unwrap();
        let holder = |token: &str| {
            let found = tokens.identify(token)?;
            Some((found.role, found.name.to_string()))
        };
        let operates = |name: &str| Some((AdminRole::Operate, name.to_owned()));
        assert_eq!(holder("0123456789abcdef"), operates("old"));
        assert_eq!(holder("abcdef0123456789"), operates("new"));
        assert_eq!(
            holder("aaaaaaaaaaaaaaaa"),
            Some((AdminRole::Read, "p".to_owned()))
        );
        for unknown in ["", "0123456789abcde", "0123456789abcdeF", "old"] {
            assert_eq!(holder(unknown), None, "{unknown}");
        }
        assert!(open("").unwrap().is_empty());
        assert!(open("").unwrap().identify("").is_none());
    }

    #[test]
    fn a_file_holds_the_tokens_and_must_hold_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let setting = format!("@{}", path.display());
        assert!(matches!(open(&setting), Err(UnusableTokens::Unreadable { .. })));
        std::fs::write(&path, "# none yet\n").unwrap();
        assert!(matches!(open(&setting), Err(UnusableTokens::Invalid(_))));
        std::fs::write(&path, "# of the monitor\nread:p:0123456789abcdef\n").unwrap();
        assert!(open(&setting).unwrap().identify("0123456789abcdef").is_some());
        std::fs::write(&path, "canary").unwrap();
        let refused = open(&setting).err().unwrap().to_string();
        assert!(
            refused.contains("16 characters") && !refused.contains("canary"),
            "{refused}"
        );
    }
}
