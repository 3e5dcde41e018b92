//! [`SUBMIT`](super::SUBMIT): batch of a command queue to the shard owner.
//!
//! The commands follow the header in the encoding of log entries ([`batch_codec`]). The receiver slices them out of the
//! body without a copy, and the log stores the bytes that the session encoded.

use bytes::Bytes;
use cluster::{NodeId, batch_codec};
use protocol::{ConversationId, ErrorCode};
use serde::{Deserialize, Serialize};

use super::{CodecError, VERSION, versioned};
use crate::state_machine::error_number;
use crate::state_machine::{AdditionVerdict, ErasureId, ErasureStep, LoginOutcome};

/// Maximum number of commands in one batch to the shard owner, and in one log entry. More save nothing: the fsync is already shared by this many.
pub(crate) const BATCH_COMMANDS: usize = 512;
/// Maximum size of a log entry in bytes; a larger single command becomes an entry of its own. It bounds the time for
/// which an entry occupies the connections and the state machine.
pub(crate) const BATCH_BYTES: usize = 256 << 10;

/// Header of a batch, followed by its commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchHeader {
    pub(crate) shard: u16,
    /// Id of the sending process, random at its start.
    pub(crate) incarnation: u64,
    pub(crate) stream: u64,
    /// Batch seq within the stream.
    pub(crate) number: u64,
}

/// Position of a batch in its queue's batch stream. The shard owner admits number `k + 1` of a stream only after `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchSeq {
    /// +1 at each restart.
    pub(crate) stream: u64,
    /// From 0 within the stream, +1 per batch.
    pub(crate) number: u64,
}

/// Id of one batch stream of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchStreamId {
    pub(crate) node: NodeId,
    /// Id of the sending process, random at its start.
    pub(crate) incarnation: u64,
    /// Number of the stream, ascending within the process.
    pub(crate) stream: u64,
}

/// Responses to a batch, one per command in the order of the batch.
pub(crate) type CommandReplies = Vec<CommandReply>;

/// Response to one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CommandReply {
    /// Synced on a majority and applied.
    Done(AppliedReply),
    /// Refused by the precheck or the state machine. Nothing was changed.
    Refused {
        #[serde(with = "error_number")]
        code: ErrorCode,
        msg: String,
    },
}

/// Result of an applied command, as far as its sender needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AppliedReply {
    /// Command on a conversation.
    Conversation {
        /// Seq of the event; `None` if the command makes none.
        seq: Option<u64>,
        /// Message number; `None` if the event is no message.
        mn: Option<u64>,
        /// Time of the event in milliseconds since the Unix epoch.
        ts: u64,
        /// True if the command had been applied before.
        dup: bool,
    },
    /// Conversation that the key of a `create` is bound to.
    Reserved(ConversationId),
    Addition(AdditionVerdict),
    Login(LoginOutcome),
    /// Expired login rows, or rows of an erased user, were removed.
    Swept {
        /// True if more rows may have expired, or are left.
        more: bool,
    },
    /// Command without a result of its own.
    Done,
    /// The erasure of a user was begun.
    Erasing(ErasureId),
    /// Step of an erasure in a conversation.
    Erased(ErasureStep),
}

// === impl BatchStreamId ===

impl BatchStreamId {
    pub(crate) fn new(node: NodeId, incarnation: u64, tag: BatchSeq) -> BatchStreamId {
        BatchStreamId {
            node,
            incarnation,
            stream: tag.stream,
        }
    }
}

// === encoding ===

/// Returns the body of a batch.
pub(crate) fn encode(head: &BatchHeader, commands: &[Bytes]) -> Bytes {
    // The header takes at most 33 bytes, so the body is allocated once.
    let mut body = Vec::with_capacity(batch_codec::packed_len(commands) + 40);
    body.push(VERSION);
    let mut body = postcard::to_extend(head, body).expect("a vector takes any value");
    batch_codec::pack_into(&mut body, commands);
    Bytes::from(body)
}

/// Reads the body of a batch; the commands share its memory.
pub(crate) fn decode(body: &Bytes) -> Result<(BatchHeader, Vec<Bytes>), CodecError> {
    let (head, rest) = postcard::take_from_bytes::<BatchHeader>(versioned(body)?)?;
    let packed = body.slice(body.len() - rest.len()..);
    let commands = batch_codec::unpack(packed).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    Ok((head, commands))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn a_batch_is_frozen() {
        let commands = [Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let head = BatchHeader {
            shard: 5,
            incarnation: 1000,
            stream: 2,
            number: 3,
        };
        let body = encode(&head, &commands);
        assert_eq!(
            &body[..],
            [1, 5, 0xe8, 7, 2, 3, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 1, b'c']
        );
        assert_eq!(decode(&body).unwrap(), (head, commands.to_vec()));
        assert!(
            decode(&body.slice(..body.len() - 1)).is_err(),
            "a command is cut short"
        );
    }

    #[test]
    fn responses_are_frozen() {
        let done = CommandReply::Done(AppliedReply::Conversation {
            seq: Some(300),
            mn: None,
            ts: 5,
            dup: true,
        });
        let refused = CommandReply::Refused {
            code: ErrorCode::NotMember,
            msg: "no".into(),
        };
        golden(
            vec![done, refused],
            &[1, 2, 0, 0, 1, 0xac, 2, 0, 5, 1, 1, 5, 2, b'n', b'o'],
        );
        let conversation = ConversationId::parse("g").unwrap();
        let step = ErasureStep {
            done: true,
            messages: 2,
            events: 3,
            index: 300,
        };
        for (applied, bytes) in [
            (AppliedReply::Reserved(conversation), &[1, 1, b'g'][..]),
            (AppliedReply::Addition(AdditionVerdict::SharedOnly), &[2, 2][..]),
            (
                AppliedReply::Login(LoginOutcome::Limited { wait_ms: 300 }),
                &[3, 2, 0xac, 2][..],
            ),
            (AppliedReply::Swept { more: true }, &[4, 1][..]),
            (AppliedReply::Done, &[5][..]),
            (
                AppliedReply::Erasing(ErasureId([7; 16])),
                &[&[6][..], &[7; 16]].concat(),
            ),
            (AppliedReply::Erased(step), &[7, 1, 2, 3, 0xac, 2][..]),
        ] {
            golden(CommandReply::Done(applied), &[&[1, 0][..], bytes].concat());
        }
    }
}
