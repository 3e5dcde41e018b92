//! A hub without a relay, for benches and tests.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::LocalHub;
use crate::conversation::timeline::Published;
use crate::relay::notice::{Control, Notice};
use crate::rpc::register::Proof;

/// Drives a [`LocalHub`] that has no relay behind it: for benches and tests. Every subscription is granted at
/// position 0.
pub struct Feed {
    notices: mpsc::Sender<Vec<Notice>>,
}

// === impl LocalHub ===

impl LocalHub {
    /// A hub that is fed by hand, on the calling thread's actix runtime.
    #[must_use]
    pub fn detached() -> (LocalHub, Feed) {
        let (notices, inbox) = mpsc::channel(16);
        let (hub, outbox) = LocalHub::build();
        hub.own(actix::spawn(grant_all(outbox, notices.clone())).abort_handle());
        hub.listen(inbox);
        (hub, Feed { notices })
    }
}

// === impl Feed ===

impl Feed {
    /// Puts events in the hub's queue; waits while it is full.
    pub async fn push(&self, events: Vec<Arc<Published>>) {
        // Without its hub the feed goes nowhere.
        let _ = self
            .notices
            .send(events.into_iter().map(Notice::Event).collect())
            .await;
    }
}

/// In the place of the relay: grants everything.
async fn grant_all(mut orders: mpsc::UnboundedReceiver<Control>, notices: mpsc::Sender<Vec<Notice>>) {
    while let Some(order) = orders.recv().await {
        if let Control::Subscribe { conv, ticket, .. } = order {
            let batch = vec![
                Notice::Live { conv, as_of: 0 },
                Notice::Admitted {
                    ticket,
                    result: Ok(Proof {
                        at: 0,
                        since: Some(0),
                        history: protocol::History::All,
                    }),
                    recent: Vec::new(),
                },
            ];
            if notices.send(batch).await.is_err() {
                return;
            }
        }
    }
}
