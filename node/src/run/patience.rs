//! Waiting for what a predecessor still holds: a supervisor starts a process again within milliseconds of the death of
//! the one before, whose ports and data directory the system may not have given back yet.

use std::time::{Duration, Instant};

/// Longest time for what another process holds. A process that was killed gives back its ports and locks within
/// milliseconds; one that stops in order, and was told so late, within a few seconds.
const LONGEST: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Attempts something again while another process holds it, for up to ten seconds.
///
/// # Errors
/// The last attempt's, or at once one for which `is_held` is false.
pub(super) async fn until_free<T, E>(
    what: &str,
    is_held: impl Fn(&E) -> bool,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E>
where
    E: std::fmt::Display,
{
    let began = Instant::now();
    let mut waiting = false;
    loop {
        match attempt().await {
            Err(error) if is_held(&error) && began.elapsed() < LONGEST => {
                if !waiting {
                    waiting = true;
                    let longest_s = LONGEST.as_secs();
                    tracing::info!(what, %error, longest_s, "held by another process, waiting for it to end");
                }
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
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
        let mut attempts = 0;
        let mut holder = Some(holder);
        let listener = until_free("a port", is_address_held, async || {
            attempts += 1;
            if attempts == 3 {
                holder.take();
            }
            std::net::TcpListener::bind(addr)
        });
        assert_eq!(listener.await.unwrap().local_addr().unwrap(), addr);
        assert_eq!(attempts, 3);
    }

    #[tokio::test]
    async fn what_is_not_held_by_another_fails_at_once() {
        let mut attempts = 0;
        let failed = until_free("a port", is_address_held, async || {
            attempts += 1;
            Err::<(), _>(std::io::Error::other("no such address"))
        });
        assert!(failed.await.is_err());
        assert_eq!(attempts, 1);
    }
}
