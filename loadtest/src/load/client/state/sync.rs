//! `sync` requests: the missed events of all conversations, page by page in the order of their names, until each is
//! answered.

use std::collections::HashMap;

use protocol::ClientCommand;
use tokio::sync::oneshot;

use super::{Basis, ClientState, PendingRequest};
use crate::clock::MILLISECOND;
use crate::measure::RunContext;
use crate::wire::{self, WireFrame};

/// Progress of a `sync` over several pages.
pub(crate) struct SyncProgress {
    /// Indexes of the views that are still to be requested, by name.
    rest: Vec<usize>,
    /// Views that the response skipped: their shard owner did not answer, or the client is no longer a member.
    passed: Vec<usize>,
    cursor: Option<String>,
    purpose: Purpose,
}

/// Purpose of a `sync`.
pub(crate) enum Purpose {
    /// Closes the gap after an interruption.
    CatchUp,
    /// Read that is judged, and not applied.
    Probe,
    /// Last read of the run: some conversations are not named in the request, and must be returned all the same.
    Last(oneshot::Sender<()>),
}

/// One of this many conversations is not named in the last read.
const OMITTED: usize = 16;

// === impl SyncProgress ===

impl SyncProgress {
    fn is_named(&self, view: usize) -> bool {
        !matches!(self.purpose, Purpose::Last(_)) || !view.is_multiple_of(OMITTED)
    }

    pub(super) fn rest(&self) -> &[usize] {
        &self.rest
    }

    pub(super) fn is_to_catch_up(&self) -> bool {
        matches!(self.purpose, Purpose::CatchUp)
    }

    /// Records a page. Up to `next`, by name, each view was either contained or skipped; `None` is the last page.
    fn answered<'a>(
        &mut self,
        next: Option<String>,
        found: &HashMap<&str, u64>,
        name: impl Fn(usize) -> &'a str,
    ) {
        let passed_by = |view: &usize| match &next {
            Some(next) => name(*view) <= next.as_str(),
            None => true,
        };
        let (done, rest): (Vec<usize>, Vec<usize>) = self.rest.iter().partition(|view| passed_by(view));
        let missing = done.into_iter().filter(|view| !found.contains_key(name(*view)));
        self.passed.extend(missing);
        self.rest = rest;
        self.cursor = next;
    }
}

// === impl ClientState: sync ===

impl ClientState {
    /// Requests every event above the cursors of `places`, after `after_ms` milliseconds.
    pub(super) fn sync(
        &mut self,
        mut views: Vec<usize>,
        purpose: Purpose,
        after_ms: u64,
        context: &RunContext,
    ) {
        // The response is ordered by name, so `rest` is split at the name where a page ends.
        views.sort_by(|a, b| self.views[*a].name.cmp(&self.views[*b].name));
        let syncing = SyncProgress {
            rest: views,
            passed: Vec::new(),
            cursor: None,
            purpose,
        };
        let at = match after_ms {
            0 => 0,
            ms => context.clock.now() + ms * MILLISECOND,
        };
        self.todo.push((at, PendingRequest::Sync(syncing)));
    }

    /// Returns the views that have a position and whose conversation the client is in.
    pub(super) fn present(&self) -> Vec<usize> {
        let all = 0..self.views.len();
        all.filter(|view| self.views[*view].cursor.is_some() && !self.views[*view].out)
            .collect()
    }

    pub(super) fn sync_command(&self, syncing: &SyncProgress) -> ClientCommand {
        let named = syncing.rest.iter().filter(|view| syncing.is_named(**view));
        let named = named
            .take(protocol::limits::SYNC_HAVE)
            .filter_map(|view| self.position(*view))
            .map(|(name, s)| (name.clone(), s));
        wire::sync(named.collect(), syncing.cursor.as_deref())
    }

    /// Processes one page of a `delta`.
    pub(super) fn synced(
        &mut self,
        mut syncing: SyncProgress,
        bases: Vec<Basis>,
        frame: &WireFrame<'_>,
        context: &mut RunContext,
    ) {
        let bases: HashMap<usize, Basis> = syncing.rest.iter().copied().zip(bases).collect();
        let catching_up = syncing.is_to_catch_up();
        // Events before positions: `synced` may mark a view as live only after its events were applied.
        for item in &frame.items {
            let Some(view) = item.c.and_then(|c| self.by_name.get(c)).copied() else {
                continue;
            };
            for event in &item.events {
                if catching_up {
                    self.event(view, event, false, context);
                } else {
                    self.sight(view, event, context);
                }
            }
        }
        let found: HashMap<&str, u64> = frame.as_of.iter().copied().collect();
        for (c, as_of) in &found {
            let Some(view) = self.by_name.get(*c).copied() else {
                continue;
            };
            // Without a basis the conversation was not requested, so its response is not judged.
            let Some(basis) = bases.get(&view) else { continue };
            self.got_to(view, "sync", basis, *as_of, context);
            if catching_up {
                if let Some(missing) = self.views[view].synced(*as_of) {
                    self.stream_hole(view, missing, context);
                }
                self.drain(view, context);
            }
        }
        let next = frame.next.as_ref().map(|next| next.to_string());
        syncing.answered(next, &found, |view| self.views[view].name.as_str());
        // Each page gets new bases, at the time of its request.
        if syncing.cursor.is_some() {
            return self.todo.push((0, PendingRequest::Sync(syncing)));
        }
        let mut passed = std::mem::take(&mut syncing.passed);
        passed.retain(|view| !self.put_out(*view, context));
        match syncing.purpose {
            Purpose::Probe => {}
            Purpose::Last(reply) if passed.is_empty() => drop(reply.send(())),
            Purpose::CatchUp if passed.is_empty() => {}
            // Another attempt, after a pause: a shard without owner is skipped for a while.
            purpose => self.sync(passed, purpose, 200, context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_absent_from_a_sync_page_count_as_passed() {
        let names = ["a", "b", "c", "d", "e"];
        let mut syncing = SyncProgress {
            rest: vec![0, 1, 2, 3, 4],
            passed: Vec::new(),
            cursor: None,
            purpose: Purpose::CatchUp,
        };
        syncing.answered(Some("c".to_owned()), &[("a", 1), ("c", 1)].into(), |view| {
            names[view]
        });
        assert_eq!(
            (syncing.rest(), syncing.passed.as_slice()),
            (&[3, 4][..], &[1][..])
        );
        syncing.answered(None, &[("e", 1)].into(), |view| names[view]);
        assert_eq!(
            (syncing.rest().len(), syncing.passed.as_slice()),
            (0, &[1, 3][..])
        );
    }
}
