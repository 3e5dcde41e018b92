//! Received frames: events are applied by the client rule, responses complete requests, and refusals queue messages
//! again.

use super::sync::Purpose;
use super::{ClientState, PendingRequest, SentRequest};
use crate::clock::MILLISECOND;
use crate::load::client::conversation_view::ConversationView;
use crate::measure::RunContext;
use crate::oracle::{Resyncs, ViolationKind};
use crate::payload::{MessageTag, Ordinal};
use crate::wire::{EventNumbers, WireCode, WireFrame, WireRefusal};

impl ClientState {
    /// Processes one text frame.
    pub(crate) fn text(&mut self, text: &str, context: &mut RunContext) {
        let frame = match WireFrame::parse(text) {
            Ok(frame) => frame,
            Err(error) => {
                return context.oracle.violate(
                    ViolationKind::Malformed,
                    None,
                    Some(self.me),
                    0,
                    format!("{error} in {text}"),
                );
            }
        };
        // `ready` carries the session seq to resume from, and is no numbered event itself.
        if let Some(n) = frame.n.filter(|_| frame.t != "ready") {
            self.number(n, frame.t, context);
        }
        match frame.t {
            "ack" => self.ack(&frame, context),
            "err" => self.refusal(&frame, context),
            "msg" | "member" | "meta" | "edit" | "del" | "react" => {
                if let Some(view) = frame.c.and_then(|c| self.by_name.get(c)).copied() {
                    self.event(view, &frame, true, context);
                }
            }
            "hello" => self.hb_ms = frame.hb_ms.unwrap_or(self.hb_ms),
            "ready" => self.ready(&frame, context),
            "resync" => {
                context.oracle.note(
                    context.clock.now(),
                    format_args!("client {} received resync: {:?}", self.me, frame.why),
                );
                context.recorder.error("resync");
                let (why, views) = (frame.why.unwrap_or_default(), self.views.len());
                // A slow reader overflows its queue by its own fault, so its `resync` is not judged.
                let now = (!self.marks_late()).then(|| context.clock.now());
                context
                    .oracle
                    .resynced(self.me, &mut self.resyncs, why, views, now);
                self.resync(context);
            }
            "bye" => {
                self.retry_ms = frame.retry_ms;
                if let Some(WireCode::Number(code)) = frame.code {
                    context.recorder.error(&format!("bye {code}"));
                }
                context.oracle.note(
                    context.clock.now(),
                    format_args!("client {} received {text}", self.me),
                );
            }
            "conv" | "delta" | "hist" | "ok" | "hb" | "inbox" | "members" => {
                // A response to a dropped request is ignored: a `resync` has replaced it.
                if let Some(asked) = frame.id.and_then(|id| self.requests.remove(&id)) {
                    self.answer(asked, &frame, context);
                }
            }
            "receipt" => self.receipt(&frame, context),
            "activity" => self.activity(&frame, context),
            _ => {} // typing, presence, and what later versions add: never judged for loss
        }
        // Checked after every frame, because any of them may complete the last view.
        if self.online
            && let Some(since) = self.returning
            && self.views.iter().all(ConversationView::is_level)
        {
            self.returning = None;
            context.recovery.level(since, context.clock.now());
        }
    }

    /// Records an `activity` event, which announces events of a conversation that is not live. Reads the missing ones.
    fn activity(&mut self, frame: &WireFrame<'_>, context: &mut RunContext) {
        let view = frame.c.and_then(|c| self.by_name.get(c)).copied();
        let (Some(view), Some(last)) = (view, &frame.last) else {
            return;
        };
        context.oracle.received(self.views[view].conv, self.me, last.s);
        if !self.views[view].out {
            self.views[view].fell_behind(last.s);
            self.drain(view, context);
        }
    }

    fn receipt(&self, frame: &WireFrame<'_>, context: &mut RunContext) {
        let view = frame.c.and_then(|c| self.by_name.get(c));
        let subject = frame.u.and_then(|user| context.payload.client(user));
        if let (Some(view), Some(subject)) = (view, subject) {
            let conv = self.views[*view].conv;
            context
                .oracle
                .receipt(conv, self.me, subject, frame.delivered, frame.read);
        }
    }

