//! Constants that tests change: their values, each with its reason.
//!
//! No file, variable or flag can set them: they are no settings. Tests set the fields of [`Config`](super::Config). With
//! the feature `test-tuning`, tests with real processes set them like settings, in a section `tuning`. Constants that no
//! test changes stand beside their use.

use super::section::section;
use super::units::{HumanDuration, HumanSize};

section! {
    /// Constants that only tests change.
    pub struct Tuning {
        /// Clock difference to an identity provider that is tolerated, as usual for JWTs.
        token_leeway: HumanDuration = HumanDuration::secs(60),
        /// Time for the head of a connection's first request, and for the body of each request. Slow senders must not
        /// hold connections.
        request_timeout: HumanDuration = HumanDuration::secs(5),
        /// Time that a stop waits for open connections after the sessions were closed.
        shutdown_timeout: HumanDuration = HumanDuration::secs(5),
        /// Unsent data that the kernel buffers per connection. More stays in the session's outbound queue, where the
        /// limits for slow clients apply.
        unsent_size: HumanSize = HumanSize::kib(64),
        /// Lifetime of a login code: time for a slow mail, and too short to try many.
        code_ttl: HumanDuration = HumanDuration::secs(300),
        /// Window in which codes per identifier and per IP address are counted.
        code_window: HumanDuration = HumanDuration::secs(3_600),
        /// Items that one API key may read or change, per second and node: messages, members, users. The burst is three
        /// times as large. It is enough for an import, and leaves an owner most of its commands for the users.
        api_key_items_per_second: u32 = 200,
        /// Login requests per second and IP address on one node: more than people behind one address need.
        login_requests_per_second: u32 = 5,
        /// Burst of login requests.
        login_requests_burst: u32 = 30,
        /// Time for which a replaced refresh token is accepted, for a client that lost the response.
        refresh_grace: HumanDuration = HumanDuration::secs(30),
        /// Lifetime of a device token.
        device_token_ttl: HumanDuration = HumanDuration::secs(90 * 86_400),
        /// Time for which one key signs tokens.
        key_period: HumanDuration = HumanDuration::secs(30 * 86_400),
        /// Time for which a key is published before it signs. A node that misses some polls still has it by then.
        key_overlap: HumanDuration = HumanDuration::secs(3_600),
        /// Interval at which a node checks for new keys.
        key_poll_interval: HumanDuration = HumanDuration::secs(60),
        /// Burst of commands that change something, instead of three seconds of the rate.
        sends_burst: Option<u32> = None,
        /// Burst of commands that only read, instead of four seconds of the rate.
        queries_burst: Option<u32> = None,
        /// Frames without a request (pings, pongs, small fragments, ignored messages), per second and connection.
        control_frames_per_second: u32 = 100,
        /// A client that exceeds its rate by this factor is abusive. A retrying client stays below it.
        abuse_factor: u32 = 3,
        /// An abusive client is disconnected after this time (4208).
        abuse_window: HumanDuration = HumanDuration::secs(10),
        /// Largest WebSocket message. Larger ones are accepted only where `limits.max_body_size` needs it.
        frame_size: HumanSize = HumanSize::kib(64),
        /// Unacknowledged sends at which reading from the connection pauses, instead of half a second of the rate.
        unacked_sends: Option<usize> = None,
        /// A client that must resync twice within this time is disconnected (4010).
        slow_again: HumanDuration = HumanDuration::secs(30),
        /// Interval at which a node checks its certificates for changes. A look costs nothing, and a certificate that was
        /// replaced because its key is known to others should be used soon.
        certificate_interval: HumanDuration = HumanDuration::secs(10),
        /// Address of the line echo over TCP, in builds with the feature `conformance`; empty without one.
        line_echo_listen: String = String::new(),
        /// Serves a topic tree in memory at `mqtt.listen`, in builds with the feature `conformance` and with development
        /// tokens.
        mqtt_free_topics: bool = false,
        /// Time for a new connection to authenticate (4210).
        auth_timeout: HumanDuration = HumanDuration::secs(10),
        /// Interval of WebSocket pings, instead of five eighths of `session.idle_timeout`.
        ping_interval: Option<HumanDuration> = None,
        /// Resolution of a session's timers. A finer one wakes every worker more often.
        timer_tick: HumanDuration = HumanDuration::millis(100),
        /// Delivered cursors are collected per conversation for this long, so that many receipts cost one command.
        delivered_interval: HumanDuration = HumanDuration::secs(1),
        /// After a temporary refusal, the time for which later sends to the conversation wait for the refused one.
        refused_send_timeout: HumanDuration = HumanDuration::secs(5),
        /// Events kept for all detached sessions, instead of 6.5 KiB for each of `session.max_detached`.
        detached_size: Option<HumanSize> = None,
        /// Timeout for the transfer of a session from another node. After that, the client gets a new session.
        transfer_timeout: HumanDuration = HumanDuration::secs(2),
        /// Time that a stopping node waits for other nodes to fetch its sessions, instead of half of
        /// `server.drain_timeout`.
        fetch_timeout: Option<HumanDuration> = None,
        /// Interval of keepalive comments on an event stream without events. Proxies close silent streams after 30 s.
        comment_interval: HumanDuration = HumanDuration::secs(15),
        /// Maximum random delay before clients reconnect after a drain, so that they do not arrive at once.
        reconnect_spread: HumanDuration = HumanDuration::secs(2),
        /// Sessions that all draining nodes of a cluster together close per second, in slices: what the other nodes admit
        /// beside their load.
        reconnects_per_second: u32 = 2_000,
        /// Time to retry a query. A client repeats it, unlike a command.
        query_timeout: HumanDuration = HumanDuration::secs(5),
        /// While a conversation has messages, the lists of its members are updated at this interval. Each update costs a
        /// small row per member in the log.
        activity_interval: HumanDuration = HumanDuration::secs(30),
        /// Time without a heartbeat after which the users of a node count as disconnected.
        presence_node_timeout: HumanDuration = HumanDuration::secs(5),
        /// Interval between presence updates of a node to a shard. Changes within it are sent together.
        presence_interval: HumanDuration = HumanDuration::millis(100),
        /// Interval between shown typing notifications per user and conversation.
        typing_interval: HumanDuration = HumanDuration::secs(3),
        /// Conversations with more members than this show no typing notifications: nobody could follow them.
        typing_members: u64 = 256,
        /// Time without a quorum after which the node closes its sessions (4015): several elections have failed by then,
        /// and clients lose little by the change to another node.
        quorum_loss_timeout: HumanDuration = HumanDuration::secs(10),
        /// Attempts in a row to notify the webhook before a pause.
        webhook_attempts: u32 = 3,
        /// First pause after the webhook's receiver failed. It doubles each time.
        webhook_retry: HumanDuration = HumanDuration::secs(1),
    }
}
