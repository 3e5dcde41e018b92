//! `rookery ctl shards`: the shards with their owners, and the role and lag of every replica.

use clap::Args;
use serde::Serialize;

use super::CtlContext;
use super::failure::Failure;
use super::output::{Table, or_dash};
use super::view::{OverviewView, ReplicaView, ShardView};

/// Arguments of `rookery ctl shards`.
#[derive(Args)]
pub(super) struct Shards {}

/// Shards of the cluster, and its meta group.
#[derive(Serialize)]
struct ShardList<'a> {
    shards: &'a [ShardView],
    meta: &'a ShardView,
}

// === impl Shards ===

impl Shards {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let view: OverviewView = context.client.get(OverviewView::PATH).await?;
        let list = ShardList {
            shards: &view.shards,
            meta: &view.meta,
        };
        context.output.print(&list, || table(&view))
    }
}

fn table(view: &OverviewView) -> String {
    let mut table = Table::new(["SHARD", "OWNER", "EPOCH", "REPLICAS (NODE:ROLE-LAG)"]);
    for shard in view.groups() {
        let replicas: Vec<String> = shard.replicas.iter().map(replica).collect();
        table.row([
            shard.name(),
            or_dash(shard.owner),
            shard.epoch.to_string(),
            replicas.join(" "),
        ]);
    }
    table.render()
}

fn replica(replica: &ReplicaView) -> String {
    let node = replica.node;
    match (&replica.role, replica.lag) {
        (None, _) => format!("{node}:silent"),
        (Some(role), Some(lag)) if lag > 0 => format!("{node}:{role}-{lag}"),
        (Some(role), _) => format!("{node}:{role}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;
    use crate::cli::ctl::view::tests::one_silent;

    #[test]
    fn json_of_the_shards_is_frozen() {
        let view = one_silent();
        let text = versioned(&ShardList {
            shards: &view.shards[2..],
            meta: &view.meta,
        });
        let replicas = |leader: &str, follower: &str| {
            let first = format!(
                r#"{{"node":1,"role":"{leader}","applied":100,"lag":{},"voter":true}}"#,
                u8::from(leader != "leader")
            );
            let second = format!(r#"{{"node":2,"role":"{follower}","applied":100,"lag":1,"voter":true}}"#);
            let silent = r#"{"node":3,"role":null,"applied":null,"lag":null,"voter":true}"#;
            format!("[{first},{second},{silent}]")
        };
        let expected = format!(
            r#"{{"v":1,"shards":[{{"shard":2,"owner":null,"epoch":7,"replicas":{}}}],"meta":{{"shard":65535,"owner":1,"epoch":7,"replicas":{}}}}}"#,
            replicas("follower", "follower"),
            replicas("leader", "follower"),
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn each_shard_has_a_line_with_its_replicas() {
        let text = table(&one_silent());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[1], "0      1      7      1:leader 2:follower-1 3:silent");
        assert_eq!(
            lines[3],
            "2      -      7      1:follower-1 2:follower-1 3:silent"
        );
        assert!(lines[4].starts_with("meta   1 "), "{text}");
    }
}
