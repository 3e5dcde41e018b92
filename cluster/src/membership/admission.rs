//! How a node gets its identity: from its disk, by bootstrapping a cluster, or by joining one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::Store;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::Error;
use crate::node::Node;
use crate::ownership::announce::Method;
use crate::shard::META;
use crate::shard::map::{Change, Changed, Map};
use crate::transport::Transport;
use crate::types::{NodeId, NodeInfo};

/// Node-wide facts on disk.
const IDENTITY: &str = "cluster/identity";
const BOOTSTRAP: &str = "cluster/bootstrap";
/// There once the node learnt that it was removed.
pub(crate) const REMOVED: &str = "cluster/removed";
/// Kept from the first attempt to join on, so that a crash on the way costs no second id.
const TICKET: &str = "cluster/ticket";
const UNDER_WAY: &[u8] = b"under way";
const DONE: &[u8] = b"done";
/// The map known last.
pub(crate) const MAP: &str = "cluster/map";

/// One attempt to reach one node.
const ATTEMPT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// What a node knows about itself before it starts.
pub(crate) struct Admitted {
    pub(crate) node: NodeId,
    pub(crate) cluster: u64,
    pub(crate) map: Map,
    /// The groups of a new cluster are to be made here.
    pub(crate) bootstrap: bool,
}

/// Finds out who this node is.
pub(crate) async fn admit(
    config: &Config,
    store: &Store,
    transport: &dyn Transport,
) -> Result<Admitted, Error> {
    if let Some(bytes) = store.get_node(IDENTITY)? {
        let (cluster, node) = postcard::from_bytes(&bytes).map_err(|e| Error::Corrupt {
            what: "identity",
            reason: e.to_string(),
        })?;
        if store.get_node(REMOVED)?.is_some() {
            return Err(Error::Removed { node });
        }
        let map = store
            .get_node(MAP)?
            .map(|bytes| Map::decode(&bytes))
            .transpose()?
            .unwrap_or_default();
        let bootstrap = store.get_node(BOOTSTRAP)?.is_some_and(|state| state == UNDER_WAY);
        return Ok(Admitted {
            node,
            cluster,
            map,
            bootstrap,
        });
    }
    if config.bootstrap && !any_belongs_to_a_cluster(config, transport).await {
        let (node, cluster) = (NodeId(1), rand::random::<u64>() | 1);
        store.put_node(BOOTSTRAP, UNDER_WAY)?;
        remember(store, cluster, node)?;
        tracing::info!(cluster = format!("{cluster:016x}"), "bootstrapping a new cluster");
        return Ok(Admitted {
            node,
            cluster,
            map: Map::default(),
            bootstrap: true,
        });
    }
    if config.join.is_empty() {
        return Err(Error::NoCluster);
    }
    let (node, cluster, map) = join(config, ticket(store)?, transport).await?;
    store.put_node(MAP, &map.encode())?;
    remember(store, cluster, node)?;
    tracing::info!(%node, cluster = format!("{cluster:016x}"), "joined the cluster");
    Ok(Admitted {
        node,
        cluster,
        map,
        bootstrap: false,
    })
}

