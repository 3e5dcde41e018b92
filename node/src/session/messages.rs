//! What the socket half sends to a session.

use actix::Message;
use protocol::{CloseCode, DecodeError, Request};

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

impl Message for Batch {
    type Result = ();
}

impl Message for Hangup {
    type Result = ();
}
