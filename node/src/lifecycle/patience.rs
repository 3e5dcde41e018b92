//! Retries while the previous process still holds a resource: a supervisor restarts a process within milliseconds,
//! before the system has released its ports and data directory.

use std::time::{Duration, Instant};

/// Maximum time to wait for a resource of another process. A killed process releases it within milliseconds, one that
/// stops in order within a few seconds.
const LONGEST: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Retry state for acquiring one resource.
pub(super) struct Patience {
    what: &'static str,
    since: Option<Instant>,
}

// === impl Patience ===

impl Patience {
    /// Creates the state for the resource configured by the setting `what`.
    pub(super) fn with(what: &'static str) -> Patience {
        Patience { what, since: None }
    }

    /// Waits after an attempt that failed because another process holds the resource. Returns `false` after the maximum
    /// time; the caller then reports the error.
    pub(super) async fn goes_on(&mut self, error: &(impl std::fmt::Display + Sync)) -> bool {
        let since = *self.since.get_or_insert_with(|| {
            let (what, longest_s) = (self.what, LONGEST.as_secs());
            tracing::info!(what, %error, longest_s, "in use by another process, waiting for its release");
            Instant::now()
        });
        if since.elapsed() >= LONGEST {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
        true
    }
}

/// Returns whether the error means that an address is in use.
pub(super) fn is_address_held(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::reserved_addr;

    #[tokio::test]
    async fn a_port_is_waited_for_until_its_holder_ends() {
        let addr = reserved_addr();
        let holder = std::net::TcpListener::bind(addr).unwrap();
        let mut holder = Some(holder);
        let mut patience = Patience::with("server.listen");
        let mut attempts = 0;
        let listener = loop {
            attempts += 1;
            if attempts == 3 {
                holder.take();
            }
            match std::net::TcpListener::bind(addr) {
                Err(error) if is_address_held(&error) && patience.goes_on(&error).await => {}
                result => break result,
            }
        };
        assert_eq!(listener.unwrap().local_addr().unwrap(), addr);
        assert_eq!(attempts, 3);
    }
}
