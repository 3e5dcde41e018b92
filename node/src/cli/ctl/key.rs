//! `rookery ctl key`: API keys of back ends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::CtlContext;
use super::failure::Failure;
use super::output::{Table, date};

/// Path of the keys.
const PATH: &str = "/v1/admin/keys";

/// Arguments of `rookery ctl key`.
#[derive(Args)]
pub(super) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Creates a key, and prints it: it cannot be read again.
    Create(KeyCreate),
    /// Lists the keys, without their secrets.
    List,
    /// Creates a successor with the name, scopes and end of a key, and prints it. Both are valid until the old one is
    /// revoked.
    Rotate(KeyId),
    /// Revokes a key on every node.
    Revoke(KeyId),
}

#[derive(Args)]
struct KeyCreate {
    /// Name of the key, for the list.
    #[arg(long)]
    name: String,
    /// Part of the server API that the key permits: users, conversations, messages, read or erase. May be repeated.
    #[arg(long = "scope", required = true, value_delimiter = ',')]
    scopes: Vec<String>,
    /// Lifetime of the key, such as 90days; without it, the key has no end.
    #[arg(long, value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
}

#[derive(Args)]
struct KeyId {
    /// Id of the key, as the list shows it.
    key_id: String,
}

/// Answer of `POST /v1/admin/keys`.
#[derive(Serialize, Deserialize)]
struct CreatedKeyView {
    key_id: String,
    key: String,
}

/// Answer of `GET /v1/admin/keys`.
#[derive(Serialize, Deserialize)]
struct KeyListView {
    items: Vec<KeyView>,
}

/// A key, without its secret.
#[derive(Clone, Serialize, Deserialize)]
struct KeyView {
    key_id: String,
    name: String,
    scopes: Vec<String>,
    created: u64,
    #[serde(default)]
    expires: Option<u64>,
}

/// A key that is revoked.
#[derive(Serialize)]
struct RevokedKey<'a> {
    key_id: &'a str,
}

// === impl Key ===

impl Key {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        match self.command {
            KeyCommand::Create(KeyCreate { name, scopes, ttl }) => {
                let expires = ttl.map(|ttl| unix_ms().saturating_add(millis(ttl)));
                let created = create(context, &name, &scopes, expires).await?;
                show(context, &created)
            }
            KeyCommand::List => {
                let list: KeyListView = context.client.get(PATH).await?;
                context.output.print(&list, || list.table())
            }
            KeyCommand::Rotate(KeyId { key_id }) => {
                let list: KeyListView = context.client.get(PATH).await?;
                let old = list.items.iter().find(|key| key.key_id == key_id);
                let old = old.ok_or_else(|| Failure::Refused(format!("there is no key {key_id}")))?;
                let created = create(context, &old.name, &old.scopes, old.expires).await?;
                eprintln!("when its successor is deployed: rookery ctl key revoke {key_id} --yes");
                show(context, &created)
            }
            KeyCommand::Revoke(KeyId { key_id }) => {
                context.confirmed()?;
                // An id has letters and digits only; anything else must not become another path.
                if !key_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err(Failure::Refused(format!("{key_id} is no id of a key")));
                }
                let path = format!("{PATH}/{key_id}");
                context.client.change(Method::DELETE, &path, None).await?;
                let revoked = RevokedKey { key_id: &key_id };
                context
                    .output
                    .print(&revoked, || format!("key {key_id} is revoked\n"))
            }
        }
    }
}

async fn create(
    context: &CtlContext,
    name: &str,
    scopes: &[String],
    expires: Option<u64>,
) -> Result<CreatedKeyView, Failure> {
    let body = json!({ "name": name, "scopes": scopes, "expires": expires });
    let created = context.client.change(Method::POST, PATH, Some(&body)).await?;
    serde_json::from_value(created)
        .map_err(|error| Failure::Refused(format!("the answer has no key: {error}")))
}

/// Prints the secret alone to standard output, for a file or a secret store, and the rest beside it.
fn show(context: &CtlContext, created: &CreatedKeyView) -> Result<(), Failure> {
    eprintln!("key {} is created; it is shown only now", created.key_id);
    context.output.print(created, || format!("{}\n", created.key))
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

// === impl KeyListView ===

impl KeyListView {
    fn table(&self) -> String {
        let mut table = Table::new(["KEY", "NAME", "SCOPES", "CREATED", "ENDS"]);
        for key in &self.items {
            table.row([
                key.key_id.clone(),
                key.name.clone(),
                key.scopes.join(","),
                date(key.created),
                key.expires.map_or_else(|| "never".to_owned(), date),
            ]);
        }
        table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;

    #[test]
    fn json_of_keys_is_frozen() {
        let created = CreatedKeyView {
            key_id: "k".to_owned(),
            key: "rook_k_s".to_owned(),
        };
        assert_eq!(versioned(&created), r#"{"v":1,"key_id":"k","key":"rook_k_s"}"#);
        let answer =
            r#"{"items":[{"key_id":"k","name":"n","scopes":["read","users"],"created":0,"later":1}]}"#;
        let list: KeyListView = serde_json::from_str(answer).unwrap();
        let expected = r#"{"v":1,"items":[{"key_id":"k","name":"n","scopes":["read","users"],"created":0,"expires":null}]}"#;
        assert_eq!(versioned(&list), expected);
        let expected = "KEY  NAME  SCOPES      CREATED               ENDS\n\
                        k    n     read,users  1970-01-01T00:00:00Z  never\n";
        assert_eq!(list.table(), expected);
        assert_eq!(versioned(&RevokedKey { key_id: "k" }), r#"{"v":1,"key_id":"k"}"#);
    }
}
