//! Limit on unauthenticated WebSocket sessions, per address and per node. Sessions beyond it are refused; clients retry
//! later.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use protocol::{CloseCode, ErrorCode};

use super::problem::Problem;
use crate::session::{CLOSE_TIMEOUT, ConnectionHandle};

/// Unauthenticated sessions of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UnauthenticatedConnections {
    inner: Arc<Inner>,
}

/// Guard that counts one unauthenticated session until it is dropped.
#[derive(Debug)]
pub(super) struct UnauthenticatedGuard {
    inner: Arc<Inner>,
    address: IpAddr,
}

#[derive(Debug)]
struct Inner {
    per_address: usize,
    most: usize,
    refused: Counter,
    open: Mutex<OpenConnection>,
}

#[derive(Debug, Default)]
struct OpenConnection {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
}

// === impl UnauthenticatedConnections, UnauthenticatedGuard ===

impl UnauthenticatedConnections {
    /// Creates the counters with a limit per address and one for the node.
    #[must_use]
    pub fn new(per_address: usize, most: usize) -> UnauthenticatedConnections {
        let inner = Inner {
            per_address,
            most,
            refused: Counter::default(),
            open: Mutex::default(),
        };
        UnauthenticatedConnections {
            inner: Arc::new(inner),
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "unauthenticated_refused",
            "Connections refused because too many were unauthenticated",
            self.inner.refused.clone(),
        );
    }

    /// Counts a session of the address.
    ///
    /// # Errors
    /// Refusal of the request if a limit is reached.
    pub(super) fn admit(&self, address: IpAddr) -> Result<UnauthenticatedGuard, Problem> {
        let busy = || Problem::new(ErrorCode::Busy, "too many unauthenticated connections are open");
        self.begin(address).ok_or_else(busy)
    }

    /// Counts a session of the address, or returns `None` if a limit is reached.
    pub(super) fn begin(&self, address: IpAddr) -> Option<UnauthenticatedGuard> {
        let Inner {
            per_address,
            most,
            refused,
            open,
        } = &*self.inner;
        // Checked and counted under one lock, so that concurrent upgrades cannot exceed the limits.
        let mut open = open.lock();
        let of_address = open.addresses.get(&address).copied().unwrap_or_default();
        if of_address >= *per_address || open.all >= *most {
            refused.inc();
            return None;
        }
        open.all += 1;
        open.addresses.insert(address, of_address + 1);
        Some(UnauthenticatedGuard {
            inner: self.inner.clone(),
            address,
        })
    }
}

impl Drop for UnauthenticatedGuard {
    fn drop(&mut self) {
        let mut open = self.inner.open.lock();
        open.all -= 1;
        if let Some(count) = open.addresses.get_mut(&self.address) {
            *count -= 1;
            // Removed at zero: otherwise the table would hold every address ever seen.
            if *count == 0 {
                open.addresses.remove(&self.address);
            }
        }
    }
}

/// Closes a connection whose client is not authenticated in time. A session would do so by itself.
pub(super) fn close_unidentified(link: &Rc<ConnectionHandle>, patience: Duration) {
    let link = Rc::downgrade(link);
    actix_web::rt::spawn(async move {
        tokio::time::sleep(patience).await;
        if let Some(link) = link.upgrade().filter(|link| !link.is_identified()) {
            link.close(Some(CloseCode::NoAuth.code()), None, false, CLOSE_TIMEOUT);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn unauthenticated_connections_are_limited_per_ip_and_node() {
        let greetings = UnauthenticatedConnections::new(2, 3);
        let ip = |i| IpAddr::V4(Ipv4Addr::new(192, 0, 2, i));
        let mut open: Vec<_> = (0..2).map(|_| greetings.begin(ip(1)).unwrap()).collect();
        assert!(greetings.begin(ip(1)).is_none(), "a third of the address");
        open.push(greetings.begin(ip(2)).unwrap());
        assert!(greetings.begin(ip(3)).is_none(), "a fourth in all");
        assert_eq!(greetings.inner.refused.get(), 2);
        open.remove(0);
        open.push(greetings.begin(ip(1)).unwrap());
        drop(open);
        let left = greetings.inner.open.lock();
        assert_eq!((left.all, left.addresses.len()), (0, 0));
    }
}
