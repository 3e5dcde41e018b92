//! Settings of the conversation side, and bounds that several of its parts share.

use std::time::Duration;

use cluster::ClusterClock;

use crate::config::{Config, HumanDuration, LimitsConfig, RetentionConfig};
use crate::rpc::submit::BATCH_COMMANDS;
use crate::state_machine::{AdditionLimits, RetentionPolicies, RetentionPolicy};

/// Times and bounds that an operator or a test sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that run shard and conversation actors. One thread handles tens of thousands of messages per second;
    /// more help only with spare cores.
    pub arbiters: usize,
    /// Maximum number of commands in one log entry.
    pub batch_commands: usize,
    /// Time after which a command without a response is refused.
    pub command_timeout: Duration,
    /// Time after which a query without a response is refused.
    pub query_timeout: Duration,
    /// Idle time after which a conversation actor is stopped.
    pub actor_idle: Duration,
    /// Interval of the shard owner's idle heartbeats: the longest time for which a lost last delivery goes unnoticed.
    pub positions_every: Duration,
    /// Interval at which the members' shards are notified of messages in an active conversation. Until then the list
    /// may order it by an older message; each notification writes a row per member.
    pub activity_window: Duration,
    pub users: crate::presence::Settings,
    /// Retention policies. The shard owner enforces them, so they should be the same on every node.
    pub retention: RetentionPolicies,
    /// Interval of the retention rounds, and so the longest time for which an event outlives its policy.
    pub retention_interval: Duration,
    /// Clock of the cluster member.
    pub clock: ClusterClock,
    /// Interval at which a shard owner removes expired login rows.
    pub login_sweep: Duration,
    /// Limits on how often others may make a user a member. Should be the same on every node.
    pub added: AdditionLimits,
    /// Webhook for messages to offline members; `None` disables it. Should be the same on every node.
    pub webhook: Option<super::background::webhook_dispatcher::WebhookTarget>,
}

// === impl Settings ===

impl From<&Config> for Settings {
    /// Returns the settings with the clock of the system and without a webhook.
    fn from(config: &Config) -> Settings {
        Settings {
            arbiters: config.threads().conversations,
            batch_commands: BATCH_COMMANDS,
            command_timeout: config.chat.command_timeout.0,
            query_timeout: config.tuning.query_timeout.0,
            actor_idle: Duration::from_secs(300),
            positions_every: Duration::from_millis(500),
            activity_window: config.tuning.activity_interval.0,
            users: config.into(),
            retention: (&config.retention).into(),
            retention_interval: config.retention.interval.0,
            clock: ClusterClock::system(),
            login_sweep: Duration::from_secs(60),
            added: (&config.limits).into(),
            webhook: None,
        }
    }
}

impl From<&LimitsConfig> for AdditionLimits {
    fn from(limits: &LimitsConfig) -> AdditionLimits {
        AdditionLimits {
            by_one: limits.additions_per_day,
            // Many people may add a user, but few add the same one: ten times as many in all.
            by_all: limits.additions_per_day.saturating_mul(10),
        }
    }
}

impl From<&RetentionConfig> for RetentionPolicies {
    fn from(config: &RetentionConfig) -> RetentionPolicies {
        let policy = |age: HumanDuration, messages: u64| RetentionPolicy {
            max_age: (!age.0.is_zero()).then_some(age.0),
            max_messages: (messages > 0).then_some(messages),
        };
        RetentionPolicies {
            direct: policy(config.direct_max_age, config.direct_max_messages),
            group: policy(config.group_max_age, config.group_max_messages),
            channel: policy(config.channel_max_age, config.channel_max_messages),
        }
    }
}
