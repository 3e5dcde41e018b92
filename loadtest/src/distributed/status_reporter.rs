//! Reports of a worker's changes to the coordinator.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{DigestRange, MetricsDelta, WorkerMessage};
use super::message_stream::Out;
use crate::load::SharedRun;
use crate::oracle::ConvIx;

/// Interval between two ticks.
const TICK: Duration = Duration::from_millis(200);
/// Maximum number of digests in one tick.
const DIGESTS: usize = 200_000;

/// Reports the changes of a worker several times a second.
pub(super) struct StatusReporter {
    pub(super) common: Rc<SharedRun>,
    /// Conversations that other workers see as well.
    pub(super) shared: Vec<ConvIx>,
    /// Number of violations that were reported.
    pub(super) violations: usize,
}

/// Sends ticks and pings until the connection ends.
pub(super) async fn report(reporter: Rc<RefCell<StatusReporter>>, out: Out) {
    let mut asked = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        // The borrow ends before the await below.
        let tick = reporter.borrow_mut().tick();
        out.say(&WorkerMessage::Tick(tick)).await;
        if asked.elapsed() > Duration::from_secs(1) {
            asked = Instant::now();
            out.mention(&WorkerMessage::Ping { sent: 0 }); // the answer shows that the coordinator is there
        }
    }
}

// === impl StatusReporter ===

impl StatusReporter {
    pub(super) fn tick(&mut self) -> MetricsDelta {
        let context = &mut *self.common.context.borrow_mut();
        context.recorder.tick(context.clock.now());
        let mut room = DIGESTS;
        let mut stretches = Vec::new();
        for conv in &self.shared {
            if let Some((from, digests)) = context.oracle.unreported(*conv, room).filter(|_| room > 0) {
                room -= digests.len();
                stretches.push(DigestRange {
                    conv: *conv,
                    from,
                    digests,
                });
            }
        }
        let violations = context.oracle.violations()[self.violations..].to_vec();
        self.violations += violations.len();
        MetricsDelta {
            online: self.common.online.get(),
            left: self.common.budget.get(),
            counts: context.oracle.counts(),
            seconds: context.recorder.closed(),
            stretches,
            violations,
        }
    }
}
