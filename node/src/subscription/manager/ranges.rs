//! Missing ranges of events, read from the log by queries to the shard owners.

use std::time::{Duration, Instant};

use tracing::debug;

use super::{ManagerTask, Pull};
use crate::registration::RegistrationTask;
use crate::shard_client::{CommandError, queries};
use crate::state_machine::EventEnvelope;
use crate::state_machine::query::{RangeQuery, Ranged};
use crate::subscription::hub_event::HubEvent;

/// Maximum number of ranges that are read concurrently.
const PULLS: usize = 16;
/// Delay before a range is read again.
const PULL_RETRY: Duration = Duration::from_millis(200);

/// Result of a query for a range.
pub(super) struct RangeResponse {
    pull: Pull,
    result: Result<Ranged, CommandError>,
}

// === impl ManagerTask ===

impl ManagerTask {
    /// Reads missing ranges, up to the maximum under way.
    pub(super) fn pull(&mut self) {
        while self.ranges.len() < PULLS
            && let Some(pull) = self.pulls.pop_front()
        {
            self.node.metrics.relay_pulls.inc();
            let node = self.node.clone();
            self.ranges.push(Box::pin(async move {
                let range = RangeQuery {
                    conv: pull.conv.clone(),
                    after: pull.after,
                };
                let result = queries::query(&node, &range).await;
                RangeResponse { pull, result }
            }));
        }
    }

    pub(super) fn on_range(&mut self, RangeResponse { pull, result }: RangeResponse) {
        match (pull.worker, result) {
            (Some(worker), Ok(range)) => {
                let events = range.events.into_iter();
                let events = events
                    .map(|event| EventEnvelope::replay(pull.conv.clone(), event).into())
                    .collect();
                let event = HubEvent::Pulled {
                    conv: pull.conv,
                    after: pull.after,
                    events,
                    last: range.last,
                };
                self.registrations.workers.send(worker, event);
            }
            (None, Ok(range)) => {
                let RegistrationTask { shards, workers, .. } = &mut self.registrations;
                shards[pull.shard]
                    .content
                    .pulled((&pull.conv, pull.after), range, workers);
                self.take_missing(pull.shard);
            }
            (_, Err(refusal)) => {
                debug!(conv = %pull.conv, %refusal, "catch-up query failed, will retry");
                // Retried without a limit: no subscriber can continue over the missing events.
                self.later.push_back((Instant::now() + PULL_RETRY, pull));
            }
        }
    }
}
