//! Waiting for what a predecessor still holds: a supervisor starts a process again within milliseconds of the death of
//! the one before, whose ports and data directory the system may not have given back yet.

use std::time::{Duration, Instant};

/// Longest time for what another process holds. A process that was killed gives back its ports and locks within
/// milliseconds; one that stops in order, and was told so late, within a few seconds.
const LONGEST: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The time that attempts to take one thing have had.
pub(super) struct Patience {
    what: &'static str,
    since: Option<Instant>,
}

// === impl Patience ===

impl Patience {
    /// Attempts to take `what`, named as its setting.
    pub(super) fn with(what: &'static str) -> Patience {
        Patience { what, since: None }
    }

    /// Waits a moment after an attempt that failed because another process holds the thing. Returns `false` when that
    /// has gone on for too long: the attempt's error stands.
    pub(super) async fn goes_on(&mut self, error: &(impl std::fmt::Display + Sync)) -> bool {
        let since = *self.since.get_or_insert_with(|| {
            let (what, longest_s) = (self.what, LONGEST.as_secs());
            tracing::info!(what, %error, longest_s, "held by another process, waiting for it to end");
            Instant::now()
        });
        if since.elapsed() >= LONGEST {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
        true
    }
}

/// Returns whether an error says that an address is taken.
pub(super) fn is_address_held(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_waited_for_until_its_holder_ends() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = holder.local_addr().unwrap();
        let mut holder = Some(holder);
        let mut patience = Patience::with("server.http");
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
