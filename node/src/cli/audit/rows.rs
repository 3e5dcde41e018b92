//! Comparison of all rows of every shard's replicas, and the rebuild of those that differ.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::ReplicaComparison;
use serde_json::Value;

use crate::cli::Error;
use crate::cli::node_client::NodeClient;

/// Pause between two looks at a replica that is filled again.
const INTERVAL: Duration = Duration::from_millis(500);

/// Shard with the nodes that shall hold a replica of it.
struct AuditedShard {
    shard: u16,
    replicas: BTreeSet<u64>,
}

/// Compares the replicas of every shard and of the meta group; with `repairs` rebuilds those that differ.
///
/// # Errors
/// [`Error::Audit`] if replicas differ, or were not compared.
pub(super) async fn audit(client: &NodeClient, patience: Duration, repairs: bool) -> Result<(), Error> {
    let (mut rows, mut left, mut rebuilt) = (0, Vec::new(), 0);
    let shards = shards(client).await?;
    for audited in &shards {
        let mut comparison = compare(client, audited.shard).await?;
        for replica in comparison
            .replicas
            .clone()
            .iter()
            .filter(|replica| replica.differs)
        {
            eprintln!("rookery: {}", describe(&comparison));
            if repairs {
                let (shard, node) = (audited.shard, replica.node);
                client
                    .post(&format!("/v1/admin/shards/{shard}/replicas/{node}/rebuild"))
                    .await?;
                println!("shard {shard}: the replica of node {node} is filled again");
                comparison = filled(client, audited, patience).await?;
                rebuilt += 1;
            }
        }
        if audited.is_equal(&comparison) {
            rows += comparison
                .replicas
                .iter()
                .find_map(|replica| replica.rows)
                .unwrap_or_default();
        } else {
            left.push(describe(&comparison));
        }
    }
    if !left.is_empty() {
        return Err(Error::Audit(left.join("; ")));
    }
    let repaired = match rebuilt {
        0 => String::new(),
        count => format!(", {count} of them rebuilt"),
    };
    println!(
        "the replicas of {} shards are equal in {rows} rows{repaired}",
        shards.len()
    );
    Ok(())
}

/// Waits until a shard has all of its replicas again, and they are equal.
async fn filled(
    client: &NodeClient,
    audited: &AuditedShard,
    patience: Duration,
) -> Result<ReplicaComparison, Error> {
    let given_up = Instant::now() + patience;
    loop {
        let comparison = compare(client, audited.shard).await?;
        if audited.is_equal(&comparison) || Instant::now() > given_up {
            return Ok(comparison);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn compare(client: &NodeClient, shard: u16) -> Result<ReplicaComparison, Error> {
    let compared = client.json(&format!("/v1/admin/shards/{shard}/replicas")).await?;
    serde_json::from_value(compared).map_err(|error| Error::Refused {
        url: client.url().to_owned(),
        reason: format!("its answer is no comparison: {error}"),
    })
}

async fn shards(client: &NodeClient) -> Result<Vec<AuditedShard>, Error> {
    let status = client.json("/v1/cluster").await?;
    let shards = status["shards"].as_array().into_iter().flatten();
    let audited = shards.chain([&status["meta"]]).filter_map(|shard| {
        let replicas = shard["replicas"].as_array().into_iter().flatten();
        Some(AuditedShard {
            shard: u16::try_from(shard["shard"].as_u64()?).ok()?,
            replicas: replicas.filter_map(Value::as_u64).collect(),
        })
    });
    Ok(audited.collect())
}

// === impl AuditedShard ===

impl AuditedShard {
    /// Returns true if every replica of the map was compared, and all are equal.
    fn is_equal(&self, comparison: &ReplicaComparison) -> bool {
        let compared = comparison
            .replicas
            .iter()
            .filter(|replica| replica.rows.is_some());
        let compared: BTreeSet<u64> = compared.map(|replica| replica.node.0).collect();
        let differs = comparison.replicas.iter().any(|replica| replica.differs);
        compared == self.replicas && comparison.has_majority && !differs
    }
}

fn describe(comparison: &ReplicaComparison) -> String {
    let replicas = comparison.replicas.iter().map(|replica| {
        let found = match (&replica.digest, replica.rows, &replica.failure) {
            (Some(digest), Some(rows), _) => format!("{rows} rows, {digest}"),
            (_, _, Some(failure)) => failure.clone(),
            _ => "not compared".to_owned(),
        };
        let mark = if replica.differs { " (differs)" } else { "" };
        format!("node {}: {found}{mark}", replica.node)
    });
    let replicas: Vec<String> = replicas.collect();
    format!(
        "shard {} at index {}: {}",
        comparison.shard,
        comparison.index,
        replicas.join(", ")
    )
}
