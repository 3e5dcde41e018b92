//! Eviction order of a thread's connections without a client permit: those without a request yet, and those answered
//! while unidentified.
//!
//! The oldest one is evicted when there are too many, of one address or in all, so that new probes, operators and
//! clients find a connection.
//!
//! Pure: the [connections](super::connection) report their changes, and close those that are returned.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Connections of one thread; those without a permit in eviction order. `H` is the handle that closes one.
#[derive(Debug)]
pub(super) struct Unserved<H> {
    /// Maximum number of connections of the thread.
    most: usize,
    /// Maximum number of connections without a permit per address.
    per_address: usize,
    open: usize,
    /// Connections that were evicted and are not closed yet.
    ending: usize,
    turns: u64,
    queue: BTreeMap<u64, (Option<IpAddr>, H)>,
    addresses: HashMap<IpAddr, BTreeSet<u64>>,
}

// === impl Unserved ===

impl<H> Unserved<H> {
    /// Creates an empty table.
    pub(super) fn new(most: usize, per_address: usize) -> Unserved<H> {
        Unserved {
            most,
            per_address: per_address.max(1),
            open: 0,
            ending: 0,
            turns: 0,
            queue: BTreeMap::new(),
            addresses: HashMap::new(),
        }
    }

    /// Adds an accepted connection. Returns its position and the connections that it evicts, never itself.
    pub(super) fn accept(&mut self, address: Option<IpAddr>, handle: H) -> (u64, Vec<H>) {
        self.open += 1;
        let turn = self.add(address, handle);
        let mut ended = Vec::new();
        let turns = address.and_then(|address| self.addresses.get(&address));
        let oldest = turns
            .filter(|turns| turns.len() > self.per_address)
            .and_then(|turns| turns.first().copied());
        ended.extend(oldest.and_then(|oldest| self.end(oldest)));
        // Evicted connections still count as open until they close. Counting them here would evict others in their
        // place.
        if self.open - self.ending > self.most {
            let oldest = self.queue.keys().next().copied().filter(|oldest| *oldest != turn);
            ended.extend(oldest.and_then(|oldest| self.end(oldest)));
        }
        (turn, ended)
    }

    /// Adds a connection at the end of the eviction order and returns its position. Used at the loss of a permit and at
    /// a request without one.
    pub(super) fn add(&mut self, address: Option<IpAddr>, handle: H) -> u64 {
        self.turns += 1;
        self.queue.insert(self.turns, (address, handle));
        if let Some(address) = address {
            self.addresses.entry(address).or_default().insert(self.turns);
        }
        self.turns
    }

    /// Removes a connection that acquired a client permit. Returns `None` if it was evicted.
    pub(super) fn remove(&mut self, turn: u64) -> Option<H> {
        let (address, handle) = self.queue.remove(&turn)?;
        if let Some(address) = address
            && let Some(turns) = self.addresses.get_mut(&address)
        {
            turns.remove(&turn);
            if turns.is_empty() {
                self.addresses.remove(&address);
            }
        }
        Some(handle)
    }

    /// Removes a closed connection; `turn` is its position if it held no permit.
    pub(super) fn close(&mut self, turn: Option<u64>) {
        self.open -= 1;
        if let Some(turn) = turn
            // Not in the queue any more: it was evicted, and its slot is free only now.
            && self.remove(turn).is_none()
        {
            self.ending -= 1;
        }
    }

    fn end(&mut self, turn: u64) -> Option<H> {
        let handle = self.remove(turn);
        self.ending += usize::from(handle.is_some());
        handle
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(i: u8) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, i)))
    }

    #[test]
    fn the_one_that_waits_longest_gives_way_and_never_to_itself() {
        let mut unserved = Unserved::new(2, 9);
        let (a, none) = unserved.accept(ip(1), 'a');
        assert!(none.is_empty());
        let (b, none) = unserved.accept(ip(2), 'b');
        assert!(none.is_empty());
        let (c, ended) = unserved.accept(ip(3), 'c');
        assert_eq!(ended, ['a']);
        unserved.close(Some(a));
        // A connection with a permit is never evicted, and one with a recent request is evicted last.
        assert_eq!(unserved.remove(b), Some('b'));
        let (d, ended) = unserved.accept(ip(4), 'd');
        assert_eq!(ended, ['c']);
        let (_, ended) = unserved.accept(ip(5), 'e');
        assert_eq!(ended, ['d'], "until it is closed, the other counts no more");
        unserved.close(Some(c));
        unserved.close(Some(d));
        unserved.close(None);
        assert_eq!((unserved.open, unserved.ending, unserved.queue.len()), (1, 0, 1));
        let mut full = Unserved::new(1, 9);
        let (a, _) = full.accept(None, 'a');
        full.remove(a);
        assert!(full.accept(None, 'b').1.is_empty(), "all others are served");
    }

    #[test]
    fn an_address_has_so_many_and_its_oldest_gives_way() {
        let mut unserved = Unserved::new(100, 2);
        let (a, _) = unserved.accept(ip(1), 'a');
        unserved.accept(ip(2), 'x');
        unserved.accept(ip(1), 'b');
        assert_eq!(unserved.accept(ip(1), 'c').1, ['a']);
        unserved.close(Some(a));
        assert!(unserved.accept(ip(2), 'y').1.is_empty());
        for proxied in ['p', 'q', 'r'] {
            let (_, ended) = unserved.accept(None, proxied);
            assert!(ended.is_empty(), "a proxy's are many clients'");
        }
        assert_eq!((unserved.open, unserved.ending), (7, 0));
    }
}
