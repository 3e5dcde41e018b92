//! Identity of a node at its start: read from its disk, created by bootstrapping a cluster, or obtained by joining one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::Store;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::Error;
use crate::ids::{FeatureLevel, META_SHARD, NodeDuty, NodeId, NodeInfo};
use crate::member::Member;
use crate::member::seeds::{self, FirstStep};
use crate::shard::{ClusterMap, MapChange, MapChangeResult, MemberMethod};
use crate::transport::Transport;

/// Keys of the node's own records, which belong to no shard.
const IDENTITY: &str = "cluster/identity";
const BOOTSTRAP: &str = "cluster/bootstrap";
/// Present once the node was informed of its removal: [`LEFT`] if it was leaving, otherwise empty.
pub(crate) const REMOVED: &str = "cluster/removed";
pub(crate) const LEFT: &[u8] = b"left";
/// Stored at the first attempt to join, so that a crash during the join does not use up a second id.
const TICKET: &str = "cluster/ticket";
const UNDER_WAY: &[u8] = b"under way";
const DONE: &[u8] = b"done";
/// Last adopted cluster map.
pub(crate) const MAP: &str = "cluster/map";

/// Time after which an unsuccessful join fails the start: long enough for nodes that start together.
pub(super) const JOIN_DEADLINE: Duration = Duration::from_secs(60);
/// Time limit of one attempt to reach one node.
const ATTEMPT: Duration = Duration::from_secs(5);
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// Identity and map of a node before it starts.
pub(crate) struct JoinedNode {
    pub(crate) node: NodeId,
    pub(crate) cluster: u64,
    pub(crate) map: ClusterMap,
    /// The groups of a new cluster are still to be created on this node.
    pub(crate) bootstrap: bool,
}

/// Reason for which a node did not admit this one.
enum JoinRefusal {
    Retry(String),
    /// The cluster has this level, which this build does not support.
    BelowLevel(FeatureLevel),
}

/// Determines the node's identity: from the disk, by bootstrapping, or by joining.
pub(crate) async fn admit(
    config: &Config,
    store: &Store,
    transport: &dyn Transport,
) -> Result<JoinedNode, Error> {
    // The disk has precedence: a node with an identity never joins or bootstraps again, whatever the configuration.
    if let Some((cluster, node)) = identity(store)? {
        match store.get_node(REMOVED)? {
            None => {}
            Some(mark) if mark == LEFT => return Err(Error::HasLeft { node }),
            Some(_) => return Err(Error::Removed { node }),
        }
        let map = saved_map(store)?;
        let bootstrap = store.get_node(BOOTSTRAP)?.is_some_and(|state| state == UNDER_WAY);
        return Ok(JoinedNode {
            node,
            cluster,
            map,
            bootstrap,
        });
    }
    if seeds::find(config, transport).await? == FirstStep::Bootstrap {
        if config.gateway_only {
            return Err(Error::FirstIsGateway);
        }
        // Never 0, which means no cluster.
        let (node, cluster) = (NodeId(1), rand::random::<u64>() | 1);
        // Before the identity: in the other order a crash between the writes would leave a node whose groups are never
        // created.
        store.put_node(BOOTSTRAP, UNDER_WAY)?;
        remember(store, cluster, node)?;
        tracing::info!(cluster = format!("{cluster:016x}"), "bootstrapping a new cluster");
        return Ok(JoinedNode {
            node,
            cluster,
            map: ClusterMap::default(),
            bootstrap: true,
        });
    }
    let (node, cluster, map) = join(config, ticket(store)?, transport).await?;
    // The identity is written last, because it marks the join as complete.
    store.put_node(MAP, &map.encode())?;
    remember(store, cluster, node)?;
    tracing::info!(%node, cluster = format!("{cluster:016x}"), "joined the cluster");
    Ok(JoinedNode {
        node,
        cluster,
        map,
        bootstrap: false,
    })
}

/// Creates the groups of a new cluster. Every step is idempotent, so an interrupted bootstrap is simply repeated.
pub(crate) async fn bootstrap(node: &Arc<Member>) -> Result<(), Error> {
    start_group(node, META_SHARD).await?;
    let deadline = Instant::now() + JOIN_DEADLINE;
    loop {
        let change = MapChange::Create {
            cluster: node.cluster(),
            shards: node.config.shards,
            addr: node.config.advertise.clone(),
            zone: node.config.zone.clone(),
            supported_level: node.config.supported_level,
        };
        match node.change(change).await {
            // A refusal: the map was created before a crash.
            Ok(
                MapChangeResult::Done { .. }
                | MapChangeResult::Refused { .. }
                | MapChangeResult::BelowLevel { .. }
                | MapChangeResult::Joined { .. },
            ) => break,
            Err(reason) if Instant::now() > deadline => {
                return Err(Error::Raft {
                    shard: "meta".to_owned(),
                    reason,
                });
            }
            // The meta group has yet to elect itself and take over.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    let map = ClusterMap::load(&node.state(META_SHARD))?.ok_or(Error::Corrupt {
        what: "cluster map",
        reason: "missing after bootstrap".to_owned(),
    })?;
    for shard in map.all_shards() {
        start_group(node, shard).await?;
    }
    node.adopt(map);
    // Last: until here a restart repeats the bootstrap.
    Ok(node.store().put_node(BOOTSTRAP, DONE)?)
}

