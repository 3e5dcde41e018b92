//! Times of a client's probe reads: random moments, independent of its other activities. Reads over HTTP use a random
//! node and a task of their own.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::LoadClient;
use crate::clock::{Nanos, SECOND};
use crate::http;
use crate::load::client::state::HttpRead;
use crate::measure::RunContext;

// === impl LoadClient: reads ===

impl LoadClient {
    /// Sets the rate of the probe reads, per second.
    pub(super) fn probe(&mut self, reads: f64) {
        self.reads = reads;
        let now = self.common.context.borrow().clock.now();
        self.probes_at = self.next_read(now);
    }

    /// Issues a probe read if one is due.
    pub(super) fn read_on(&mut self, now: Nanos, context: &RunContext) {
        if self.probes_at.is_none_or(|at| now < at) {
            return;
        }
        self.probes_at = self.next_read(now);
        // A slow reader would process responses long after the read, and judge outdated ones.
        if self.behavior.reads.is_some() {
            return;
        }
        if let Some(read) = self.state.probe(context, &mut self.rng) {
            self.over_http(read);
        }
    }

    fn next_read(&mut self, now: Nanos) -> Option<Nanos> {
        // Exponential gaps, a Poisson process: reads hit every phase of a fault. The minimum keeps the logarithm
        // finite.
        let uniform: f64 = self.rng.random_range(f64::MIN_POSITIVE..1.0);
        (self.reads > 0.0).then(|| now + (-uniform.ln() / self.reads * SECOND as f64) as Nanos)
    }

    fn over_http(&mut self, read: HttpRead) {
        let Some(node) = self.common.nodes.borrow().choose(&mut self.rng).cloned() else {
            return;
        };
        let (token, common) = (self.token.clone(), self.common.clone());
        // A task of its own: a slow node must not delay the client's connection.
        tokio::task::spawn_local(async move {
            if let Some((status, body)) = http::get_as(&node, &read.path(), &token).await {
                read.answered(&node, status, &body, &mut common.context.borrow_mut());
            }
        });
    }
}
