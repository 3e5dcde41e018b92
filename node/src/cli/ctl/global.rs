//! Arguments of all commands of `rookery ctl`, and the contexts from which some of them may come.
//!
//! A context is a section of `rookery/contexts.toml` in the folder for configurations (`XDG_CONFIG_HOME`, or `~/.config`):
//!
//! ```toml
//! [production]
//! url = ["https://a.example.org:8079", "https://b.example.org:8079"]
//! token_file = "/etc/rookery/production.token"
//! ca = "/etc/rookery/production-ca.pem"
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::client::{AdminClient, Trust};
use super::failure::Failure;
use super::output::{Output, OutputFormat};
use super::{CtlContext, DEFAULT_URLS, client};

/// Arguments of all commands.
#[derive(Args, Debug)]
pub(super) struct GlobalArgs {
    /// Address of a node's port for operators: `http://HOST:PORT`. May be repeated: the first node that answers is asked.
    /// Without it those of the context, or else http://127.0.0.1:8079 and http://127.0.0.1:8080.
    #[arg(
        long,
        global = true,
        env = "ROOKERY_URL",
        value_delimiter = ',',
        value_parser = client::http_url
    )]
    url: Vec<String>,
    /// File with the admin token. Without it the environment variable ROOKERY_ADMIN_TOKEN has the token, or the file of the
    /// context.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the authority of the nodes' certificates, instead of those of the system.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Section of rookery/contexts.toml in the folder for configurations, with url, token_file and ca.
    #[arg(long, global = true, value_name = "NAME", env = "ROOKERY_CONTEXT")]
    context: Option<String>,
    /// Form of the data on standard output. `ndjson` is one JSON object a line, as `json` is.
    #[arg(short, long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    /// Time to wait for each answer of a node.
    #[arg(long, global = true, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Prints no progress and no hints, only data and failures.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Prints each request to standard error as a command of curl, without the token.
    #[arg(long, global = true)]
    debug: bool,
    /// Permits what cannot be undone.
    #[arg(short, long, global = true)]
    yes: bool,
}

/// Addresses and files of one cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterContext {
    #[serde(default)]
    url: Vec<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

// === impl GlobalArgs ===

impl GlobalArgs {
    /// Reads the files that the arguments name.
    pub(super) fn open(self) -> Result<CtlContext, Failure> {
        let context = match &self.context {
            Some(name) => ClusterContext::load(&contexts_file()?, name)?,
            None => ClusterContext::default(),
        };
        let urls = match (self.url.is_empty(), context.url.is_empty()) {
            (false, _) => self.url,
            (true, false) => context.url,
            (true, true) => DEFAULT_URLS.map(str::to_owned).to_vec(),
        };
        let token = match (self.token_file, context.token_file) {
            (Some(file), _) => client::token(Some(&file))?,
            // The environment is closer to the command than a file of all commands.
            (None, file) => match client::token(None)? {
                None => file.map_or(Ok(None), |file| client::token(Some(&file)))?,
                token => token,
            },
        };
        let trust = match self.ca.or(context.ca) {
            Some(file) => Trust::of_file(&file).map_err(Failure::Config)?,
            None => Trust::System,
        };
        Ok(CtlContext {
            client: AdminClient::new(urls, token, self.timeout)
                .trusting(trust)
                .debugging(self.debug),
            output: Output::new(self.output).quiet(self.quiet),
            yes: self.yes,
        })
    }
}

/// Returns the path of the file with the contexts.
fn contexts_file() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(&set("HOME")?).join(".config")));
    let missing = || Failure::Config("--context: neither XDG_CONFIG_HOME nor HOME is set".to_owned());
    Ok(folder.ok_or_else(missing)?.join("rookery/contexts.toml"))
}

// === impl ClusterContext ===

impl ClusterContext {
    fn load(file: &Path, name: &str) -> Result<ClusterContext, Failure> {
        let broken = |reason: String| Failure::Config(format!("{}: {reason}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| broken(error.to_string()))?;
        let mut contexts: BTreeMap<String, ClusterContext> =
            toml::from_str(&text).map_err(|error| broken(error.message().to_owned()))?;
        let Some(mut context) = contexts.remove(name) else {
            let known: Vec<&str> = contexts.keys().map(String::as_str).collect();
            return Err(broken(format!("has no context {name}, but {}", known.join(", "))));
        };
        for url in &mut context.url {
            *url = client::http_url(url).map_err(|reason| broken(format!("{name}: {url}: {reason}")))?;
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_names_addresses_and_files_of_a_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("contexts.toml");
        let load = |name: &str| ClusterContext::load(&file, name);
        assert_eq!(load("a").unwrap_err().exit_code(), 64, "no file");
        std::fs::write(
            &file,
            "[a]\nurl = [\"https://a:8079/\"]\nca = \"/ca.pem\"\n[b]\ntoken_file = \"/t\"\n[c]\nurl = [\"a:1\"]\n",
        )
        .unwrap();
        let found = load("a").unwrap();
        assert_eq!(found.url, ["https://a:8079"]);
        assert_eq!((found.ca, found.token_file), (Some("/ca.pem".into()), None));
        assert_eq!(load("b").unwrap().token_file, Some("/t".into()));
        let unknown = load("d").unwrap_err();
        assert!(
            unknown.to_string().ends_with("has no context d, but a, b, c"),
            "{unknown}"
        );
        assert_eq!(load("c").unwrap_err().exit_code(), 64, "not an address of a node");
        std::fs::write(&file, "[a]\ntoken = \"x\"\n").unwrap();
        assert_eq!(
            load("a").unwrap_err().exit_code(),
            64,
            "a token has no place in it"
        );
    }
}
