//! The sessions of this node by their names, and the way to those of other nodes.
//!
//! A session outlives its connection for a while: it is *away*, goes on collecting events, and waits for its client to
//! come back. Those that are away are bounded in number and in bytes; the one that has been away the longest goes first.
//!
//! A client comes back to any node. That node goes on with a copy under a new name ([`Sessions::resume`]), and the
//! session itself ends when the client has shown that it knows the new name ([`Sessions::settle`]): so an answer that is
//! lost costs nothing. The two halves of it are in [`resume`](super::resume) and [`handover`](super::handover).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix::Addr;
use bytes::Bytes;
use cluster::{Cluster, NodeId, Reply};
use parking_lot::Mutex;
use protocol::answer::NotResumed;
use protocol::{Cid, ConvId, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::actor::Session;
use super::messages::{End, Revoked, Take, Yield};
use super::settling::{Beginning, Settling};
use super::sid::Sid;
use crate::config;
use crate::conversation::Refusal;
use crate::rpc;
use crate::rpc::resume::{Lent, Resume, Resumed, Settle, Void};
use crate::telemetry::metrics::{Metrics, ResumeLabels};
use crate::user::login::ended::Ended;

/// All sessions of a node. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The user.
    pub(super) user: UserId,
    /// The device that the client named; without a name it is like no other.
    pub(super) device: Option<String>,
}

struct Inner {
    bounds: Bounds,
    ended: Ended,
    runtime: Handle,
    metrics: Metrics,
    cluster: OnceLock<Cluster>,
    settling: Settling,
    table: Mutex<Table>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    away: usize,
    away_bytes: usize,
    fetch: Duration,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<u128, Entry>,
    /// Those that are away, the longest first.
    away: BTreeMap<u64, u128>,
    turns: u64,
    /// Of all that are away.
    bytes: usize,
    /// Why some that are over can't be resumed, the last ones.
    over: HashMap<u128, Over>,
    order: VecDeque<u128>,
}

struct Entry {
    who: Who,
    /// The login that the client's token came from, of the last one that it showed.
    login: Option<Cid>,
    addr: Addr<Session>,
    /// Its place among those that are away, if it is.
    turn: Option<u64>,
    bytes: usize,
}

struct Over {
    who: Who,
    why: NotResumed,
    /// The session that goes on with it, if one does.
    heir: Option<Sid>,
}

// === impl Sessions ===

impl Sessions {
    /// No sessions yet. Questions of other nodes are answered on `runtime`.
    #[must_use]
    pub fn new(settings: &config::Session, ended: Ended, metrics: Metrics, runtime: Handle) -> Sessions {
        let bounds = Bounds {
            away: settings.away,
            away_bytes: settings.away_bytes,
            fetch: settings.fetch_ms.duration(),
        };
        Sessions {
            inner: Arc::new(Inner {
                bounds,
                ended,
                runtime,
                metrics,
                cluster: OnceLock::new(),
                settling: Settling::default(),
                table: Mutex::default(),
            }),
        }
    }

    /// The cluster member runs: other nodes can be asked.
    pub fn join(&self, cluster: Cluster) {
        // Only the first counts.
        let _joined = self.inner.cluster.set(cluster);
    }

    /// Draws the name of a new session of this node.
    #[must_use]
    pub fn draw(&self) -> Sid {
        let node = self.inner.cluster.get().map_or(0, |cluster| cluster.node_id().0);
        Sid::draw(node)
    }

    /// Number of sessions that wait for their clients.
    #[must_use]
    pub fn away(&self) -> usize {
        self.inner.table.lock().away.len()
    }

