//! Sessions of one user on all nodes, listed and ended one by one for the user itself.

use actix::Addr;
use futures::future::join_all;
use protocol::response::NotResumed;
use protocol::{ClientMessageId, UserId};

use super::session_table::SessionEntry;
use super::{Session, SessionRegistry};
use crate::rpc;
use crate::rpc::{EndSessionRequest, UserSession, UserSessions, UserSessionsQuery};
use crate::session::messages::{DescribeSession, TokenRevoked};

/// Sessions of a user.
#[derive(Clone, Debug)]
pub struct OwnSessions {
    /// Sessions with the latest first.
    pub items: Vec<OwnSession>,
    /// True if a node did not respond in time: its sessions are missing.
    pub is_partial: bool,
}

/// Session of a user on any node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSession {
    /// Node that has the session.
    pub node: u64,
    /// Mark of the session id.
    pub mark: u64,
    pub device: Option<String>,
    /// Milliseconds since the epoch.
    pub since_ms: u64,
    /// True without a connection.
    pub is_detached: bool,
    /// Login of the client's token; `None` for a token of another issuer.
    pub login: Option<ClientMessageId>,
    /// Number of sessions that this one has continued, and bytes of the events that its client has not confirmed; `None` if
    /// the session did not answer in time.
    pub figures: Option<(u32, u64)>,
}

/// Returns what the table has of a session.
fn described(secret: u128, entry: &SessionEntry) -> UserSession {
    UserSession {
        mark: rpc::SessionId { node: 0, secret }.mark(),
        device: entry.who.device.clone(),
        since_ms: entry.since_ms,
        detached: entry.turn.is_some(),
        login: entry.login.clone(),
        figures: None,
    }
}

// === impl SessionRegistry: own sessions ===

impl SessionRegistry {
    /// Returns the sessions of the user on all nodes.
    pub async fn of_user(&self, user: &UserId) -> OwnSessions {
        let nodes = self.inner.cluster.get().map(|cluster| cluster.nodes());
        let nodes = nodes.into_iter().flatten().map(|node| node.id.0);
        let found = join_all(nodes.map(|node| self.on_node(user, node))).await;
        let is_partial = found.iter().any(Option::is_none);
        let mut items: Vec<OwnSession> = found.into_iter().flatten().flatten().collect();
        items.sort_by_key(|session| (std::cmp::Reverse(session.since_ms), session.node, session.mark));
        OwnSessions { items, is_partial }
    }

    /// Returns the sessions of the user on one node; `None` if it did not respond in time.
    pub async fn on_node(&self, user: &UserId, node: u64) -> Option<Vec<OwnSession>> {
        let members = self.inner.cluster.get()?.nodes();
        // A session id of a client may name any node. One that is no member has no sessions, and would never respond.
        if !members.iter().any(|member| member.id.0 == node) {
            return Some(Vec::new());
        }
        let question = UserSessionsQuery { user: user.clone() };
        let found: UserSessions = self.ask(node, rpc::USER_SESSIONS, &question).await?;
        let own = |session: UserSession| OwnSession {
            node,
            mark: session.mark,
            device: session.device,
            since_ms: session.since_ms,
            is_detached: session.detached,
            login: session.login,
            figures: session.figures.map(|it| (it.resumes, it.outbox_bytes)),
        };
        Some(found.into_iter().map(own).collect())
    }

    /// Ends a session of the user, so that it cannot be resumed: its connection is closed with 4403. Returns false if its
    /// node did not respond in time.
    pub async fn end_one(&self, user: &UserId, node: u64, mark: u64) -> bool {
        let user = user.clone();
        let ended: Option<()> = self
            .ask(node, rpc::END_SESSION, &EndSessionRequest { user, mark })
            .await;
        ended.is_some()
    }

    /// Returns the sessions of the user on this node. Each is asked for its figures, by its own thread.
    pub(super) async fn here(&self, UserSessionsQuery { user }: UserSessionsQuery) -> UserSessions {
        // Shorter than the wait of the asking node, for which the other sessions would be missing, too.
        let patience = self.inner.bounds.fetch / 2;
        let found: Vec<(UserSession, Addr<Session>)> = {
            let table = self.inner.table.lock();
            let theirs = table.sessions.iter().filter(|(_, entry)| entry.who.user == user);
            theirs
                .map(|(secret, entry)| (described(*secret, entry), entry.addr.clone()))
                .collect()
        };
        let asked = found.into_iter().map(|(mut session, addr)| async move {
            let figures = tokio::time::timeout(patience, addr.send(DescribeSession)).await;
            session.figures = figures.ok().and_then(Result::ok);
            session
        });
        join_all(asked).await
    }

    /// Ends a session of the user on this node. An unknown one is over already.
    pub(super) fn end_here(&self, EndSessionRequest { user, mark }: &EndSessionRequest) {
        let mut table = self.inner.table.lock();
        let is_it = |secret: u128| rpc::SessionId { node: 0, secret }.mark() == *mark;
        let found = table
            .sessions
            .iter()
            .find(|(secret, entry)| entry.who.user == *user && is_it(**secret));
        let Some(secret) = found.map(|(secret, _)| *secret) else {
            return;
        };
        let remember = self.inner.bounds.detached;
        let ended = table.remove(secret, NotResumed::Unknown, remember);
        self.inner.show(&table);
        // The lock is not held while the message is sent: every thread of the node registers its sessions under it.
        drop(table);
        if let Some(entry) = ended {
            // A full mailbox is tolerated: the session is out of the table, cannot be resumed, and ends by its own timers.
            let _full = entry.addr.try_send(TokenRevoked);
        }
    }
}
