//! Waiting for conditions, and the time of day for tokens and timestamps.

use std::time::{Duration, Instant};

use cluster::ClusterClock;

/// Deadline of every wait. Generous, so that a test passes on a busy machine; no test waits for its expiry.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Pause between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// Result of a check: `true` and `Some` end the wait.
pub trait Found {
    type Value;

    fn found(self) -> Option<Self::Value>;
}

impl Found for bool {
    type Value = ();

    fn found(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Found for Option<T> {
    type Value = T;

    fn found(self) -> Option<T> {
        self
    }
}

/// Checks a condition until it holds, and returns its value.
///
/// # Panics
/// After [`PATIENCE`], with the name of the condition.
pub async fn eventually<F: Found>(what: &str, mut check: impl AsyncFnMut() -> F) -> F::Value {
    let checks = async {
        loop {
            if let Some(found) = check().await.found() {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    within(what, checks).await
}

/// The same for tests without a runtime.
pub fn eventually_blocking<F: Found>(what: &str, mut check: impl FnMut() -> F) -> F::Value {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().found() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::park_timeout(POLL);
    }
}

/// Returns the output of the future.
///
/// # Panics
/// After [`PATIENCE`], with the name of the condition.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    // On the heap, since the futures of whole nodes and clients nest here.
    tokio::time::timeout(PATIENCE, Box::pin(work))
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

/// Returns the wall-clock time in Unix milliseconds.
pub fn unix_ms() -> u64 {
    ClusterClock::system().now_ms()
}
