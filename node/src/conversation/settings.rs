//! Bounds and times of the conversation side, each with its reason.

use std::time::Duration;

use cluster::Clock;

use super::timeline::consent::Bounds;
use super::timeline::read::Policies;

/// Every field has a default that fits a node of a few cores.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that run shard and conversation actors. One does tens of thousands of messages per second; more only
    /// help where there are cores to spare.
    pub arbiters: usize,
    /// Commands of this node that a shard's lane holds, answered ones not counted. Beyond: `busy`.
    pub lane_commands: usize,
    /// Bytes of the same.
    pub lane_bytes: usize,
    /// Commands in one batch to the owner: as much as one log entry takes.
    pub batch_commands: usize,
    /// Bytes in one batch.
    pub batch_bytes: usize,
    /// Batches under way per lane: enough to cover a round trip while one commits.
    pub batches_in_flight: usize,
    /// How long a command is tried before it is refused.
    pub send_budget: Duration,
    /// How long a question is tried before it is refused.
    pub ask_budget: Duration,
    /// When one request to another node counts as lost.
    pub call_deadline: Duration,
    /// How long a lane holds back a sender's next command after it refused one.
    pub order_hold: Duration,
    /// How long `read` and `recv` of this node's users are gathered, per shard: many receipts, few log entries.
    pub cursors: Duration,
    /// Accepted commands per shard that have no answer yet. Beyond: `busy` to the lane, which sends them again.
    pub shard_commands: usize,
    /// Mailbox of a shard's actor, in messages (batches, registrations).
    pub shard_mailbox: usize,
    /// Conversation actors on this node; beyond, those used longest ago are passivated.
    pub actors: usize,
    /// An actor without work for this long is passivated.
    pub actor_idle: Duration,
    /// Reads of the disk at the same time.
    pub reads: usize,
    /// Questions that are being answered or wait for their turn. Beyond: `busy`.
    pub reads_queued: usize,
    /// When a read that waits is given up.
    pub read_deadline: Duration,
    /// How often an owner tells its deliveries' numbers: the longest time that a lost last delivery goes unnoticed.
    pub positions_every: Duration,
    /// Without a sign of the owner for this long, the relay registers anew.
    pub silence: Duration,
    /// Registrations of this node under way.
    pub registrations: usize,
    /// Registrations that an owner change triggers begin within this time, at random.
    pub registration_jitter: Duration,
    /// Frames that wait for the relay; more are dropped and show as a gap.
    pub relay_frames: usize,
    /// Batches of events that wait for a worker; more are dropped and pulled again.
    pub worker_batches: usize,
    /// How often the shards of a conversation's members are told of messages while there are any. Until then the list
    /// may have the conversation where it was told last; each time costs a row per member.
    pub activity_window: Duration,
    /// Pause between attempts to hand over outbox entries that another shard didn't take.
    pub outbox_retry: Duration,
    /// Bounds and times of presence.
    pub users: crate::user::Settings,
    /// What is kept of conversations. The owner of a shard enforces it, so it should be the same on every node.
    pub retention: Policies,
    /// How often the owner looks for what has to go: the longest time that it stays beyond its own.
    pub retention_every: Duration,
    /// What time it is: the cluster member's clock.
    pub clock: Clock,
    /// How often the owner of a shard looks for rows of logins that are over.
    pub login_sweep: Duration,
    /// How often others may make a user a member; the same on every node, as above.
    pub added: Bounds,
    /// Whom messages are told for those who are away; `None`: nobody. The same on every node, as above.
    pub hook: Option<crate::user::Hook>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            arbiters: 1,
            lane_commands: 4096,
            lane_bytes: 4 << 20,
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
            silence: Duration::from_secs(2),
            registrations: 8,
            registration_jitter: Duration::from_millis(200),
            relay_frames: 512,
            worker_batches: 1024,
            activity_window: Duration::from_secs(30),
            outbox_retry: Duration::from_millis(250),
            users: crate::user::Settings::default(),
            retention: Policies::default(),
            retention_every: Duration::from_secs(60),
            clock: Clock::system(),
            login_sweep: Duration::from_secs(60),
            added: Bounds::default(),
            hook: None,
        }
    }
}
