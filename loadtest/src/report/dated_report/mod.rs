//! Dated report over many runs: tables as Markdown, charts as SVG files, and the values as JSON.
//!
//! A run's folder is named after its purpose (`throughput-16`); scripts/report.sh has the list. Missing runs are listed
//! as not measured.

mod plots;
mod sections;
mod text;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RunReport;
use crate::measure::FailoverReport;

/// All runs by folder name.
#[derive(Default)]
pub(super) struct DatedReport {
    runs: BTreeMap<String, RunReport>,
    failovers: BTreeMap<String, FailoverReport>,
    /// Command line of each run.
    commands: BTreeMap<String, String>,
    /// Description of the machine, as Markdown.
    machine: String,
}

/// Error of the report's creation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    Malformed(PathBuf, serde_json::Error),
    #[error("{0} has no runs")]
    Empty(PathBuf),
}

/// Fields per second or per point, left out of the summary.
const LEFT_OUT: [&str; 5] = ["seconds", "samples", "curves", "own", "rounds"];

/// Reads all runs below `folder`, and writes README.md, figures.json and the charts to `out`.
pub(crate) fn collect(folder: &Path, out: &Path) -> Result<(), Error> {
    let book = DatedReport::read(folder)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::File(path, error)
    };
    std::fs::create_dir_all(out).map_err(failed(out))?;
    let mut page = book.head();
    let mut missing = Vec::new();
    for section in book.sections() {
        if section.body.is_empty() {
            missing.push(section.title);
            continue;
        }
        let _ = write!(page, "\n## {}\n{}", section.title, section.body);
        for (name, chart) in section.plots {
            let path = out.join(format!("{name}.svg"));
            std::fs::write(&path, plots::standalone(&chart)).map_err(failed(&path))?;
            let _ = write!(page, "\n![{}]({name}.svg)\n", chart.title);
        }
    }
    if !missing.is_empty() {
        let _ = write!(page, "\n## Not measured\n{}.\n", missing.join("; "));
    }
    page += &book.command_list();
    for (name, text) in [("README.md", page), ("figures.json", book.figures())] {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(failed(&path))?;
    }
    println!("{} runs in {}", book.commands.len(), out.display());
    Ok(())
}

// === impl DatedReport ===

