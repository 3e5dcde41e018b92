//! Inbound batch: the commands of one batch while the shard works on them, and their responses.
//!
//! Path of a message: step 10 of 13.
//!
//! Each command is a [`PendingCommand`]. It passes through the shard's actor, the conversation's actor and the log, and
//! back. If it is dropped anywhere (an actor panics, the epoch ends, a queue is closed), its drop fails the stream at
//! this batch. The sending queue then resends everything unacknowledged, and nothing behind the lost command is
//! proposed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::batch_streams::BatchStreams;
use super::pending_header::PendingHeader;
use crate::rpc::submit::{AppliedReply, BatchStreamId, CommandReplies, CommandReply};
use crate::rpc::{self, RpcError};

/// Receiver of a batch's responses.
pub(crate) enum BatchReply {
    Remote(cluster::Responder),
    /// Command queue of this node.
    Local(oneshot::Sender<Result<CommandReplies, RpcError>>),
}

/// Admitted batch with commands in progress.
pub(crate) struct InboundBatch {
    id: BatchStreamId,
    number: u64,
    streams: Arc<Mutex<BatchStreams>>,
    /// Commands of the shard without a response, over all batches.
    load: Arc<AtomicUsize>,
    size: usize,
    state: Mutex<State>,
}

struct State {
    answers: CommandReplies,
    missing: usize,
    reply: Option<BatchReply>,
}

/// One command of a batch; it gets exactly one response.
pub(crate) struct PendingCommand {
    batch: Arc<InboundBatch>,
    at: usize,
    answered: bool,
    /// True once the command was given to the log: without an outcome it may have been applied.
    pub(crate) proposed: bool,
    pub(crate) header: PendingHeader,
    /// Encoded command, as the log stores it.
    pub(crate) bytes: Bytes,
}

// === impl BatchReply ===

impl BatchReply {
    pub(crate) fn send(self, result: Result<CommandReplies, RpcError>) {
        match self {
            BatchReply::Remote(reply) => {
                reply.send(
                    result
                        .map(|answers| rpc::encode(&answers))
                        .map_err(|refused| rpc::encode(&refused)),
                );
            }
            BatchReply::Local(reply) => {
                // The queue may have restarted its stream and dropped the receiver.
                let _ = reply.send(result);
            }
        }
    }
}

// === impl InboundBatch ===

impl InboundBatch {
    /// Registers an admitted batch and returns the commands that `validate` accepts; the others get its refusal. An
    /// empty batch gets its response at once.
    pub(crate) fn open(
        id: BatchStreamId,
        number: u64,
        commands: Vec<Bytes>,
        validate: impl Fn(&Bytes) -> Result<PendingHeader, CommandReply>,
        reply: BatchReply,
        streams: &Arc<Mutex<BatchStreams>>,
        load: &Arc<AtomicUsize>,
    ) -> impl Iterator<Item = PendingCommand> {
        let size = commands.len();
        // Relaxed: the counter is only a bound, and protects no other data.
        load.fetch_add(size, Ordering::Relaxed);
        // A placeholder; the responses are sent once every one of them is replaced.
        let blank = CommandReply::Done(AppliedReply::Done);
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
        let batch = Arc::new(InboundBatch {
            id,
            number,
            streams,
            load,
            size,
            state: Mutex::new(state),
        });
        let commands = commands.into_iter().enumerate();
        commands.filter_map(move |(at, bytes)| match validate(&bytes) {
            Ok(header) => Some(PendingCommand {
                batch: batch.clone(),
                at,
                answered: false,
                proposed: false,
                header,
                bytes,
            }),
            Err(refused) => {
                batch.answer(at, refused);
                None
            }
        })
    }

    fn answer(&self, at: usize, answer: CommandReply) {
        let mut state = self.state.lock();
        state.answers[at] = answer;
        state.missing -= 1;
        if state.missing == 0
            && let Some(reply) = state.reply.take()
        {
            let answers = std::mem::take(&mut state.answers);
            // Sent without the lock, because encoding the response for another node takes time.
            drop(state);
            reply.send(Ok(answers));
        }
    }

    fn fail(&self, refused: RpcError) {
        // The stream is closed before the response is sent: nothing behind the loss may be proposed in between.
        self.streams.lock().break_at(self.id, self.number);
        let reply = self.state.lock().reply.take();
        if let Some(reply) = reply {
            reply.send(Err(refused));
        }
    }
}

