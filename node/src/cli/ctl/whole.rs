//! Decision what is missing until every shard has an owner and all of its replicas.

use cluster::PERMITTED_LAG;

use super::view::{OverviewView, ShardView};

/// Returns what keeps a node from being restarted without a pause: what is missing of the cluster. `None`: nothing.
pub(super) fn missing(view: &OverviewView) -> Option<String> {
    if let Some(node) = view.nodes.iter().find(|node| node.silent) {
        return Some(format!("node {} does not answer", node.id));
    }
    for node in &view.nodes {
        let report = node.report.as_ref();
        if let Some(reason) = report.and_then(|report| report.not_ready.as_ref()) {
            return Some(format!("node {} is not ready: {reason}", node.id));
        }
    }
    view.groups().find_map(|group| {
        let reason = missing_of(group)?;
        Some(format!("shard {} {reason}", group.name()))
    })
}

fn missing_of(group: &ShardView) -> Option<String> {
    if group.owner.is_none() {
        return Some("has no owner".to_owned());
    }
    let (voters, votes) = group.votes();
    if votes < voters || voters < group.replicas.len() {
        return Some(format!("has {votes} of {} replicas", group.replicas.len()));
    }
    // Of the owner too: it applies what it has in its log.
    let behind = group.replicas.iter().filter_map(|replica| replica.lag).max()?;
    (behind > PERMITTED_LAG).then(|| format!("has a replica that lacks {behind} entries"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::view::tests::{healthy, one_silent};

    #[test]
    fn the_first_thing_that_is_missing_is_named() {
        assert_eq!(missing(&healthy()), None);
        assert_eq!(missing(&one_silent()).as_deref(), Some("node 3 does not answer"));
        let mut view = healthy();
        view.shards[1].replicas[2].lag = Some(201);
        assert_eq!(
            missing(&view).as_deref(),
            Some("shard 1 has a replica that lacks 201 entries")
        );
        view.shards[1].replicas[2].role = Some("learner".to_owned());
        view.shards[1].replicas[2].voter = Some(false);
        assert_eq!(missing(&view).as_deref(), Some("shard 1 has 2 of 3 replicas"));
        view.meta.owner = None;
        view.shards[1].replicas.pop();
        assert_eq!(missing(&view).as_deref(), Some("shard meta has no owner"));
        view.nodes[1].report.as_mut().unwrap().not_ready = Some("draining".to_owned());
        assert_eq!(missing(&view).as_deref(), Some("node 2 is not ready: draining"));
    }
}
