//! Where the disk is read: a bounded number of threads that may block, so that actors and links never do.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::conversation::metrics::Metrics;
use crate::conversation::settings::Settings;
use crate::rpc::Refused;

/// A bounded door to the blocking threads of a runtime.
#[derive(Clone)]
pub(crate) struct Pool {
    runtime: Handle,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    deadline: Duration,
    metrics: Metrics,
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(runtime: Handle, settings: &Settings, metrics: Metrics) -> Pool {
        Pool {
            runtime,
            running: Arc::new(Semaphore::new(settings.reads)),
            waiting: Arc::new(Semaphore::new(settings.reads_queued + settings.reads)),
            questions: Arc::new(Semaphore::new(settings.reads_queued)),
            deadline: settings.read_deadline,
            metrics,
        }
    }

    /// The runtime whose threads these are.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// A place among the questions that are being answered; `None` when there are too many.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.questions.clone().try_acquire_owned().ok();
        if place.is_none() {
            self.metrics.reads_refused.inc();
        }
        place
    }

    /// Runs `read` on a thread that may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let Ok(_place) = self.waiting.clone().try_acquire_owned() else {
            self.metrics.reads_refused.inc();
            return Err(Refused::Busy);
        };
        let Ok(Ok(turn)) = timeout(self.deadline, self.running.clone().acquire_owned()).await else {
            self.metrics.reads_refused.inc();
            return Err(Refused::Busy);
        };
        self.metrics.reads.inc();
        let task = self.runtime.spawn_blocking(move || {
            let answer = read();
            drop(turn);
            answer
        });
        task.await.map_err(|error| Refused::Failed(error.to_string()))
    }
}
