//! `rookery ctl user`: account of a user, its sessions and tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use hyper::Method;
use protocol::UserId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::CtlContext;
use super::failure::Failure;
use super::output::{date, or_dash};
use super::sessions::{in_url, user_id};

/// Arguments of `rookery ctl user`.
#[derive(Args)]
pub(super) struct User {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Shows the account of a user, without anything that the user wrote.
    Show(OneUser),
    /// Closes the sessions of a user on all nodes. The user may begin new ones.
    Disconnect(OneUser),
    /// Refuses the tokens of a user that were issued until now, ends its logins, and closes its sessions.
    Revoke(OneUser),
}

#[derive(Args)]
struct OneUser {
    /// Id of the user.
    #[arg(value_parser = user_id)]
    user: UserId,
}

/// Answer of `GET /v1/admin/users/{u}`.
#[derive(Serialize, Deserialize)]
struct AccountView {
    u: String,
    #[serde(default)]
    name: Option<String>,
    deactivated: bool,
    tokens_from: u64,
    sessions: u64,
}

/// User whose sessions are closed.
#[derive(Serialize)]
struct ChangedUser<'a> {
    u: &'a str,
}

// === impl User ===

impl User {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        match self.command {
            UserCommand::Show(OneUser { user }) => {
                let account: AccountView = context
                    .client
                    .get(&format!("/v1/admin/users/{}", in_url(&user)))
                    .await?;
                context.output.print(&account, || account.text())
            }
            UserCommand::Disconnect(OneUser { user }) => {
                let path = format!("/v1/admin/users/{}/disconnect", in_url(&user));
                context.client.change(Method::POST, &path, None).await?;
                let changed = ChangedUser { u: user.as_str() };
                context
                    .output
                    .print(&changed, || format!("the sessions of {user} are being closed\n"))
            }
            UserCommand::Revoke(OneUser { user }) => {
                context.confirmed()?;
                let path = format!("/v1/admin/users/{}/revoke", in_url(&user));
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let body = json!({ "before": now.map_or(0, |now| now.as_secs()) });
                context.client.change(Method::POST, &path, Some(&body)).await?;
                let changed = ChangedUser { u: user.as_str() };
                context
                    .output
                    .print(&changed, || format!("the tokens of {user} are refused\n"))
            }
        }
    }
}

// === impl AccountView ===

impl AccountView {
    fn text(&self) -> String {
        let tokens = match self.tokens_from {
            0 => "all".to_owned(),
            seconds => format!("issued from {}", date(seconds.saturating_mul(1_000))),
        };
        format!(
            "user      {}\nname      {}\nstate     {}\nsessions  {}\ntokens    {tokens}\n",
            self.u,
            or_dash(self.name.as_ref()),
            if self.deactivated { "deactivated" } else { "active" },
            self.sessions,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;

    #[test]
    fn json_and_text_of_an_account_are_frozen() {
        let answer = r#"{"u":"ada","ver":0,"deactivated":true,"tokens_from":1,"sessions":2}"#;
        let account: AccountView = serde_json::from_str(answer).unwrap();
        let expected = r#"{"v":1,"u":"ada","name":null,"deactivated":true,"tokens_from":1,"sessions":2}"#;
        assert_eq!(versioned(&account), expected);
        let expected = "user      ada\nname      -\nstate     deactivated\nsessions  2\n\
                        tokens    issued from 1970-01-01T00:00:01Z\n";
        assert_eq!(account.text(), expected);
        assert_eq!(versioned(&ChangedUser { u: "ada" }), r#"{"v":1,"u":"ada"}"#);
    }
}
