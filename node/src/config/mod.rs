//! Configuration: defaults < file < environment < flags, checked as a whole before anything starts.
//!
//! Each section has one file, which declares its keys, defaults and descriptions. `config/node.example.toml` is
//! rendered from them.

mod admin_token;
mod auth;
mod cable;
mod chat;
mod cluster;
mod disclosed;
mod limits;
mod load;
mod login;
mod mqtt;
mod presence;
mod receiver;
mod render;
mod retention;
mod section;
mod server;
mod session;
mod socketio;
mod storage;
mod telemetry;
mod thread_counts;
mod tuning;
mod units;
mod unknown;
mod webhook;

use serde::{Deserialize, Serialize};

pub use admin_token::{AdminRole, AdminToken};
pub use auth::{Algorithm, AuthConfig};
pub use cable::CableConfig;
pub use chat::ChatConfig;
pub use cluster::ClusterConfig;
pub use limits::LimitsConfig;
pub use load::{ConfigSources, Problems, load};
pub use login::LoginConfig;
pub use mqtt::MqttConfig;
pub use presence::PresenceConfig;
pub use receiver::{signing_key, webhook_url};
pub use render::example;
pub use retention::RetentionConfig;
pub use server::{ServerConfig, WebPages};
pub use session::SessionConfig;
pub use socketio::SocketIoConfig;
pub use storage::StorageConfig;
pub use telemetry::{Format, TelemetryConfig};
pub use thread_counts::ThreadCounts;
pub use tuning::Tuning;
pub use units::{HumanDuration, HumanSize, IpNetwork, SecretString};
pub use webhook::WebhookConfig;

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
    pub webhook: WebhookConfig,
    pub cable: CableConfig,
    pub socketio: SocketIoConfig,
    pub mqtt: MqttConfig,
    pub cluster: ClusterConfig,
    pub storage: StorageConfig,
    pub telemetry: TelemetryConfig,
    /// Accepts members whose data is older than it was, while all nodes are restored from copies. A flag of one start and
    /// no setting: a node must not start so by a forgotten line of its file.
    #[serde(skip)]
    pub accept_older_disks: bool,
    /// Makes this node the only member of its cluster after a majority was lost for good. A flag of one start, too.
    #[serde(skip)]
    pub unsafe_recover: bool,
    /// Constants that only tests change.
    #[cfg_attr(not(feature = "test-tuning"), serde(skip))]
    #[cfg_attr(feature = "test-tuning", serde(default))]
    pub tuning: Tuning,
}

// === impl Config ===

impl Config {
    /// Returns the burst of commands that change something: three seconds of the rate.
    #[must_use]
    pub fn sends_burst(&self) -> u32 {
        let burst = self.limits.sends_per_second.saturating_mul(3);
        self.tuning.sends_burst.unwrap_or(burst)
    }

    /// Returns the burst of commands that only read: four seconds of the rate.
    #[must_use]
    pub fn queries_burst(&self) -> u32 {
        let burst = self.limits.queries_per_second.saturating_mul(4);
        self.tuning.queries_burst.unwrap_or(burst)
    }

    /// Returns the time that a stopping node waits for other nodes to fetch its sessions: half of the drain timeout.
    #[must_use]
    pub fn fetch_timeout(&self) -> HumanDuration {
        let half = HumanDuration(self.server.drain_timeout.0 / 2);
        self.tuning.fetch_timeout.unwrap_or(half)
    }

    /// Returns the number of unacknowledged sends at which reading from a connection pauses: half a second of the rate,
    /// so that a client with a high rate can use it.
    #[must_use]
    pub fn unacked_sends(&self) -> usize {
        let half = usize::try_from(self.limits.sends_per_second / 2).unwrap_or(usize::MAX);
        self.tuning.unacked_sends.unwrap_or(half.clamp(16, 1_024))
    }

    /// Returns the interval of WebSocket pings: five eighths of the idle timeout, so that a client has the rest of it for
    /// its pong.
    #[must_use]
    pub fn ping_interval(&self) -> HumanDuration {
        let most = HumanDuration(self.session.idle_timeout.0 * 5 / 8);
        self.tuning.ping_interval.unwrap_or(most)
    }

