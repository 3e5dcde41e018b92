//! One conversation as the oracle has it: its log, and how far each client has come.

use std::collections::{HashMap, VecDeque};

use super::cursors::Row;
use super::log::{Log, Verdict};
use super::realtime::Acknowledged;
use super::refusals::Touches;
use super::retention::Gone;
use super::seen::Seen;
use super::violation::Kind;
use crate::payload::ClientIx;

#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) name: String,
    pub(super) log: Log,
    pub(super) views: HashMap<ClientIx, View>,
    /// Rows of inboxes that are ahead of what is known.
    pub(super) rows: VecDeque<(ClientIx, Row)>,
    /// The highest cursor that anybody was shown.
    pub(super) cursor: u64,
    /// What was said to be gone by age or number, and can't be judged yet.
    pub(super) gone: Vec<Gone>,
    /// What acks alone have told.
    pub(super) acknowledged: Acknowledged,
    /// What was asked for at its messages.
    pub(super) touches: Touches,
}

/// How far one client has applied a conversation.
#[derive(Debug)]
pub(super) struct View {
    /// Where the view began: what is before that may not be for the client.
    pub(super) began: u64,
    pub(super) last: u64,
    pub(super) removed: Option<u64>,
    /// The cursors of the others, as this session was told: (delivered, read).
    pub(super) receipts: HashMap<ClientIx, (u64, u64)>,
    /// The highest place of an event that has reached the client, applied or not.
    pub(super) reached: u64,
}

// === impl Conversation ===

impl Conversation {
    /// Whether it is an edit of a message from before the client came: that is shown without its words.
    pub(super) fn is_from_before(&self, client: ClientIx, seen: &Seen) -> bool {
        let view = self.views.get(&client);
        view.zip(seen.edited()).is_some_and(|(view, of)| of <= view.began)
    }

    /// Moves a client's view on by one event.
    pub(super) fn view(&mut self, client: ClientIx, seen: &Seen) -> Verdict {
        let Some(view) = self.views.get_mut(&client) else {
            return Err((Kind::Phantom, format!("client {client} is no member")));
        };
        if let Some(k) = view.removed {
            return Err((
                Kind::AfterRemoval,
                format!("client {client} was removed at s={k}"),
            ));
        }
        if seen.s != view.last + 1 {
            return Err((
                Kind::Hole,
                format!("client {client} had s={} and applies s={}", view.last, seen.s),
            ));
        }
        view.last = seen.s;
        if seen.member == Some((client, false)) {
            view.removed = Some(seen.s);
        }
        Ok(())
    }

    /// The next row that the log is known far enough for. Rows come in any order: the first is looked at first.
    pub(super) fn due_row(&mut self) -> Option<(ClientIx, Row)> {
        let (frontier, views) = (self.log.frontier(), &self.views);
        let known = |client: &ClientIx, row: &Row| {
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
                // Who was away when it was removed is never told.
                view.removed.is_none() && view.last < frontier && self.log.removed_at(**client).is_none()
            })
            .map(|(client, view)| (*client, view.last))
    }
}
