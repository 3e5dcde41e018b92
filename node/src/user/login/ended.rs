//! Logins that are over, as every node knows of them: it refuses their access tokens, and gives none of their sessions back.
//!
//! The log has decided it, and the owner of the user's shard tells every node ([`rpc::ENDED`]). What a node knows is soft,
//! and kept for as long as an access token could be valid: one that could not be reached, or has started since, believes a
//! token of an ended login until it runs out, and `refresh` gives no further one anywhere.

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
use protocol::Cid;

use crate::config;
use crate::conversation::shared::Shared;
use crate::rpc;

/// How long a node that doesn't answer is told again. A session that waits there for its client has been given up by
/// then, and a node that was cut off for so long serves nobody.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause before a node is told again; it doubles.
const RETRY: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// What a node knows of ended logins. Cheap to clone.
#[derive(Clone)]
pub struct Ended {
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
    logins: HashSet<Cid>,
    /// When each may be forgotten.
    until: VecDeque<(Instant, Cid)>,
}

// === impl Ended ===

impl Ended {
    /// Knows of none yet.
    #[must_use]
    pub fn new(login: &config::Login, auth: &config::Auth) -> Ended {
        let inner = Inner {
            // The node that issued a token and the one that judges it tell the time by clocks of their own.
            keep: login.access_ms.duration() + Duration::from_secs(auth.leeway_s) + TOLERANCE * 2,
            most: login.ended,
            state: Mutex::default(),
            known: Gauge::default(),
        };
        Ended {
            inner: Arc::new(inner),
        }
    }

    /// Adds the figure to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "login_ended",
            "Ended logins whose access tokens are refused here",
            self.inner.known.clone(),
        );
    }

    /// Whether this login is known to be over.
    #[must_use]
    pub fn holds(&self, login: &Cid) -> bool {
        self.inner.state.lock().logins.contains(login)
    }

    /// This login is over. Of too many the one that ended first is forgotten.
    pub fn add(&self, login: Cid, now: Instant) {
        let mut state = self.inner.state.lock();
        while state.until.front().is_some_and(|(until, _)| *until <= now)
            || state.until.len() >= self.inner.most.max(1)
        {
            if let Some((_, login)) = state.until.pop_front() {
                state.logins.remove(&login);
            }
        }
        if state.logins.insert(login.clone()) {
            state.until.push_back((now + self.inner.keep, login));
        }
        self.inner.known.set(state.until.len() as i64);
    }
}

/// Tells every node that logins have ended; a node that can't be reached is told again for a while, unless too much
/// of that is under way.
pub(crate) fn tell(shared: &Arc<Shared>, what: &rpc::login::Ended) {
    let Some(cluster) = shared.cluster().cloned() else {
        return;
    };
    let again = shared.tellers.clone().try_acquire_owned().ok();
    let patience = again.as_ref().map_or(Duration::ZERO, |_| PATIENCE);
    let body = rpc::encode(what);
    let (deadline, stop) = (shared.settings.call_deadline, shared.stop.clone());
    let metrics = shared.user_metrics.clone();
    shared.reads.runtime().spawn(async move {
        let nodes = cluster.status().nodes;
        let told = nodes
            .iter()
            .map(|node| tell_one(&cluster, node.id, &body, deadline, patience));
        tokio::select! {
            told = join_all(told) => {
                let untold = told.iter().filter(|told| !**told).count();
                metrics.logins_untold.inc_by(untold as u64);
            }
            () = stop.cancelled() => {}
        }
        drop(again);
    });
}

async fn tell_one(
    cluster: &Cluster,
    node: NodeId,
    body: &Bytes,
    deadline: Duration,
    patience: Duration,
) -> bool {
    let end = Instant::now() + patience;
    let mut pause = RETRY;
    loop {
        if cluster
            .call(node, rpc::ENDED, body.clone(), deadline)
            .await
            .is_ok()
        {
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

    fn cid(text: &str) -> Cid {
        Cid::parse(text).unwrap()
    }

    #[test]
    fn an_ended_login_is_known_for_as_long_as_its_tokens_could_be_valid_and_of_too_many_the_first_is_forgotten()
     {
        let login = config::Login {
            access_ms: config::Millis(9_000),
            ended: 2,
            ..config::Login::default()
        };
        let auth = config::Auth {
            leeway_s: 1,
            ..config::Auth::default()
        };
        let (ended, now) = (Ended::new(&login, &auth), Instant::now());
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
