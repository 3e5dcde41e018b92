//! State of one client, without its socket.
//!
//! Received frames arrive as text, and frames to send are queued in `out`. The oracle and the recorder are updated at
//! once. The parent module holds the socket.

mod actions;
mod commands;
mod on_event;
mod on_frame;
mod on_response;
mod probe;
mod sync;

use std::collections::HashMap;

use protocol::{ConversationId, ConversationKind, UserId};
use tokio::sync::oneshot;

use self::actions::PendingChange;
pub(super) use self::probe::{HttpRead, ProbedRead};
use self::sync::SyncProgress;
use super::conversation_view::ConversationView;
use super::{DEVICE, MembershipCommand};
use crate::clock::Nanos;
use crate::measure::RunContext;
use crate::oracle::{AcknowledgedSeqs, ConvIx, Reading, Resyncs};
use crate::payload::{ClientIx, MessageTag};
use crate::wire::{self, EventNumbers};

/// State of one client, which outlives its connections.
pub(crate) struct ClientState {
    me: ClientIx,
    views: Vec<ConversationView>,
    by_name: HashMap<ConversationId, usize>,
    /// Views that have messages to send.
    work: Vec<usize>,
    next_id: u64,
    requests: HashMap<u64, SentRequest>,
    /// Requests to send (again), each with its earliest time.
    todo: Vec<(Nanos, PendingRequest)>,
    pub(crate) out: Vec<String>,
    /// `true` from `ready` until the connection ends.
    pub(crate) online: bool,
    /// Session that may be resumed, and the session seq of its last event; `None` if the next event may have any.
    sid: Option<String>,
    n: Option<u64>,
    numbers: EventNumbers,
    pub(crate) hb_ms: u64,
    /// Reconnect delay that the node asked for before it closed.
    pub(crate) retry_ms: Option<u64>,
    /// Time at which the reconnect began; `None` once nothing is missing any more.
    returning: Option<Nanos>,
    /// Deliveries of messages scheduled before this time are not measured: the client itself was offline or read
    /// slowly.
    late_before: Nanos,
    resyncs: Resyncs,
    /// `true` while an edit, deletion or reaction is unanswered; at most one is in flight.
    changing: bool,
    pub(crate) marks: bool,
    watching: Vec<UserId>,
}

/// Request in flight, with one basis for each view that it concerns, recorded before the send.
struct SentRequest {
    task: PendingRequest,
    bases: Vec<Basis>,
}

/// Lower bounds that the response to a read must reach.
#[derive(Clone, Debug, Default)]
struct Basis {
    since: AcknowledgedSeqs,
    /// `true` if the client's removal was acknowledged.
    removed: bool,
    /// Last acknowledged message of each sender.
    cursors: HashMap<ClientIx, u64>,
}

/// Extent and purpose of a read of the conversation list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadProbe {
    /// One page, for the oracle.
    Page,
    /// All pages, as a measured activity.
    Act,
    /// All pages, for the oracle.
    Whole,
    /// All pages, repeated until every view was found; at the end of the run.
    Last,
}

/// Request other than a message, retained until its response.
pub(crate) enum PendingRequest {
    /// Authentication, the first frame of a connection.
    Auth,
    /// Creates a conversation, and replies with its name.
    Create {
        kind: ConversationKind,
        cid: String,
        members: Vec<UserId>,
        reply: oneshot::Sender<ConversationId>,
    },
    /// Changes a membership of a conversation.
    Membership {
        name: ConversationId,
        change: MembershipCommand,
        reply: oneshot::Sender<()>,
    },
    Change(PendingChange),
    Read {
        view: usize,
        s: u64,
        due: Nanos,
    },
    /// Reads a page of the conversation list. `reply` is set for [`ReadProbe::Last`] alone.
    List {
        cursor: Option<String>,
        due: Nanos,
        /// Time at which this page was requested.
        asked: Nanos,
        /// Acknowledged read position of each view at the request of the first page.
        floors: Vec<u64>,
        found: Vec<usize>,
        reply: Option<oneshot::Sender<()>>,
        look: ReadProbe,
    },
    /// Read whose response the oracle judges.
    Probe {
        view: usize,
        read: ProbedRead,
    },
    /// Watches the presence of other users.
    Watch(Vec<UserId>),
    /// Opens a conversation; the client's view begins at the returned position.
    Open {
        view: usize,
        reply: Option<oneshot::Sender<()>>,
    },
    /// Requests the missed events, after a new session or a `resync`.
    Sync(SyncProgress),
    /// Reads a page of missing events.
    Fill {
        view: usize,
    },
    /// Reads the log again, above `after`.
    Reread {
        view: usize,
        after: u64,
        reading: Reading,
        reply: oneshot::Sender<()>,
    },
}

