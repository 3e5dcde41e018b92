//! Will of a client: a command that its session executes when the connection ends without a DISCONNECT.
//!
//! It passes the session like any other command, so membership decides at the time of its execution. It is lost with its
//! node.

use std::time::Duration;

use tokio::sync::oneshot;

use super::connect_plan::WILL_TIME;
use super::will_command::WillCommand;
use crate::session::SessionHandle;
use crate::session::messages::ReceivedCommand;

/// Size that a will counts with.
const WILL_BYTES: usize = 256;

/// Will of one connection. It is executed after its delay once this is dropped, whatever ended the connection.
pub(super) struct LastWill {
    session: SessionHandle,
    will: WillCommand,
    discard_sender: oneshot::Sender<()>,
}

// === impl LastWill ===

impl LastWill {
    /// Starts the will of a session. `longest`: longest delay with which the session is still there to execute it.
    pub(super) fn start(session: SessionHandle, will: WillCommand, longest: Duration) -> LastWill {
        let will = WillCommand {
            delay: will.delay.min(longest),
            ..will
        };
        let (discard_sender, discarded) = oneshot::channel();
        let (own_session, own_will) = (session.clone(), will.clone());
        // Ends with the will, which the end of the connection starts or discards.
        actix_web::rt::spawn(async move {
            if discarded.await.is_ok() {
                return;
            }
            tokio::time::sleep(own_will.delay).await;
            // A session that was resumed meanwhile, or has ended, does not execute the command.
            own_session.dispatch_detached(command(own_will)).await;
        });
        LastWill {
            session,
            will,
            discard_sender,
        }
    }

    /// Drops the will of a client that has ended its connection itself.
    pub(super) fn discard(self) {
        // An error means that the task has ended with its thread.
        let _ended = self.discard_sender.send(());
    }

    /// Executes a will without a delay, before the session learns of the end of its connection. So it does with a will
    /// whose delay is too long for the session expiry of the DISCONNECT.
    pub(super) async fn execute_now(self, new_expiry: Option<Duration>) {
        let ends_first = |expiry: Duration| expiry.saturating_sub(WILL_TIME) <= self.will.delay;
        if self.will.delay.is_zero() || new_expiry.is_some_and(ends_first) {
            self.session.dispatch_detached(command(self.will.clone())).await;
            self.discard();
        }
    }
}

fn command(will: WillCommand) -> ReceivedCommand {
    ReceivedCommand {
        request: Ok(will.request),
        bytes: WILL_BYTES,
    }
}
