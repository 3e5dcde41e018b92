//! The right to answer one call, once, from anywhere.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Error;

/// The right to answer one call. Dropped without [`send`](Reply::send), it tells the caller [`Error::Lost`]: the call
/// was handed over and nobody knows what came of it.
#[derive(Debug)]
pub struct Reply(Option<Sink>);

/// Where an answer goes.
#[derive(Debug)]
enum Sink {
    Local(oneshot::Sender<Result<Bytes, Error>>),
}

// === impl Reply ===

impl Reply {
    /// A reply whose answer comes out of the receiver: how a node calls itself without a connection.
    pub fn local() -> (Reply, oneshot::Receiver<Result<Bytes, Error>>) {
        let (sender, receiver) = oneshot::channel();
        (Reply(Some(Sink::Local(sender))), receiver)
    }

    /// Answers: `Err` reaches the caller as [`Error::Refused`].
    pub fn send(mut self, answer: Result<Bytes, Bytes>) {
        if let Some(sink) = self.0.take() {
            sink.send(answer.map_err(Error::Refused));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            sink.send(Err(Error::Lost));
        }
    }
}

// === impl Sink ===

impl Sink {
    fn send(self, answer: Result<Bytes, Error>) {
        match self {
            // The caller may have given up; then nobody wants the answer.
            Sink::Local(sender) => drop(sender.send(answer)),
        }
    }
}
