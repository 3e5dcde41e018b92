//! [`SUBMIT`](super::SUBMIT): a batch of one lane to the owner of its shard.
//!
//! The commands follow the head as they are, one behind the other, so that neither side copies them: what the session
//! encoded is what the log holds.

use bytes::Bytes;
use protocol::ConvId;
use serde::{Deserialize, Serialize};

use super::{Error, VERSION, versioned};

/// What precedes the commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The shard.
    pub(crate) shard: u16,
    /// The sending process, random at its start.
    pub(crate) incarnation: u64,
    /// The lane's stream.
    pub(crate) stream: u64,
    /// The batch's number in the stream.
    pub(crate) number: u64,
    /// Length of each command.
    pub(crate) lens: Vec<u32>,
}

/// The answers, one per command.
pub(crate) type Answers = Vec<Answer>;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// On a majority's disks and applied.
    Done {
        /// The event's place, 0 if the command makes no event.
        seq: u64,
        /// The message's ordinal, 0 if it is no message.
        mn: u64,
        /// The event's time.
        ts: u64,
        /// It had been done before.
        dup: bool,
        /// The conversation that a `create` makes, if that was asked.
        reserved: Option<ConvId>,
    },
    /// Refused by the rules: final.
    Refused {
        /// Index in [`protocol::ErrorCode::ALL`].
        code: u8,
        /// The reason, for people.
        msg: String,
    },
}

// === encoding ===

/// Returns the body of a batch.
pub(crate) fn encode(head: &Head, commands: &[Bytes]) -> Bytes {
    let size: usize = commands.iter().map(Bytes::len).sum();
    let mut body = Vec::with_capacity(size + head.lens.len() * 3 + 32);
    body.push(VERSION);
    let mut body = postcard::to_extend(head, body).expect("a vector takes any value");
    for command in commands {
        body.extend_from_slice(command);
    }
    Bytes::from(body)
}

/// Reads the body of a batch; the commands share its memory.
pub(crate) fn decode(body: &Bytes) -> Result<(Head, Vec<Bytes>), Error> {
    let (head, rest) = postcard::take_from_bytes::<Head>(versioned(body)?)?;
    let mut at = body.len() - rest.len();
    let mut commands = Vec::with_capacity(head.lens.len());
    for len in &head.lens {
        let end = at.checked_add(*len as usize).filter(|end| *end <= body.len());
        let end = end.ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        commands.push(body.slice(at..end));
        at = end;
    }
    Ok((head, commands))
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn a_batch_is_frozen() {
        let commands = [Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let head = Head {
            shard: 5,
            incarnation: 1000,
            stream: 2,
            number: 3,
            lens: vec![2, 1],
        };
        let body = encode(&head, &commands);
        assert_eq!(&body[..], [1, 5, 0xe8, 7, 2, 3, 2, 2, 1, b'a', b'b', b'c']);
        assert_eq!(decode(&body).unwrap(), (head, commands.to_vec()));
        assert!(
            decode(&body.slice(..body.len() - 1)).is_err(),
            "a command is cut short"
        );
    }

    #[test]
    fn answers_are_frozen() {
        let reserved = Some(ConvId::parse("g").unwrap());
        let done = Answer::Done {
            seq: 300,
            mn: 4,
            ts: 5,
            dup: true,
            reserved,
        };
        let refused = Answer::Refused {
            code: 4,
            msg: "no".into(),
        };
        golden(
            vec![done, refused],
            &[1, 2, 0, 0xac, 2, 4, 5, 1, 1, 1, b'g', 1, 4, 2, b'n', b'o'],
        );
    }
}
