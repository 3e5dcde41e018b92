//! [`Responder`]: handle for the response to one call, usable from any thread.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Error;
use super::frame::FrameKind;
use super::response_queue::ResponseQueue;

/// Handle for the response to one call. Dropped without [`send`](Responder::send), it reports [`Error::Lost`] to the
/// caller: the call reached the handler, but its outcome is unknown.
#[derive(Debug)]
pub struct Responder(Option<ResponseSink>);

/// Destination of a response.
#[derive(Debug)]
enum ResponseSink {
    Local(oneshot::Sender<Result<Bytes, Error>>),
    Link(Arc<ResponseQueue>, u64),
}

// === impl Responder ===

impl Responder {
    /// Creates a responder and a receiver of its response, for calls of a node to itself.
    pub fn local() -> (Responder, oneshot::Receiver<Result<Bytes, Error>>) {
        let (sender, receiver) = oneshot::channel();
        (Responder(Some(ResponseSink::Local(sender))), receiver)
    }

    /// Creates the responder of call `id` on the connection that `answers` belongs to.
    pub(crate) fn link(answers: Arc<ResponseQueue>, id: u64) -> Responder {
        Responder(Some(ResponseSink::Link(answers, id)))
    }

    /// Sends the response: `Err` reaches the caller as [`Error::Refused`].
    pub fn send(mut self, answer: Result<Bytes, Bytes>) {
        match (self.0.take(), answer) {
            // Fails if the caller has stopped waiting.
            (Some(ResponseSink::Local(sender)), answer) => drop(sender.send(answer.map_err(Error::Refused))),
            (Some(ResponseSink::Link(answers, id)), Ok(body)) => answers.push(FrameKind::Answer, id, body),
            (Some(ResponseSink::Link(answers, id)), Err(body)) => answers.push(FrameKind::Refusal, id, body),
            (None, _) => {}
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        match self.0.take() {
            Some(ResponseSink::Local(sender)) => drop(sender.send(Err(Error::Lost))),
            Some(ResponseSink::Link(answers, id)) => answers.push(FrameKind::NoAnswer, id, Bytes::new()),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropped_responder_makes_the_outcome_unknown() {
        let (reply, answer) = Responder::local();
        drop(reply);
        assert_eq!(answer.await.unwrap(), Err(Error::Lost));
    }

    #[tokio::test]
    async fn refusal_carries_the_handlers_error() {
        let (reply, answer) = Responder::local();
        reply.send(Err(Bytes::from_static(b"no")));
        assert_eq!(
            answer.await.unwrap(),
            Err(Error::Refused(Bytes::from_static(b"no")))
        );
    }
}