impl DatedReport {
    fn read(folder: &Path) -> Result<DatedReport, Error> {
        let listed = std::fs::read_dir(folder).map_err(|error| Error::File(folder.to_owned(), error))?;
        let mut book = DatedReport {
            machine: std::fs::read_to_string(folder.join("machine.md")).unwrap_or_default(),
            ..DatedReport::default()
        };
        for path in listed.filter_map(Result::ok).map(|entry| entry.path()) {
            let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
                continue;
            };
            // A folder without either file is no run. A file that does not parse is an error, or it would be missed.
            let run = load(&path.join("report.json"))?;
            let failover = load(&path.join("failover.json"))?;
            if run.is_some() || failover.is_some() {
                let command = std::fs::read_to_string(path.join("command")).unwrap_or_default();
                book.commands.insert(name.clone(), command.trim().to_owned());
            }
            book.runs.extend(run.map(|run| (name.clone(), run)));
            book.failovers.extend(failover.map(|failover| (name, failover)));
        }
        if book.commands.is_empty() {
            return Err(Error::Empty(folder.to_owned()));
        }
        Ok(book)
    }

    /// Returns the runs whose names begin with `word`, ordered by the number after it.
    fn of(&self, word: &str) -> Vec<(&str, &RunReport)> {
        let named = self.runs.iter().filter_map(|(name, run)| {
            let label = name.strip_prefix(word)?.strip_prefix('-')?;
            Some((label, run))
        });
        let mut named: Vec<_> = named.collect();
        // Numerically, since 16 sorts before 4 as text. Labels without a number come last.
        named.sort_by_key(|(label, _)| label.parse::<u64>().unwrap_or(u64::MAX));
        named
    }

    fn run(&self, name: &str) -> Option<&RunReport> {
        self.runs.get(name)
    }

    /// Returns the CPU time of all nodes together without clients, in microseconds per second.
    fn idle_us_per_s(&self) -> Option<f64> {
        let run = self.run("rest-empty")?;
        Some(cpu_of_all(run)? * 1e4)
    }

    fn head(&self) -> String {
        format!(
            "# Measurements with the load harness\n\nMade by `scripts/report.sh`; [docs/loadtest-report.md](../../loadtest-report.md) describes the figures. `figures.json` contains all figures of each run.\n\n{}\n",
            self.machine.trim()
        )
    }

    fn command_list(&self) -> String {
        let mut out = String::from("\n## The runs\n`scripts/report.sh` makes them.\n\n");
        for (name, command) in &self.commands {
            let _ = writeln!(out, "* `{name}`: `{command}`");
        }
        out
    }

    /// Returns one JSON line per run, without the values per second.
    fn figures(&self) -> String {
        let runs = self
            .runs
            .iter()
            .map(|(name, run)| (name, serde_json::to_value(run)));
        let failovers = self
            .failovers
            .iter()
            .map(|(name, run)| (name, serde_json::to_value(run)));
        let lines = runs.chain(failovers).map(|(name, figures)| {
            let mut figures = figures.unwrap_or_default();
            if let Value::Object(fields) = &mut figures {
                fields.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
            }
            format!("{}: {figures}", Value::from(name.as_str()))
        });
        format!("{{\n{}\n}}\n", lines.collect::<Vec<_>>().join(",\n"))
    }
}

/// CPU of all nodes of a run, in percent of one core; `None` if it is unknown for any of them.
fn cpu_of_all(run: &RunReport) -> Option<f64> {
    run.nodes.iter().map(|node| node.cpu_percent).sum()
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Ok(None);
    };
    let parsed = serde_json::from_str(&text);
    parsed
        .map(Some)
        .map_err(|error| Error::Malformed(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Oracle;
    use crate::report::tests::report;

    fn written(runs: &[(&str, RunReport)]) -> (PathBuf, PathBuf) {
        let name = format!("rookery-book-{}-{}", std::process::id(), runs.len());
        let folder = std::env::temp_dir().join(name);
        for (name, run) in runs {
            run.write(&folder.join(name), Oracle::new().history()).unwrap();
            std::fs::write(folder.join(name).join("command"), format!("run {name}\n")).unwrap();
        }
        (folder.clone(), folder.join("out"))
    }

    #[test]
    fn the_page_lists_every_run_and_what_is_missing() {
        let (folder, out) = written(&[("throughput-16", report(2000)), ("throughput-4", report(9000))]);
        collect(&folder, &out).unwrap();
        let page = std::fs::read_to_string(out.join("README.md")).unwrap();
        let figures = std::fs::read_to_string(out.join("figures.json")).unwrap();
        let plot = std::fs::read_to_string(out.join("throughput.svg")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let (four, sixteen) = (page.find("| 4 |").unwrap(), page.find("| 16 |").unwrap());
        assert!(four < sixteen, "in the order of the windows: {page}");
        assert!(
            page.contains("## Not measured") && page.contains("Failover"),
            "{page}"
        );
        assert!(page.contains("`run throughput-16`"));
        let figures: Value = serde_json::from_str(&figures).unwrap();
        assert!(figures["throughput-4"]["cost"]["nodes_us_per_message"].as_f64() > Some(0.0));
        assert!(figures["throughput-4"].get("seconds").is_none());
        assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn a_folder_without_runs_is_refused() {
        let folder = std::env::temp_dir().join(format!("rookery-no-book-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let refused = collect(&folder, &folder.join("out"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(refused, Err(Error::Empty(_))), "{refused:?}");
    }
}
