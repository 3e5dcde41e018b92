//! Configuration: defaults < file < environment < flags, checked as a whole before anything starts.
//!
//! Each section has one file, which declares its keys, defaults and descriptions. `config/node.example.toml` is
//! rendered from them.

pub mod auth;
pub mod chat;
pub mod cluster;
pub mod hooks;
pub mod limits;
pub mod load;
pub mod login;
pub mod presence;
pub mod render;
pub mod retention;
pub mod section;
pub mod server;
pub mod session;
pub mod storage;
pub mod telemetry;
pub mod units;

use serde::{Deserialize, Serialize};

pub use auth::{Algorithm, AuthConfig};
pub use chat::ChatConfig;
pub use cluster::ClusterConfig;
pub use hooks::WebhookConfig;
pub use limits::LimitsConfig;
pub use load::{ConfigSources, Problems, load};
pub use login::LoginConfig;
pub use presence::PresenceConfig;
pub use render::example;
pub use retention::RetentionConfig;
pub use server::ServerConfig;
pub use session::SessionConfig;
pub use storage::StorageConfig;
pub use telemetry::{Format, TelemetryConfig};
pub use units::{IpNetwork, Millis, SecretString};

/// Configuration of a node, by section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub server: ServerConfig,
    pub auth: AuthConfig,
    pub login: LoginConfig,
    pub limits: LimitsConfig,
    pub session: SessionConfig,
    pub chat: ChatConfig,
    pub presence: PresenceConfig,
    pub retention: RetentionConfig,
    pub hooks: WebhookConfig,
    pub cluster: ClusterConfig,
    pub storage: StorageConfig,
    pub telemetry: TelemetryConfig,
}

// === impl Config ===

impl Config {
    fn check(&self, problems: &mut Problems) {
        self.server.check(problems);
        self.auth.check(problems, !self.login.webhook_url.is_empty());
        self.login.check(problems);
        self.limits.check(problems);
        self.session.check(problems);
        self.chat.check(problems);
        self.presence.check(problems);
        self.retention.check(problems);
        self.hooks.check(problems);
        self.cluster.check(problems);
        self.storage.check(problems);
        self.telemetry.check(problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
        let set = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let preset = vec![("auth.dev_tokens", true.into())];
        load(&ConfigSources {
            preset,
            set,
            ..ConfigSources::default()
        })
    }

    #[test]
    fn example_file_is_the_rendered_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/node.example.toml");
        let file = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            file,
            example(),
            "run `cargo run -p rookery -- config > config/node.example.toml`"
        );
    }

    #[test]
    fn example_file_with_its_comments_removed_is_the_default() {
        let text: String = example()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(setting)
                    if setting
                        .split_once(" = ")
                        .is_some_and(|(key, _)| !key.contains(' ')) =>
                {
                    setting
                }
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(
            &path,
            "[session]\nauth_ms = 700\nhb_ms = 800\n[auth]\ndev_tokens = true\n",
        )
        .unwrap();
        let set = vec![("session.hb_ms".to_owned(), "900".to_owned())];
        let config = load(&ConfigSources {
            file: Some(&path),
            set,
            ..ConfigSources::default()
        })
        .unwrap();
        assert_eq!(config.session.auth_ms, Millis(700));
        assert_eq!(config.session.hb_ms, Millis(900));
        assert_eq!(config.session.ping_ms, SessionConfig::default().ping_ms);
    }

    #[test]
    fn lists_can_be_set_from_the_command_line() {
        let config = set(&[("cluster.join", "[\"10.0.0.1:9080\",\"10.0.0.2:9080\"]")]).unwrap();
        assert_eq!(config.cluster.join, ["10.0.0.1:9080", "10.0.0.2:9080"]);
    }

    #[test]
    fn every_problem_is_listed_with_its_key() {
        let problems = set(&[
            ("session.auth_msec", "5"),
            ("session.hb_ms", "soon"),
            ("session.ping_ms", "later"),
            ("limits.burst", "0"),
            ("gateway.http", "x"),
            ("server.http", "localhost"),
        ])
        .unwrap_err();
        let lines = problems.lines().join("\n");
        for key in [
            "session.auth_msec",
            "session.hb_ms",
            "session.ping_ms",
            "limits.burst",
            "gateway",
            "server.http",
        ] {
            assert!(lines.contains(&format!("{key}: ")), "{key} missing in:\n{lines}");
        }
        assert_eq!(problems.lines().len(), 6, "{lines}");
    }

    #[test]
    fn a_node_without_a_source_of_tokens_does_not_start() {
        let problems = load(&ConfigSources::default()).unwrap_err();
        assert!(problems.lines()[0].starts_with("auth.secret: "));
    }

    #[test]
    fn secrets_do_not_print() {
        let config = set(&[("auth.secret", "a-secret-that-nobody-should-see-1234")]).unwrap();
        assert!(!format!("{config:?}").contains("nobody"));
    }
}
