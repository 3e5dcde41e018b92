//! Bounds and times of the conversation side.

use std::time::Duration;

use cluster::ClusterClock;

use super::state_machine::consent::AdditionLimits;
use super::state_machine::query::RetentionPolicies;

/// Limits, timeouts and intervals; the defaults fit a node of a few cores.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that run shard and conversation actors. One thread handles tens of thousands of messages per second;
    /// more help only with spare cores.
    pub arbiters: usize,
    /// Commands without a response in a shard's command queue. Further ones are refused with `busy`.
    pub queue_commands: usize,
    /// Bytes of these commands.
    pub queue_bytes: usize,
    /// Commands in one batch to the shard owner, and in one log entry.
    pub batch_commands: usize,
    /// Bytes in one batch.
    pub batch_bytes: usize,
    /// Unacknowledged batches per command queue: enough to cover a round trip while one batch commits.
    pub batches_in_flight: usize,
    /// Time after which a command without a response is refused.
    pub send_budget: Duration,
    /// Time after which a query without a response is refused.
    pub ask_budget: Duration,
    /// Timeout of one request to another node.
    pub call_deadline: Duration,
    /// Time for which a refused command holds back the sender's later ones.
    pub order_hold: Duration,
    /// Time for which `read` and `recv` cursors are coalesced per shard, to save log entries.
    pub cursors: Duration,
    /// Accepted commands per shard without a response. Further batches get `busy`; the command queue sends them again.
    pub shard_commands: usize,
    /// Mailbox capacity of a shard's actor in messages (batches, registrations).
    pub shard_mailbox: usize,
    /// Conversation actors on this node. Above the bound the least recently used ones are stopped.
    pub actors: usize,
    /// Idle time after which a conversation actor is stopped.
    pub actor_idle: Duration,
    /// Concurrent reads of the disk.
    pub reads: usize,
    /// Queries in progress or queued. Further ones are refused with `busy`.
    pub reads_queued: usize,
    /// Time after which a queued read is refused.
    pub read_deadline: Duration,
    /// Interval of the shard owner's idle heartbeats: the longest time for which a lost last delivery goes unnoticed.
    pub positions_every: Duration,
    /// Time without a delivery or heartbeat after which the subscription manager registers again.
    pub delivery_timeout: Duration,
    /// Concurrent registrations of this node.
    pub registrations: usize,
    /// Upper bound of the random delay of registrations after an owner change.
    pub registration_jitter: Duration,
    /// Frames queued for the subscription manager. Further ones are dropped and show as a gap.
    pub relay_frames: usize,
    /// Batches of events queued for a worker. Further ones are dropped and read again from the log.
    pub worker_batches: usize,
    /// Interval at which the members' shards are notified of messages in an active conversation. Until then the list
    /// may order it by an older message; each notification writes a row per member.
    pub activity_window: Duration,
    /// Pause before an outbox entry that another shard did not accept is sent again.
    pub outbox_retry: Duration,
    pub users: crate::user::Settings,
    /// Retention policies. The shard owner enforces them, so they should be the same on every node.
    pub retention: RetentionPolicies,
    /// Interval of the retention rounds, and so the longest time for which an event outlives its policy.
    pub retention_every: Duration,
    /// Clock of the cluster member.
    pub clock: ClusterClock,
    /// Interval at which a shard owner removes expired login rows.
    pub login_sweep: Duration,
    /// Limits on how often others may make a user a member. Should be the same on every node.
    pub added: AdditionLimits,
    /// Webhook for messages to offline members; `None` disables it. Should be the same on every node.
    pub hook: Option<crate::user::WebhookTarget>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            arbiters: 1,
            queue_commands: 4096,
            queue_bytes: 4 << 20,
            batch_commands: 512,
            batch_bytes: 256 << 10,
            batches_in_flight: 8,
            send_budget: Duration::from_secs(10),
            ask_budget: Duration::from_secs(5),
            call_deadline: Duration::from_secs(5),
            order_hold: Duration::from_secs(1),
            cursors: Duration::from_millis(300),
            shard_commands: 16_384,
            shard_mailbox: 1024,
            actors: 50_000,
            actor_idle: Duration::from_secs(300),
            reads: 8,
            reads_queued: 4096,
            read_deadline: Duration::from_secs(3),
            positions_every: Duration::from_millis(500),
            delivery_timeout: Duration::from_secs(2),
            registrations: 8,
            registration_jitter: Duration::from_millis(200),
            relay_frames: 512,
            worker_batches: 1024,
            activity_window: Duration::from_secs(30),
            outbox_retry: Duration::from_millis(250),
            users: crate::user::Settings::default(),
            retention: RetentionPolicies::default(),
            retention_every: Duration::from_secs(60),
            clock: ClusterClock::system(),
            login_sweep: Duration::from_secs(60),
            added: AdditionLimits::default(),
            hook: None,
        }
    }
}
