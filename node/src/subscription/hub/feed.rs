//! Hub without a subscription manager, for benchmarks and tests.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::SubscriptionHub;
use crate::rpc::register::Proof;
use crate::state_machine::EventEnvelope;
use crate::subscription::hub_event::{HubCommand, HubEvent};

/// Drives a [`SubscriptionHub`] without a manager, for benchmarks and tests. Every subscription is admitted at position
/// 0.
pub struct DetachedHub {
    events: mpsc::Sender<Vec<HubEvent>>,
}

// === impl SubscriptionHub ===

impl SubscriptionHub {
    /// Creates a hub that is fed by hand, on the calling thread's actix runtime.
    #[must_use]
    pub fn detached() -> (SubscriptionHub, DetachedHub) {
        let (events, inbox) = mpsc::channel(16);
        let (hub, outbox) = SubscriptionHub::build();
        hub.own(actix::spawn(grant_all(outbox, events.clone())).abort_handle());
        hub.listen(inbox);
        (hub, DetachedHub { events })
    }
}

// === impl DetachedHub ===

impl DetachedHub {
    /// Queues events for the hub; waits while the queue is full.
    pub async fn push(&self, events: Vec<Arc<EventEnvelope>>) {
        // Fails only after the hub is dropped.
        let _ = self
            .events
            .send(events.into_iter().map(HubEvent::Event).collect())
            .await;
    }
}

/// Replaces the manager: admits every subscription.
async fn grant_all(mut orders: mpsc::UnboundedReceiver<HubCommand>, events: mpsc::Sender<Vec<HubEvent>>) {
    while let Some(order) = orders.recv().await {
        if let HubCommand::Subscribe { conv, ticket, .. } = order {
            let batch = vec![
                HubEvent::Live { conv, as_of: 0 },
                HubEvent::Admitted {
                    ticket,
                    result: Ok(Proof {
                        at: 0,
                        since: Some(0),
                        history: protocol::HistoryVisibility::All,
                    }),
                    recent: Vec::new(),
                },
            ];
            if events.send(batch).await.is_err() {
                return;
            }
        }
    }
}
