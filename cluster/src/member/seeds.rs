//! Seeds: the first step of a node with a new data directory, with one configuration for all nodes.
//!
//! The first seed starts a new cluster, once every other seed has answered that it belongs to none. A seed that belongs
//! to a cluster decides against it: the node has lost its disk, and joins. A silent seed decides nothing, because it may
//! be a member with all the data: a cluster started beside it would be a second one. Every other node joins.
//!
//! So that nodes of no cluster answer each other, the transport runs before the identity is known, as node 0 of
//! cluster 0. CockroachDB (`--join`, the same on all nodes) and Cassandra (seeds) have one configuration, too; the rule
//! replaces CockroachDB's separate command that initializes the cluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::Error;
use crate::ids::NodeId;
use crate::log_throttle::LogThrottle;
use crate::member::contacts::introduction_of;
use crate::member::join::{JOIN_DEADLINE, PAUSE};
use crate::membership::Introduction;
use crate::shard::MemberMethod;
use crate::transport::{ConnectionClass, ConnectionState, Handler, NodeIdentity, Responder, Transport};

/// Time limit of one request to a seed.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Minimum time between two log lines about silent seeds.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// First step of a node with a new data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FirstStep {
    /// Starts a new cluster.
    Bootstrap,
    /// Joins a cluster through a seed.
    Join,
    /// Waits for the answers of these seeds.
    Wait(Vec<String>),
}

/// Answer of a seed to the question for its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeedAnswer {
    Silent,
    NoCluster,
    Cluster,
}

/// Handler of a node that belongs to no cluster yet: it introduces itself as such, and refuses everything else.
struct JoiningHandler {
    introduction: Bytes,
}

/// Finds out whether this node starts a new cluster or joins one; never returns [`FirstStep::Wait`].
///
/// # Errors
/// [`Error::NoSeeds`] and [`Error::SilentSeeds`].
pub(super) async fn find(config: &Config, transport: &dyn Transport) -> Result<FirstStep, Error> {
    if config.seeds.is_empty() {
        return Err(Error::NoSeeds);
    }
    let me = NodeIdentity {
        node: NodeId(0),
        cluster: 0,
        incarnation: 0,
        supported_level: config.supported_level,
    };
    transport.start(me, JoiningHandler::new(&config.advertise));
    if !config.is_first_seed() {
        return Ok(FirstStep::Join);
    }
    let (deadline, waiting) = (Instant::now() + JOIN_DEADLINE, LogThrottle::every(LOG_EVERY));
    loop {
        let asks = config.other_seeds().map(|seed| ask(seed, transport));
        match first_step(futures::future::join_all(asks).await) {
            FirstStep::Wait(silent) if Instant::now() > deadline => {
                let waited_s = JOIN_DEADLINE.as_secs();
                return Err(Error::SilentSeeds { silent, waited_s });
            }
            FirstStep::Wait(silent) => {
                if waiting.due().is_some() {
                    tracing::info!(?silent, "a new cluster waits for the other seeds to start");
                }
                tokio::time::sleep(PAUSE).await;
            }
            step => return Ok(step),
        }
    }
}

/// Decides for the first seed by the answers of the others.
fn first_step(answers: Vec<(String, SeedAnswer)>) -> FirstStep {
    if answers.iter().any(|(_, answer)| *answer == SeedAnswer::Cluster) {
        return FirstStep::Join;
    }
    let silent: Vec<String> = answers
        .into_iter()
        .filter(|(_, answer)| *answer == SeedAnswer::Silent)
        .map(|(seed, _)| seed)
        .collect();
    if silent.is_empty() {
        FirstStep::Bootstrap
    } else {
        FirstStep::Wait(silent)
    }
}

async fn ask(seed: &str, transport: &dyn Transport) -> (String, SeedAnswer) {
    let answer = match introduction_of(seed, transport, ATTEMPT).await {
        None => SeedAnswer::Silent,
        Some(met) if met.cluster == 0 => SeedAnswer::NoCluster,
        Some(_) => SeedAnswer::Cluster,
    };
    (seed.to_owned(), answer)
}

// === impl JoiningHandler ===

impl JoiningHandler {
    fn new(advertise: &str) -> Arc<JoiningHandler> {
        let introduction = Introduction {
            cluster: 0,
            node: NodeId(0),
            addr: advertise.to_owned(),
            others: Vec::new(),
        };
        Arc::new(JoiningHandler {
            introduction: postcard::to_stdvec(&introduction).unwrap_or_default().into(),
        })
    }
}

impl Handler for JoiningHandler {
    fn call(&self, _: NodeId, _: ConnectionClass, method: u16, _: Bytes, reply: Responder) {
        reply.send(match MemberMethod::from_wire(method) {
            Some(MemberMethod::GetIdentity) => Ok(self.introduction.clone()),
            // Whoever asks to join asks again, when this node is a member or another one is.
            _ => Err(Bytes::from_static(b"this node belongs to no cluster yet")),
        });
    }

    fn cast(&self, _: NodeId, _: u64, _: ConnectionClass, _: u16, _: Bytes) {}

    fn link(&self, _: NodeId, _: ConnectionClass, _: ConnectionState) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(answers: &[SeedAnswer]) -> FirstStep {
        let answers = answers.iter().enumerate();
        first_step(answers.map(|(at, answer)| (at.to_string(), *answer)).collect())
    }

    #[test]
    fn a_cluster_starts_only_when_every_other_seed_belongs_to_none() {
        use SeedAnswer::{Cluster, NoCluster, Silent};
        assert_eq!(step(&[]), FirstStep::Bootstrap);
        assert_eq!(step(&[NoCluster, NoCluster]), FirstStep::Bootstrap);
        assert_eq!(step(&[NoCluster, Silent]), FirstStep::Wait(vec!["1".to_owned()]));
        assert_eq!(step(&[Silent, Cluster]), FirstStep::Join);
        assert_eq!(step(&[NoCluster, Cluster]), FirstStep::Join);
    }
}
