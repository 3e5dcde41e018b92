//! `rookery ctl conversation`: a conversation without its messages, and its owners.

use clap::{Args, Subcommand};
use hyper::Method;
use protocol::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::CtlContext;
use super::failure::Failure;
use super::output::{date, or_dash};
use super::sessions::user_id;

/// Arguments of `rookery ctl conversation`.
#[derive(Args)]
pub(super) struct Conversation {
    #[command(subcommand)]
    command: ConversationCommand,
}

#[derive(Subcommand)]
enum ConversationCommand {
    /// Shows a conversation, without its messages.
    Show(OneConversation),
    /// Makes a user an owner of a group or channel, which may have lost its owners. Other owners stay.
    Owner(OwnedConversation),
}

#[derive(Args)]
struct OneConversation {
    /// Id of the conversation.
    #[arg(value_parser = conversation_id)]
    conversation: ConversationId,
}

#[derive(Args)]
struct OwnedConversation {
    /// Id of the conversation.
    #[arg(value_parser = conversation_id)]
    conversation: ConversationId,
    /// Id of the new owner. One who is no member is added.
    #[arg(value_parser = user_id)]
    user: UserId,
}

/// Answer of `GET /v1/admin/conversations/{c}`.
#[derive(Serialize, Deserialize)]
struct ConversationView {
    c: String,
    kind: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    members: Option<u64>,
    last: LastView,
}

/// Last event of a conversation.
#[derive(Serialize, Deserialize)]
struct LastView {
    s: u64,
    mn: u64,
    ts: u64,
}

/// Conversation with a new owner.
#[derive(Serialize)]
struct OwnerChange<'a> {
    c: &'a str,
    u: &'a str,
}

fn conversation_id(text: &str) -> Result<ConversationId, String> {
    ConversationId::parse(text).map_err(|error| error.to_string())
}

// === impl Conversation ===

impl Conversation {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        match self.command {
            ConversationCommand::Show(OneConversation { conversation }) => {
                let path = format!("/v1/admin/conversations/{}", in_url(&conversation));
                let view: ConversationView = context.client.get(&path).await?;
                context.output.print(&view, || view.text())
            }
            ConversationCommand::Owner(OwnedConversation { conversation, user }) => {
                let path = format!("/v1/admin/conversations/{}/owner", in_url(&conversation));
                let body = json!({ "u": user.as_str() });
                context.client.change(Method::POST, &path, Some(&body)).await?;
                let changed = OwnerChange {
                    c: conversation.as_str(),
                    u: user.as_str(),
                };
                context
                    .output
                    .print(&changed, || format!("{user} is an owner of {conversation}\n"))
            }
        }
    }
}

/// Returns the id of a conversation for a path.
fn in_url(conversation: &ConversationId) -> String {
    conversation.as_str().replace('+', "%2B")
}

// === impl ConversationView ===

impl ConversationView {
    fn text(&self) -> String {
        format!(
            "conversation  {}\nkind          {}\ntitle         {}\nmembers       {}\nmessages      {}\nlast event    {}\n",
            self.c,
            self.kind,
            or_dash(self.title.as_ref()),
            or_dash(self.members),
            self.last.mn,
            date(self.last.ts),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;

    #[test]
    fn json_and_text_of_a_conversation_are_frozen() {
        let answer = r#"{"c":"g_1","kind":"group","title":"Ops","role":null,"last":{"s":9,"mn":7,"ts":0},
            "read":0,"delivered":0,"members":3}"#;
        let view: ConversationView = serde_json::from_str(answer).unwrap();
        let expected =
            r#"{"v":1,"c":"g_1","kind":"group","title":"Ops","members":3,"last":{"s":9,"mn":7,"ts":0}}"#;
        assert_eq!(versioned(&view), expected);
        let expected = "conversation  g_1\nkind          group\ntitle         Ops\nmembers       3\nmessages      7\n\
                        last event    1970-01-01T00:00:00Z\n";
        assert_eq!(view.text(), expected);
        let changed = OwnerChange { c: "g_1", u: "ada" };
        assert_eq!(versioned(&changed), r#"{"v":1,"c":"g_1","u":"ada"}"#);
    }
}