    fn number(&mut self, n: u64, kind: &str, context: &mut RunContext) {
        // The events between may be for none of the client's subscriptions.
        if self.numbers == EventNumbers::Partial {
            return;
        }
        // A full outbound queue drops numbered events. The `resync` that reports the loss may follow a jump; no other
        // event may.
        if let Some(last) = self.n
            && n != last + 1
            && !(kind == "resync" && n > last)
        {
            let detail = format!("event {kind:?} has n={n} after n={last}");
            context
                .oracle
                .violate(ViolationKind::NumberHole, None, Some(self.me), n, detail);
        }
        self.n = Some(n);
    }

    fn ready(&mut self, frame: &WireFrame<'_>, context: &mut RunContext) {
        self.requests
            .retain(|_, asked| !matches!(asked.task, PendingRequest::Auth));
        self.online = true;
        self.retry_ms = None;
        let now = context.clock.now();
        self.begins_at(frame, context);
        self.sid = frame.sid.map(str::to_owned);
        if let Some(since) = self.returning {
            context.recovery.online(since, now, frame.resumed);
        }
        // Resumed or not, the connection has a new outbound queue and new subscriptions.
        self.resyncs = Resyncs::default();
        if !frame.resumed {
            self.resync(context);
            // Watches belong to a session: a resumed one still has them.
            if !self.watching.is_empty() {
                self.ask(PendingRequest::Watch(self.watching.clone()));
            }
        }
        let line = format!(
            "client {} is ready, resumed {} {:?} at n={:?}",
            self.me, frame.resumed, frame.why, self.n
        );
        context.oracle.note(now, line);
    }

    /// Begins the numbers of a connection's events.
    fn begins_at(&mut self, frame: &WireFrame<'_>, context: &mut RunContext) {
        if self.numbers != EventNumbers::Exact {
            self.n = None;
            // Receipts may be repeated, or missing.
            for view in &self.views {
                context.oracle.forget_receipts(view.conv, self.me);
            }
            return;
        }
        let n = frame.n.unwrap_or(0);
        // A resumed session must continue exactly at the session seq that the client has confirmed.
        if frame.resumed && (self.sid.is_none() || Some(n) != self.n) {
            let detail = format!("resumed at n={n} where n={:?} was requested", self.n);
            context
                .oracle
                .violate(ViolationKind::ResumeWrong, None, Some(self.me), n, detail);
        }
        self.n = Some(n);
    }

    /// Requests every event above the cursors. Live events are held until the response.
    fn resync(&mut self, context: &mut RunContext) {
        for view in &mut self.views {
            view.interrupted();
            // Receipts of the interruption may be lost, so the next ones need not continue the last ones.
            context.oracle.forget_receipts(view.conv, self.me);
        }
        // Older requests to catch up would complete with positions from before the interruption.
        self.requests.retain(|_, asked| !asked.task.is_to_catch_up());
        self.todo.retain(|(_, task)| !task.is_to_catch_up());
        let views = self.present();
        if !views.is_empty() {
            self.sync(views, Purpose::CatchUp, 0, context);
        }
    }

    fn ack(&mut self, frame: &WireFrame<'_>, context: &mut RunContext) {
        let Some(id) = frame.id else { return };
        // Ids without an upper half belong to requests other than messages.
        if id >> 32 == 0 {
            if let Some(asked) = self.requests.remove(&id) {
                self.answer(asked, frame, context);
            }
            return;
        }
        let (index, ordinal) = ((id >> 32) as usize - 1, id as Ordinal);
        let answered = self.views.get_mut(index).and_then(|view| view.answered(ordinal));
        let (Some((due, since)), Some(s)) = (answered, frame.s) else {
            let detail = format!(
                "an ack of message {ordinal}, which has no pending request: s={:?} dup={}",
                frame.s, frame.dup
            );
            return context.oracle.violate(
                ViolationKind::UnsolicitedResponse,
                None,
                Some(self.me),
                frame.s.unwrap_or(0),
                detail,
            );
        };
        // A response may release refused messages, which are held while others are in flight.
        if self.views[index].has_work() {
            self.work.push(index);
        }
        context.oracle.appended(self.views[index].conv, self.me, s, since);
        context.oracle.acked(
            self.views[index].conv,
            MessageTag {
                sender: self.me,
                ordinal,
            },
            s,
        );
        // The time of arrival, not the current one: frames of one wake are processed one after the other.
        let now = context.received;
        if due < self.late_before {
            context.recorder.acked_late();
        } else {
            context.recorder.acked(due, now);
        }
        context.acks.acked(self.views[index].conv, due, now);
    }

