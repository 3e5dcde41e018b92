//! When a client makes the reads that are there to be judged: at random moments, whatever else it does. Those over HTTP
//! go to any node, by a task of their own.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Client;
use crate::client::state::{HttpRead, World};
use crate::clock::{Nanos, SECOND};
use crate::http;

// === impl Client: reads ===

impl Client {
    /// So many a second from now on.
    pub(super) fn probe(&mut self, reads: f64) {
        self.reads = reads;
        let now = self.common.world.borrow().clock.now();
        self.probes_at = self.next_read(now);
    }

    /// Makes the reads that are due.
    pub(super) fn read_on(&mut self, now: Nanos, world: &World) {
        if self.probes_at.is_none_or(|at| now < at) {
            return;
        }
        self.probes_at = self.next_read(now);
        // Who doesn't read what the node says would judge answers from long ago.
        if self.habit.reads.is_some() {
            return;
        }
        if let Some(read) = self.state.probe(world, &mut self.rng) {
            self.over_http(read);
        }
    }

    fn next_read(&mut self, now: Nanos) -> Option<Nanos> {
        let uniform: f64 = self.rng.random_range(f64::MIN_POSITIVE..1.0);
        (self.reads > 0.0).then(|| now + (-uniform.ln() / self.reads * SECOND as f64) as Nanos)
    }

    fn over_http(&mut self, read: HttpRead) {
        let Some(node) = self.common.nodes.borrow().choose(&mut self.rng).cloned() else {
            return;
        };
        let (token, common) = (self.token.clone(), self.common.clone());
        tokio::task::spawn_local(async move {
            if let Some((status, body)) = http::get_as(&node, &read.path(), &token).await {
                read.answered(&node, status, &body, &mut common.world.borrow_mut());
            }
        });
    }
}
