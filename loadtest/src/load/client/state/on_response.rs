//! Responses to requests other than messages: created and opened conversations, missed events, pages of history and of
//! the conversation list.

use std::collections::HashSet;

use protocol::ConversationId;

use super::sync::Purpose;
use super::{Basis, ClientState, PendingRequest, ReadProbe, SentRequest};
use crate::clock::{MILLISECOND, Nanos};
use crate::measure::RunContext;
use crate::oracle::{AcknowledgedSeqs, ChangeKind, ListedRow, ViolationKind};
use crate::payload::MessageTag;
use crate::wire::WireFrame;

// === impl ClientState: answers ===

impl ClientState {
    pub(super) fn answer(&mut self, asked: SentRequest, frame: &WireFrame<'_>, context: &mut RunContext) {
        let basis = asked.basis();
        let SentRequest { task, bases } = asked;
        match task {
            PendingRequest::Create { reply, .. } => {
                match ConversationId::parse(frame.c.unwrap_or_default()) {
                    // A failed reply is ignored: its receiver has timed out, and reports that itself.
                    Ok(name) => drop(reply.send(name)),
                    Err(error) => {
                        let detail = format!("{error}: the created conversation is {:?}", frame.c);
                        let (kind, oracle) = (ViolationKind::Malformed, &mut context.oracle);
                        oracle.violate(kind, None, Some(self.me), 0, detail);
                    }
                }
            }
            PendingRequest::Membership { name, change, reply } => {
                change.ends(&name, frame.s.unwrap_or(0), context);
                let _ = reply.send(());
            }
            PendingRequest::Probe { view, read } => self.probed(view, read, basis, frame, context),
            PendingRequest::Watch(_) => {}
            PendingRequest::Read { view, s, due } => {
                // `max`: a retried read command may be acknowledged after a later one.
                self.views[view].read = self.views[view].read.max(s);
                context.recorder.done("read", due, context.clock.now());
            }
            PendingRequest::Change(changing) => {
                self.changing = false;
                let name = match changing.what() {
                    ChangeKind::Edit => "edit",
                    ChangeKind::Delete => "delete",
                    ChangeKind::React => "react",
                };
                context.recorder.done(name, changing.due, context.clock.now());
                let tag = MessageTag {
                    sender: self.me,
                    ordinal: changing.ordinal,
                };
                let conv = self.views[changing.view].conv;
                if changing.what() == ChangeKind::Delete {
                    // A second deletion would be acknowledged like the first one, with the same seq.
                    self.views[changing.view].forget(changing.of());
                }
                if let Some(since) = changing.since {
                    context
                        .oracle
                        .appended(conv, self.me, frame.s.unwrap_or(0), since);
                }
                context.oracle.change_acked(conv, tag, frame.s.unwrap_or(0));
            }
            PendingRequest::List { .. } => self.inbox(task, &bases, frame, context),
            PendingRequest::Open { view, reply } => {
                let last = frame.last.as_ref().map_or(0, |last| last.s);
                let known = self.views[view].cursor;
                self.got_to(view, "open", &basis, last, context);
                if let Some(missing) = self.views[view].opened(last) {
                    self.stream_hole(view, missing, context);
                }
                // Only the first `open` starts the view. A repeated one must not move its beginning.
                if known.is_none() {
                    self.views[view].joined_at = context.clock.now();
                    context.oracle.joined(self.views[view].conv, self.me, last);
                }
                self.drain(view, context);
                reply.map(|reply| reply.send(()));
            }
            PendingRequest::Sync(syncing) => self.synced(syncing, bases, frame, context),
            PendingRequest::Fill { view } => {
                self.views[view].filling = false;
                let before = self.views[view].cursor;
                // Only the last page must reach what was acknowledged before; earlier pages are full.
                if !frame.more {
                    let last = frame.events.iter().filter_map(|event| event.s).max();
                    let last = last.or(before).unwrap_or(0);
                    self.got_to(view, "hist", &basis, last, context);
                }
                self.pass_over(view, frame, context);
                frame
                    .events
                    .iter()
                    .for_each(|event| self.event(view, event, false, context));
                if self.views[view].cursor > before {
                    self.drain(view, context);
                } else if self.views[view].needs_page().is_some() {
                    // An owner that catches up may return an empty page.
                    self.views[view].filling = true; // not there yet: ask again, without haste
                    self.todo.push((
                        context.clock.now() + 200 * MILLISECOND,
                        PendingRequest::Fill { view },
                    ));
                }
            }
            PendingRequest::Reread {
                view,
                mut after,
                mut reading,
                reply,
            } => {
                let (conv, now) = (self.views[view].conv, context.clock.now());
                let first = frame.events.first().and_then(|event| event.s);
                // A trimmed log may begin above `after`, but only if the page has `gap` set.
                if let Some(first) = first.filter(|first| frame.gap && *first > after + 1) {
                    context.oracle.reread_above(conv, &mut reading, first, now);
                }
                for event in &frame.events {
                    if let Some(seen) = self.read(view, event, context) {
                        after = seen.s;
                        context.oracle.reread(self.views[view].conv, &mut reading, &seen);
                    }
                }
                // Paging ends with an empty page: a short one may be followed by newer events.
                if frame.events.is_empty() {
                    let _ = reply.send(());
                } else {
                    self.todo.push((
                        0,
                        PendingRequest::Reread {
                            view,
                            after,
                            reading,
                            reply,
                        },
                    ));
                }
            }
            PendingRequest::Auth => {}
        }
    }

