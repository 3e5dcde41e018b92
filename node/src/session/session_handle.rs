//! Session handle: the calls of a connection's reader to its session.

use std::rc::Rc;
use std::time::Duration;

use actix::{Addr, Message};

use super::actor::Session;
use super::authenticated_client::AuthenticatedClient;
use super::connection_handle::ConnectionHandle;
use super::messages::{CommandBatch, DetachedCommand, Disconnect, ReceivedCommand, SetSessionExpiry};
use super::transport_policy::TransportPolicy;
use super::worker_context::WorkerContext;

/// Session of one connection, as seen by its reader. Cheap to clone.
#[derive(Clone)]
pub struct SessionHandle {
    session: Addr<Session>,
    connection: Rc<ConnectionHandle>,
    /// Time for which confirmations are collected.
    report_interval: Duration,
}

/// The session has ended, or another one continues it. The reader ends, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnded;

// === impl SessionHandle ===

impl SessionHandle {
    /// Opens a session on this thread. A client that is authenticated already sends no `auth`.
    #[must_use]
    pub fn open(
        worker: Rc<WorkerContext>,
        connection: Rc<ConnectionHandle>,
        policy: TransportPolicy,
        client: Option<AuthenticatedClient>,
    ) -> SessionHandle {
        let report_interval = worker.config.tuning.delivered_interval.0;
        let session = Session::open(worker, connection.clone(), policy, client);
        SessionHandle {
            session,
            connection,
            report_interval,
        }
    }

    #[must_use]
    pub fn connection(&self) -> &Rc<ConnectionHandle> {
        &self.connection
    }

    /// Hands decoded requests to the session. Resolves once all of them are dispatched; the caller reads on only then,
    /// which is the back-pressure on the client. Meanwhile the client's silence does not count.
    ///
    /// # Errors
    /// [`SessionEnded`] if the session has ended.
    pub async fn dispatch(&self, commands: Vec<ReceivedCommand>) -> Result<(), SessionEnded> {
        let confirms_resume = true;
        self.dispatch_batch(CommandBatch {
            commands,
            confirms_resume,
        })
        .await
    }

    /// Hands requests to the session as [`dispatch`](Self::dispatch) does, before the client can have this session's id:
    /// those that the gateway itself makes for its first frame, and those that the client sends ahead. The session that
    /// this one resumes stays, because a client whose connection is lost now comes back with the id of that one.
    ///
    /// # Errors
    /// [`SessionEnded`] if the session has ended.
    pub async fn dispatch_early(&self, commands: Vec<ReceivedCommand>) -> Result<(), SessionEnded> {
        let confirms_resume = false;
        self.dispatch_batch(CommandBatch {
            commands,
            confirms_resume,
        })
        .await
    }

    async fn dispatch_batch(&self, batch: CommandBatch) -> Result<(), SessionEnded> {
        // The reader may hold the connection for longer than this call.
        let was_held = self.connection.is_held();
        self.connection.hold(true);
        let dispatched = self.send(batch).await;
        self.connection.hold(was_held);
        dispatched
    }

    /// Dispatches a command of a client whose connection has ended, such as its will. Nothing is dispatched if the session
    /// has ended, or if another one continues it.
    pub async fn dispatch_detached(&self, command: ReceivedCommand) {
        // Not by `send`, which ends with the connection. An error means that the session has ended already.
        let _dispatched = self.session.send(DetachedCommand(command)).await;
    }

    /// Confirms that the client has applied the events up to `n`, as `hb` does: the replay buffer is trimmed at once, and
    /// the delivered cursors move with the next report. Numbers that were confirmed before change nothing. The first call,
    /// with any number, shows that the client has this session's id: the session that this one resumed ends.
    pub fn confirm(&self, n: u64) {
        self.connection.on_confirmed(n, self.report_interval);
    }

    /// Changes the time for which the session can be continued: by a resume for at most `session.resume_timeout`, and from
    /// the durable cursors of its device after that. With zero it ends with its connection.
    ///
    /// # Errors
    /// [`SessionEnded`] if the session has ended.
    pub async fn set_expiry(&self, expiry: Duration) -> Result<(), SessionEnded> {
        self.send(SetSessionExpiry(expiry)).await
    }

    /// Reports the end of the connection. The session becomes detached, or ends after a protocol violation.
    pub async fn disconnect(&self, disconnect: Disconnect) {
        // An error means that the session has ended already.
        let _over = self.send(disconnect).await;
    }

    async fn send<M>(&self, message: M) -> Result<(), SessionEnded>
    where
        M: Message<Result = ()> + Send + 'static,
        Session: actix::Handler<M>,
    {
        // The connection may end while a command waits for its rate: the reader must not outlive it.
        tokio::select! {
            sent = self.session.send(message) => sent.map_err(|_| SessionEnded),
            () = self.connection.closing() => Err(SessionEnded),
        }
    }
}
