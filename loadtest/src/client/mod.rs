//! Simulated client: a WebSocket connection that reconnects, and the state that outlives it.
//!
//! All clients of a process run on one thread. Each wakes once for all frames that have arrived, and writes all its
//! output with one flush. The harness shares its cores with the measured servers.

pub(crate) mod behavior;
mod conversation_view;
mod load_client;
mod state;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub(crate) use self::behavior::{ActivityMix, ClientBehavior};
use self::load_client::LoadClient;
pub(crate) use self::state::{RunContext, Shared};
use crate::clock::Nanos;
use crate::connector::Connector;
use crate::oracle::ConvIx;
use crate::pacing::{LoadPace, PreciseTimers};
use crate::payload::ClientIx;

/// Values that all clients of a run share.
pub(crate) struct SharedRun {
    pub(crate) context: Shared,
    /// Addresses that a client may connect to. A scenario that spares a node removes it.
    pub(crate) nodes: RefCell<Vec<String>>,
    /// Token template; `{user}` is replaced by the user's name.
    pub(crate) token: String,
    /// Distinguishes this process from an earlier one with the same device names.
    pub(crate) instance: String,
    /// Probe reads per second, of all clients together.
    pub(crate) reads: Cell<f64>,
    /// Messages that may still be sent, by all clients together.
    pub(crate) budget: Cell<u64>,
    pub(crate) online: Cell<usize>,
    pub(crate) alarms: PreciseTimers,
    pub(crate) dialer: Connector,
    /// Longest delay between two connection attempts.
    pub(crate) backoff_max: Duration,
    /// Interval of the heartbeats that a client sends. It disconnects after two and a half intervals without a frame.
    pub(crate) heartbeat: Nanos,
    /// Size of the read buffer of one connection, in bytes.
    pub(crate) read_buffer: usize,
}

/// Command of the harness to one client.
pub(crate) enum HarnessCommand {
    /// Opens a conversation; with `speak`, the client also sends messages to it.
    Join {
        name: String,
        conv: ConvIx,
        speak: bool,
        reply: oneshot::Sender<()>,
    },
    /// Creates a conversation, and replies with its name.
    Create {
        kind: &'static str,
        cid: String,
        members: Vec<String>,
        reply: oneshot::Sender<String>,
    },
    /// Changes a membership of a conversation.
    Membership {
        name: String,
        change: MembershipCommand,
        reply: oneshot::Sender<()>,
    },
    /// Reads a conversation's log again, above `after`.
    Reread {
        name: String,
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
    /// Adds this user to the conversation.
    Invite(String),
    /// Joins the user to a channel.
    Join,
    /// Grants this user the right to send.
    Speaker(String),
    /// Removes this user from the conversation.
    Kick(String),
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
    fn begins(&self, name: &str, context: &mut RunContext) {
        let Some(conv) = context.oracle.known(name) else {
            return; // the run has not begun there
        };
        // Recorded before the send: the effect may become visible before the acknowledgement arrives.
        match self {
            MembershipCommand::Kick(who) => {
                if let Some(client) = context.payload.client(who) {
                    context.oracle.removal_asked(conv, client);
                }
            }
            MembershipCommand::Invite(who) => {
                if let Some(client) = context.payload.client(who) {
                    context.oracle.invitation_asked(conv, client);
                }
            }
            MembershipCommand::Join | MembershipCommand::Speaker(_) => {}
        }
    }

    /// Records in the oracle that the change was acknowledged at seq `s`.
    fn ends(&self, name: &str, s: u64, context: &mut RunContext) {
        let Some(conv) = context.oracle.known(name) else {
            return;
        };
        match self {
            MembershipCommand::Kick(who) => {
                if let Some(client) = context.payload.client(who) {
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
pub(crate) fn spawn(me: ClientIx, common: Rc<SharedRun>, first: usize, seed: u64) -> ClientHandle {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::task::spawn_local(LoadClient::new(me, common, receiver, first, seed).run());
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
