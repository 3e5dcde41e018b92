//! `rookery ctl`: commands of operators against a running node.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Error, probe};

/// Arguments of `rookery ctl`.
#[derive(Args)]
pub(super) struct Ctl {
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Subcommand)]
enum CtlCommand {
    /// Checks a node, for probes and monitors: the exit code is the result.
    Check(Check),
}

/// Arguments of `rookery ctl check`.
#[derive(Args)]
struct Check {
    /// Checks that the node accepts clients, as `/readyz` reports it. It needs no token.
    #[arg(long, required = true)]
    ready: bool,
    /// Address of the node: `http://HOST:PORT`, or `https://HOST:PORT` of a node with a certificate, which is verified
    /// except at a loopback address.
    #[arg(long, env = "ROOKERY_URL", default_value = "http://127.0.0.1:8080", value_parser = http_url)]
    url: String,
}

/// Checks that an address is one of a node itself, and returns it without a slash at its end.
fn http_url(text: &str) -> Result<String, String> {
    let url = text.strip_suffix('/').unwrap_or(text);
    match url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
    {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@']) => Ok(url.to_owned()),
        _ => Err("expected http://HOST:PORT or https://HOST:PORT, the address of the node itself".to_owned()),
    }
}

// === impl Ctl, Check ===

impl Ctl {
    pub(super) async fn run(self) -> Result<(), Error> {
        match self.command {
            CtlCommand::Check(check) => check.run().await,
        }
    }
}

impl Check {
    async fn run(self) -> Result<(), Error> {
        let Check { ready: _, url } = self;
        let (host, port) = match url.strip_prefix("https://") {
            Some(_) => (url.as_str(), 443),
            None => (url.trim_start_matches("http://"), 80),
        };
        // The port may be left out; an address of IPv6 ends with its bracket then.
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']') && !port.starts_with('/'));
        let host = if has_port {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let Some(answer) = probe::get(&host, "/readyz").await else {
            return Err(Error::Unreachable(url));
        };
        let state: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match (answer.status, state["status"].as_str()) {
            (200, Some("ready")) => {
                println!("ready");
                Ok(())
            }
            (503, Some(_)) => {
                let reason = state["reason"].as_str().unwrap_or("no reason given").to_owned();
                Err(Error::NotReady { url, reason })
            }
            (status, _) => Err(Error::NoNode { url, status }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_a_node_itself() {
        for (text, url) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://node-1/", "http://node-1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            (
                "https://node-1.example.org:8443/",
                "https://node-1.example.org:8443",
            ),
        ] {
            assert_eq!(http_url(text).as_deref(), Ok(url));
        }
        for text in [
            "wss://chat.example.org",
            "https://",
            "127.0.0.1:8080",
            "http://",
            "http://a:1/x",
        ] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }
}
