//! Registry of this node's sessions by id, and RPC client for the sessions of other nodes.
//!
//! A session outlives its connection for `session.resume_timeout`. Meanwhile it is *detached* and buffers events.
//! Detached sessions are bounded in number and in bytes; the one detached longest is evicted first.
//!
//! A client may reconnect to any node. That node continues with a copy under a new id (`resume`). The original ends
//! once the client has used the new id (`confirm`), so a lost response costs nothing. The two halves are in `resume`
//! and `transfer`; see docs/delivery.md, "The way to the receivers".

mod own_sessions;
mod served_rpcs;
mod session_table;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix::Addr;
use cluster::{Cluster, NodeId};
use parking_lot::Mutex;
use protocol::response::NotResumed;
use protocol::{ClientMessageId, ConversationId, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use self::own_sessions::OwnSession;
use self::session_table::{SessionEntry, SessionTable};
use super::actor::Session;
use super::lifecycle::{BarrierGuard, SubscriptionBarrier};
use super::messages::{Terminate, TokenRevoked};
use crate::auth::{RevocationList, UserAccessCache};
use crate::commands::FollowingSessions;
use crate::config::{Config, HumanSize};
use crate::rpc;
use crate::rpc::SessionId;
use crate::rpc::resume::{CancelRequest, ConfirmRequest, ExportRequest, ExportResponse, SessionSnapshot};
use crate::shard_client::CommandError;
use crate::telemetry::metrics::{ResumeLabels, ServerMetrics};

/// Sessions of a node. Cheap to clone.
#[derive(Clone)]
pub struct SessionRegistry {
    inner: Arc<Inner>,
}

/// User and device of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionIdentity {
    pub(super) user: UserId,
    /// `None`: the client named no device. Such a session is resumed only without a device.
    pub(super) device: Option<String>,
}

struct Inner {
    bounds: RegistryBounds,
    ended: RevocationList,
    access: UserAccessCache,
    runtime: Handle,
    metrics: ServerMetrics,
    cluster: OnceLock<Cluster>,
    barrier: SubscriptionBarrier,
    table: Mutex<SessionTable>,
}

/// Bytes of events that a detached session keeps on average.
const DETACHED_BYTES: usize = 6_656;

#[derive(Clone, Copy, Debug)]
struct RegistryBounds {
    detached: usize,
    detached_bytes: usize,
    fetch: Duration,
}

// === impl SessionRegistry ===

impl SessionRegistry {
    /// Creates an empty registry. RPCs of other nodes are served on `runtime`.
    #[must_use]
    pub fn new(
        config: &Config,
        (ended, access): (RevocationList, UserAccessCache),
        metrics: ServerMetrics,
        runtime: Handle,
    ) -> SessionRegistry {
        let bounds = RegistryBounds {
            detached: config.session.max_detached,
            detached_bytes: config.tuning.detached_size.map_or(
                config.session.max_detached.saturating_mul(DETACHED_BYTES),
                HumanSize::as_usize,
            ),
            fetch: config.tuning.transfer_timeout.0,
        };
        SessionRegistry {
            inner: Arc::new(Inner {
                bounds,
                ended,
                access,
                runtime,
                metrics,
                cluster: OnceLock::new(),
                barrier: SubscriptionBarrier::default(),
                table: Mutex::default(),
            }),
        }
    }

    /// Sets the cluster member, which makes RPCs to other nodes possible.
    pub fn join(&self, cluster: Cluster) {
        // A second call is ignored: the member is set once, at start.
        let _joined = self.inner.cluster.set(cluster);
    }

    /// Draws the id of a new session of this node.
    #[must_use]
    pub fn draw(&self) -> SessionId {
        let node = self.inner.cluster.get().map_or(0, |cluster| cluster.node_id().0);
        SessionId::draw(node)
    }

    /// Number of detached sessions.
    #[must_use]
    pub fn detached_count(&self) -> usize {
        self.inner.table.lock().detached.len()
    }

