//! Pool of disk reads: a bounded number of blocking threads, so that actors and transport threads never block.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::rpc::RpcError;
use crate::telemetry::ConversationMetrics;

/// Concurrent reads of the disk: enough to keep one busy.
const READS: usize = 8;
/// Queries in progress or queued. Further ones are refused with `busy`.
const MAX_QUEUED: usize = 4_096;
/// Time after which a queued read is refused: its client has given up or will repeat it.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(3);

/// Bounded access to the blocking threads of a runtime.
#[derive(Clone)]
pub(crate) struct BlockingPool {
    runtime: Handle,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    deadline: Duration,
    metrics: ConversationMetrics,
}

// === impl BlockingPool ===

impl BlockingPool {
    pub(crate) fn new(runtime: Handle, metrics: ConversationMetrics) -> BlockingPool {
        BlockingPool {
            runtime,
            running: Arc::new(Semaphore::new(READS)),
            waiting: Arc::new(Semaphore::new(MAX_QUEUED + READS)),
            questions: Arc::new(Semaphore::new(MAX_QUEUED)),
            deadline: QUEUE_TIMEOUT,
            metrics,
        }
    }

    /// Returns the runtime of the blocking threads.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Returns a permit for one query in progress, or `None` above the bound.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = self.questions.clone().try_acquire_owned().ok();
        if permit.is_none() {
            self.metrics.reads_refused.inc();
        }
        permit
    }

    /// Runs `read` on a blocking thread. Returns `Busy` if the queue is full or the read got no thread before the
    /// deadline.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        // Bounds the queue in front of `running`, which a semaphore alone does not.
        let Ok(_permit) = self.waiting.clone().try_acquire_owned() else {
            self.metrics.reads_refused.inc();
            return Err(RpcError::Busy);
        };
        let Ok(Ok(turn)) = timeout(self.deadline, self.running.clone().acquire_owned()).await else {
            self.metrics.reads_refused.inc();
            return Err(RpcError::Busy);
        };
        self.metrics.reads.inc();
        // The permit moves into the closure: a blocking read continues after its caller is cancelled.
        let task = self.runtime.spawn_blocking(move || {
            let answer = read();
            drop(turn);
            answer
        });
        task.await.map_err(|error| RpcError::Failed(error.to_string()))
    }
}
