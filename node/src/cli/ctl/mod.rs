//! `rookery ctl`: commands of operators against running nodes.
//!
//! Data goes to standard output, everything else to standard error. The exit code is part of the interface:
//! [`failure`] has the list. JSON output begins with the number of its version, `"v":1`.
//!
//! One file per command: it has the arguments, asks the admin API through [`client`], and renders the answer, which
//! [`view`] declares.

mod can_stop;
mod check;
mod client;
mod conversation;
mod drain;
mod events;
mod failovers;
mod failure;
mod global;
mod join;
mod key;
mod leave;
mod live;
mod nodes;
mod output;
mod owners;
mod progress;
mod rolling_restart;
mod sessions;
mod shards;
mod status;
mod support_bundle;
mod tar;
mod token;
mod top;
mod user;
mod view;
mod watch;
mod whole;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::client::AdminClient;
pub(super) use self::client::{TOKEN, http_url, token};
use self::failure::Failure;
use self::global::GlobalArgs;
use self::output::Output;

/// Addresses that are tried unless others are given: the port for operators, and that of `rookery dev`, which has one port
/// for everything.
pub(super) const DEFAULT_URLS: [&str; 2] = ["http://127.0.0.1:8079", "http://127.0.0.1:8080"];

/// Arguments of `rookery ctl`.
#[derive(Args)]
pub(super) struct Ctl {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Subcommand)]
enum CtlCommand {
    /// Shows the state of the cluster in one sentence, and its nodes.
    Status(status::Status),
    /// Shows the nodes and their load, and redraws them every second.
    Top(top::Top),
    /// Prints a line for each change of a node or of a shard's owner.
    Watch(watch::Watch),
    /// Lists the nodes with version, uptime, load and disk.
    Nodes(nodes::Nodes),
    /// Lists the shards with their owners, and the role and lag of every replica.
    Shards(shards::Shards),
    /// Checks the cluster, or a node, for probes and monitors: the exit code is the result.
    Check(check::Check),
    /// Tells whether a node can stop without a shard losing its majority.
    CanStop(can_stop::CanStop),
    /// Drains a node: its shards and sessions move to other nodes.
    Drain(drain::Drain),
    /// Ends the drain of a node, or its leaving.
    Resume(drain::Resume),
    /// Prints what a new node needs, and waits until it holds its share.
    Join(join::Join),
    /// Removes a node for good without a loss: its shards, sessions and replicas move to other nodes first.
    Leave(leave::Leave),
    /// Lets a new node take the place of a dead one.
    Replace(leave::Replace),
    /// Removes a node for good that does not answer any more.
    Forget(leave::Forget),
    /// Moves a shard to a node with a replica of it.
    Move(owners::Move),
    /// Returns all shards to the owners that the placement prefers.
    Rebalance(owners::Rebalance),
    /// Restarts the nodes one after the other, each only while nothing is missing.
    RollingRestart(rolling_restart::RollingRestart),
    /// Manages the API keys of back ends.
    Key(key::Key),
    /// Lists the changes by operators and back ends: the audit log.
    Events(events::Events),
    /// Lists the takeovers of shards from an earlier owner: why, and how long the shard had none.
    Failovers(failovers::Failovers),
    /// Lists the sessions of a user on all nodes, or ends them.
    Sessions(sessions::Sessions),
    /// Shows a conversation without its messages, or gives it an owner.
    Conversation(conversation::Conversation),
    /// Shows a user, closes its sessions, refuses its tokens, exports or erases its data.
    User(user::User),
    /// Writes a tar file for the developers: settings without secrets, state, metrics, failovers, audit log, last warnings
    /// and errors of all nodes.
    SupportBundle(support_bundle::SupportBundle),
    /// Makes tokens of users with the key of the identity provider, without a node.
    Token(token::Token),
}

/// Dependencies of a command.
struct CtlContext {
    client: AdminClient,
    output: Output,
    yes: bool,
}

// === impl Ctl ===

impl Ctl {
    /// Runs the command, and prints a failure to standard error.
    pub(super) async fn run(self) -> ExitCode {
        match self.command.run(self.global).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                let text = failure.to_string();
                if !text.is_empty() {
                    eprintln!("rookery: {text}");
                }
                ExitCode::from(failure.exit_code())
            }
        }
    }
}

impl CtlCommand {
    async fn run(self, global: GlobalArgs) -> Result<(), Failure> {
        let context = global.open()?;
        match self {
            CtlCommand::Status(status) => status.run(&context).await,
            CtlCommand::Top(top) => top.run(&context).await,
            CtlCommand::Watch(watch) => watch.run(&context).await,
            CtlCommand::Nodes(nodes) => nodes.run(&context).await,
            CtlCommand::Shards(shards) => shards.run(&context).await,
            CtlCommand::Check(check) => check.run(&context).await,
            CtlCommand::CanStop(can_stop) => can_stop.run(&context).await,
            CtlCommand::Drain(drain) => drain.run(&context).await,
            CtlCommand::Resume(resume) => resume.run(&context).await,
            CtlCommand::Join(join) => join.run(&context).await,
            CtlCommand::Leave(leave) => leave.run(&context).await,
            CtlCommand::Replace(replace) => replace.run(&context).await,
            CtlCommand::Forget(forget) => forget.run(&context).await,
            CtlCommand::Move(shard) => shard.run(&context).await,
            CtlCommand::Rebalance(rebalance) => rebalance.run(&context).await,
            CtlCommand::RollingRestart(restart) => restart.run(&context).await,
            CtlCommand::Key(key) => key.run(&context).await,
            CtlCommand::Events(events) => events.run(&context).await,
            CtlCommand::Failovers(failovers) => failovers.run(&context).await,
            CtlCommand::Sessions(sessions) => sessions.run(&context).await,
            CtlCommand::Conversation(conversation) => conversation.run(&context).await,
            CtlCommand::User(user) => user.run(&context).await,
            CtlCommand::SupportBundle(bundle) => bundle.run(&context).await,
            CtlCommand::Token(token) => token.run(&context),
        }
    }
}

impl CtlContext {
    /// Refuses a command that cannot be undone, unless `--yes` was given.
    fn confirmed(&self) -> Result<(), Failure> {
        match self.yes {
            true => Ok(()),
            false => Err(Failure::NotConfirmed),
        }
    }
}
