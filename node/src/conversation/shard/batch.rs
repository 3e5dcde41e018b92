//! A batch of one lane while it is being worked on: who waits for it, and what is answered so far.
//!
//! Each command of it is a [`Pending`], which travels from the shard's actor through the conversation's actor and the
//! log and back. Wherever it gets lost (an actor panics, the epoch ends, a queue is dropped), its drop breaks the
//! stream at this batch: the lane sends everything unanswered again, and nothing behind the lost command is proposed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::ConvId;
use tokio::sync::oneshot;

use super::streams::{StreamId, Streams};
use crate::rpc::submit::{Answer, Answers};
use crate::rpc::{self, Refused};

/// Who waits for the answers.
pub(crate) enum BatchReply {
    /// Another node.
    Remote(cluster::Reply),
    /// A lane of this node.
    Local(oneshot::Sender<Result<Answers, Refused>>),
}

/// A batch that entered.
pub(crate) struct Batch {
    id: StreamId,
    number: u64,
    streams: Arc<Mutex<Streams>>,
    /// Commands in the shard without an answer.
    load: Arc<AtomicUsize>,
    size: usize,
    state: Mutex<State>,
}

struct State {
    answers: Answers,
    missing: usize,
    reply: Option<BatchReply>,
}

/// One command of a batch, to be answered once.
pub(crate) struct Pending {
    batch: Arc<Batch>,
    at: usize,
    answered: bool,
    /// Given to the log: from now on nobody knows, until the log says.
    pub(crate) proposed: bool,
    /// The command, as the log will hold it.
    pub(crate) bytes: Bytes,
    /// The conversation whose actor sees it; `None` for commands of the shard itself.
    pub(crate) conv: Option<ConvId>,
}

// === impl BatchReply ===

impl BatchReply {
    pub(crate) fn send(self, result: Result<Answers, Refused>) {
        match self {
            BatchReply::Remote(reply) => {
                reply.send(
                    result
                        .map(|answers| rpc::encode(&answers))
                        .map_err(|refused| rpc::encode(&refused)),
                );
            }
            BatchReply::Local(reply) => {
                // A lane that restarted doesn't listen any more.
                let _ = reply.send(result);
            }
        }
    }
}

// === impl Batch ===

impl Batch {
    /// Takes a batch that was admitted, and cuts it into its commands.
    pub(crate) fn open(
        id: StreamId,
        number: u64,
        commands: Vec<Bytes>,
        reply: BatchReply,
        streams: &Arc<Mutex<Streams>>,
        load: &Arc<AtomicUsize>,
    ) -> impl Iterator<Item = Pending> {
        let size = commands.len();
        load.fetch_add(size, Ordering::Relaxed);
        let blank = Answer::Refused {
            code: 0,
            msg: String::new(),
        };
        let mut state = State {
            answers: vec![blank; size],
            missing: size,
            reply: Some(reply),
        };
        if size == 0
            && let Some(reply) = state.reply.take()
        {
            reply.send(Ok(Vec::new()));
        }
        let (streams, load) = (streams.clone(), load.clone());
        let batch = Arc::new(Batch {
            id,
            number,
            streams,
            load,
            size,
            state: Mutex::new(state),
        });
        commands.into_iter().enumerate().map(move |(at, bytes)| Pending {
            batch: batch.clone(),
            at,
            answered: false,
            proposed: false,
            bytes,
            conv: None,
        })
    }

    fn answer(&self, at: usize, answer: Answer) {
        let mut state = self.state.lock();
        state.answers[at] = answer;
        state.missing -= 1;
        if state.missing == 0
            && let Some(reply) = state.reply.take()
        {
            let answers = std::mem::take(&mut state.answers);
            drop(state);
            reply.send(Ok(answers));
        }
    }

    fn fail(&self, refused: Refused) {
        self.streams.lock().break_at(self.id, self.number);
        let reply = self.state.lock().reply.take();
        if let Some(reply) = reply {
            reply.send(Err(refused));
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.load.fetch_sub(self.size, Ordering::Relaxed);
    }
}

// === impl Pending ===

impl Pending {
    /// Whether the command may still be proposed: nothing before it in its stream was lost.
    pub(crate) fn alive(&self) -> bool {
        self.batch.streams.lock().alive(self.batch.id, self.batch.number)
    }

    /// Answers the command.
    pub(crate) fn answer(mut self, answer: Answer) {
        self.answered = true;
        self.batch.answer(self.at, answer);
    }

    /// Gives the whole batch up.
    pub(crate) fn fail(mut self, refused: Refused) {
        self.answered = true;
        self.batch.fail(refused);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answered {
            self.batch.fail(Refused::Broken {
                unknown: self.proposed,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::NodeId;

    use super::*;

    fn open(
        streams: &Arc<Mutex<Streams>>,
        number: u64,
    ) -> (Vec<Pending>, oneshot::Receiver<Result<Answers, Refused>>) {
        let id = StreamId {
            node: NodeId(1),
            incarnation: 1,
            stream: 0,
        };
        assert!(streams.lock().admit(id, number));
        let (reply, answer) = oneshot::channel();
        let load = Arc::new(AtomicUsize::new(0));
        let commands = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        (
            Batch::open(id, number, commands, BatchReply::Local(reply), streams, &load).collect(),
            answer,
        )
    }

    fn done(seq: u64) -> Answer {
        Answer::Done {
            seq,
            mn: 0,
            ts: 0,
            dup: false,
            reserved: None,
        }
    }

    #[test]
    fn a_batch_is_answered_when_its_last_command_is() {
        let streams = Arc::default();
        let (mut commands, mut answer) = open(&streams, 0);
        commands.pop().unwrap().answer(done(2));
        assert!(answer.try_recv().is_err());
        commands.pop().unwrap().answer(done(1));
        assert_eq!(answer.try_recv().unwrap(), Ok(vec![done(1), done(2)]));
    }

    #[test]
    fn a_lost_command_breaks_its_stream() {
        let streams = Arc::default();
        let (first, mut answer) = open(&streams, 0);
        let (second, _answer) = open(&streams, 1);
        drop(first);
        assert_eq!(
            answer.try_recv().unwrap(),
            Err(Refused::Broken { unknown: false })
        );
        assert!(
            second.iter().all(|pending| !pending.alive()),
            "what follows must not overtake"
        );
    }
}