    fn refusal(&mut self, frame: &WireFrame<'_>, context: &mut RunContext) {
        let now = context.clock.now();
        let (code, refusal) = frame.refusal();
        context.recorder.error(code);
        context.oracle.note(
            now,
            format_args!(
                "client {}: request {:?} refused: {code} {:?} {refusal:?}",
                self.me, frame.id, frame.msg
            ),
        );
        let Some(id) = frame.id else { return };
        if id >> 32 == 0 {
            let Some(SentRequest { task, .. }) = self.requests.remove(&id) else {
                return;
            };
            if refusal == WireRefusal::Never {
                self.refused_for_good(&task, code, context);
            }
            let pause = match (refusal, &task) {
                (_, PendingRequest::Probe { .. }) => return,
                // At least 20 ms: a retry in the same wake would repeat as fast as the node refuses.
                (WireRefusal::Later(ms), _) => ms.max(20),
                (WireRefusal::Never, PendingRequest::Change(_)) => {
                    self.changing = false;
                    return;
                }
                (WireRefusal::Never, PendingRequest::Read { .. } | PendingRequest::Watch(_)) => return,
                // A member who was removed meanwhile may not read the page.
                (WireRefusal::Never, PendingRequest::Fill { view }) if self.put_out(*view, context) => return,
                // A definite refusal of other requests is judged above, and still retried: the run needs them.
                (WireRefusal::Never, _) => 500,
            };
            self.todo.push((now + pause * MILLISECOND, task));
            return;
        }
        let (index, ordinal) = ((id >> 32) as usize - 1, id as Ordinal);
        let Some(view) = self.views.get_mut(index) else {
            // A refusal of a message in an unknown view is ignored.
            return;
        };
        let expected = match refusal {
            WireRefusal::Later(ms) => view.refused(ordinal, now + ms * MILLISECOND),
            WireRefusal::Never => {
                context.oracle.refused(
                    view.conv,
                    MessageTag {
                        sender: self.me,
                        ordinal,
                    },
                    code,
                );
                view.answered(ordinal).is_some()
            }
        };
        if view.has_work() {
            self.work.push(index);
        }
        if !expected {
            let detail = format!("a refusal ({code}) of message {ordinal}, which has no pending request");
            context
                .oracle
                .violate(ViolationKind::UnsolicitedResponse, None, Some(self.me), 0, detail);
        }
    }

    /// Judges a definite refusal, which must have a reason.
    fn refused_for_good(&self, task: &PendingRequest, code: &str, context: &mut RunContext) {
        let (view, command) = match task {
            PendingRequest::Change(changing) => {
                let tag = MessageTag {
                    sender: self.me,
                    ordinal: changing.ordinal,
                };
                let conv = self.views[changing.view].conv;
                return context.oracle.change_refused(conv, tag, code);
            }
            PendingRequest::Read { view, .. } => (view, "read"),
            PendingRequest::Open { view, .. } => (view, "open"),
            PendingRequest::Fill { view } | PendingRequest::Reread { view, .. } => (view, "hist"),
            PendingRequest::Probe { view, read } => (view, read.name()),
            PendingRequest::Auth => return context.oracle.refused_anywhere(self.me, "auth", code),
            PendingRequest::Create { .. } => return context.oracle.refused_anywhere(self.me, "create", code),
            PendingRequest::Membership { change, .. } => {
                return context.oracle.refused_anywhere(self.me, change.command(), code);
            }
            PendingRequest::List { .. } => return context.oracle.refused_anywhere(self.me, "list", code),
            PendingRequest::Sync(_) => return context.oracle.refused_anywhere(self.me, "sync", code),
            PendingRequest::Watch(_) => return context.oracle.refused_anywhere(self.me, "watch", code),
        };
        context
            .oracle
            .refused_there(self.views[*view].conv, self.me, command, code);
    }
}
