//! [`DELIVER`](super::DELIVER) and [`POSITIONS`](super::POSITIONS): deliveries and heartbeats from a shard owner to the
//! registered nodes.
//!
//! A frame is the version byte and records, each a [`DeliveryTarget`] and a [`DeliveryPayload`] without a separator.
//! The payload is encoded once and copied behind the target of each node.

use protocol::response::LastEvent;
use serde::{Deserialize, Serialize};

use super::{CodecError, VERSION, versioned};

/// Registration that a record is for, with the delivery seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveryTarget {
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
    pub(crate) registration: u64,
    /// Delivery seq: +1 per record of the registration.
    pub(crate) fo: u64,
}

/// Payload of a record, borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeliveryPayload<'a> {
    /// An event of a conversation.
    Event {
        conv: &'a str,
        /// Seq of the event; 0 if it is in no log.
        seq: u64,
        /// Session that gets no copy; 0 for none.
        skip: u64,
        /// User whose membership the event ends.
        removes: Option<&'a str>,
        /// User whose membership the event begins.
        adds: Option<&'a str>,
        /// Only user who gets the event; `None` for all members.
        only: Option<&'a str>,
        /// JSON of the event behind its session seq.
        #[serde(with = "raw")]
        tail: &'a [u8],
    },
    /// New membership of a user in a conversation.
    Joined { user: &'a str, conv: &'a str },
    /// New message in a conversation of a user.
    Active {
        user: &'a str,
        conv: &'a str,
        last: LastEvent,
    },
}

/// Last delivery seq of each registration: the body of an idle heartbeat.
pub(crate) type Positions = Vec<DeliveryTarget>;

// === encoding ===

/// Appends the half of a record that is the same for every node.
pub(crate) fn encode_what(what: &DeliveryPayload<'_>, out: &mut Vec<u8>) {
    append(what, out);
}

/// Appends a record, starting the frame if it is the first.
pub(crate) fn push(frame: &mut Vec<u8>, to: &DeliveryTarget, what: &[u8]) {
    if frame.is_empty() {
        frame.push(VERSION);
    }
    append(to, frame);
    frame.extend_from_slice(what);
}

/// Decodes a frame record by record. A damaged one is an error, after the callbacks for the records before it.
pub(crate) fn decode<'a>(
    frame: &'a [u8],
    mut each: impl FnMut(DeliveryTarget, DeliveryPayload<'a>),
) -> Result<(), CodecError> {
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
    // `to_extend` consumes the vector; passing it through keeps the allocation.
    let taken = std::mem::take(out);
    *out = postcard::to_extend(value, taken).expect("a vector takes any value");
}

/// Encodes a slice as postcard bytes instead of a sequence of numbers.
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
    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn a_frame_is_frozen() {
        let to = DeliveryTarget {
            shard: 3,
            epoch: 300,
            registration: 9,
            fo: 1,
        };
        let event = DeliveryPayload::Event {
            conv: "g",
            seq: 7,
            skip: 0,
            removes: None,
            adds: Some("u"),
            only: None,
            tail: b"{}",
        };
        let joined = DeliveryPayload::Joined { user: "u", conv: "g" };
        let mut frame = Vec::new();
        let active = DeliveryPayload::Active {
            user: "u",
            conv: "g",
            last: LastEvent {
                seq: 7,
                message_number: 6,
                timestamp_ms: 5,
            },
        };
        for (fo, what) in [(1, event), (2, joined), (3, active)] {
            let mut half = Vec::new();
            encode_what(&what, &mut half);
            push(&mut frame, &DeliveryTarget { fo, ..to }, &half);
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
            vec![DeliveryTarget {
                shard: 3,
                epoch: 4,
                registration: 5,
                fo: 6,
            }],
            &[1, 1, 3, 4, 5, 6],
        );
    }
}
