//! Simulated client: a WebSocket connection that reconnects, and the state that outlives it. The wire of the client
//! translates between the native frames of its state and the messages of its connection.
//!
//! All clients of a process run on one thread. Each wakes once for all frames that have arrived, and writes all its
//! output with one flush. The harness shares its cores with the measured servers.

mod client_socket;
mod conversation_view;
mod load_client;
mod polling_socket;
mod state;

use std::rc::Rc;

use protocol::{ConversationId, ConversationKind, UserId};
use tokio::sync::{mpsc, oneshot};

use self::load_client::LoadClient;
use super::SharedRun;
use crate::measure::RunContext;
use crate::oracle::ConvIx;
use crate::pacing::LoadPace;
use crate::payload::ClientIx;
use crate::spec::ClientBehavior;
use crate::wire::Wire;

/// Device of each client, whose user is its own.
const DEVICE: &str = "loadtest";

/// Command of the harness to one client.
pub(crate) enum HarnessCommand {
    /// Opens a conversation; with `speak`, the client also sends messages to it.
    Join {
        name: ConversationId,
        conv: ConvIx,
        speak: bool,
        reply: oneshot::Sender<()>,
    },
    /// Creates a conversation, and replies with its name.
    Create {
        kind: ConversationKind,
        cid: String,
        members: Vec<UserId>,
        reply: oneshot::Sender<ConversationId>,
    },
    /// Changes a membership of a conversation.
    Membership {
        name: ConversationId,
        change: MembershipCommand,
        reply: oneshot::Sender<()>,
    },
    /// Reads a conversation's log again, above `after`.
    Reread {
        name: ConversationId,
        after: u64,
        reply: oneshot::Sender<()>,
    },
    /// Sends at this pace from now on. `share` is the client's share of an open loop's rate.
    Pace { pace: LoadPace, share: f64 },
    /// Replaces the client's behavior.
    Behave(ClientBehavior),
    /// Drops the connection without a close frame, and reconnects.
    Cut,
    /// Sets the rate of the client's probe reads per second.
    Probe(f64),
    /// Reads the whole conversation list, and has the oracle check its unread counts.
    Inbox(oneshot::Sender<()>),
    /// Leaves the current node if its address is no longer permitted.
    Move,
    /// Replies with the number of unacknowledged messages.
    Unanswered(oneshot::Sender<usize>),
    /// Closes the connection and ends the client.
    Quit,
}

/// Change of a membership.
#[derive(Clone, Debug)]
pub(crate) enum MembershipCommand {
    /// Adds this user as a member.
    Invite(UserId),
    /// Makes the client itself a member of a channel.
    Join,
    /// Grants this user the right to send.
    Speaker(UserId),
    /// Removes this user from the conversation.
    Kick(UserId),
}

// === impl MembershipCommand ===

impl MembershipCommand {
    /// Returns the name of the protocol command.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            MembershipCommand::Invite(_) => "invite",
            MembershipCommand::Join => "join",
            MembershipCommand::Speaker(_) => "role",
            MembershipCommand::Kick(_) => "kick",
        }
    }

    /// Records in the oracle that the change is about to be sent.
    fn begins(&self, name: &ConversationId, context: &mut RunContext) {
        let Some(conv) = context.oracle.known(name.as_str()) else {
            return; // the run has not begun there
        };
        // Recorded before the send: the effect may become visible before the acknowledgement arrives.
        match self {
            MembershipCommand::Kick(who) => {
                if let Some(client) = context.payload.client(who.as_str()) {
                    context.oracle.removal_asked(conv, client);
                }
            }
            MembershipCommand::Invite(who) => {
                if let Some(client) = context.payload.client(who.as_str()) {
                    context.oracle.invitation_asked(conv, client);
                }
            }
            MembershipCommand::Join | MembershipCommand::Speaker(_) => {}
        }
    }

    /// Records in the oracle that the change was acknowledged at seq `s`.
    fn ends(&self, name: &ConversationId, s: u64, context: &mut RunContext) {
        let Some(conv) = context.oracle.known(name.as_str()) else {
            return;
        };
        match self {
            MembershipCommand::Kick(who) => {
                if let Some(client) = context.payload.client(who.as_str()) {
                    context.oracle.removal_acked(conv, client, s);
                }
            }
            MembershipCommand::Invite(_) | MembershipCommand::Join | MembershipCommand::Speaker(_) => {
                context.oracle.membership_acked(conv, s)
            }
        }
    }
}

/// Sender of commands to one client.
pub(crate) struct ClientHandle {
    /// Boxed: each channel reserves room for 32 commands, in each of twenty thousand clients. `None` for a client of
    /// another process.
    commands: Option<mpsc::UnboundedSender<Box<HarnessCommand>>>,
}

/// Starts a client, which connects at once. `first` is the index of its first node.
pub(crate) fn spawn(
    me: ClientIx,
    wire: Wire,
    common: Rc<SharedRun>,
    first: usize,
    seed: u64,
) -> ClientHandle {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::task::spawn_local(LoadClient::new(me, wire, common, receiver, first, seed).run());
    ClientHandle {
        commands: Some(sender),
    }
}

// === impl ClientHandle ===

impl ClientHandle {
    /// Returns the handle of a client of another process. Commands to it are discarded.
    pub(crate) fn elsewhere() -> ClientHandle {
        ClientHandle { commands: None }
    }

    /// Sends a command to the client. A client that has ended ignores it.
    pub(crate) fn send(&self, command: HarnessCommand) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(Box::new(command));
        }
    }
}
