//! Tokens of operators, as the setting `server.admin_token` or a file lists them. Pure.

use super::units::SecretString;

/// Minimum length of a token in bytes.
const LEAST: usize = 16;
/// Maximum length of the name of a token in bytes.
const LONGEST_NAME: usize = 64;
/// Name of a token that is listed without one.
const UNNAMED: &str = "admin";

/// Rights of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminRole {
    /// Requests that change nothing.
    Read,
    /// All requests of operators.
    Operate,
}

/// Token of an operator. Several may be valid at once, so that one is replaced by adding its successor first.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminToken {
    pub role: AdminRole,
    /// Name of the holder, for the audit log.
    pub name: String,
    pub token: SecretString,
}

// === impl AdminToken ===

impl AdminToken {
    /// Returns the path of the file that a setting names instead of tokens, or `None` for a list of tokens.
    #[must_use]
    pub fn file(setting: &SecretString) -> Option<&str> {
        setting.0.trim().strip_prefix('@')
    }

    /// Parses tokens that are separated by white space. In a file, lines that begin with `#` are comments.
    ///
    /// # Errors
    /// The reason, without any part of a token.
    pub fn parse_all(text: &str) -> Result<Vec<AdminToken>, String> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines
            .flat_map(str::split_whitespace)
            .enumerate()
            .map(|(at, entry)| {
                AdminToken::parse(entry).map_err(|reason| format!("token {}: {reason}", at + 1))
            })
            .collect()
    }

    fn parse(entry: &str) -> Result<AdminToken, String> {
        let role = match entry.split_once(':') {
            Some(("read", rest)) => Some((AdminRole::Read, rest)),
            Some(("operate", rest)) => Some((AdminRole::Operate, rest)),
            _ => None,
        };
        let (role, name, token) = match role {
            None => (AdminRole::Operate, UNNAMED, entry),
            Some((role, rest)) => {
                let (name, token) = rest
                    .split_once(':')
                    .ok_or("must have a role, a name and a token: operate:NAME:TOKEN")?;
                (role, name, token)
            }
        };
        let in_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(in_name) {
            return Err(format!(
                "the name must have 1 to {LONGEST_NAME} letters, digits, dots, dashes or underscores"
            ));
        }
        // Other bytes do not fit into a header.
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must have visible ASCII characters only".to_owned());
        }
        if token.len() < LEAST {
            return Err(format!("must have at least {LEAST} characters"));
        }
        Ok(AdminToken {
            role,
            name: name.to_owned(),
            token: SecretString(token.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn a_list_has_tokens_with_role_and_name_and_bare_ones() {
        let text =
            format!("{SECRET} read:prometheus:{SECRET}x\n# operate:old:{SECRET}\noperate:ci.1:{SECRET}:y\n");
        let found: Vec<_> = AdminToken::parse_all(&text)
            .unwrap()
            .into_iter()
            .map(|token| (token.role, token.name, token.token.0))
            .collect();
        let expected = [
            (AdminRole::Operate, "admin", SECRET.to_owned()),
            (AdminRole::Read, "prometheus", format!("{SECRET}x")),
            (AdminRole::Operate, "ci.1", format!("{SECRET}:y")),
        ];
        assert_eq!(
            found,
            expected.map(|(role, name, token)| (role, name.to_owned(), token))
        );
        assert_eq!(AdminToken::parse_all(""), Ok(Vec::new()));
    }

    #[test]
    fn refusal_of_a_token_does_not_contain_it() {
        for (text, reason) in [
            ("short-canary", "token 1: must have at least 16 characters"),
            ("read:a:canary", "token 1: must have at least 16 characters"),
            (
                "operate:0123456789canary",
                "token 1: must have a role, a name and a token: operate:NAME:TOKEN",
            ),
            (
                "read:a/b:0123456789canary",
                "token 1: the name must have 1 to 64 letters, digits, dots, dashes or underscores",
            ),
            (
                "0123456789abcdef 0123456789cän",
                "token 2: must have visible ASCII characters only",
            ),
        ] {
            let refused = AdminToken::parse_all(text).unwrap_err();
            assert_eq!(refused, reason);
            assert!(!refused.contains("canary"));
        }
    }

    #[test]
    fn a_setting_may_name_a_file() {
        let file = |text: &str| AdminToken::file(&SecretString(text.to_owned())).map(str::to_owned);
        assert_eq!(
            file("@/etc/rookery/tokens").as_deref(),
            Some("/etc/rookery/tokens")
        );
        assert_eq!(file(SECRET), None);
    }
}