/// Number of events of one page.
const PAGE: usize = protocol::limits::PAGE;

// === impl PendingRequest ===

impl PendingRequest {
    /// Returns `true` if a new session or a `resync` starts this request anew.
    fn is_to_catch_up(&self) -> bool {
        match self {
            PendingRequest::Sync(syncing) => syncing.is_to_catch_up(),
            PendingRequest::Fill { .. } => true,
            _ => false,
        }
    }
}

// === impl ClientState ===

impl ClientState {
    /// `numbers`: what the client's protocol shows of the session seqs.
    pub(crate) fn new(me: ClientIx, numbers: EventNumbers) -> ClientState {
        ClientState {
            me,
            views: Vec::new(),
            by_name: HashMap::new(),
            work: Vec::new(),
            next_id: 1,
            requests: HashMap::new(),
            todo: Vec::new(),
            out: Vec::new(),
            online: false,
            sid: None,
            n: Some(0),
            numbers,
            hb_ms: 30_000,
            retry_ms: None,
            returning: None,
            late_before: 0,
            resyncs: Resyncs::default(),
            changing: false,
            marks: false,
            watching: Vec::new(),
        }
    }

    // --- what the harness asks ---

    /// Adds a view and opens its conversation. `reply` is sent once the view has begun. Returns the index of the view.
    pub(crate) fn join(&mut self, name: ConversationId, conv: ConvIx, reply: oneshot::Sender<()>) -> usize {
        let view = self.views.len();
        self.views.push(ConversationView::new(name.clone(), conv));
        self.by_name.insert(name, view);
        self.todo.push((
            0,
            PendingRequest::Open {
                view,
                reply: Some(reply),
            },
        ));
        view
    }

    /// Returns the index of the view of a conversation; `None` if the client has none.
    pub(crate) fn view(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Queues a request, which is sent at once or when the client is online.
    pub(crate) fn ask(&mut self, task: PendingRequest) {
        self.todo.push((0, task));
    }

    /// Watches the presence of `others`, in later sessions too.
    pub(crate) fn watch(&mut self, others: Vec<UserId>) {
        self.ask(PendingRequest::Watch(others.clone()));
        self.watching = others;
    }

    /// Queues a new message, scheduled for `due`, in the view with index `place`.
    pub(crate) fn offer(&mut self, view: usize, due: Nanos, context: &mut RunContext) {
        // Issued before the send: a received message that was not issued counts as a phantom.
        let ordinal = context.oracle.issue(self.views[view].conv, self.me);
        context.recorder.sent();
        self.views[view].offer(ordinal, due);
        self.work.push(view);
    }

    /// Returns `true` if the client is no longer a member.
    pub(crate) fn is_out(&self, view: usize) -> bool {
        self.views[view].out
    }

    /// Returns the number of messages without a final response.
    pub(crate) fn unanswered(&self) -> usize {
        self.views.iter().map(ConversationView::unanswered).sum()
    }

    /// Upper bound of the unanswered messages of one view, in constant time.
    pub(crate) fn backlog(&self, view: usize) -> usize {
        self.views[view].backlog()
    }

    /// Returns the unanswered messages per conversation, for the history beside a violation.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (ConvIx, usize)> {
        self.views
            .iter()
            .map(|view| (view.conv, view.unanswered()))
            .filter(|(_, unanswered)| *unanswered > 0)
    }

    // --- the connection ---

    /// Queues the authentication for an open connection, with a resume of the last session if there is one.
    pub(crate) fn connected(&mut self, token: &str, instance: &str) {
        let id = self.request(PendingRequest::Auth, Vec::new());
        let resume = self.sid.as_deref().map(|sid| (sid, self.n.unwrap_or(0)));
        let auth = wire::auth(token, DEVICE, instance, resume);
        self.out.push(wire::encode(Some(id), auth));
    }

    /// Discards the session, because its close code excludes a resume.
    pub(crate) fn forget_session(&mut self) {
        self.sid = None;
    }

    /// Excludes late deliveries from the measurement: of all messages from now on, or of those scheduled until now.
    pub(crate) fn late(&mut self, from_now_on: bool, now: Nanos) {
        self.late_before = if from_now_on { Nanos::MAX } else { now };
    }