    /// Moves the view over events that no longer exist: a page with `gap` begins above the next seq. A jump without
    /// `gap` is a violation.
    fn pass_over(&mut self, view: usize, frame: &WireFrame<'_>, context: &mut RunContext) {
        let here = &mut self.views[view];
        let (Some(cursor), Some(first)) = (here.cursor, frame.events.first().and_then(|event| event.s))
        else {
            return;
        };
        if first <= cursor + 1 {
            return;
        }
        if !frame.gap {
            return context.oracle.gap_unsaid(here.conv, self.me, cursor, first);
        }
        here.pass_over(first - 1);
        let now = context.clock.now();
        context.oracle.passed_over(here.conv, self.me, first - 1, now);
    }

    /// Processes a page of the conversation list; the oracle checks the counts of every row.
    fn inbox(
        &mut self,
        task: PendingRequest,
        bases: &[Basis],
        frame: &WireFrame<'_>,
        context: &mut RunContext,
    ) {
        let PendingRequest::List {
            due,
            asked,
            floors,
            mut found,
            reply,
            look,
            ..
        } = task
        else {
            return;
        };
        for item in &frame.items {
            let Some(view) = item.c.and_then(|c| self.by_name.get(c)).copied() else {
                continue;
            };
            // A stale row carries no counts, so the last read has to find the conversation again.
            if !item.stale || look != ReadProbe::Last {
                found.push(view);
            }
            if item.stale {
                continue;
            }
            // Rows follow messages alone, so the basis is the last acknowledged message and not the last event.
            if let (Some(basis), Some(last)) = (bases.get(view), &item.last) {
                let basis = Basis {
                    removed: false, // the inbox follows a removal a moment later
                    since: AcknowledgedSeqs {
                        event: basis.since.message,
                        ..basis.since
                    },
                    ..Basis::default()
                };
                self.got_to(view, "list", &basis, last.s, context);
            }
            let row = ListedRow {
                last: item.last.as_ref().map_or(0, |last| last.s),
                unread: item.unread,
                read: item.read,
                delivered: item.delivered,
                floor: floors.get(view).copied().unwrap_or(0),
                is_final: look == ReadProbe::Last,
                at: context.clock.now(),
            };
            context.oracle.listed(self.views[view].conv, self.me, row);
        }
        let now = context.clock.now();
        if look == ReadProbe::Act {
            context.recorder.done("list (page)", asked, now);
        }
        let cursor = frame.next.as_ref().map(|next| next.to_string());
        if look == ReadProbe::Page {
            return;
        }
        if cursor.is_none() {
            if look != ReadProbe::Last {
                self.left_out(&found, due, "list", context);
                if look == ReadProbe::Act {
                    context.recorder.done("list", due, now);
                }
                return;
            }
            // A stale row may be repeated on a later pass, so the same view may be found twice.
            found.sort_unstable();
            found.dedup();
            let (wanted, all) =
                (0..self.views.len()).partition::<Vec<_>, _>(|view| !self.put_out(*view, context));
            found.retain(|view| !all.contains(view));
            if found.len() == wanted.len() {
                if let Some(reply) = reply {
                    self.sync(self.present(), Purpose::Last(reply), 0, context);
                }
                return;
            }
        }
        // Requests the next page, or starts again: a row may lag, or a shard owner did not answer.
        let at = if cursor.is_none() {
            now + 300 * MILLISECOND
        } else {
            0
        };
        self.todo.push((
            at,
            PendingRequest::List {
                cursor,
                due,
                asked: now,
                floors,
                found,
                reply,
                look,
            },
        ));
    }

    /// Judges a read that reached seq `last`: it must contain everything acknowledged before, and nothing above the
    /// client's removal.
    pub(super) fn got_to(&self, view: usize, read: &str, basis: &Basis, last: u64, context: &mut RunContext) {
        let (conv, me) = (self.views[view].conv, self.me);
        context.oracle.answered_as_member(conv, me, read, basis.removed);
        context.oracle.received(conv, me, last);
        // A removed client may get the state before its removal, so no lower bound applies.
        if !context.oracle.may_be_removed(conv, me) {
            context
                .oracle
                .read_reached(conv, me, read, last, basis.since.event);
        }
    }

    /// Judges a complete list that was requested at `due`: it must contain each conversation whose membership is
    /// certain.
    fn left_out(&mut self, found: &[usize], due: Nanos, read: &str, context: &mut RunContext) {
        let listed: HashSet<usize> = found.iter().copied().collect();
        for view in 0..self.views.len() {
            let conv = self.views[view].conv;
            if listed.contains(&view) {
                self.views[view].listed = true;
            } else if self.views[view].is_certain(due) && !context.oracle.may_be_removed(conv, self.me) {
                let detail = format!(
                    "{read} to its end lists {} conversations of client {}, but not this one",
                    listed.len(),
                    self.me
                );
                context
                    .oracle
                    .violate(ViolationKind::LeftOut, Some(conv), Some(self.me), 0, detail);
            }
        }
    }
}