    /// Returns the numbers of threads for clients, conversations and the cluster.
    #[must_use]
    pub fn threads(&self) -> ThreadCounts {
        ThreadCounts::of(match self.server.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        })
    }

    /// Returns the interval at which clients shall send `hb`: three quarters of the idle timeout.
    #[must_use]
    pub fn heartbeat_interval(&self) -> HumanDuration {
        HumanDuration(self.session.idle_timeout.0 * 3 / 4)
    }

    /// Returns the size of the largest WebSocket message: 64 KiB, or a body of the permitted size with 512 bytes for
    /// the other fields.
    #[must_use]
    pub fn max_frame(&self) -> usize {
        let whole_body = self.limits.max_body_size.as_usize().saturating_add(512);
        self.tuning.frame_size.as_usize().max(whole_body)
    }

    fn check(&self, problems: &mut Problems) {
        self.server.check(problems, self.auth.dev_tokens);
        self.auth.check(problems, !self.login.webhook_url.is_empty());
        self.login.check(problems);
        self.limits.check(problems);
        self.session.check(problems);
        self.chat.check(problems);
        self.retention.check(problems);
        self.cable.check(problems);
        self.socketio.check(problems);
        self.mqtt.check(problems);
        self.webhook.check(problems);
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
            "[session]\nresume_timeout = \"70s\"\nidle_timeout = \"80s\"\n[auth]\ndev_tokens = true\n",
        )
        .unwrap();
        let set = vec![("session.idle_timeout".to_owned(), "90s".to_owned())];
        let config = load(&ConfigSources {
            file: Some(&path),
            set,
            ..ConfigSources::default()
        })
        .unwrap();
        assert_eq!(config.session.resume_timeout, HumanDuration::secs(70));
        assert_eq!(config.session.idle_timeout, HumanDuration::secs(90));
        assert_eq!(config.session.max_detached, SessionConfig::default().max_detached);
    }

    #[test]
    fn lists_can_be_set_from_the_command_line() {
        let config = set(&[("cluster.seeds", "[\"10.0.0.1:9080\",\"10.0.0.2:9080\"]")]).unwrap();
        assert_eq!(config.cluster.seeds, ["10.0.0.1:9080", "10.0.0.2:9080"]);
    }

    #[test]
    fn every_problem_is_listed_with_its_key() {
        let problems = set(&[
            ("session.idle_timout", "5s"),
            ("session.resume_timeout", "soon"),
            ("presence.offline_grace", "later"),
            ("limits.sends_per_second", "0"),
            ("gateway.listen", "x"),
            ("server.listen", "localhost"),
        ])
        .unwrap_err();
        let lines = problems.lines().join("\n");
        for key in [
            "session.idle_timout",
            "session.resume_timeout",
            "presence.offline_grace",
            "limits.sends_per_second",
            "gateway",
            "server.listen",
        ] {
            assert!(lines.contains(&format!("{key}: ")), "{key} missing in:\n{lines}");
        }
        assert_eq!(problems.lines().len(), 6, "{lines}");
    }

    fn problem(key: &str, value: &str) -> String {
        set(&[(key, value)]).unwrap_err().lines().join("\n")
    }

    #[test]
    fn number_without_a_unit_is_refused_with_an_example() {
        assert_eq!(
            problem("session.idle_timeout", "60000"),
            "session.idle_timeout: 60000 is not a duration with its unit (ms, s, m, h or days), for example \"5s\" or \
             \"500ms\""
        );
        assert_eq!(
            problem("limits.max_body_size", "16384"),
            "limits.max_body_size: 16384 is not a size with its unit (B, KiB, MiB or GiB), for example \"64KiB\" or \
             \"1MiB\""
        );
    }

    #[test]
    fn an_unknown_or_former_key_is_refused_with_the_nearest_one() {
        for (key, nearest) in [
            ("session.idle_timeout_ms", "session.idle_timeout"),
            ("session.resume_ttl_ms", "session.resume_timeout"),
            ("server.http", "server.listen"),
            ("limits.outbox_bytes", "limits.outbound_queue_size"),
            ("limits.sends_per_s", "limits.sends_per_second"),
            ("limits.subscriptions", "limits.subscriptions_per_session"),
            ("cluster.election_min_ms", "cluster.election_timeout"),
            ("cluster.snapshot_rate_bytes", "cluster.snapshot_rate"),
            ("storage.cache_bytes", "storage.cache_size"),
            ("retention.group_max_age_ms", "retention.group_max_age"),
            ("login.access_ms", "login.access_token_ttl"),
            ("server.workers", "server.threads"),
            ("chat.threads", "server.threads"),
            ("cluster.threads", "server.threads"),
            ("auth.public_key_file", "auth.key_file"),
            ("auth.jwks_file", "auth.key_file"),
            ("session.ping_interval", "session.idle_timeout"),
        ] {
            let expected = format!("{key}: no such setting; the nearest is {nearest}");
            assert_eq!(problem(key, "1"), expected);
        }
        assert_eq!(
            problem("hooks.url", "x"),
            "hooks: no such section; the nearest is webhook"
        );
    }

    #[test]
    fn a_setting_that_is_gone_is_refused_with_what_replaces_it() {
        let reason = |key: &str| problem(key, "1");
        assert_eq!(
            reason("cluster.quorum_loss_timeout"),
            "cluster.quorum_loss_timeout: no such setting; it is always 10s"
        );
        assert_eq!(
            reason("cluster.accept_older_disks"),
            "cluster.accept_older_disks: no such setting; it is a flag of one start, `rookery node \
             --accept-older-disks`"
        );
        assert_eq!(
            reason("login.code_ttl"),
            "login.code_ttl: no such setting; it is always 5m"
        );
        assert_eq!(
            reason("webhook.max_members"),
            "webhook.max_members: no such setting; it is always 256"
        );
    }

    #[test]
    fn there_are_few_settings_and_each_is_in_the_operators_manual() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let manual = std::fs::read_to_string(path).unwrap();
        let keys: Vec<String> = section::SECTIONS
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |(key, _)| format!("{section}.{key}")))
            .collect();
        assert!(
            keys.len() <= 75,
            "{}: another setting has to go first",
            keys.len()
        );
        for key in keys {
            assert!(
                manual.contains(&format!("`{key}`")),
                "{key} is not in docs/operations.md"
            );
        }
    }

    #[test]
    fn bursts_intervals_and_the_frame_size_follow_from_the_settings() {
        let mut config = Config::default();
        assert_eq!((config.sends_burst(), config.queries_burst()), (60, 200));
        assert_eq!(config.max_frame(), 64 << 10);
        assert_eq!(config.unacked_sends(), 16);
        assert_eq!(config.heartbeat_interval(), HumanDuration::secs(30));
        assert_eq!(config.ping_interval(), HumanDuration::secs(25));
        config.limits.sends_per_second = u32::MAX;
        config.limits.max_body_size = HumanSize::mib(1);
        assert_eq!(config.sends_burst(), u32::MAX);
        assert_eq!(config.unacked_sends(), 1_024);
        assert_eq!(config.max_frame(), (1 << 20) + 512);
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
