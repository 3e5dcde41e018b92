//! `rookery ctl failovers`: takeovers of shards from an earlier owner.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::CtlContext;
use super::failure::Failure;
use super::output::{Table, date, or_dash};
use super::view::group_name;

/// Arguments of `rookery ctl failovers`.
#[derive(Args)]
pub(super) struct Failovers {
    /// Shows those of the time before now; without it, all that are kept.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
}

/// Answer of `GET /v1/admin/failovers`.
#[derive(Serialize, Deserialize)]
pub(super) struct FailoverPage {
    pub(super) items: Vec<FailoverView>,
    /// True if the newest may be missing.
    #[serde(default)]
    partial: bool,
}

/// Takeover of a shard from an earlier owner.
#[derive(Serialize, Deserialize)]
pub(super) struct FailoverView {
    seq: u64,
    ts: u64,
    shard: u16,
    from: Option<u64>,
    to: u64,
    epoch: u64,
    why: String,
    unavailable_ms: Option<u64>,
}

// === impl Failovers ===

impl Failovers {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = match self.since {
            Some(since) => format!(
                "{}?since={}",
                FailoverPage::PATH,
                now.saturating_sub(since).as_millis()
            ),
            None => FailoverPage::PATH.to_owned(),
        };
        let page: FailoverPage = context.client.get(&path).await?;
        if page.partial {
            context
                .output
                .say("the meta group has no owner: the newest failovers may be missing");
        }
        context.output.print(&page, || page.text())
    }
}

// === impl FailoverPage ===

impl FailoverPage {
    /// Path of the history.
    pub(super) const PATH: &'static str = "/v1/admin/failovers";

    fn text(&self) -> String {
        let mut table = Table::new(["TIME", "SHARD", "FROM", "TO", "WHY", "UNAVAILABLE"]);
        for failover in &self.items {
            table.row([
                date(failover.ts),
                group_name(failover.shard),
                or_dash(failover.from),
                failover.to.to_string(),
                failover.why.clone(),
                or_dash(failover.unavailable_ms.map(|ms| format!("{ms} ms"))),
            ]);
        }
        let longest = self
            .items
            .iter()
            .filter_map(|failover| failover.unavailable_ms)
            .max();
        let count = self.items.len();
        match longest {
            Some(ms) => format!("{}\n{count} failovers, the longest gap {ms} ms\n", table.render()),
            None => format!("{}\n{count} failovers\n", table.render()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;

    #[test]
    fn json_and_table_of_failovers_are_frozen() {
        let answer = r#"{"items":[
            {"seq":1,"ts":1000,"shard":65535,"from":1,"to":2,"epoch":9,"why":"killed","unavailable_ms":812},
            {"seq":0,"ts":0,"shard":3,"from":null,"to":1,"epoch":5,"why":"clock","unavailable_ms":null}]}"#;
        let page: FailoverPage = serde_json::from_str(answer).unwrap();
        let expected = concat!(
            r#"{"v":1,"items":["#,
            r#"{"seq":1,"ts":1000,"shard":65535,"from":1,"to":2,"epoch":9,"why":"killed","unavailable_ms":812},"#,
            r#"{"seq":0,"ts":0,"shard":3,"from":null,"to":1,"epoch":5,"why":"clock","unavailable_ms":null}],"partial":false}"#,
        );
        assert_eq!(versioned(&page), expected);
        let expected = "TIME                  SHARD  FROM  TO  WHY     UNAVAILABLE\n\
                        1970-01-01T00:00:01Z  meta   1     2   killed  812 ms\n\
                        1970-01-01T00:00:00Z  3      -     1   clock   -\n\
                        \n2 failovers, the longest gap 812 ms\n";
        assert_eq!(page.text(), expected);
    }
}
