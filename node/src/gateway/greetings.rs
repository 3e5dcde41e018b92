//! How many sessions may be open whose client has not said yet who it is: of one address, and of the node. Those who come
//! when there are as many are refused and come back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The unauthenticated sessions of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Greetings {
    inner: Arc<Inner>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Greeting {
    inner: Arc<Inner>,
    address: IpAddr,
}

#[derive(Debug)]
struct Inner {
    per_address: usize,
    most: usize,
    refused: Counter,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
}

// === impl Greetings ===

impl Greetings {
    /// None yet; at most so many of one address, and in all.
    #[must_use]
    pub fn new(per_address: usize, most: usize) -> Greetings {
        let inner = Inner {
            per_address,
            most,
            refused: Counter::default(),
            open: Mutex::default(),
        };
        Greetings {
            inner: Arc::new(inner),
        }
    }

    /// Adds the figures to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "unauthenticated_refused",
            "Sessions refused because too many were not authenticated",
            self.inner.refused.clone(),
        );
    }

    /// One more of this address; `None` when there are as many as there may be.
    pub(super) fn begin(&self, address: IpAddr) -> Option<Greeting> {
        let Inner {
            per_address,
            most,
            refused,
            open,
        } = &*self.inner;
        let mut open = open.lock();
        let of_address = open.addresses.get(&address).copied().unwrap_or_default();
        if of_address >= *per_address || open.all >= *most {
            refused.inc();
            return None;
        }
        open.all += 1;
        open.addresses.insert(address, of_address + 1);
        Some(Greeting {
            inner: self.inner.clone(),
            address,
        })
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let mut open = self.inner.open.lock();
        open.all -= 1;
        if let Some(count) = open.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_has_so_many_and_the_node_has_so_many_and_they_are_given_back() {
        let greetings = Greetings::new(2, 3);
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