    /// Waits until no session of this node is detached.
    pub async fn fetched(&self) {
        // Polled: only a drain waits here, and a few milliseconds do not matter to it.
        while self.detached_count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    // --- state of this node's sessions ---

    /// Registers a new session without subscriptions at the user's subscription barrier.
    pub(super) fn begins(&self, user: &UserId) -> BarrierGuard {
        self.inner.barrier.begins(user)
    }

    /// Registers an open session. Returns `false` if its login, or the access of its user behind this version, was
    /// revoked meanwhile.
    pub(super) fn opened(
        &self,
        sid: SessionId,
        who: SessionIdentity,
        (login, access_version): (Option<ClientMessageId>, u64),
        since_ms: u64,
        addr: Addr<Session>,
    ) -> bool {
        let user = who.user.clone();
        let entry = SessionEntry {
            who,
            login: login.clone(),
            since_ms,
            addr,
            turn: None,
            bytes: 0,
        };
        self.inner.table.lock().sessions.insert(sid.secret, entry);
        // Checked after the insert: a revocation that arrives from now on finds the session in the table.
        !login.is_some_and(|login| self.inner.ended.holds(&login))
            && self.inner.access.is_current(&user, access_version)
    }

    /// Records the login of a renewed token.
    pub(super) fn showed(&self, sid: SessionId, login: Option<ClientMessageId>) {
        if let Some(entry) = self.inner.table.lock().sessions.get_mut(&sid.secret) {
            entry.login = login;
        }
    }

    /// Revokes logins: their tokens are refused from now on, and their sessions end and cannot be resumed.
    fn end_logins(&self, over: rpc::login::LoginsRevoked) {
        let now = Instant::now();
        // Before the table is searched: a session that opens concurrently finds its login in the revocation list.
        for login in &over.logins {
            self.inner.ended.add(login.clone(), now);
        }
        self.end_sessions(|entry| {
            let login = entry.login.as_ref();
            entry.who.user == over.user && login.is_some_and(|login| over.logins.contains(login))
        });
    }

    /// Forgets the access of a user, which has changed, and ends the user's sessions unless the change permits them.
    fn access_changed(&self, change: rpc::login::UserAccessChanged) {
        let now = Instant::now();
        // Before the table is searched: a session that opens concurrently finds the change.
        self.inner.access.forget(&change.user, now);
        for login in change.logins {
            self.inner.ended.add(login, now);
        }
        if change.closes {
            self.end_sessions(|entry| entry.who.user == change.user);
        }
    }

    /// Ends sessions, which cannot be resumed.
    fn end_sessions(&self, theirs: impl Fn(&SessionEntry) -> bool) {
        let mut table = self.inner.table.lock();
        let found = table.sessions.iter().filter(|(_, entry)| theirs(entry));
        let found: Vec<u128> = found.map(|(secret, _)| *secret).collect();
        let remember = self.inner.bounds.detached;
        let ended = found.into_iter();
        let ended = ended.filter_map(|secret| table.remove(secret, NotResumed::Unknown, remember));
        let ended: Vec<SessionEntry> = ended.collect();
        self.inner.show(&table);
        // The lock is not held while messages are sent: every thread of the node registers its sessions under it.
        drop(table);
        for entry in ended {
            // A full mailbox is tolerated: the session is out of the table, cannot be resumed, and ends by its own
            // timers.
            let _full = entry.addr.try_send(TokenRevoked);
        }
    }

    /// Marks a session as attached.
    pub(super) fn attached(&self, sid: SessionId) {
        let mut table = self.inner.table.lock();
        table.back(sid.secret);
        self.inner.show(&table);
    }

    /// Marks a session as detached. `bytes`: size of its buffered events.
    pub(super) fn detached(&self, sid: SessionId, bytes: usize) {
        // Before the charge, which ignores attached sessions.
        self.inner.table.lock().leave(sid.secret);
        self.holds(sid, bytes);
    }

    /// Updates the buffered bytes of a detached session. Evicts the sessions detached longest while a limit is
    /// exceeded.
    pub(super) fn holds(&self, sid: SessionId, bytes: usize) {
        let mut table = self.inner.table.lock();
        table.charge(sid.secret, bytes);
        let mut dropped = Vec::new();
        // The session that grew may itself be the one detached longest.
        while table.bytes > self.inner.bounds.detached_bytes
            || table.detached.len() > self.inner.bounds.detached
        {
            let Some((_, longest)) = table.detached.pop_first() else {
                break;
            };
            dropped.extend(table.remove(longest, NotResumed::Expired, self.inner.bounds.detached));
        }
        self.inner.show(&table);
        drop(table);
        for entry in dropped {
            self.inner.metrics.detached_dropped.inc();
            // A full mailbox is tolerated: the session is out of the table and ends by its own timers.
            let _full = entry.addr.try_send(Terminate(NotResumed::Expired));
        }
    }

    /// Removes a closed session. The reason and the session that continues it are kept for later resume attempts.
    pub(super) fn ended(&self, sid: SessionId, why: NotResumed, successor: Option<SessionId>) {
        let mut table = self.inner.table.lock();
        table.remove(sid.secret, why, self.inner.bounds.detached);
        if let Some(over) = table.over.get_mut(&sid.secret) {
            over.successor = successor;
        }
        self.inner.show(&table);
    }

    /// Returns the address of a session of this node.
    ///
    /// # Errors
    /// Reason for the client why it cannot be resumed; `Unknown` if the user or the device differs.
    pub fn find(
        &self,
        sid: SessionId,
        user: &UserId,
        device: Option<&str>,
    ) -> Result<Addr<Session>, NotResumed> {
        let table = self.inner.table.lock();
        let theirs = |who: &SessionIdentity| who.user == *user && who.device.as_deref() == device;
        match table.sessions.get(&sid.secret) {
            Some(entry) if theirs(&entry.who) => Ok(entry.addr.clone()),
            // Same reason as for an unknown id: a guess must not reveal that a session exists.
            Some(_) => Err(NotResumed::Unknown),
            None => match table.over.get(&sid.secret) {
                Some(over) if theirs(&over.who) => Err(over.why),
                _ => Err(NotResumed::Unknown),
            },
        }
    }

    // --- RPCs to the node that has a session ---

    /// Fetches the snapshot of a session from the node that has it.
    ///
    /// # Errors
    /// Reason why the client has to start anew. A node that does not respond in time counts as `Unknown`.
    pub(super) async fn resume(self, question: ExportRequest) -> Result<SessionSnapshot, NotResumed> {
        let answer = self.ask(question.sid.node, rpc::RESUME, &question).await;
        let result = match answer {
            Some(ExportResponse::Snapshot(snapshot)) => Ok(snapshot),
            Some(ExportResponse::Expired) => Err(NotResumed::Expired),
            Some(ExportResponse::Gap) => Err(NotResumed::Gap),
            // An unreachable node is treated like an unknown session: in both cases nothing can be replayed.
            Some(ExportResponse::Unknown) | None => Err(NotResumed::Unknown),
        };
        let result_label = match result {
            Ok(_) => "resumed",
            Err(NotResumed::Expired) => "expired",
            Err(NotResumed::Gap) => "gap",
            Err(NotResumed::Unknown) => "unknown",
        };
        let label = ResumeLabels {
            result: crate::telemetry::metrics::ErrorLabel(result_label),
        };
        self.inner.metrics.resumes.get_or_create(&label).inc();
        result
    }

    /// Confirms to the node of `sid` that the session `by` continues it, which ends `sid`. Returns `false` if another
    /// session does.
    pub(super) async fn confirm(self, sid: SessionId, by: SessionId) -> bool {
        // An unreachable node counts as confirmed: it cannot export the session to another one either.
        self.ask(sid.node, rpc::CONFIRM_TRANSFER, &ConfirmRequest { sid, by })
            .await
            .unwrap_or(true)
    }

    /// Ends the session `last` of a client that starts anew with the session `by`. Best effort: it goes on in the background
    /// if nothing awaits it.
    pub(super) fn supersede(&self, last: SessionId, by: SessionId, who: &SessionIdentity) -> JoinHandle<()> {
        let sessions = self.clone();
        // The export makes `by` the successor, whose confirmation ends a connected session, too.
        let export = ExportRequest {
            sid: last,
            user: who.user.clone(),
            device: who.device.clone(),
            n: None,
            by,
        };
        self.inner.runtime.spawn(async move {
            if let Some(ExportResponse::Snapshot(_)) = sessions.ask(last.node, rpc::RESUME, &export).await {
                sessions.confirm(last, by).await;
            }
        })
    }

    /// Terminates a copy that its client never used. Best effort, in the background.
    pub(super) fn cancel(&self, sid: SessionId) {
        let sessions = self.clone();
        self.inner.runtime.spawn(async move {
            // The result is ignored: a copy that is not reached ends by its own timers.
            let _unheard: Option<()> = sessions
                .ask(sid.node, rpc::CANCEL_TRANSFER, &CancelRequest { sid })
                .await;
        });
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        node: u64,
        method: u16,
        question: &Q,
    ) -> Option<A> {
        let cluster = self.inner.cluster.get()?;
        let deadline = self.inner.bounds.fetch;
        let call = cluster.call(NodeId(node), method, rpc::encode(question), deadline);
        match tokio::time::timeout(deadline, call).await {
            // Every failure is `None`: callers treat the session as unknown, whatever the cause.
            Ok(Ok(body)) => rpc::decode(&body).ok(),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    fn addr(&self, sid: SessionId) -> Option<Addr<Session>> {
        let table = self.inner.table.lock();
        table.sessions.get(&sid.secret).map(|entry| entry.addr.clone())
    }
}

impl FollowingSessions for SessionRegistry {
    async fn all_follow(&self, user: &UserId, convs: &[ConversationId]) -> Result<(), CommandError> {
        let stand = self.inner.barrier.stand(user, convs);
        let waited = tokio::time::timeout(self.inner.bounds.fetch, stand).await;
        waited.map_err(|_| CommandError::unavailable())
    }
}

// === impl Inner ===

impl Inner {
    fn show(&self, table: &SessionTable) {
        self.metrics.sessions_detached.set(table.detached.len() as i64);
        self.metrics.sessions_detached_bytes.set(table.bytes as i64);
    }
}
