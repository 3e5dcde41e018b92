//! `rookery ctl events`: the audit log.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::CtlContext;
use super::failure::Failure;
use super::output::{Table, date};

/// Arguments of `rookery ctl events`.
#[derive(Args)]
pub(super) struct Events {
    /// Number of entries, the newest first; at most 100.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
    /// Shows the entries below this number.
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
}

/// Answer of `GET /v1/admin/events`.
#[derive(Serialize, Deserialize)]
struct EventPage {
    items: Vec<EventView>,
}

/// Entry of the audit log.
#[derive(Serialize, Deserialize)]
struct EventView {
    seq: u64,
    ts: u64,
    #[serde(default)]
    who: Option<String>,
    #[serde(default)]
    key_id: Option<String>,
    act: String,
    target: String,
    count: u64,
    #[serde(default)]
    outcome: Option<String>,
}

// === impl Events ===

impl Events {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let mut path = format!("/v1/admin/events?limit={}", self.limit);
        if let Some(before) = self.before {
            path.push_str(&format!("&before={before}"));
        }
        let page: EventPage = context.client.get(&path).await?;
        context.output.print(&page, || page.table())
    }
}

// === impl EventPage ===

impl EventPage {
    fn table(&self) -> String {
        let mut table = Table::new(["SEQ", "TIME", "BY", "CHANGE", "OF", "COUNT", "OUTCOME"]);
        for event in &self.items {
            let by = match (&event.who, &event.key_id) {
                (Some(who), _) => who.clone(),
                (None, Some(key)) => format!("key {key}"),
                (None, None) => "-".to_owned(),
            };
            table.row([
                event.seq.to_string(),
                date(event.ts),
                by,
                event.act.clone(),
                event.target.clone(),
                event.count.to_string(),
                event.outcome.clone().unwrap_or_default(),
            ]);
        }
        table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;

    #[test]
    fn json_and_table_of_the_audit_log_are_frozen() {
        let answer = r#"{"items":[
            {"seq":1,"ts":0,"who":"ci","act":"nodes.drain","target":"2","count":1,"outcome":"done"},
            {"seq":0,"ts":0,"key_id":"k","act":"messages.send","target":"g_1","count":1}]}"#;
        let page: EventPage = serde_json::from_str(answer).unwrap();
        let expected = concat!(
            r#"{"v":1,"items":["#,
            r#"{"seq":1,"ts":0,"who":"ci","key_id":null,"act":"nodes.drain","target":"2","count":1,"outcome":"done"},"#,
            r#"{"seq":0,"ts":0,"who":null,"key_id":"k","act":"messages.send","target":"g_1","count":1,"outcome":null}]}"#,
        );
        assert_eq!(versioned(&page), expected);
        let expected = "SEQ  TIME                  BY     CHANGE         OF   COUNT  OUTCOME\n\
                        1    1970-01-01T00:00:00Z  ci     nodes.drain    2    1      done\n\
                        0    1970-01-01T00:00:00Z  key k  messages.send  g_1  1\n";
        assert_eq!(page.table(), expected);
    }
}