    /// Returns `true` if the client reads slowly on purpose.
    fn marks_late(&self) -> bool {
        self.late_before == Nanos::MAX
    }

    /// Restarts the measurement of the reconnect: a planned absence does not count.
    pub(crate) fn returns(&mut self, now: Nanos) {
        if self.returning.is_some() {
            self.returning = Some(now);
        }
    }

    /// Records the end of the connection, and queues every unanswered request again. Returns the number of messages to
    /// be sent again.
    ///
    /// Requests to catch up are repeated too: a resumed session does not start them anew.
    pub(crate) fn disconnected(&mut self, context: &mut RunContext) -> usize {
        // A connection that was never online does not count as lost.
        if std::mem::take(&mut self.online) {
            context.recovery.dropped();
            // A second drop during the recovery must not restart its measurement.
            if self.returning.is_none() {
                context.recovery.lost();
                self.returning = Some(context.clock.now());
            }
        }
        // Frames of the old connection. Their requests are queued again below.
        self.out.clear();
        let asked = self.requests.drain().map(|(_, asked)| asked.task);
        // Probes are dropped: their recorded basis would be compared with a later read.
        let again = asked.filter(|task| !matches!(task, PendingRequest::Auth | PendingRequest::Probe { .. }));
        self.todo.extend(again.map(|task| (0, task)));
        let again = self.views.iter_mut().map(ConversationView::disconnected).sum();
        // Rebuilt, because messages that were in flight have to be sent again.
        self.work = (0..self.views.len())
            .filter(|view| self.views[*view].has_work())
            .collect();
        again
    }

    /// Returns the time at which the client must wake without input; `None` while it is offline.
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        if !self.online {
            return None;
        }
        let retries = self.work.iter().filter_map(|view| self.views[*view].retry_at());
        self.todo.iter().map(|(at, _)| *at).chain(retries).min()
    }

    /// Turns every request and message that is due into frames.
    pub(crate) fn flush(&mut self, context: &mut RunContext) {
        if !self.online {
            return;
        }
        let now = context.clock.now();
        for task in self
            .todo
            .extract_if(.., |(at, _)| *at <= now)
            .map(|(_, task)| task)
            // Collected first: `issue` needs the whole state, which the iterator borrows.
            .collect::<Vec<_>>()
        {
            self.issue(task, context);
        }
        for index in std::mem::take(&mut self.work) {
            let view = &mut self.views[index];
            let (name, out, me) = (view.name.clone(), &mut self.out, self.me);
            let since = context.oracle.since(view.conv);
            view.send_due(now, since, |ordinal, due| {
                let tag = MessageTag { sender: me, ordinal };
                // The upper half names the view, and is never 0 for a message; other requests use the lower half alone.
                let id = ((index as u64 + 1) << 32) | u64::from(ordinal);
                let (payload, cid) = (&context.payload, context.payload.message_id(tag));
                let message = wire::send(&name, cid, payload.body(name.as_str(), tag, due));
                out.push(wire::encode(Some(id), message));
            });
            // Refused messages that may not be sent yet stay queued.
            if view.has_work() && !self.work.contains(&index) {
                self.work.push(index);
            }
        }
    }

    /// Queues a heartbeat with the session seq up to which events were processed.
    pub(crate) fn heartbeat(&mut self) {
        // Without an id, so that the response needs no handling.
        self.out
            .push(wire::encode(None, wire::heartbeat(self.n.unwrap_or(0))));
    }

    fn request(&mut self, task: PendingRequest, bases: Vec<Basis>) -> u64 {
        let id = self.next_id;
        // Wraps within the lower half, so that it cannot be mistaken for the id of a message.
        self.next_id = (self.next_id + 1) & 0xffff_ffff;
        self.requests.insert(id, SentRequest { task, bases });
        id
    }

    fn issue(&mut self, mut task: PendingRequest, context: &mut RunContext) {
        let id = self.next_id;
        // Recorded before the send: everything acknowledged so far is a lower bound for the effect.
        match &mut task {
            PendingRequest::Change(changing) => {
                changing.begins(context.oracle.since(self.views[changing.view].conv))
            }
            PendingRequest::Membership { name, change, .. } => change.begins(name, context),
            _ => {}
        }
        let Some(command) = self.command(&task) else {
            return;
        };
        // Read immediately before the send. A later basis could hold acknowledgements from after the read.
        let bases = self.bases(&task, context);
        self.request(task, bases);
        self.out.push(wire::encode(Some(id), command));
    }
}
