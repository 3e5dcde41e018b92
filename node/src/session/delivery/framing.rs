//! Wire format of a transport, and the bytes of one write.

use bytes::{Bytes, BytesMut};

/// Wire format of a transport. A method that appends nothing writes nothing. The outbound queue is borrowed during each
/// call, so an implementation keeps its state in cells and uses no method of the queue.
pub trait Framing {
    /// Returns true if the next event may be written. While it is false, events wait in the queue under its bounds, and
    /// responses pass them. [`ConnectionHandle::wake_writer`](crate::session::ConnectionHandle::wake_writer) follows the
    /// change to true.
    fn takes_event(&self) -> bool {
        true
    }
    /// Appends a response, a whole JSON object.
    fn answer(&self, out: &mut BytesMut, body: &[u8]);
    /// Appends an event, given as everything after its number.
    fn event(&self, out: &mut BytesMut, n: u64, tail: &[u8]);
    /// Appends a keepalive behind the event with number `sent`, the last one written.
    fn ping(&self, out: &mut BytesMut, sent: u64);
    /// Returns true if the answer to a ping confirms the events before it.
    fn confirms_by_pong(&self) -> bool {
        false
    }
    /// Appends the answer to a ping of the client.
    fn pong(&self, out: &mut BytesMut, payload: &[u8]);
    /// Appends the end of the output: the close code, if there is one, and the reason.
    fn close(&self, out: &mut BytesMut, code: Option<u16>, reason: &str);
}

/// Bytes for one write, and the number of frames in them.
#[derive(Debug, PartialEq, Eq)]
pub struct WriteChunk {
    pub bytes: Bytes,
    pub frames: u64,
}
