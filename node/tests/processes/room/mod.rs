//! Members of one room, each over another transport. A member follows the rule of all clients: apply the next event, store
//! a later one, ignore the rest. It checks that nothing of the room comes behind its own removal.

mod cable_member;
mod mqtt_member;
mod native_member;
mod poll_member;
mod room_log;
mod socket_io_member;
mod stream_member;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::cable_member::CableMember;
use self::mqtt_member::MqttMember;
use self::native_member::NativeMember;
use self::poll_member::PollMember;
use self::room_log::RoomLog;
use self::socket_io_member::SocketIoMember;
use self::stream_member::StreamMember;
use node::testkit::{PATIENCE, ProcessCluster, ask, eventually, get};

/// Transport of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomTransport {
    Native,
    Stream,
    Poll,
    SocketIo,
    Cable,
    Mqtt,
}

/// One client and what it has received.
pub(crate) struct RoomMember {
    pub(crate) user: &'static str,
    pub(crate) transport: RoomTransport,
    /// Node that it is connected to.
    pub(crate) at: usize,
    connection: RoomConnection,
    logs: BTreeMap<String, RoomLog>,
}

enum RoomConnection {
    Native(NativeMember),
    Stream(StreamMember),
    Poll(PollMember),
    SocketIo(SocketIoMember),
    Cable(CableMember),
    Mqtt(MqttMember),
}

// === impl RoomMember ===

impl RoomMember {
    /// Connects a client that follows these conversations.
    pub(crate) async fn new(
        cluster: &ProcessCluster,
        user: &'static str,
        transport: RoomTransport,
        at: usize,
        conversations: &[&str],
    ) -> RoomMember {
        let connection = match transport {
            RoomTransport::Native => RoomConnection::Native(NativeMember::new(user)),
            RoomTransport::Stream => RoomConnection::Stream(StreamMember::new(user)),
            RoomTransport::Poll => RoomConnection::Poll(PollMember::new(user)),
            RoomTransport::SocketIo => RoomConnection::SocketIo(SocketIoMember::new(user)),
            RoomTransport::Cable => RoomConnection::Cable(CableMember::new(user, conversations)),
            RoomTransport::Mqtt => RoomConnection::Mqtt(MqttMember::new(user)),
        };
        let logs = conversations
            .iter()
            .map(|c| ((*c).to_owned(), RoomLog::default()));
        let mut member = RoomMember {
            user,
            transport,
            at,
            connection,
            logs: logs.collect(),
        };
        member.connect(cluster, at).await;
        member
    }

    /// Connects to a node: as a client that comes back, if it was connected before.
    pub(crate) async fn connect(&mut self, cluster: &ProcessCluster, at: usize) {
        self.at = at;
        let addr = cluster.addr(at);
        let nothing_is_missing = match &mut self.connection {
            RoomConnection::Native(member) => member.connect(addr).await,
            RoomConnection::Stream(member) => member.connect(addr).await,
            RoomConnection::Poll(member) => member.connect(addr).await,
            RoomConnection::SocketIo(member) => member.connect(addr).await,
            RoomConnection::Cable(member) => member.connect(addr).await,
            RoomConnection::Mqtt(member) => member.connect(cluster.mqtt_addr(at)).await,
        };
        if !nothing_is_missing {
            self.sync(cluster).await;
        }
    }

    /// Receives until an event of the conversation comes live.
    pub(crate) async fn follows(&mut self, cluster: &ProcessCluster, c: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.take_by(cluster, deadline).await.is_none_or(|of| of != c) {}
    }

    /// Receives until every event of the conversation up to `s` is applied.
    pub(crate) async fn receives(&mut self, cluster: &ProcessCluster, c: &str, s: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.logs[c].last() < s {
            self.take_by(cluster, deadline).await;
        }
    }

