//! What the socket half sends to a session, and what the [registry](super::registry) does.

use std::time::{Duration, SystemTime};

use actix::Message;
use bytes::Bytes;
use protocol::answer::NotResumed;
use protocol::{Cid, CloseCode, DecodeError, Request};

use super::sid::Sid;
use crate::rpc::resume::{Lent, Resume};

/// Everything that one read of the socket brought. Answered when all of it has been taken up, so that the reader reads
/// on only then.
#[derive(Debug)]
pub struct Batch(pub Vec<Item>);

/// One text message, decoded.
#[derive(Debug)]
pub struct Item {
    /// What it asks; a message to be ignored doesn't get here.
    pub request: Result<Request, DecodeError>,
    /// Its size on the wire.
    pub bytes: usize,
}

/// The connection is over, or has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// The connection was lost.
    Lost,
    /// The client said goodbye, with this code or with none.
    Goodbye(Option<u16>),
    /// The client broke a rule of the transport.
    Broken(CloseCode),
}

/// A client fetches the events behind `after`, which it has.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The last event that the client has.
    pub after: u64,
    /// How long to wait for one.
    pub wait: Duration,
    /// When the token ends that the client showed.
    pub expires: Option<SystemTime>,
    /// The login that it came from.
    pub login: Option<Cid>,
}

/// The answer to [`Fetch`].
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// What follows, each with its number; nothing if the time passed, or another fetch began.
    pub events: Vec<(u64, Bytes)>,
}

/// The session goes on elsewhere: it hands over a copy.
#[derive(Clone, Debug)]
pub(super) struct Take(pub(super) Resume);

/// The session that goes on with a copy is in use. Answered with whether it is the one that was lent to last: then this
/// one is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yield(pub(super) Sid);

/// The session is of no use any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct End(pub(super) NotResumed);

/// The login that the session came from has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revoked;

impl Message for Batch {
    type Result = ();
}

impl Message for Hangup {
    type Result = ();
}

impl Message for Fetch {
    type Result = Result<Fetched, NotResumed>;
}

impl Message for Take {
    type Result = Result<Lent, NotResumed>;
}

impl Message for Yield {
    type Result = bool;
}

impl Message for End {
    type Result = ();
}

impl Message for Revoked {
    type Result = ();
}
