//! End of a distributed run: reports of the workers, the verdict, and the abort after a failure.

use std::time::Duration;

use super::{Coordinator, RESPONSE_TIMEOUT};
use crate::distributed::Error;
use crate::distributed::message::CoordinatorMessage;
use crate::distributed::message_stream::Out;
use crate::report::{HarnessReport, WorkerReport};

// === impl Coordinator: end of the run ===

impl Coordinator {
    /// Judges the missing messages, and merges all measurements. Returns the workers' use of resources.
    pub(crate) async fn finish(&self) -> Result<HarnessReport, Error> {
        self.send(&CoordinatorMessage::Finish).await;
        self.until(
            "sent its final report",
            RESPONSE_TIMEOUT.max(self.patience),
            |status| status.last.is_some(),
        )
        .await?;
        let mut workers = Vec::new();
        let context = &mut *self.common.context.borrow_mut();
        for (worker, status) in self.workers.workers.borrow_mut().iter_mut().enumerate() {
            let Some(last) = status.last.take() else { continue };
            let joined = context.recorder.join(&last.measured);
            joined.map_err(|why| self.gone(worker, why))?;
            context.recovery.join(&last.returned);
            context.oracle.on_late_event(last.late);
            for line in &last.history {
                context.oracle.retell(format!("worker {}: {line}", worker + 1));
            }
            workers.push(WorkerReport {
                worker: status.address.clone(),
                clients: last.clients,
                cpu_us: last.usage.cpu_us,
                rss_kib: last.usage.rss_kib,
                rss_before_kib: last.rss_before_kib,
                clock_error_us: status.clock_error.unwrap_or(0) / 1000,
            });
        }
        context.recorder.joined();
        let logs = self.workers.logs.borrow();
        let mut report = HarnessReport::of_workers(workers);
        report.events_compared = logs.compared;
        Ok(report)
    }

    /// Sends the verdict to all workers, which end with it.
    pub(crate) async fn verdict(&self, passed: bool) {
        self.send(&CoordinatorMessage::Verdict { passed }).await;
        // Flushed: this process ends afterwards, and queued frames would be lost.
        for out in &self.outs {
            out.flush().await;
        }
    }

    /// Waits for the failure of a worker, and aborts the run.
    pub(crate) async fn failed(&self) -> Error {
        loop {
            // Before the check: a failure between check and wait would not be noticed.
            let update = self.workers.updates.notified();
            if let Some(error) = self.failure() {
                self.abort(&error).await;
                return error;
            }
            update.await;
        }
    }

    pub(super) async fn abort(&self, error: &Error) {
        let why = error.to_string();
        // Without waiting: the full queue of one worker must not delay the abort of the others.
        for out in &self.outs {
            out.mention(&CoordinatorMessage::Abort { why: why.clone() });
        }
        // A worker that has ended reads nothing, so the flush is limited.
        let flush = futures::future::join_all(self.outs.iter().map(Out::flush));
        let _ = tokio::time::timeout(Duration::from_secs(1), flush).await;
    }
}