async fn start_group(node: &Arc<Member>, shard: storage::ShardId) -> Result<(), Error> {
    node.start_replica(shard).await?.group.initialize(node.id()).await
}

/// Returns the cluster and the id of the member whose store this is.
pub(super) fn identity(store: &Store) -> Result<Option<(u64, NodeId)>, Error> {
    let identity = store.get_node(IDENTITY)?;
    let decoded = identity.map(|bytes| {
        postcard::from_bytes(&bytes).map_err(|e| Error::Corrupt {
            what: "identity",
            reason: e.to_string(),
        })
    });
    decoded.transpose()
}

/// Returns the last adopted cluster map; an empty one if none was.
pub(super) fn saved_map(store: &Store) -> Result<ClusterMap, Error> {
    let map = store.get_node(MAP)?.map(|bytes| ClusterMap::decode(&bytes));
    Ok(map.transpose()?.unwrap_or_default())
}

/// Writes the records of a member whose groups exist already.
pub(super) fn record_member(
    store: &Store,
    cluster: u64,
    node: NodeId,
    map: &ClusterMap,
) -> Result<(), Error> {
    store.put_node(MAP, &map.encode())?;
    store.put_node(BOOTSTRAP, DONE)?;
    // Last, because it marks the directory as complete.
    remember(store, cluster, node)
}

fn remember(store: &Store, cluster: u64, node: NodeId) -> Result<(), Error> {
    let identity = postcard::to_stdvec(&(cluster, node)).map_err(|e| Error::Corrupt {
        what: "identity",
        reason: e.to_string(),
    })?;
    Ok(store.put_node(IDENTITY, &identity)?)
}

/// Returns the random number that identifies this node's join requests; the cluster assigns one id per number.
fn ticket(store: &Store) -> Result<u64, Error> {
    if let Some(bytes) = store.get_node(TICKET)? {
        let bytes = bytes[..].try_into().map_err(|_| Error::Corrupt {
            what: "ticket",
            reason: format!("{} bytes instead of 8", bytes.len()),
        })?;
        return Ok(u64::from_be_bytes(bytes));
    }
    let ticket: u64 = rand::random();
    // Stored before its first use: a request whose response is lost must be repeated with the same number.
    store.put_node(TICKET, &ticket.to_be_bytes())?;
    Ok(ticket)
}

async fn join(
    config: &Config,
    ticket: u64,
    transport: &dyn Transport,
) -> Result<(NodeId, u64, ClusterMap), Error> {
    let deadline = Instant::now() + JOIN_DEADLINE;
    let (addr, zone) = (config.advertise.clone(), config.zone.clone());
    let supported_level = config.supported_level;
    let change = match config.duty() {
        NodeDuty::Replicas => MapChange::Join {
            ticket,
            addr,
            zone,
            supported_level,
        },
        duty => MapChange::JoinAs {
            ticket,
            addr,
            zone,
            supported_level,
            duty,
        },
    };
    let mut last = String::new();
    loop {
        for addr in config.other_seeds() {
            match ask_to_join(addr, &change, config, transport).await {
                Ok(joined) => return Ok(joined),
                // Final: no other member would admit this build.
                Err(JoinRefusal::BelowLevel(required)) => {
                    return Err(Error::BelowLevel {
                        supported: config.supported_level,
                        required,
                    });
                }
                Err(JoinRefusal::Retry(reason)) => last = format!("{addr}: {reason}"),
            }
        }
        if Instant::now() > deadline {
            let waited_s = JOIN_DEADLINE.as_secs();
            return Err(Error::JoinFailed {
                peers: config.seeds.clone(),
                waited_s,
                last,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask_to_join(
    addr: &str,
    change: &MapChange,
    config: &Config,
    transport: &dyn Transport,
) -> Result<(NodeId, u64, ClusterMap), JoinRefusal> {
    let answer = transport
        .call_addr(addr, MemberMethod::Join as u16, change.encode(), ATTEMPT)
        .await;
    let (node, cluster) = match MapChangeResult::decode(&answer.map_err(describe)?) {
        Ok(MapChangeResult::Joined { node, cluster }) => (node, cluster),
        Ok(MapChangeResult::Refused { reason }) => return Err(JoinRefusal::Retry(reason)),
        Ok(MapChangeResult::BelowLevel { level }) => return Err(JoinRefusal::BelowLevel(level)),
        Ok(other) => return Err(JoinRefusal::Retry(format!("unexpected response {other:?}"))),
        Err(error) => return Err(JoinRefusal::Retry(error.to_string())),
    };
    let answer = transport
        .call_addr(addr, MemberMethod::Map as u16, Bytes::new(), ATTEMPT)
        .await;
    let mut map = ClusterMap::decode(&answer.map_err(describe)?).map_err(|e| e.to_string())?;
    // The asked node's map may not contain this node yet. Announcements bring the newer map later.
    let info = NodeInfo {
        id: node,
        addr: config.advertise.clone(),
        zone: config.zone.clone(),
        supported_level: config.supported_level,
    };
    map.nodes.entry(node).or_insert(info);
    Ok((node, cluster, map))
}

impl From<String> for JoinRefusal {
    fn from(reason: String) -> JoinRefusal {
        JoinRefusal::Retry(reason)
    }
}

fn describe(error: crate::transport::Error) -> String {
    match error {
        crate::transport::Error::Refused(reason) => String::from_utf8_lossy(&reason).into_owned(),
        other => other.to_string(),
    }
}