/// Makes the groups of a new cluster, or goes on where a crash interrupted that.
pub(crate) async fn bootstrap(node: &Arc<Node>) -> Result<(), Error> {
    start_group(node, META).await?;
    let deadline = Instant::now() + node.config.join_deadline;
    loop {
        let change = Change::Create {
            cluster: node.cluster(),
            shards: node.config.shards,
            addr: node.config.advertise.clone(),
            zone: node.config.zone.clone(),
        };
        match node.change(change).await {
            // Refused: it was made before the crash.
            Ok(Changed::Done { .. } | Changed::Refused { .. } | Changed::Joined { .. }) => break,
            Err(reason) if Instant::now() > deadline => {
                return Err(Error::Raft {
                    shard: "meta".to_owned(),
                    reason,
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    let map = Map::load(&node.state(META))?.ok_or(Error::Corrupt {
        what: "cluster map",
        reason: "missing after bootstrap".to_owned(),
    })?;
    for shard in map.all_shards() {
        start_group(node, shard).await?;
    }
    node.adopt(map);
    Ok(node.store().put_node(BOOTSTRAP, DONE)?)
}

async fn start_group(node: &Arc<Node>, shard: storage::ShardId) -> Result<(), Error> {
    node.start_replica(shard).await?.group.initialize(node.id()).await
}

fn remember(store: &Store, cluster: u64, node: NodeId) -> Result<(), Error> {
    let identity = postcard::to_stdvec(&(cluster, node)).map_err(|e| Error::Corrupt {
        what: "identity",
        reason: e.to_string(),
    })?;
    Ok(store.put_node(IDENTITY, &identity)?)
}

/// A node whose disk was lost must not start a second cluster beside the one it belonged to.
async fn any_belongs_to_a_cluster(config: &Config, transport: &dyn Transport) -> bool {
    let asks = config
        .join
        .iter()
        .filter(|addr| **addr != config.advertise)
        .map(|addr| transport.call_addr(addr, Method::Who as u16, Bytes::new(), Duration::from_secs(2)));
    futures::future::join_all(asks).await.iter().any(Result::is_ok)
}

/// The number with which this node asks to join; the same id is given out for the same number.
fn ticket(store: &Store) -> Result<u64, Error> {
    if let Some(bytes) = store.get_node(TICKET)? {
        let bytes = bytes[..].try_into().map_err(|_| Error::Corrupt {
            what: "ticket",
            reason: format!("{} bytes instead of 8", bytes.len()),
        })?;
        return Ok(u64::from_be_bytes(bytes));
    }
    let ticket: u64 = rand::random();
    store.put_node(TICKET, &ticket.to_be_bytes())?;
    Ok(ticket)
}

async fn join(config: &Config, ticket: u64, transport: &dyn Transport) -> Result<(NodeId, u64, Map), Error> {
    let deadline = Instant::now() + config.join_deadline;
    let change = Change::Join {
        ticket,
        addr: config.advertise.clone(),
        zone: config.zone.clone(),
    };
    let mut last = String::new();
    loop {
        for addr in config.join.iter().filter(|addr| **addr != config.advertise) {
            match ask_to_join(addr, &change, config, transport).await {
                Ok(joined) => return Ok(joined),
                Err(reason) => last = format!("{addr}: {reason}"),
            }
        }
        if Instant::now() > deadline {
            let waited_s = config.join_deadline.as_secs();
            return Err(Error::JoinFailed {
                peers: config.join.clone(),
                waited_s,
                last,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask_to_join(
    addr: &str,
    change: &Change,
    config: &Config,
    transport: &dyn Transport,
) -> Result<(NodeId, u64, Map), String> {
    let answer = transport
        .call_addr(addr, Method::Join as u16, change.encode(), ATTEMPT)
        .await;
    let (node, cluster) = match Changed::decode(&answer.map_err(describe)?) {
        Ok(Changed::Joined { node, cluster }) => (node, cluster),
        Ok(Changed::Refused { reason }) => return Err(reason),
        Ok(other) => return Err(format!("unexpected answer {other:?}")),
        Err(error) => return Err(error.to_string()),
    };
    let answer = transport
        .call_addr(addr, Method::Map as u16, Bytes::new(), ATTEMPT)
        .await;
    let mut map = Map::decode(&answer.map_err(describe)?).map_err(|e| e.to_string())?;
    // The node asked may not have heard of this one yet; its own news bring the rest.
    let info = NodeInfo {
        id: node,
        addr: config.advertise.clone(),
        zone: config.zone.clone(),
    };
    map.nodes.entry(node).or_insert(info);
    Ok((node, cluster, map))
}

fn describe(error: crate::transport::Error) -> String {
    match error {
        crate::transport::Error::Refused(reason) => String::from_utf8_lossy(&reason).into_owned(),
        other => other.to_string(),
    }
}
