//! Threads of a node: the runtime of the cluster member, and the thread of the actix system.

use std::sync::Arc;

use actix_web::dev::ServerHandle;
use cluster::ClusterClock;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::Error;
use crate::config::Config;
use crate::gateway::server;
use crate::service::ChatService;
use crate::shard::{Settings, WebhookTarget};

/// Runtime of the cluster member. A drop does not wait for its tasks, because it may happen inside of one.
pub(super) struct ClusterRuntime(Option<Runtime>);

/// Thread of the actix system, which owns all actor threads.
pub(super) struct ActorRuntime {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// Dependencies of the gateway, sent to the system's thread after the cluster member has started.
pub(super) type Serve = (
    server::GatewayDeps,
    server::Listeners,
    oneshot::Sender<std::io::Result<ServerHandle>>,
);

// === impl ClusterRuntime ===

impl ClusterRuntime {
    pub(super) fn start(threads: usize) -> std::io::Result<ClusterRuntime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .thread_name("raft")
            .worker_threads(threads)
            .enable_all()
            .build()?;
        Ok(ClusterRuntime(Some(runtime)))
    }

    pub(super) fn handle(&self) -> &tokio::runtime::Handle {
        self.0.as_ref().expect("only a drop takes it away").handle()
    }
}

impl Drop for ClusterRuntime {
    fn drop(&mut self) {
        // A blocking drop of a runtime panics inside of an async context, where `Running::stop` runs.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl ActorRuntime ===

impl ActorRuntime {
    /// Starts the actix system with the chat service in it. The gateway starts when its dependencies are sent to the
    /// returned channel.
    pub(super) async fn start(
        config: &Config,
        raft: &ClusterRuntime,
        hook: Option<WebhookTarget>,
        clock: ClusterClock,
    ) -> Result<(ActorRuntime, Arc<ChatService>, oneshot::Sender<Serve>), Error> {
        let (stop, stopped) = oneshot::channel();
        let (serve, parts) = oneshot::channel::<Serve>();
        let (started, service) = oneshot::channel();
        let settings = Settings {
            webhook: hook,
            clock,
            ..Settings::from(config)
        };
        // Disk reads use the blocking threads of the cluster's runtime: they must not block an actor thread.
        let reads = raft.handle().clone();
        let thread = std::thread::Builder::new()
            .name("actors".to_owned())
            .spawn(move || {
                actix_web::rt::System::new().block_on(async move {
                    // A closed channel means that the start was abandoned; `parts` then ends as well.
                    let _gone = started.send(Arc::new(ChatService::start(settings, reads)));
                    if let Ok((parts, listeners, started)) = parts.await {
                        match server::serve(parts, listeners) {
                            Ok(server) => {
                                let _gone = started.send(Ok(server.handle()));
                                if let Err(error) = server.await {
                                    tracing::error!(%error, "gateway failed");
                                }
                            }
                            Err(error) => {
                                let _gone = started.send(Err(error));
                            }
                        }
                    }
                    // The system lives until the stop is requested, by a message or by dropping the sender.
                    let _stop = stopped.await;
                });
            })?;
        let service = service.await.map_err(|_| Error::Ended("conversations"))?;
        Ok((ActorRuntime { stop, thread }, service, serve))
    }

    pub(super) async fn stop(self) {
        let _gone = self.stop.send(());
        // `join` blocks, and the runtime also has to measure the deadline of this step.
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("actor thread panicked");
        }
    }
}
