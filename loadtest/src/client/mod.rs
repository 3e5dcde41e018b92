//! One client: a WebSocket that reconnects, and the state behind it. All clients live on one thread; each wakes once
//! for everything that has arrived and writes everything that it has to say with one flush, because the harness
//! shares its cores with the servers that it measures.

pub(crate) mod habit;
mod place;
mod state;
mod task;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub(crate) use self::habit::{Acts, Habit};
pub(crate) use self::state::{Shared, World};
use self::task::Client;
use crate::clock::Nanos;
use crate::dial::Dialer;
use crate::oracle::ConvIx;
use crate::pacing::{Alarms, Pace};
use crate::payload::ClientIx;

/// What is the same for all clients of a run.
pub(crate) struct Common {
    pub(crate) world: Shared,
    /// Where a client may connect. A scenario that spares a node takes it out.
    pub(crate) nodes: RefCell<Vec<String>>,
    /// `{user}` is replaced by the user's name.
    pub(crate) token: String,
    /// Tells this process from an earlier one with the same devices.
    pub(crate) instance: String,
    /// Reads a second that are there to be judged, all clients together.
    pub(crate) reads: Cell<f64>,
    /// Messages that may still be sent, all clients together.
    pub(crate) budget: Cell<u64>,
    /// Clients that are online.
    pub(crate) online: Cell<usize>,
    /// Wakes the clients when their next message is due.
    pub(crate) alarms: Alarms,
    /// Opens the connections.
    pub(crate) dialer: Dialer,
    /// The longest pause between two tries.
    pub(crate) backoff_max: Duration,
    /// How often a client tells its node that it lives; two and a half times that without a word, and it leaves.
    pub(crate) heartbeat: Nanos,
    /// Bytes of read buffer per connection.
    pub(crate) read_buffer: usize,
}

/// What the harness tells a client.
pub(crate) enum Command {
    /// Take part; with `speak`, send messages there.
    Join {
        name: String,
        conv: ConvIx,
        speak: bool,
        reply: oneshot::Sender<()>,
    },
    /// Make a conversation; answers its name.
    Create {
        kind: &'static str,
        cid: String,
        members: Vec<String>,
        reply: oneshot::Sender<String>,
    },
    /// Change who is in a conversation, and as what.
    Enrol {
        name: String,
        change: Enrol,
        reply: oneshot::Sender<()>,
    },
    /// Read a conversation's log again, from where the oracle knows it.
    Reread {
        name: String,
        after: u64,
        reply: oneshot::Sender<()>,
    },
    /// Send at this pace from now on. `share` is the part of an open loop's rate that is this client's.
    Pace { pace: Pace, share: f64 },
    /// Behave so from now on.
    Behave(Habit),
    /// Let the connection drop, as it is, and come back.
    Cut,
    /// From now on make so many reads a second that are there to be judged.
    Probe(f64),
    /// Read the whole inbox and let the oracle count again.
    Inbox(oneshot::Sender<()>),
    /// Leave the node, if it isn't among the permitted ones any more.
    Move,
    /// Say how many messages are still unanswered.
    Unanswered(oneshot::Sender<usize>),
    /// Close and end.
    Quit,
}

/// A change of a membership.
#[derive(Clone, Debug)]
pub(crate) enum Enrol {
    /// Add this user.
    Invite(String),
    /// Come to a channel.
    Join,
    /// Permit this user to speak.
    Speaker(String),
    /// Remove this user.
    Kick(String),
}

// === impl Enrol ===

impl Enrol {
    /// The name of the command.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Enrol::Invite(_) => "invite",
            Enrol::Join => "join",
            Enrol::Speaker(_) => "role",
            Enrol::Kick(_) => "kick",
        }
    }

    /// It is about to be sent.
    fn begins(&self, name: &str, world: &mut World) {
        let Some(conv) = world.oracle.known(name) else {
            return; // the run has not begun there
        };
        match self {
            Enrol::Kick(who) => {
                if let Some(client) = world.payload.client(who) {
                    world.oracle.removal_asked(conv, client);
                }
            }
            Enrol::Invite(who) => {
                if let Some(client) = world.payload.client(who) {
                    world.oracle.invitation_asked(conv, client);
                }
            }
            Enrol::Join | Enrol::Speaker(_) => {}
        }
    }

    /// It was acknowledged at `s`.
    fn ends(&self, name: &str, s: u64, world: &mut World) {
        let Some(conv) = world.oracle.known(name) else {
            return;
        };
        match self {
            Enrol::Kick(who) => {
                if let Some(client) = world.payload.client(who) {
                    world.oracle.removal_acked(conv, client, s);
                }
            }
            Enrol::Invite(_) | Enrol::Join | Enrol::Speaker(_) => world.oracle.membership_acked(conv, s),
        }
    }
}

/// The harness's end of a client.
pub(crate) struct Handle {
    /// Boxed: a channel keeps room for 32 of them, in each of twenty thousand clients.
    /// `None` for a client of another process.
    commands: Option<mpsc::UnboundedSender<Box<Command>>>,
}

/// Starts a client; it connects at once. `first` is the node to begin with.
pub(crate) fn spawn(me: ClientIx, common: Rc<Common>, first: usize, seed: u64) -> Handle {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::task::spawn_local(Client::new(me, common, receiver, first, seed).run());
    Handle {
        commands: Some(sender),
    }
}

// === impl Handle ===

impl Handle {
    /// A client that isn't this process's: hears nothing.
    pub(crate) fn elsewhere() -> Handle {
        Handle { commands: None }
    }

    /// Tells the client; one that has ended hears nothing.
    pub(crate) fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(Box::new(command));
        }
    }
}
