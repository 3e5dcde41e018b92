//! `rookery ctl user`: account of a user, its sessions, tokens and data.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use http_body_util::BodyExt;
use hyper::Method;
use protocol::UserId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::CtlContext;
use super::failure::Failure;
use super::output::{date, or_dash, write_on};
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
    /// Prints everything that is stored about a user, one JSON object per line. It has what the user wrote: it needs --yes,
    /// and is audited.
    Export(OneUser),
    /// Erases a user for good, as a job.
    Erase(UserErasure),
    /// Shows the job of an erasure.
    Job(OneJob),
}

#[derive(Args)]
struct OneUser {
    /// Id of the user.
    #[arg(value_parser = user_id)]
    user: UserId,
}

/// Arguments of `rookery ctl user erase`.
#[derive(Args)]
struct UserErasure {
    /// Id of the user.
    #[arg(value_parser = user_id)]
    user: UserId,
    /// Fate of the user's messages: deleted for everybody, or kept under a random id.
    #[arg(long, value_enum)]
    messages: ErasedMessagesChoice,
}

/// Fate of the messages of an erased user.
#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ErasedMessagesChoice {
    Delete,
    KeepAnonymous,
}

#[derive(Args)]
struct OneJob {
    /// Id of the job.
    job: String,
}

/// Answer of `POST /v1/admin/users/{u}/erase`.
#[derive(Serialize, Deserialize)]
struct BegunJob {
    job: String,
}

/// Answer of `GET /v1/admin/jobs/{job}`.
#[derive(Serialize, Deserialize)]
struct JobView {
    job: String,
    u: String,
    messages: String,
    state: String,
    started: u64,
    #[serde(default)]
    done: Option<u64>,
    #[serde(default)]
    gone_by: Option<u64>,
    shards: Vec<JobShardView>,
}

/// Work of a job in one shard.
#[derive(Serialize, Deserialize)]
struct JobShardView {
    shard: u16,
    conversations: u64,
    messages: u64,
    events: u64,
    index: u64,
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
            UserCommand::Export(OneUser { user }) => {
                context.confirmed()?;
                export(context, &user).await
            }
            UserCommand::Erase(UserErasure { user, messages }) => {
                context.confirmed()?;
                let path = format!("/v1/admin/users/{}/erase", in_url(&user));
                let body = json!({ "messages": messages });
                let answer = context.client.change(Method::POST, &path, Some(&body)).await?;
                let job = answer["job"].as_str().unwrap_or_default().to_owned();
                let begun = BegunJob { job };
                context.output.print(&begun, || format!("{}\n", begun.job))
            }
            UserCommand::Job(OneJob { job }) => {
                let job: JobView = context.client.get(&format!("/v1/admin/jobs/{job}")).await?;
                context.output.print(&job, || job.text())
            }
        }
    }
}

/// Prints the lines of an export as they come.
async fn export(context: &CtlContext, user: &UserId) -> Result<(), Failure> {
    let path = format!("/v1/admin/users/{}/export", in_url(user));
    let mut body = context
        .client
        .download(Method::POST, &path, "application/x-ndjson")
        .await?;
    // The end of the text, which has the last line.
    let mut tail = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { break };
        let Ok(bytes) = frame.into_data() else { continue };
        if !write_on(&String::from_utf8_lossy(&bytes))? {
            return Ok(());
        }
        tail.extend_from_slice(&bytes);
        let start = tail.trim_ascii_end().iter().rposition(|byte| *byte == b'\n');
        tail.drain(..start.map_or(0, |at| at + 1));
    }
    match tail.starts_with(br#"{"t":"end""#) {
        true => Ok(()),
        false => Err(Failure::Refused("the export is incomplete: repeat it".to_owned())),
    }
}

// === impl JobView ===

impl JobView {
    fn text(&self) -> String {
        let sum = |value: fn(&JobShardView) -> u64| self.shards.iter().map(value).sum::<u64>();
        format!(
            "job            {}\nuser           {}\nmessages       {}\nstate          {}\nstarted        {}\n\
             done           {}\ngone by        {}\nconversations  {}\nchanged        {} messages, {} other events\n",
            self.job,
            self.u,
            self.messages,
            self.state,
            date(self.started),
            or_dash(self.done.map(date)),
            or_dash(self.gone_by.map(date)),
            sum(|shard| shard.conversations),
            sum(|shard| shard.messages),
            sum(|shard| shard.events),
        )
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

    #[test]
    fn json_and_text_of_a_job_are_frozen() {
        let answer = r#"{"job":"j","kind":"erase","u":"ada","messages":"delete","state":"running","started":0,
            "shards":[{"shard":0,"conversations":1,"messages":2,"events":3,"index":9},
                      {"shard":1,"conversations":1,"messages":1,"events":1,"index":4}]}"#;
        let job: JobView = serde_json::from_str(answer).unwrap();
        let expected = concat!(
            r#"{"v":1,"job":"j","u":"ada","messages":"delete","state":"running","started":0,"done":null,"gone_by":null,"#,
            r#""shards":[{"shard":0,"conversations":1,"messages":2,"events":3,"index":9},"#,
            r#"{"shard":1,"conversations":1,"messages":1,"events":1,"index":4}]}"#,
        );
        assert_eq!(versioned(&job), expected);
        let expected = "job            j\nuser           ada\nmessages       delete\nstate          running\n\
                        started        1970-01-01T00:00:00Z\ndone           -\ngone by        -\nconversations  2\n\
                        changed        3 messages, 4 other events\n";
        assert_eq!(job.text(), expected);
        let begun = BegunJob { job: "j".to_owned() };
        assert_eq!(versioned(&begun), r#"{"v":1,"job":"j"}"#);
        assert_eq!(
            json!({ "messages": ErasedMessagesChoice::KeepAnonymous }).to_string(),
            r#"{"messages":"keep-anonymous"}"#
        );
    }
}
