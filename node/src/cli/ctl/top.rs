//! `rookery ctl top`: nodes and load, redrawn every second on a terminal.

use std::io::{self, IsTerminal};

use clap::Args;

use super::CtlContext;
use super::check::problems;
use super::failure::Failure;
use super::live::{LiveArgs, LiveOverview};
use super::nodes;
use super::output::{versioned, write_on};
use super::view::OverviewView;

/// Moves to the first cell, and clears the screen behind it.
const REDRAW: &str = "\x1b[H\x1b[J";

/// Arguments of `rookery ctl top`.
#[derive(Args)]
pub(super) struct Top {
    #[command(flatten)]
    live: LiveArgs,
}

// === impl Top ===

impl Top {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let redraws = context.output.is_table() && io::stdout().is_terminal();
        let mut live = LiveOverview::new(&context.client, &self.live);
        let mut is_first = true;
        loop {
            let text = match live.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(view)) => match context.output.is_table() {
                    true => text(&view),
                    false => format!("{}\n", versioned(&view)),
                },
                // Before the first overview a wrong address is more likely than an outage.
                Err(Failure::Unreachable(nodes)) if !is_first && context.output.is_table() => {
                    format!("{nodes}: no answer\n")
                }
                Err(failure) => return Err(failure),
            };
            let text = match (redraws, is_first) {
                (true, _) => format!("{REDRAW}{text}"),
                // Blocks, in a file or a pipe.
                (false, false) if context.output.is_table() => format!("\n{text}"),
                _ => text,
            };
            is_first = false;
            if !write_on(&text)? {
                return Ok(());
            }
        }
    }
}

fn text(view: &OverviewView) -> String {
    let reports = || view.nodes.iter().filter_map(|node| node.report.as_ref());
    let sends: f64 = reports().map(|report| report.sends_per_second).sum();
    let frames: f64 = reports().map(|report| report.frames_out_per_second).sum();
    let sessions: u64 = reports().map(|report| report.sessions).sum();
    let mut text = format!(
        "{}\n{sends:.1} sends/s, {frames:.1} frames/s to clients, {sessions} sessions\n",
        view.sentence()
    );
    for problem in problems(view) {
        text.push_str(&format!("{problem}\n"));
    }
    format!("{text}\n{}", nodes::table(&view.nodes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::view::tests::one_silent;

    #[test]
    fn load_of_all_nodes_is_summed_above_the_table() {
        let view = one_silent();
        let text = text(&view);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("2 of 3 nodes answer, 2 of 3 shards have an owner")
        );
        assert_eq!(
            lines.next(),
            Some("5.0 sends/s, 80.0 frames/s to clients, 24 sessions")
        );
        assert_eq!(lines.next(), Some("critical: shard 2 has no owner"));
        assert!(text.ends_with(&nodes::table(&view.nodes)), "{text}");
    }
}
