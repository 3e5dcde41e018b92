//! State of one conversation in the oracle: its log, and the position of each client.

use std::collections::{HashMap, VecDeque};

use super::cursors::ListedRow;
use super::log::{OracleLog, Verdict};
use super::realtime::Acknowledged;
use super::refusals::Touches;
use super::retention::Gone;
use super::seen::SeenEvent;
use super::violation::ViolationKind;
use crate::payload::ClientIx;

#[derive(Debug)]
pub(super) struct OracleConversation {
    pub(super) name: String,
    pub(super) log: OracleLog,
    pub(super) views: HashMap<ClientIx, AppliedView>,
    /// List rows above the known end of the log.
    pub(super) rows: VecDeque<(ClientIx, ListedRow)>,
    /// Highest delivered cursor in any receipt or list row.
    pub(super) cursor: u64,
    /// Ranges reported as removed by retention that cannot be judged yet.
    pub(super) gone: Vec<Gone>,
    /// Positions known from acks alone.
    pub(super) acknowledged: Acknowledged,
    /// Changes requested at its messages.
    pub(super) touches: Touches,
}

/// Progress of one client in a conversation.
#[derive(Debug)]
pub(super) struct AppliedView {
    /// Position after which the view begins. Earlier events may not be visible to the client.
    pub(super) began: u64,
    pub(super) last: u64,
    pub(super) removed: Option<u64>,
    /// Cursors of other members from this session's receipts, as (delivered, read).
    pub(super) receipts: HashMap<ClientIx, (u64, u64)>,
    /// Highest position of an event that the client received, applied or not.
    pub(super) reached: u64,
}

// === impl OracleConversation ===

impl OracleConversation {
    /// Returns `true` for an edit of a message from before the client joined. Such an edit is sent without its body.
    pub(super) fn is_from_before(&self, client: ClientIx, seen: &SeenEvent) -> bool {
        let view = self.views.get(&client);
        view.zip(seen.edited()).is_some_and(|(view, of)| of <= view.began)
    }

    /// Advances a client's view by one event.
    pub(super) fn view(&mut self, client: ClientIx, seen: &SeenEvent) -> Verdict {
        let Some(view) = self.views.get_mut(&client) else {
            return Err((ViolationKind::Phantom, format!("client {client} is not a member")));
        };
        if let Some(k) = view.removed {
            return Err((
                ViolationKind::AfterRemoval,
                format!("client {client} was removed at s={k}"),
            ));
        }
        if seen.s != view.last + 1 {
            return Err((
                ViolationKind::Hole,
                format!("client {client} had s={} and applies s={}", view.last, seen.s),
            ));
        }
        view.last = seen.s;
        if seen.member == Some((client, false)) {
            view.removed = Some(seen.s);
        }
        Ok(())
    }

    /// Removes and returns the first row that the known log covers. Rows arrive in any order.
    pub(super) fn due_row(&mut self) -> Option<(ClientIx, ListedRow)> {
        let (frontier, views) = (self.log.frontier(), &self.views);
        // The client's own view counts too: the row may end at events that nobody else has applied.
        let known = |client: &ClientIx, row: &ListedRow| {
            row.last <= frontier || views.get(client).is_some_and(|view| row.last <= view.last)
        };
        let at = self.rows.iter().position(|(client, row)| known(client, row))?;
        self.rows.remove(at)
    }

    pub(super) fn behind(&self) -> impl Iterator<Item = (ClientIx, u64)> {
        let frontier = self.log.frontier();
        self.views
            .iter()
            .filter(move |(client, view)| {
                // A client that was offline at its removal never receives that event, so it is not behind.
                view.removed.is_none() && view.last < frontier && self.log.removed_at(**client).is_none()
            })
            .map(|(client, view)| (*client, view.last))
    }
}
