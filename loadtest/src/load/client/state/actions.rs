//! Activities of a client besides sending: reads, lists, typing events, and changes of existing messages.
//!
//! Edits, deletions and reactions are sent one at a time. Their order in the log is therefore the order of their issue.

use protocol::{ClientCommand, ConversationId};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::{ClientState, PendingRequest, ReadProbe};
use crate::clock::Nanos;
use crate::measure::RunContext;
use crate::oracle::{AcknowledgedSeqs, ChangeKind, MessageChange, mark};
use crate::payload::{MessageTag, Ordinal};
use crate::spec::ClientActivity;
use crate::wire;

/// Unanswered edit, deletion or reaction.
pub(crate) struct PendingChange {
    pub(super) view: usize,
    pub(super) ordinal: Ordinal,
    pub(super) due: Nanos,
    cid: String,
    what: ChangeKind,
    of: u64,
    /// New body of an edit, or the reaction.
    with: String,
    /// Acknowledged seqs at the time of the first send; `None` before it.
    pub(super) since: Option<AcknowledgedSeqs>,
}

// === impl PendingChange ===

impl PendingChange {
    pub(super) fn what(&self) -> ChangeKind {
        self.what
    }

    /// Returns the seq of the changed message.
    pub(super) fn of(&self) -> u64 {
        self.of
    }

    /// Records that the change is about to be sent. The basis of the first send is retained, because that attempt may
    /// take effect.
    pub(super) fn begins(&mut self, since: AcknowledgedSeqs) {
        self.since.get_or_insert(since);
    }

    pub(super) fn command(&self, c: &ConversationId) -> ClientCommand {
        match self.what {
            ChangeKind::Edit => wire::edit(c, &self.cid, self.of, self.with.clone()),
            ChangeKind::Delete => wire::del(c, &self.cid, self.of),
            ChangeKind::React => wire::react(c, &self.cid, self.of, self.with.clone()),
        }
    }
}

// === impl ClientState ===

impl ClientState {
    /// Performs an activity in the view with index `place`; `due` is its scheduled time.
    pub(crate) fn act(
        &mut self,
        act: ClientActivity,
        view: usize,
        due: Nanos,
        context: &mut RunContext,
        rng: &mut StdRng,
    ) {
        match act {
            ClientActivity::Send => self.offer(view, due, context),
            // Only messages are queued while offline; other activities are skipped.
            _ if !self.online => {}
            ClientActivity::Read => {
                if let Some(s) = self.views[view].cursor {
                    self.ask(PendingRequest::Read { view, s, due });
                }
            }
            ClientActivity::List => self.list(due, None),
            ClientActivity::Type => {
                let typing = wire::typing(&self.views[view].name);
                self.out.push(wire::encode(None, typing));
            }
            ClientActivity::React => self.change(ChangeKind::React, view, due, context, rng),
            ClientActivity::Edit => self.change(ChangeKind::Edit, view, due, context, rng),
            ClientActivity::Delete => self.change(ChangeKind::Delete, view, due, context, rng),
        }
    }

    /// Requests the conversation list from its first page on.
    pub(crate) fn list(&mut self, due: Nanos, reply: Option<oneshot::Sender<()>>) {
        self.ask(PendingRequest::List {
            cursor: None,
            due,
            asked: due,
            floors: self.views.iter().map(|view| view.read).collect(),
            found: Vec::new(),
            look: if reply.is_some() {
                ReadProbe::Last
            } else {
                ReadProbe::Act
            },
            reply,
        });
    }

    fn change(
        &mut self,
        what: ChangeKind,
        view: usize,
        due: Nanos,
        context: &mut RunContext,
        rng: &mut StdRng,
    ) {
        // A second change in flight could overtake the first after a refusal, and break the order of issue.
        if self.changing {
            return;
        }
        let here = &self.views[view];
        // Anyone may react to any message, but only the author may edit or delete it.
        let near: Vec<u64> = here.recent(what != ChangeKind::React).collect();
        if near.is_empty() {
            return;
        }
        let of = near[rng.random_range(0..near.len())];
        let (conv, name) = (here.conv, here.name.clone());
        let ordinal = context.oracle.next_change(conv, self.me);
        let tag = MessageTag {
            sender: self.me,
            ordinal,
        };
        let with = match what {
            ChangeKind::Edit => context.payload.body(name.as_str(), tag, due),
            ChangeKind::Delete => String::new(),
            // Each reaction differs: a repeated one would change nothing and produce no event.
            ChangeKind::React => format!("\u{1f44d}{}.{ordinal:x}", self.me),
        };
        let change = MessageChange {
            by: self.me,
            what,
            of,
            mark: mark(&with),
        };
        // Registered before the send: the event may arrive before the acknowledgement.
        context.oracle.issue_change(conv, ordinal, change);
        self.changing = true;
        self.ask(PendingRequest::Change(PendingChange {
            view,
            ordinal,
            due,
            cid: context.payload.cid(tag),
            what,
            of,
            with,
            since: None,
        }));
    }
}