impl Drop for InboundBatch {
    fn drop(&mut self) {
        self.load.fetch_sub(self.size, Ordering::Relaxed);
    }
}

// === impl PendingCommand ===

impl PendingCommand {
    /// Returns true if the command may still be proposed, which means that no earlier one of its stream was lost.
    pub(crate) fn alive(&self) -> bool {
        self.batch.streams.lock().alive(self.batch.id, self.batch.number)
    }

    /// Sets the command's response; the last one of a batch sends them all.
    pub(crate) fn answer(mut self, answer: CommandReply) {
        // Set first: the drop at the end of this method must not fail the batch.
        self.answered = true;
        self.batch.answer(self.at, answer);
    }

    /// Fails every command of the batch and its stream from there on.
    pub(crate) fn fail(mut self, refused: RpcError) {
        self.answered = true;
        self.batch.fail(refused);
    }
}

impl Drop for PendingCommand {
    fn drop(&mut self) {
        // Covers every loss, also a panic of the actor that holds the command.
        if !self.answered {
            self.batch.fail(RpcError::Broken {
                unknown: self.proposed,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::NodeId;

    use super::*;
    use crate::shard::pending_header::PendingSubject;
    use crate::state_machine::CommandKind;

    fn open(
        streams: &Arc<Mutex<BatchStreams>>,
        number: u64,
    ) -> (
        Vec<PendingCommand>,
        oneshot::Receiver<Result<CommandReplies, RpcError>>,
    ) {
        let id = BatchStreamId {
            node: NodeId(1),
            incarnation: 1,
            stream: 0,
        };
        assert!(streams.lock().admit(id, number));
        let (reply, answer) = oneshot::channel();
        let load = Arc::new(AtomicUsize::new(0));
        let commands = ["a", "b"].map(Bytes::from).to_vec();
        let reply = BatchReply::Local(reply);
        let opened = InboundBatch::open(id, number, commands, header, reply, streams, &load);
        (opened.collect(), answer)
    }

    /// Accepts every command but `bad`.
    fn header(bytes: &Bytes) -> Result<PendingHeader, CommandReply> {
        if bytes == "bad" {
            return Err(CommandReply::refused(
                protocol::ErrorCode::BadRequest,
                "bad".to_owned(),
            ));
        }
        Ok(PendingHeader {
            kind: CommandKind::Leave,
            subject: PendingSubject::Conversation {
                conv: protocol::ConversationId::parse("g_1").unwrap(),
                user: protocol::UserId::parse("alice").unwrap(),
            },
            cid: None,
            exclude_session: 0,
        })
    }

    fn done(seq: u64) -> CommandReply {
        CommandReply::Done(AppliedReply::Conversation {
            seq: Some(seq),
            mn: None,
            ts: 0,
            dup: false,
        })
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
    fn an_invalid_command_is_answered_and_the_others_go_on() {
        let streams = Arc::default();
        let id = BatchStreamId {
            node: NodeId(1),
            incarnation: 1,
            stream: 0,
        };
        let (reply, mut answer) = oneshot::channel();
        let commands = ["bad", "b"].map(Bytes::from).to_vec();
        let (reply, load) = (BatchReply::Local(reply), Arc::default());
        let mut opened: Vec<PendingCommand> =
            InboundBatch::open(id, 0, commands, header, reply, &streams, &load).collect();
        assert_eq!(opened.len(), 1, "nothing invalid goes on to the log");
        opened.pop().unwrap().answer(done(1));
        let refused = header(&Bytes::from("bad")).unwrap_err();
        assert_eq!(answer.try_recv().unwrap(), Ok(vec![refused, done(1)]));
    }

    #[test]
    fn a_lost_command_breaks_its_stream() {
        let streams = Arc::default();
        let (first, mut answer) = open(&streams, 0);
        let (second, _answer) = open(&streams, 1);
        drop(first);
        assert_eq!(
            answer.try_recv().unwrap(),
            Err(RpcError::Broken { unknown: false })
        );
        assert!(
            second.iter().all(|pending| !pending.alive()),
            "what follows must not overtake"
        );
    }
}
