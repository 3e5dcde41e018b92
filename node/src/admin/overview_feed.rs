//! Feed of overviews: one overview per second, shared by all who follow it on this node.
//!
//! The task that asks the nodes runs while somebody follows. It ends with the last follower, and when the node stops,
//! which ends every stream.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::NodeAdmin;

/// Interval of the overviews.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of followers of one node: consoles and terminals of operators.
const FOLLOWERS: usize = 32;

/// Follower of the overviews. It receives the newest one, and skips those that it was too slow for.
pub(crate) type OverviewFollower = watch::Receiver<Bytes>;

/// Overviews as JSON, while somebody follows them.
#[derive(Default)]
pub(super) struct OverviewFeed {
    sender: Mutex<Option<watch::Sender<Bytes>>>,
}

/// As many follow this node as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FOLLOWERS} streams are open on this node, which is the limit")]
pub(crate) struct TooManyFollowers;

// === impl NodeAdmin: overview feed ===

impl NodeAdmin {
    /// Follows the overviews: the receiver changes about once a second, first within half a second.
    ///
    /// # Errors
    /// [`TooManyFollowers`].
    pub(crate) fn follow_overview(&self) -> Result<OverviewFollower, TooManyFollowers> {
        let mut sender = self.inner.feed.sender.lock();
        if let Some(sender) = &*sender {
            return match sender.receiver_count() < FOLLOWERS {
                true => {
                    let mut follower = sender.subscribe();
                    // The newest overview at once, unless the first is still being made.
                    if !follower.borrow_and_update().is_empty() {
                        follower.mark_changed();
                    }
                    Ok(follower)
                }
                false => Err(TooManyFollowers),
            };
        }
        let (fresh, follower) = watch::channel(Bytes::new());
        *sender = Some(fresh);
        self.inner.deps.runtime.spawn(self.clone().feed_overviews());
        Ok(follower)
    }

    async fn feed_overviews(self) {
        let mut clock = tokio::time::interval(EVERY);
        // A node that hung must not send a burst.
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let overview = self.overview().await;
            let mut sender = self.inner.feed.sender.lock();
            let is_followed = sender.as_ref().is_some_and(|sender| sender.receiver_count() > 0);
            if !is_followed || self.inner.deps.admission.is_stopping() {
                // Dropped under the lock, so that the next follower starts a task of its own.
                *sender = None;
                return;
            }
            if let (Some(sender), Ok(json)) = (&*sender, serde_json::to_vec(&overview)) {
                sender.send_replace(Bytes::from(json));
            }
        }
    }
}
