//! `rookery ctl sessions`: the sessions of a user on all nodes.

use clap::Args;
use hyper::Method;
use protocol::UserId;
use serde::{Deserialize, Serialize};

use super::CtlContext;
use super::failure::Failure;
use super::output::{Table, date, or_dash, size};

/// Arguments of `rookery ctl sessions`.
#[derive(Args)]
pub(super) struct Sessions {
    /// Id of the user.
    #[arg(long, value_parser = user_id)]
    user: UserId,
    /// Ends the listed sessions. The user may begin new ones: `user revoke` refuses the tokens as well.
    #[arg(long)]
    disconnect: bool,
}

/// Answer of `GET /v1/admin/sessions`.
#[derive(Serialize, Deserialize)]
struct SessionPage {
    items: Vec<SessionView>,
    /// True if a node did not answer.
    #[serde(default)]
    partial: bool,
}

/// Session of a user on one node.
#[derive(Serialize, Deserialize)]
struct SessionView {
    id: String,
    #[serde(default)]
    device: Option<String>,
    node: u64,
    since: u64,
    detached: bool,
    #[serde(default)]
    resumes: Option<u64>,
    #[serde(default)]
    outbox_bytes: Option<u64>,
}

/// Parses the id of a user.
pub(super) fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|error| error.to_string())
}

/// Returns the id of a user for a path or query, where a plus would be a space.
pub(super) fn in_url(user: &UserId) -> String {
    user.as_str().replace('+', "%2B")
}

// === impl Sessions ===

impl Sessions {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let user = in_url(&self.user);
        let page: SessionPage = context
            .client
            .get(&format!("/v1/admin/sessions?user={user}"))
            .await?;
        if page.partial {
            context
                .output
                .say("a node did not answer: its sessions are missing");
        }
        if self.disconnect {
            for session in &page.items {
                let path = format!("/v1/admin/sessions/{}?user={user}", session.id);
                context.client.change(Method::DELETE, &path, None).await?;
                context.output.say(&format!("session {} has ended", session.id));
            }
        }
        context.output.print(&page, || page.table())
    }
}

// === impl SessionPage ===

impl SessionPage {
    fn table(&self) -> String {
        let mut table = Table::new(["SESSION", "NODE", "DEVICE", "SINCE", "STATE", "RESUMES", "OUTBOX"]);
        for session in &self.items {
            table.row([
                session.id.clone(),
                session.node.to_string(),
                or_dash(session.device.as_ref()),
                date(session.since),
                if session.detached { "detached" } else { "connected" }.to_owned(),
                or_dash(session.resumes),
                or_dash(session.outbox_bytes.map(size)),
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
    fn json_and_table_of_sessions_are_frozen() {
        let answer = r#"{"items":[
            {"id":"1a","node":1,"since":0,"detached":true,"resumes":2,"outbox_bytes":2048},
            {"id":"2b","device":"web","node":2,"since":0,"detached":false,"resumes":null,"outbox_bytes":null}]}"#;
        let page: SessionPage = serde_json::from_str(answer).unwrap();
        let expected = concat!(
            r#"{"v":1,"items":["#,
            r#"{"id":"1a","device":null,"node":1,"since":0,"detached":true,"resumes":2,"outbox_bytes":2048},"#,
            r#"{"id":"2b","device":"web","node":2,"since":0,"detached":false,"resumes":null,"outbox_bytes":null}],"partial":false}"#,
        );
        assert_eq!(versioned(&page), expected);
        let expected = "SESSION  NODE  DEVICE  SINCE                 STATE      RESUMES  OUTBOX\n\
                        1a       1     -       1970-01-01T00:00:00Z  detached   2        2.0 KiB\n\
                        2b       2     web     1970-01-01T00:00:00Z  connected  -        -\n";
        assert_eq!(page.table(), expected);
    }
}