    /// Receives until the member's own removal from the conversation. Returns its position.
    pub(crate) async fn is_removed(&mut self, cluster: &ProcessCluster, c: &str) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(s) = self.logs[c].removed_at() {
                return s;
            }
            self.take_by(cluster, deadline).await;
        }
    }

    /// Returns the applied events of a conversation by their position.
    pub(crate) fn log(&self, c: &str) -> &BTreeMap<u64, Value> {
        self.logs[c].applied()
    }

    /// Receives one event before the deadline. Polls and pings go on without one.
    async fn take_by(&mut self, cluster: &ProcessCluster, deadline: Instant) -> Option<String> {
        let taken = tokio::time::timeout_at(deadline, Box::pin(self.take_next(cluster))).await;
        taken.unwrap_or_else(|_| {
            let logs: Vec<_> = self.logs.iter().map(|(c, log)| (c, log.last())).collect();
            panic!(
                "{} ({:?}) waits in vain behind {logs:?}",
                self.user, self.transport
            )
        })
    }

    /// Receives one event. Returns its conversation, if it has one and is of the log.
    async fn take_next(&mut self, cluster: &ProcessCluster) -> Option<String> {
        let event = match &mut self.connection {
            RoomConnection::Native(member) => member.event().await,
            RoomConnection::Stream(member) => member.event().await,
            RoomConnection::Poll(member) => member.event().await,
            RoomConnection::SocketIo(member) => member.event().await,
            RoomConnection::Cable(member) => member.event().await,
            RoomConnection::Mqtt(member) => member.event().await,
        };
        let c = event["c"].as_str().map(str::to_owned);
        let is_of_log = event["s"].is_u64();
        if let Some(log) = c.as_ref().and_then(|c| self.logs.get_mut(c)) {
            log.take(self.user, self.transport, &event);
        }
        // `activity` announces events that do not come live; `resync` says that some are missing.
        if event["t"] == "resync" || event["t"] == "activity" {
            self.sync(cluster).await;
        }
        c.filter(|_| is_of_log)
    }

    /// Fetches every missing event. Clients without requests of their own use REST.
    async fn sync(&mut self, cluster: &ProcessCluster) {
        let have: Vec<Value> = self
            .logs
            .iter()
            .filter(|(_, log)| log.removed_at().is_none())
            .map(|(c, log)| json!([c, log.last()]))
            .collect();
        let fields = json!({ "have": have });
        let addr = cluster.addr(self.at);
        let delta = eventually("each conversation is synchronised", async || {
            let delta = match &mut self.connection {
                RoomConnection::Native(member) => member.ask("sync", fields.clone()).await,
                RoomConnection::SocketIo(member) => member.ask("sync", fields.clone()).await,
                RoomConnection::Mqtt(member) => member.ask("me/sync", fields.clone()).await,
                RoomConnection::Stream(_) | RoomConnection::Poll(_) => {
                    ask(addr, self.user, ("POST", "/v1/sync", ""), fields.clone())
                        .await
                        .1
                }
                // Its history has no overlap and no hole.
                RoomConnection::Cable(_) => panic!("{} has to synchronise", self.user),
            };
            // A conversation without an owner is left out.
            let as_of = delta["as_of"].as_array().map_or(0, Vec::len);
            (as_of >= have.len()).then_some(delta)
        })
        .await;
        for item in delta["items"].as_array().unwrap() {
            let Some(log) = item["c"].as_str().and_then(|c| self.logs.get_mut(c)) else {
                continue;
            };
            if item["gap"] == true {
                let path = format!(
                    "/v1/conversations/{}/events?limit=100",
                    item["c"].as_str().unwrap()
                );
                loop {
                    let path = format!("{path}&after={}", log.last());
                    let page = get(addr, self.user, &path).await;
                    for event in page["events"].as_array().unwrap() {
                        log.take(self.user, self.transport, event);
                    }
                    if page["more"] == false {
                        break;
                    }
                }
            }
            for event in item["events"].as_array().unwrap() {
                log.take(self.user, self.transport, event);
            }
        }
    }
}
