//! Revocation list: ended logins as recorded on this node, which refuses their access tokens and the resumption of
//! their sessions.
//!
//! The log decides that a login has ended, and the owner of the user's shard broadcasts it to every node
//! ([`rpc::ENDED`]). The list is soft state and lasts as long as an access token can be valid. A node that missed the
//! broadcast, or started later, accepts a token of an ended login until it expires. `refresh` issues no further one
//! anywhere.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::clock::TOLERANCE;
use cluster::{Cluster, NodeId};
use futures::future::join_all;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use protocol::ClientMessageId;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::verification_cache::CACHE_TTL;
use crate::config::Config;
use crate::rpc;
use crate::shard_client::ClientContext;

/// Time for which a broadcast to an unreachable node is retried. Detached sessions there have expired by then, and a
/// node cut off for so long serves no clients.
const PATIENCE: Duration = Duration::from_secs(120);
/// First pause before a retry; it doubles.
const RETRY: Duration = Duration::from_millis(100);
/// Maximum pause before a retry.
const LONGEST: Duration = Duration::from_secs(5);

/// Maximum number of revoked logins in the list. Beyond it, the oldest is evicted.
const MOST: usize = 100_000;

/// Maximum number of broadcasts that retry at the same time. Beyond it, each node gets one attempt.
const RETRYING: usize = 1_024;

/// Revocation list of a node. Cheap to clone.
#[derive(Clone)]
pub struct RevocationList {
    inner: Arc<Inner>,
}

struct Inner {
    keep: Duration,
    most: usize,
    state: Mutex<State>,
    known: Gauge,
}

#[derive(Default)]
struct State {
    logins: HashSet<ClientMessageId>,
    /// Logins with the times of their removal, in order.
    until: VecDeque<(Instant, ClientMessageId)>,
}

/// Broadcast of ended logins and revoked keys to every node.
pub(crate) struct RevocationBroadcast {
    client: Arc<ClientContext>,
    /// Permits of the broadcasts that retry.
    retrying: Arc<Semaphore>,
}

// === impl RevocationList ===

impl RevocationList {
    /// Creates an empty list with bounds from the settings.
    #[must_use]
    pub fn new(config: &Config) -> RevocationList {
        RevocationList::bounded(config, MOST)
    }

    fn bounded(config: &Config, most: usize) -> RevocationList {
        let inner = Inner {
            // The issuing node and the checking node use their own clocks, each within the tolerance.
            keep: (config.login.access_token_ttl.0 + config.tuning.token_leeway.0 + TOLERANCE * 2)
                // The list refuses what the cache of device tokens still holds, and what a query in flight adds to it.
                .max(CACHE_TTL * 2),
            most,
            state: Mutex::default(),
            known: Gauge::default(),
        };
        RevocationList {
            inner: Arc::new(inner),
        }
    }

    /// Registers the gauge of the list's length.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "revoked_logins",
            "Ended logins in the revocation list of this node",
            self.inner.known.clone(),
        );
    }

    /// Returns true if this login is on the list.
    #[must_use]
    pub fn holds(&self, login: &ClientMessageId) -> bool {
        self.inner.state.lock().logins.contains(login)
    }

    /// Adds a login. A full list evicts the one that ended first.
    pub fn add(&self, login: ClientMessageId, now: Instant) {
        let mut state = self.inner.state.lock();
        while state.until.front().is_some_and(|(until, _)| *until <= now)
            || state.until.len() >= self.inner.most.max(1)
        {
            if let Some((_, login)) = state.until.pop_front() {
                state.logins.remove(&login);
            }
        }
        // A repeated broadcast keeps the first expiry: later ones cover no further token.
        if state.logins.insert(login.clone()) {
            state.until.push_back((now + self.inner.keep, login));
        }
        self.inner.known.set(state.until.len() as i64);
    }
}

// === impl RevocationBroadcast ===

impl RevocationBroadcast {
    pub(crate) fn new(client: Arc<ClientContext>) -> RevocationBroadcast {
        RevocationBroadcast {
            client,
            retrying: Arc::new(Semaphore::new(RETRYING)),
        }
    }

    /// Sends a revocation to every node, by a method without a response. An unreachable node is tried again for a while,
    /// unless too many broadcasts are in progress.
    pub(crate) fn send<T: Serialize>(&self, method: u16, what: &T) {
        let Some(cluster) = self.client.cluster().cloned() else {
            return;
        };
        // Permits bound the retrying tasks; without one the broadcast is tried once.
        let again = self.retrying.clone().try_acquire_owned().ok();
        let patience = again.as_ref().map_or(Duration::ZERO, |_| PATIENCE);
        let body = rpc::encode(what);
        let (deadline, stop) = (rpc::CALL_TIMEOUT, self.client.stop.clone());
        let metrics = self.client.user_metrics.clone();
        // Spawned, because the caller applies results of the shard and must not wait for other nodes.
        self.client.runtime.spawn(async move {
            let nodes = cluster.status().nodes;
            let sent = nodes
                .iter()
                .map(|node| send_one(&cluster, node.id, (method, &body), deadline, patience));
            tokio::select! {
                sent = join_all(sent) => {
                    let unsent = sent.iter().filter(|sent| !**sent).count();
                    metrics.revocations_unsent.inc_by(unsent as u64);
                }
                () = stop.cancelled() => {}
            }
            // Held until here, because the permits bound the number of retrying tasks.
            drop(again);
        });
    }
}

async fn send_one(
    cluster: &Cluster,
    node: NodeId,
    (method, body): (u16, &Bytes),
    deadline: Duration,
    patience: Duration,
) -> bool {
    let end = Instant::now() + patience;
    let mut pause = RETRY;
    loop {
        if cluster.call(node, method, body.clone(), deadline).await.is_ok() {
            return true;
        }
        if Instant::now() + pause >= end {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HumanDuration;

    fn cid(text: &str) -> ClientMessageId {
        ClientMessageId::parse(text).unwrap()
    }

    #[test]
    fn revocation_list_evicts_expired_logins_and_then_the_oldest() {
        let mut config = Config::default();
        config.login.access_token_ttl = HumanDuration::secs(9);
        config.tuning.token_leeway = HumanDuration::secs(1);
        let (ended, now) = (RevocationList::bounded(&config, 2), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        ended.add(cid("a"), now);
        ended.add(cid("a"), after(5));
        assert!(ended.holds(&cid("a")) && !ended.holds(&cid("b")));
        ended.add(cid("b"), after(9));
        assert!(ended.holds(&cid("a")), "a token of it may still be valid");
        ended.add(cid("c"), after(11));
        assert!(!ended.holds(&cid("a")) && ended.holds(&cid("b")));
        ended.add(cid("d"), after(12));
        assert!(!ended.holds(&cid("b")), "there is room for two");
        assert!(ended.holds(&cid("c")) && ended.holds(&cid("d")));
    }
}
