//! Messages to a session actor, from its socket half and from the [registry](super::registry).

use std::time::{Duration, SystemTime};

use actix::Message;
use bytes::Bytes;
use protocol::response::NotResumed;
use protocol::{ClientMessageId, CloseCode, CommandCost, DecodeError, Request};

use crate::rpc::resume::{ExportRequest, SessionSnapshot};
use crate::rpc::{SessionFigures, SessionId};

/// Commands from one read of the socket. Answered once all of them are dispatched; the reader reads on only then.
#[derive(Debug)]
pub struct CommandBatch {
    pub commands: Vec<ReceivedCommand>,
    /// True if they show that the client has received this session's id, as its own commands do.
    pub confirms_resume: bool,
}

/// Decoded text message of a client.
#[derive(Debug)]
pub struct ReceivedCommand {
    /// Command, or the error with which it is refused. Messages to be ignored are filtered out before.
    pub request: Result<Request, DecodeError>,
    /// Size on the wire in bytes.
    pub bytes: usize,
}

/// Command of a client whose connection has ended. The answer is false, and nothing is dispatched, if another session
/// continues this one.
#[derive(Debug)]
pub struct DetachedCommand(pub ReceivedCommand);

/// Changes the time for which the session can be continued: by a resume for at most `session.resume_timeout`, and from
/// the durable cursors of its device after that. With zero the session ends with its connection.
#[derive(Clone, Copy, Debug)]
pub struct SetSessionExpiry(pub Duration);

/// End of a connection, as detected by its socket half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The connection was lost.
    Lost,
    /// The client sent a close frame, with this code or without one.
    CloseFrame(Option<u16>),
    /// The client violated the transport protocol.
    Broken(CloseCode),
}

/// Long poll for the events behind `after`, which also confirms the events up to it.
#[derive(Clone, Debug)]
pub struct PollRequest {
    /// Number of the last event that the client has.
    pub after: u64,
    /// Maximum time to wait for an event.
    pub wait: Duration,
    /// Expiry of the presented token; `None`: it does not expire.
    pub expires: Option<SystemTime>,
    /// `None` for a token without a login.
    pub login: Option<ClientMessageId>,
}

/// Response to a [`PollRequest`].
#[derive(Clone, Debug, Default)]
pub struct PollResponse {
    /// Events behind `after` with their numbers; empty after the timeout, or if another long poll began.
    pub events: Vec<(u64, Bytes)>,
}

/// Exports a snapshot of the session to its successor.
#[derive(Clone, Debug)]
pub(super) struct ExportSession(pub(super) ExportRequest);

/// Returns the figures that only the thread of the session knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct DescribeSession;

/// Confirms that the successor is in use. Returns true and ends the session if it was exported to that successor last.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfirmTransfer(pub(super) SessionId);

/// Ends a session that is of no further use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminate(pub(super) NotResumed);

/// Ends a session whose login was revoked, or that its user ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenRevoked;

// === impl ReceivedCommand ===

impl ReceivedCommand {
    /// Cost of the command. One that cannot be decoded counts as a change, which has the lower rate.
    pub(super) fn cost(&self) -> CommandCost {
        self.request
            .as_ref()
            .map_or(CommandCost::CHANGE, |request| request.command.cost())
    }
}

impl Message for CommandBatch {
    type Result = ();
}

impl Message for DetachedCommand {
    type Result = bool;
}

impl Message for SetSessionExpiry {
    type Result = ();
}

impl Message for Disconnect {
    type Result = ();
}

impl Message for PollRequest {
    type Result = Result<PollResponse, NotResumed>;
}

impl Message for ExportSession {
    type Result = Result<SessionSnapshot, NotResumed>;
}

impl Message for DescribeSession {
    type Result = SessionFigures;
}

impl Message for ConfirmTransfer {
    type Result = bool;
}

impl Message for Terminate {
    type Result = ();
}

impl Message for TokenRevoked {
    type Result = ();
}
