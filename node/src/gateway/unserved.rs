//! Connections of one thread that hold no client's place: they have asked for nothing yet, or were answered without being
//! known. The one that waits longest gives way when there are too many, of one address or in all, so that whoever asks at
//! once finds a connection: a probe, an operator, a client.
//!
//! Pure: the [connections](super::connection) tell it what happens, and end those that it names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// The connections of one thread; those without a client's place in the order in which they give way. `H` ends one.
#[derive(Debug)]
pub(super) struct Unserved<H> {
    /// Connections of the thread, beyond which one gives way to another.
    most: usize,
    /// Those of one address without a client's place.
    per_address: usize,
    open: usize,
    /// Those that gave way and are not closed yet.
    ending: usize,
    turns: u64,
    queue: BTreeMap<u64, (Option<IpAddr>, H)>,
    addresses: HashMap<IpAddr, BTreeSet<u64>>,
}

// === impl Unserved ===

impl<H> Unserved<H> {
    /// No connections yet.
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

    /// A connection was accepted. Returns its turn, and whoever gives way to it: never itself.
    pub(super) fn accept(&mut self, address: Option<IpAddr>, handle: H) -> (u64, Vec<H>) {
        self.open += 1;
        let turn = self.add(address, handle);
        let mut ended = Vec::new();
        let turns = address.and_then(|address| self.addresses.get(&address));
        let oldest = turns
            .filter(|turns| turns.len() > self.per_address)
            .and_then(|turns| turns.first().copied());
        ended.extend(oldest.and_then(|oldest| self.end(oldest)));
        if self.open - self.ending > self.most {
            let oldest = self.queue.keys().next().copied().filter(|oldest| *oldest != turn);
            ended.extend(oldest.and_then(|oldest| self.end(oldest)));
        }
        (turn, ended)
    }

    /// A connection holds no client's place any more, or has just asked for something without one: it gives way after all
    /// others. Returns its turn.
    pub(super) fn add(&mut self, address: Option<IpAddr>, handle: H) -> u64 {
        self.turns += 1;
        self.queue.insert(self.turns, (address, handle));
        if let Some(address) = address {
            self.addresses.entry(address).or_default().insert(self.turns);
        }
        self.turns
    }

    /// A connection got a client's place.
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

    /// A connection is closed; `turn` if it held no client's place.
    pub(super) fn close(&mut self, turn: Option<u64>) {
        self.open -= 1;
        if let Some(turn) = turn
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
        // One that is served does not give way, and one that has just asked does last.
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
