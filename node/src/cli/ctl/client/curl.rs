//! Requests as commands of curl, for `--debug`.

use hyper::Method;
use serde_json::Value;

use super::TOKEN;

/// Returns the command that sends the same request. The token is that of the environment, never its text.
pub(super) fn command(
    url: &str,
    method: &Method,
    path: &str,
    body: Option<&Value>,
    has_token: bool,
) -> String {
    let mut command = "curl -sS".to_owned();
    if method != Method::GET {
        command.push_str(&format!(" -X {method}"));
    }
    if has_token {
        command.push_str(&format!(" -H \"Authorization: Bearer ${TOKEN}\""));
    }
    if let Some(body) = body {
        command.push_str(" -H 'Content-Type: application/json' --data ");
        command.push_str(&quoted(&body.to_string()));
    }
    format!("{command} {}", quoted(&format!("{url}{path}")))
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn request_is_printed_as_a_command_without_the_token() {
        let url = "http://127.0.0.1:8079";
        assert_eq!(
            command(url, &Method::GET, "/v1/admin/sessions?user=a", None, true),
            r#"curl -sS -H "Authorization: Bearer $ROOKERY_ADMIN_TOKEN" 'http://127.0.0.1:8079/v1/admin/sessions?user=a'"#
        );
        let body = json!({ "name": "it's" });
        assert_eq!(
            command(url, &Method::POST, "/v1/admin/keys", Some(&body), false),
            r#"curl -sS -X POST -H 'Content-Type: application/json' --data '{"name":"it'\''s"}' 'http://127.0.0.1:8079/v1/admin/keys'"#
        );
    }
}
