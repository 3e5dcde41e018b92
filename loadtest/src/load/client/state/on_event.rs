//! Received events, from the live stream or from pages: applied by the client rule, held until those before them are there.

use super::{ClientState, PendingRequest};
use crate::load::client::conversation_view::EventDecision;
use crate::measure::RunContext;
use crate::oracle::{ChangeKind, SeenEvent, ViolationKind};
use crate::wire::WireFrame;

impl ClientState {
    /// Marks the view as left if others have seen the client's removal. Returns `true` if the client is no member.
    ///
    /// A client that was offline gets no removal event: responses omit the conversation, or refuse the read.
    pub(super) fn put_out(&mut self, view: usize, context: &RunContext) -> bool {
        let here = &mut self.views[view];
        if !here.out && context.oracle.was_removed(here.conv, self.me) {
            here.removed();
        }
        here.out
    }

    pub(super) fn read(
        &self,
        view: usize,
        frame: &WireFrame<'_>,
        context: &mut RunContext,
    ) -> Option<SeenEvent> {
        match SeenEvent::read(frame, self.views[view].name.as_str(), &context.payload) {
            Ok(seen) => seen,
            Err((kind, detail)) => {
                context.oracle.violate(
                    kind,
                    Some(self.views[view].conv),
                    Some(self.me),
                    frame.s.unwrap_or(0),
                    detail,
                );
                None
            }
        }
    }

    /// Processes an event of a conversation, from the live stream or from a page.
    pub(super) fn event(&mut self, view: usize, frame: &WireFrame<'_>, live: bool, context: &mut RunContext) {
        let Some(seen) = self.read(view, frame, context) else {
            return;
        };
        let here = &mut self.views[view];
        context.oracle.received(here.conv, self.me, seen.s);
        // The oracle has judged the event above; the view ends with the removal.
        if here.out {
            return;
        }
        if live && let Some(missing) = here.streamed(seen.s) {
            return self.stream_hole(view, missing, context);
        }
        let here = &mut self.views[view];
        match here.rule(&seen) {
            EventDecision::Apply => {
                self.applied(view, &seen, context);
                self.drain(view, context);
            }
            // A hold in a live view means that the node skipped an event.
            EventDecision::Held if live && here.live => {
                let detail = format!("received s={1} after s={0:?}", here.cursor, seen.s);
                context.oracle.violate(
                    ViolationKind::LiveHole,
                    Some(here.conv),
                    Some(self.me),
                    seen.s,
                    detail,
                );
            }
            EventDecision::Held | EventDecision::Ignore => {}
        }
    }

    /// Reports a gap in the live stream that no response covers.
    pub(super) fn stream_hole(&self, view: usize, missing: u64, context: &mut RunContext) {
        let here = &self.views[view];
        let detail = format!(
            "s={missing} is beyond the response and was not delivered (last received: s={:?})",
            here.cursor
        );
        context.oracle.violate(
            ViolationKind::LiveHole,
            Some(here.conv),
            Some(self.me),
            missing,
            detail,
        );
    }

    /// Applies held events, and requests a page if events are missing.
    pub(super) fn drain(&mut self, view: usize, context: &mut RunContext) {
        while let Some(seen) = self.views[view].next_held() {
            self.applied(view, &seen, context);
        }
        // Before the check for a page: a view that has become live needs none.
        self.views[view].complete();
        if self.views[view].needs_page().is_some() {
            self.views[view].filling = true;
            self.todo.push((0, PendingRequest::Fill { view }));
        }
    }

    fn applied(&mut self, view: usize, seen: &SeenEvent, context: &mut RunContext) {
        context.oracle.applied(self.views[view].conv, self.me, seen);
        if seen.member == Some((self.me, false)) {
            self.views[view].removed();
        }
        if let Some(change) = &seen.change {
            if change.what == ChangeKind::Delete {
                self.views[view].forget(change.of);
            }
            // Changes are no messages: they are not measured, marked as read or changed again.
            return;
        }
        let Some(tag) = seen.tag else { return };
        let own = tag.sender == self.me;
        if self.marks && !own {
            let (s, due) = (seen.s, context.clock.now());
            self.ask(PendingRequest::Read { view, s, due });
        }
        if !seen.deleted {
            self.views[view].remember(seen.s, own);
        }
        if !own && !seen.deleted {
            let (due, now) = (seen.due, context.received);
            if due < self.late_before {
                context.recorder.delivered_late();
            } else {
                context.recorder.delivered(due, now);
            }
        }
    }
}
