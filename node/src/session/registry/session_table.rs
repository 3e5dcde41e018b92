//! Table of a node's sessions: accounts for the detached ones and remembers closed ones.

use std::collections::{BTreeMap, HashMap, VecDeque};

use actix::Addr;
use protocol::ClientMessageId;
use protocol::response::NotResumed;

use super::SessionIdentity;
use crate::rpc::SessionId;
use crate::session::actor::Session;

#[derive(Default)]
pub(super) struct SessionTable {
    pub(super) sessions: HashMap<u128, SessionEntry>,
    /// Detached sessions by turn, the longest detached first.
    pub(super) detached: BTreeMap<u64, u128>,
    pub(super) turns: u64,
    /// Buffered bytes of all detached sessions.
    pub(super) bytes: usize,
    /// Closed sessions with the reason why they cannot be resumed; at most as many as may be detached.
    pub(super) over: HashMap<u128, ClosedSession>,
    pub(super) order: VecDeque<u128>,
}

pub(super) struct SessionEntry {
    pub(super) who: SessionIdentity,
    /// Login of the token that the client presented last; `None` for a token without a login.
    pub(super) login: Option<ClientMessageId>,
    /// Time at which the session began or continued on this node, in milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
    pub(super) addr: Addr<Session>,
    /// Key in the map of detached sessions; `None` while attached.
    pub(super) turn: Option<u64>,
    pub(super) bytes: usize,
}

pub(super) struct ClosedSession {
    pub(super) who: SessionIdentity,
    pub(super) why: NotResumed,
    /// Session that continues this one, if there is one.
    pub(super) successor: Option<SessionId>,
}

// === impl SessionTable ===

impl SessionTable {
    pub(super) fn leave(&mut self, secret: u128) {
        self.turns += 1;
        // A session that is detached already retains its turn: it must not move to the end of the eviction order.
        if let Some(entry) = self.sessions.get_mut(&secret)
            && entry.turn.is_none()
        {
            entry.turn = Some(self.turns);
            self.detached.insert(self.turns, secret);
        }
    }

    pub(super) fn back(&mut self, secret: u128) {
        // Before the turn is cleared: charges of attached sessions are ignored.
        self.charge(secret, 0);
        if let Some(turn) = self.sessions.get_mut(&secret).and_then(|entry| entry.turn.take()) {
            self.detached.remove(&turn);
        }
    }

    pub(super) fn charge(&mut self, secret: u128, bytes: usize) {
        if let Some(entry) = self.sessions.get_mut(&secret)
            && entry.turn.is_some()
        {
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
        }
    }

    pub(super) fn remove(&mut self, secret: u128, why: NotResumed, remember: usize) -> Option<SessionEntry> {
        self.back(secret);
        let entry = self.sessions.remove(&secret)?;
        let over = ClosedSession {
            who: entry.who.clone(),
            why,
            successor: None,
        };
        self.over.insert(secret, over);
        self.order.push_back(secret);
        // Bounded: without its record a closed session is `Unknown` instead of `Expired`.
        if self.order.len() > remember
            && let Some(oldest) = self.order.pop_front()
        {
            self.over.remove(&oldest);
        }
        Some(entry)
    }
}
