//! The right to answer one call, once, from anywhere.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Error;
use super::answers::Answers;
use super::frame::Kind;

/// The right to answer one call. Dropped without [`send`](Reply::send), it tells the caller [`Error::Lost`]: the call
/// was handed over and nobody knows what came of it.
#[derive(Debug)]
pub struct Reply(Option<Sink>);

/// Where an answer goes.
#[derive(Debug)]
enum Sink {
    Local(oneshot::Sender<Result<Bytes, Error>>),
    Link(Arc<Answers>, u64),
}

// === impl Reply ===

impl Reply {
    /// A reply whose answer comes out of the receiver: how a node calls itself without a connection.
    pub fn local() -> (Reply, oneshot::Receiver<Result<Bytes, Error>>) {
        let (sender, receiver) = oneshot::channel();
        (Reply(Some(Sink::Local(sender))), receiver)
    }

    /// The reply to call `id` of the connection that `answers` belongs to.
    pub(crate) fn link(answers: Arc<Answers>, id: u64) -> Reply {
        Reply(Some(Sink::Link(answers, id)))
    }

    /// Answers: `Err` reaches the caller as [`Error::Refused`].
    pub fn send(mut self, answer: Result<Bytes, Bytes>) {
        match (self.0.take(), answer) {
            // A caller that has given up wants no answer.
            (Some(Sink::Local(sender)), answer) => drop(sender.send(answer.map_err(Error::Refused))),
            (Some(Sink::Link(answers, id)), Ok(body)) => answers.push(Kind::Answer, id, body),
            (Some(Sink::Link(answers, id)), Err(body)) => answers.push(Kind::Refusal, id, body),
            (None, _) => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Sink::Local(sender)) => drop(sender.send(Err(Error::Lost))),
            Some(Sink::Link(answers, id)) => answers.push(Kind::NoAnswer, id, Bytes::new()),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropped_reply_tells_the_caller_that_the_outcome_is_unknown() {
        let (reply, answer) = Reply::local();
        drop(reply);
        assert_eq!(answer.await.unwrap(), Err(Error::Lost));
    }

    #[tokio::test]
    async fn refusal_carries_the_handlers_error() {
        let (reply, answer) = Reply::local();
        reply.send(Err(Bytes::from_static(b"no")));
        assert_eq!(
            answer.await.unwrap(),
            Err(Error::Refused(Bytes::from_static(b"no")))
        );
    }
}
