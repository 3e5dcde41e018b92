//! Parameters of the scenarios, with their defaults.

use super::scenario::{Parameter, Scenario};

macro_rules! parameters {
    ($($name:literal = $default:literal, $doc:literal;)*) => {
        &[$(Parameter { name: $name, default: $default, doc: $doc }),*]
    };
}

// === impl Scenario ===

impl Scenario {
    pub(crate) fn parameters(self) -> &'static [Parameter] {
        match self {
            Scenario::Pairs => parameters! {
                "clients" = 20, "number of clients, even";
                "peers" = 1, "peers of each client, each in a direct conversation";
                "keep" = 0, "messages kept per conversation by retention; 0: all";
                "keep_s" = 0, "age limit of events by retention, in seconds; 0: none";
            },
            Scenario::Groups => parameters! {
                "groups" = 5, "number of groups";
                "clients" = 0, "number of clients; if not 0, it determines the number of groups";
                "members" = 6, "members per group; every client is in one group";
                "speakers" = 0, "members per group that send; 0: all";
                "kicks" = 0, "members per group that the first member removes during the load, in reverse order";
                "every" = 3, "seconds between removals";
                "keep" = 0, "messages kept per conversation by retention; 0: all";
                "keep_s" = 0, "age limit of events by retention, in seconds; 0: none";
            },
            Scenario::Room => parameters! {
                "clients" = 100, "members of the conversation";
                "speakers" = 2, "members that send";
            },
            Scenario::Channel => parameters! {
                "clients" = 50, "connected members";
                "members" = 1000, "all members";
                "speakers" = 1, "connected members that send; the others only read";
            },
            Scenario::Idle => parameters! {
                "clients" = 1000, "number of connections";
            },
            Scenario::ReconnectStorm => parameters! {
                "clients" = 200, "number of clients, all of which are disconnected";
                "members" = 5, "members per group; all send";
                "storms" = 3, "number of storms";
                "every" = 15, "seconds between storms";
            },
            Scenario::Flapping => parameters! {
                "clients" = 200, "number of clients";
                "members" = 5, "members per group; all send";
                "stays" = 5, "mean seconds until a connection drops";
                "away" = 0, "mean seconds until it reconnects; 0: immediately";
            },
            Scenario::CatchUp => parameters! {
                "clients" = 60, "number of clients";
                "members" = 6, "members per group";
                "speakers" = 2, "members per group that stay connected and send; the others disconnect and reconnect";
                "stays" = 5, "mean seconds that a receiver stays connected";
                "away" = 10, "mean seconds that it is disconnected";
            },
            Scenario::SlowReaders => parameters! {
                "clients" = 20, "members of the group, including the slow ones";
                "speakers" = 2, "members that send; they read at full speed";
                "slow" = 6, "members that read slowly; every second of them does not read at all";
                "frames" = 20, "frames per second that a slow member reads";
            },
            Scenario::Receipts => parameters! {
                "groups" = 4, "number of groups";
                "members" = 50, "members per group";
                "speakers" = 1, "members per group that send";
                "marks" = 1, "1: every client marks each message as read when it arrives; 0: none does, for comparison";
            },
            Scenario::Inbox => parameters! {
                "clients" = 4, "members of every conversation";
                "conversations" = 500, "number of groups, all with the same members";
                "lists" = 50, "percentage of actions that read the whole conversation list; the others are messages";
            },
            Scenario::Conversations => parameters! {
                "few" = 10, "conversations of the first user";
                "many" = 1000, "conversations of the second user";
                "most" = 10000, "conversations of the third user";
                "creators" = 200, "users that create them, in equal shares";
                "rounds" = 60, "repetitions of each measurement";
                "sessions" = 40, "sessions that are opened together to measure the memory of their subscriptions";
            },
            Scenario::Hostile => parameters! {
                "clients" = 40, "number of clients that send in pairs, even";
                "hostile" = 6, "hostile sessions in the second half: create with 256 members, unknown frames, reconnecting senders, a huge list";
                "conversations" = 10000, "conversations of the user whose list is requested";
                "creators" = 250, "users that create them, in equal shares";
            },
            Scenario::Mixed | Scenario::Soak => parameters! {
                "clients" = 40, "number of clients; each is in a team, in the group of all, and in a direct conversation";
                "team" = 8, "members per team";
                "watches" = 10, "users whose presence each client watches";
                "keep" = 0, "messages kept per conversation by retention; 0: all";
                "keep_s" = 0, "age limit of events by retention, in seconds; 0: none";
                "stays" = 60, "mean seconds that a connection lasts";
                "away" = 5, "mean seconds between two connections of a client";
            },
        }
    }
}
