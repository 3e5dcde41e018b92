//! Ownership of the shards, as the nodes report it over HTTP.

use serde::{Deserialize, Deserializer};

use crate::http;

/// Part of the response to `GET /v1/cluster` that the harness reads.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterView {
    #[serde(default)]
    pub(crate) shards: Vec<ShardView>,
}

/// One shard of a [`ClusterView`]; also the response to `GET /v1/cluster/owner`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShardView {
    /// Number of the shard; `None` for the meta group.
    #[serde(deserialize_with = "number")]
    pub(crate) shard: Option<u16>,
    pub(crate) owner: Option<u64>,
    #[serde(default)]
    pub(crate) epoch: Option<u64>,
}

/// Requests the shard owner of a conversation from a node.
pub(crate) async fn shard_owner(node: &str, conversation: &str) -> Option<ShardView> {
    let body = http::get(node, &format!("/v1/cluster/owner?conversation={conversation}"))
        .await
        .ok()?;
    serde_json::from_str(&body).ok()
}

/// Requests the whole ownership table from a node.
pub(crate) async fn cluster_view(node: &str) -> Option<ClusterView> {
    serde_json::from_str(&http::get(node, "/v1/cluster").await.ok()?).ok()
}

/// Deserializes a shard number that is written as a number or as text; other text, as of the meta group, is `None`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ShardRef {
        Number(u16),
        Text(String),
    }
    Ok(match ShardRef::deserialize(deserializer)? {
        ShardRef::Number(number) => Some(number),
        ShardRef::Text(text) => text.parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_by_number_and_the_meta_group_has_none() {
        let text = r#"{"shards":[{"shard":"7","owner":1,"epoch":3},{"shard":"meta","owner":2},{"shard":8,"owner":null}]}"#;
        let view: ClusterView = serde_json::from_str(text).unwrap();
        let shards: Vec<_> = view
            .shards
            .iter()
            .map(|shard| (shard.shard, shard.owner))
            .collect();
        assert_eq!(shards, [(Some(7), Some(1)), (None, Some(2)), (Some(8), None)]);
    }
}
