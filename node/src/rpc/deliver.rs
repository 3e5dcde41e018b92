//! [`DELIVER`](super::DELIVER) and [`POSITIONS`](super::POSITIONS): what the owner pushes to the nodes that registered.
//!
//! A frame is the version byte and records, each a [`To`] and a [`What`] without anything between. The event half is
//! encoded once and copied behind the `To` of each node.

use protocol::answer::Last;
use serde::{Deserialize, Serialize};

use super::{Error, VERSION, versioned};

/// To whom, and under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct To {
    /// The shard.
    pub(crate) shard: u16,
    /// The owner's epoch.
    pub(crate) epoch: u64,
    /// The node's registration.
    pub(crate) registration: u64,
    /// +1 per record of the registration.
    pub(crate) fo: u64,
}

/// What is delivered; borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What<'a> {
    /// An event of a conversation.
    Event {
        /// The conversation.
        conv: &'a str,
        /// The event's place.
        seq: u64,
        /// The session that doesn't want it, 0 for none.
        skip: u64,
        /// The user whom it removes.
        removes: Option<&'a str>,
        /// The user whom it adds.
        adds: Option<&'a str>,
        /// The only user whom it concerns.
        only: Option<&'a str>,
        /// The event's JSON behind its number.
        #[serde(with = "raw")]
        tail: &'a [u8],
    },
    /// A user became a member of a conversation.
    Joined {
        /// The user.
        user: &'a str,
        /// The conversation.
        conv: &'a str,
    },
    /// Something was sent in a conversation of a user.
    Active {
        /// The user.
        user: &'a str,
        /// The conversation.
        conv: &'a str,
        /// The last message.
        last: Last,
    },
}

/// The last number of each registration: the body of an idle lane's announcement.
pub(crate) type Positions = Vec<To>;

// === encoding ===

/// Returns the half of a record that is the same for every node.
pub(crate) fn encode_what(what: &What<'_>, out: &mut Vec<u8>) {
    append(what, out);
}

/// Appends a record, starting the frame if it is the first.
pub(crate) fn push(frame: &mut Vec<u8>, to: &To, what: &[u8]) {
    if frame.is_empty() {
        frame.push(VERSION);
    }
    append(to, frame);
    frame.extend_from_slice(what);
}

/// Reads a frame, record by record.
pub(crate) fn decode<'a>(frame: &'a [u8], mut each: impl FnMut(To, What<'a>)) -> Result<(), Error> {
    let mut rest = versioned(frame)?;
    while !rest.is_empty() {
        let (to, behind) = postcard::take_from_bytes(rest)?;
        let (what, behind) = postcard::take_from_bytes(behind)?;
        each(to, what);
        rest = behind;
    }
    Ok(())
}

fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let taken = std::mem::take(out);
    *out = postcard::to_extend(value, taken).expect("a vector takes any value");
}

/// A slice as postcard's bytes, not as a sequence of numbers.
mod raw {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'a [u8], D::Error> {
        <&[u8]>::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn a_frame_is_frozen() {
        let to = To {
            shard: 3,
            epoch: 300,
            registration: 9,
            fo: 1,
        };
        let event = What::Event {
            conv: "g",
            seq: 7,
            skip: 0,
            removes: None,
            adds: Some("u"),
            only: None,
            tail: b"{}",
        };
        let joined = What::Joined { user: "u", conv: "g" };
        let mut frame = Vec::new();
        let active = What::Active {
            user: "u",
            conv: "g",
            last: Last { s: 7, mn: 6, ts: 5 },
        };
        for (fo, what) in [(1, event), (2, joined), (3, active)] {
            let mut half = Vec::new();
            encode_what(&what, &mut half);
            push(&mut frame, &To { fo, ..to }, &half);
        }
        let bytes = [
            &[1][..],
            &[
                3, 0xac, 2, 9, 1, 0, 1, b'g', 7, 0, 0, 1, 1, b'u', 0, 2, b'{', b'}',
            ],
            &[3, 0xac, 2, 9, 2, 1, 1, b'u', 1, b'g'],
            &[3, 0xac, 2, 9, 3, 2, 1, b'u', 1, b'g', 7, 6, 5],
        ]
        .concat();
        assert_eq!(frame, bytes);
        let mut read = Vec::new();
        decode(&frame, |to, what| read.push((to.fo, what))).unwrap();
        assert_eq!(read, [(1, event), (2, joined), (3, active)]);
        assert!(decode(&frame[..frame.len() - 1], |_, _| ()).is_err());
    }

    #[test]
    fn positions_are_frozen() {
        golden(
            vec![To {
                shard: 3,
                epoch: 4,
                registration: 5,
                fo: 6,
            }],
            &[1, 1, 3, 4, 5, 6],
        );
    }
}