    /// Waits until no session waits for its client here.
    pub async fn fetched(&self) {
        while self.away() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until those of these conversations that sessions of the user, begun here, are about to follow are followed.
    ///
    /// # Errors
    /// `unavailable` when that takes too long: there is no owner now who could let them.
    pub async fn all_follow(&self, user: &UserId, convs: &[ConvId]) -> Result<(), Refusal> {
        let stand = self.inner.settling.stand(user, convs);
        let waited = tokio::time::timeout(self.inner.bounds.fetch, stand).await;
        waited.map_err(|_| Refusal::unavailable())
    }

    // --- what becomes of this node's sessions ---

    /// A session of the user begins, and follows nothing yet.
    pub(super) fn begins(&self, user: &UserId) -> Beginning {
        self.inner.settling.begins(user)
    }

    /// A session is open. `false`: the login that it came from has ended meanwhile.
    pub(super) fn opened(&self, sid: Sid, who: Who, login: Option<Cid>, addr: Addr<Session>) -> bool {
        let entry = Entry {
            who,
            login: login.clone(),
            addr,
            turn: None,
            bytes: 0,
        };
        self.inner.table.lock().sessions.insert(sid.secret, entry);
        // After that: a login that ends now finds the session.
        !login.is_some_and(|login| self.inner.ended.holds(&login))
    }

    /// The client of a session has shown another token.
    pub(super) fn showed(&self, sid: Sid, login: Option<Cid>) {
        if let Some(entry) = self.inner.table.lock().sessions.get_mut(&sid.secret) {
            entry.login = login;
        }
    }

    /// Logins have ended. Nobody gets their sessions back, and their tokens are refused from now on.
    fn end_logins(&self, over: rpc::login::Ended) {
        let now = Instant::now();
        for login in &over.logins {
            self.inner.ended.add(login.clone(), now);
        }
        let mut table = self.inner.table.lock();
        let theirs = |entry: &Entry| {
            let login = entry.login.as_ref();
            entry.who.user == over.user && login.is_some_and(|login| over.all || over.logins.contains(login))
        };
        let found = table.sessions.iter().filter(|(_, entry)| theirs(entry));
        let found: Vec<u128> = found.map(|(secret, _)| *secret).collect();
        let remember = self.inner.bounds.away;
        let ended = found.into_iter();
        let ended = ended.filter_map(|secret| table.remove(secret, NotResumed::Unknown, remember));
        let ended: Vec<Entry> = ended.collect();
        self.inner.show(&table);
        drop(table);
        for entry in ended {
            // One that takes nothing now is found by nobody, and ends by its own clock.
            let _full = entry.addr.try_send(Revoked);
        }
    }

    /// The client of a session is there again.
    pub(super) fn attached(&self, sid: Sid) {
        let mut table = self.inner.table.lock();
        table.back(sid.secret);
        self.inner.show(&table);
    }

    /// The client of a session is gone. `bytes`: what is kept for it.
    pub(super) fn detached(&self, sid: Sid, bytes: usize) {
        self.inner.table.lock().leave(sid.secret);
        self.holds(sid, bytes);
    }

    /// So much is kept for a client that is away.
    pub(super) fn holds(&self, sid: Sid, bytes: usize) {
        let mut table = self.inner.table.lock();
        table.charge(sid.secret, bytes);
        let mut dropped = Vec::new();
        while table.bytes > self.inner.bounds.away_bytes || table.away.len() > self.inner.bounds.away {
            let Some((_, longest)) = table.away.pop_first() else {
                break;
            };
            dropped.extend(table.remove(longest, NotResumed::Expired, self.inner.bounds.away));
        }
        self.inner.show(&table);
        drop(table);
        for entry in dropped {
            self.inner.metrics.away_dropped.inc();
            // A session that takes nothing now finds out by its own clock.
            let _full = entry.addr.try_send(End(NotResumed::Expired));
        }
    }

    /// A session is over, for a reason that one who asks for it later is told.
    /// `heir`: the session that goes on with it.
    pub(super) fn ended(&self, sid: Sid, why: NotResumed, heir: Option<Sid>) {
        let mut table = self.inner.table.lock();
        table.remove(sid.secret, why, self.inner.bounds.away);
        if let Some(over) = table.over.get_mut(&sid.secret) {
            over.heir = heir;
        }
        self.inner.show(&table);
    }

    /// A session of this node.
    ///
    /// # Errors
    /// What a client is told that wants to go on with it.
    pub fn find(&self, sid: Sid, user: &UserId, device: Option<&str>) -> Result<Addr<Session>, NotResumed> {
        let table = self.inner.table.lock();
        let theirs = |who: &Who| who.user == *user && who.device.as_deref() == device;
        match table.sessions.get(&sid.secret) {
            Some(entry) if theirs(&entry.who) => Ok(entry.addr.clone()),
            // A stranger is told what everybody is told who guesses.
            Some(_) => Err(NotResumed::Unknown),
            None => match table.over.get(&sid.secret) {
                Some(over) if theirs(&over.who) => Err(over.why),
                _ => Err(NotResumed::Unknown),
            },
        }
    }

    // --- the way to the node that has a session ---

    /// Fetches what a session consists of, from whichever node has it.
    ///
    /// # Errors
    /// Why the client has to start anew. A node that doesn't answer knows no session.
    pub(super) async fn resume(self, question: Resume) -> Result<Lent, NotResumed> {
        let answer = self.ask(question.sid, rpc::RESUME, &question).await;
        let result = match answer {
            Some(Resumed::Lent(lent)) => Ok(lent),
            Some(Resumed::Expired) => Err(NotResumed::Expired),
            Some(Resumed::Gap) => Err(NotResumed::Gap),
            Some(Resumed::Unknown) | None => Err(NotResumed::Unknown),
        };
        let result_label = match result {
            Ok(_) => "resumed",
            Err(NotResumed::Expired) => "expired",
            Err(NotResumed::Gap) => "gap",
            Err(NotResumed::Unknown) => "unknown",
        };
        let label = ResumeLabels {
            result: crate::telemetry::metrics::Code(result_label),
        };
        self.inner.metrics.resumes.get_or_create(&label).inc();
        result
    }

    /// Says that the session `by` goes on with the session `sid`, which is over then. `false`: another one does.
    pub(super) async fn settle(self, sid: Sid, by: Sid) -> bool {
        // One that can't be asked can't be resumed either.
        self.ask(sid, rpc::SETTLE, &Settle { sid, by })
            .await
            .unwrap_or(true)
    }

    /// Ends a session that was lent in vain; soon, and if its node can be reached.
    pub(super) fn void(&self, sid: Sid) {
        let sessions = self.clone();
        self.inner.runtime.spawn(async move {
            let _unheard: Option<()> = sessions.ask(sid, rpc::VOID, &Void { sid }).await;
        });
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(&self, sid: Sid, method: u16, question: &Q) -> Option<A> {
        let cluster = self.inner.cluster.get()?;
        let deadline = self.inner.bounds.fetch;
        let call = cluster.call(NodeId(sid.node), method, rpc::encode(question), deadline);
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(body)) => rpc::decode(&body).ok(),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    // --- questions of other nodes ---

    /// Answers a question about a session of this node; `false` if the method is none of these.
    pub(crate) fn serves(method: u16) -> bool {
        matches!(method, rpc::RESUME | rpc::SETTLE | rpc::VOID | rpc::ENDED)
    }

    /// Answers a question about a session of this node.
    pub(crate) fn call(&self, method: u16, body: &Bytes, reply: Reply) {
        let answered = match method {
            rpc::RESUME => rpc::decode(body).map(|question| self.lend(question, reply)),
            rpc::SETTLE => rpc::decode(body).map(|question| self.settled(question, reply)),
            rpc::ENDED => rpc::decode(body).map(|over| {
                self.end_logins(over);
                reply.send(Ok(rpc::encode(&())));
            }),
            _ => rpc::decode(body).map(|Void { sid }| {
                if let Some(addr) = self.addr(sid) {
                    let _full = addr.try_send(End(NotResumed::Unknown));
                }
                reply.send(Ok(rpc::encode(&())));
            }),
        };
        if let Err(error) = answered {
            // Without an answer the asker goes on as if there were no such session.
            tracing::debug!(%error, method, "question about a session can't be read");
        }
    }

    fn lend(&self, question: Resume, reply: Reply) {
        let found = self.find(question.sid, &question.user, question.device.as_deref());
        let patience = self.inner.bounds.fetch;
        self.inner.runtime.spawn(async move {
            let lent = match found {
                Ok(addr) => match tokio::time::timeout(patience, addr.send(Take(question))).await {
                    Ok(Ok(lent)) => lent,
                    // It ended meanwhile, or its thread hangs.
                    Ok(Err(_)) | Err(_) => Err(NotResumed::Unknown),
                },
                Err(why) => Err(why),
            };
            let answer = match lent {
                Ok(lent) => Resumed::Lent(lent),
                Err(NotResumed::Expired) => Resumed::Expired,
                Err(NotResumed::Unknown) => Resumed::Unknown,
                Err(NotResumed::Gap) => Resumed::Gap,
            };
            reply.send(Ok(rpc::encode(&answer)));
        });
    }

    fn settled(&self, Settle { sid, by }: Settle, reply: Reply) {
        let addr = self.addr(sid);
        let sessions = self.clone();
        let patience = self.inner.bounds.fetch;
        self.inner.runtime.spawn(async move {
            let yields = match addr {
                Some(addr) => match tokio::time::timeout(patience, addr.send(Yield(by))).await {
                    Ok(Ok(yields)) => yields,
                    Ok(Err(_)) | Err(_) => sessions.inherits(sid, by),
                },
                None => sessions.inherits(sid, by),
            };
            reply.send(Ok(rpc::encode(&yields)));
        });
    }

    /// Whether no other session goes on with one that is over.
    fn inherits(&self, sid: Sid, by: Sid) -> bool {
        let table = self.inner.table.lock();
        let heir = table.over.get(&sid.secret).and_then(|over| over.heir);
        heir.is_none_or(|heir| heir == by)
    }

    fn addr(&self, sid: Sid) -> Option<Addr<Session>> {
        let table = self.inner.table.lock();
        table.sessions.get(&sid.secret).map(|entry| entry.addr.clone())
    }
}

// === impl Inner, Table ===

impl Inner {
    fn show(&self, table: &Table) {
        self.metrics.sessions_away.set(table.away.len() as i64);
        self.metrics.sessions_away_bytes.set(table.bytes as i64);
    }
}

impl Table {
    fn leave(&mut self, secret: u128) {
        self.turns += 1;
        if let Some(entry) = self.sessions.get_mut(&secret)
            && entry.turn.is_none()
        {
            entry.turn = Some(self.turns);
            self.away.insert(self.turns, secret);
        }
    }

    fn back(&mut self, secret: u128) {
        self.charge(secret, 0);
        if let Some(turn) = self.sessions.get_mut(&secret).and_then(|entry| entry.turn.take()) {
            self.away.remove(&turn);
        }
    }

    fn charge(&mut self, secret: u128, bytes: usize) {
        if let Some(entry) = self.sessions.get_mut(&secret)
            && entry.turn.is_some()
        {
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
        }
    }

    fn remove(&mut self, secret: u128, why: NotResumed, remember: usize) -> Option<Entry> {
        self.back(secret);
        let entry = self.sessions.remove(&secret)?;
        let over = Over {
            who: entry.who.clone(),
            why,
            heir: None,
        };
        self.over.insert(secret, over);
        self.order.push_back(secret);
        if self.order.len() > remember
            && let Some(oldest) = self.order.pop_front()
        {
            self.over.remove(&oldest);
        }
        Some(entry)
    }
}
