//! The threads of a node: those of the cluster member, and the one that holds the actix system.

use std::sync::Arc;

use actix_web::dev::ServerHandle;
use cluster::Clock;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::Error;
use crate::config::Config;
use crate::conversation::{Backbone, Settings};
use crate::gateway::server;
use crate::user::Hook;

/// The runtime of the cluster member. Dropped, it stops without waiting: whoever drops it may be a task itself.
pub(super) struct Raft(Option<Runtime>);

/// The thread that holds the actix system, under which all actor threads live.
pub(super) struct Actors {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// What the system's thread serves once the cluster member runs.
pub(super) type Serve = (
    server::Parts,
    std::net::TcpListener,
    oneshot::Sender<std::io::Result<ServerHandle>>,
);

// === impl Raft ===

impl Raft {
    pub(super) fn start(threads: usize) -> std::io::Result<Raft> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .thread_name("raft")
            .worker_threads(threads)
            .enable_all()
            .build()?;
        Ok(Raft(Some(runtime)))
    }

    pub(super) fn handle(&self) -> &tokio::runtime::Handle {
        self.0.as_ref().expect("only a drop takes it away").handle()
    }
}

impl Drop for Raft {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Actors ===

impl Actors {
    /// Starts the actix system with the conversations in it; the gateway follows when it is handed over.
    pub(super) async fn start(
        config: &Config,
        raft: &Raft,
        hook: Option<Hook>,
        clock: Clock,
    ) -> Result<(Actors, Arc<Backbone>, oneshot::Sender<Serve>), Error> {
        let (stop, stopped) = oneshot::channel();
        let (serve, parts) = oneshot::channel::<Serve>();
        let (started, backbone) = oneshot::channel();
        let users = config.presence.settings(config.limits.sessions_per_user);
        let settings = Settings {
            users,
            added: config.limits.added(),
            retention: config.retention.policies(),
            retention_every: config.retention.every(),
            hook,
            clock,
            ..config.chat.settings()
        };
        let reads = raft.handle().clone();
        let thread = std::thread::Builder::new()
            .name("actors".to_owned())
            .spawn(move || {
                actix_web::rt::System::new().block_on(async move {
                    // Nobody waits for it any more: then nothing else happens either.
                    let _gone = started.send(Arc::new(Backbone::start(settings, reads)));
                    if let Ok((parts, listener, started)) = parts.await {
                        match server::serve(parts, listener) {
                            Ok(server) => {
                                let _gone = started.send(Ok(server.handle()));
                                if let Err(error) = server.await {
                                    tracing::error!(%error, "the gateway stopped");
                                }
                            }
                            Err(error) => {
                                let _gone = started.send(Err(error));
                            }
                        }
                    }
                    // Dropped or sent: either way it's time to go.
                    let _stop = stopped.await;
                });
            })?;
        let backbone = backbone.await.map_err(|_| Error::Ended("conversations"))?;
        Ok((Actors { stop, thread }, backbone, serve))
    }

    pub(super) async fn stop(self) {
        let _gone = self.stop.send(());
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the actors' thread panicked");
        }
    }
}
