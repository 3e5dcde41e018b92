//! What the two ends of a new connection say about themselves, byte by byte.
//!
//! ```text
//!   Hello      "RKRY" | newest u16 | oldest u16 | lane u8 | cluster u64 | from u64 | to u64 | incarnation u64 | link u64 | nonce 32
//!   Challenge  version u16 | cluster u64 | node u64 | incarnation u64 | nonce 32 | proof 32
//!   Proof      proof 32            Welcome  (empty)            Refused  why u8 | newest u16
//! ```
//!
//! The hello up to `oldest` is common to all versions, so that any two can at least refuse each other.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Admission, Identity, Lane};
use crate::types::NodeId;

/// The newest version of what follows the handshake that this build speaks.
pub(crate) const VERSION: u16 = 1;

/// The oldest one. A rolling upgrade needs the two to overlap between neighbouring releases.
pub(crate) const OLDEST: u16 = 1;

const MAGIC: [u8; 4] = *b"RKRY";
const HELLO: usize = 4 + 2 + 2 + 1 + 8 + 8 + 8 + 8 + 8 + NONCE;
/// Length of a challenge without its proof.
pub(crate) const CHALLENGE: usize = 2 + 8 + 8 + 8 + NONCE;
pub(crate) const NONCE: usize = 32;
pub(crate) const PROOF: usize = 32;

/// What the dialler says about itself and whom it expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    /// Newest and oldest version it speaks.
    pub(crate) versions: (u16, u16),
    pub(crate) lane: Lane,
    pub(crate) me: Identity,
    /// Who should be listening; 0 for a visit.
    pub(crate) to: NodeId,
    /// Incarnation of the link that this handshake makes.
    pub(crate) link: u64,
    pub(crate) nonce: [u8; NONCE],
}

/// What the acceptor says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Challenge {
    /// The version both speak.
    pub(crate) version: u16,
    pub(crate) me: Identity,
    pub(crate) nonce: [u8; NONCE],
}

/// Why one side will not talk to the other. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
#[repr(u8)]
pub(crate) enum Refusal {
    #[error("no common protocol version: upgrade the older node")]
    Version = 1,
    #[error("the node belongs to another cluster: correct the peer address or wipe the newcomer")]
    Cluster = 2,
    #[error("the cluster secrets differ: set the same cluster.secret on every node")]
    Secret = 3,
    #[error("another node listens on that address: correct the peer address")]
    Node = 4,
    /// Passes by itself when the node has joined.
    #[error("the node belongs to no cluster yet")]
    NotMember = 5,
    #[error("that is not a rookery node's handshake")]
    Malformed = 6,
    #[error(
        "the node's disk is an older copy of itself: it has forgotten what it promised; wipe it and let it join anew"
    )]
    Older = 7,
    #[error(
        "the node was removed from the cluster: stop it, empty its data directory and let it join under a new number"
    )]
    Removed = 8,
}

// === impl Hello ===

impl Hello {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HELLO);
        bytes.put_slice(&MAGIC);
        bytes.put_u16(self.versions.0);
        bytes.put_u16(self.versions.1);
        bytes.put_u8(self.lane as u8);
        bytes.put_u64(self.me.cluster);
        bytes.put_u64(self.me.node.0);
        bytes.put_u64(self.to.0);
        bytes.put_u64(self.me.incarnation);
        bytes.put_u64(self.link);
        bytes.put_slice(&self.nonce);
        bytes.freeze()
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Hello, Refusal> {
        if bytes.len() < MAGIC.len() + 4 || bytes[..MAGIC.len()] != MAGIC {
            return Err(Refusal::Malformed);
        }
        bytes.advance(MAGIC.len());
        let versions = (bytes.get_u16(), bytes.get_u16());
        if versions.0 < OLDEST || versions.1 > VERSION {
            // What follows may be laid out differently.
            return Err(Refusal::Version);
        }
        if bytes.len() != HELLO - MAGIC.len() - 4 {
            return Err(Refusal::Malformed);
        }
        let lane = Lane::from_wire(bytes.get_u8()).ok_or(Refusal::Malformed)?;
        let (cluster, node, to) = (bytes.get_u64(), NodeId(bytes.get_u64()), NodeId(bytes.get_u64()));
        let me = Identity {
            node,
            cluster,
            incarnation: bytes.get_u64(),
        };
        let link = bytes.get_u64();
        let mut nonce = [0; NONCE];
        bytes.copy_to_slice(&mut nonce);
        Ok(Hello {
            versions,
            lane,
            me,
            to,
            link,
            nonce,
        })
    }
}

// === impl Challenge ===

impl Challenge {
    /// Without the proof, which is over these bytes.
    pub(crate) fn encode(&self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(CHALLENGE);
        bytes.put_u16(self.version);
        bytes.put_u64(self.me.cluster);
        bytes.put_u64(self.me.node.0);
        bytes.put_u64(self.me.incarnation);
        bytes.put_slice(&self.nonce);
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<(Challenge, [u8; PROOF])> {
        if bytes.len() != CHALLENGE + PROOF {
            return None;
        }
        let version = bytes.get_u16();
        let (cluster, node) = (bytes.get_u64(), NodeId(bytes.get_u64()));
        let me = Identity {
            node,
            cluster,
            incarnation: bytes.get_u64(),
        };
        let (mut nonce, mut proof) = ([0; NONCE], [0; PROOF]);
        bytes.copy_to_slice(&mut nonce);
        bytes.copy_to_slice(&mut proof);
        Some((Challenge { version, me, nonce }, proof))
    }
}

// === impl Refusal ===

impl Refusal {
    /// Whether waiting helps; otherwise somebody must change something, and is told.
    pub(crate) fn is_passing(self) -> bool {
        self == Refusal::NotMember
    }

    /// Returns the refusal that a decision stands for; `None` for an admitted peer.
    pub(crate) fn of(admission: Admission) -> Option<Refusal> {
        match admission {
            Admission::Admitted => None,
            Admission::OlderDisk => Some(Refusal::Older),
            Admission::Removed => Some(Refusal::Removed),
        }
    }

    /// Returns the decision that a refusal of this node stands for, where it is one about the node itself.
    pub(crate) fn verdict(self) -> Option<Admission> {
        match self {
            Refusal::Older => Some(Admission::OlderDisk),
            Refusal::Removed => Some(Admission::Removed),
            _ => None,
        }
    }

    pub(crate) fn from_wire(code: u8) -> Option<Refusal> {
        Some(match code {
            1 => Refusal::Version,
            2 => Refusal::Cluster,
            3 => Refusal::Secret,
            4 => Refusal::Node,
            5 => Refusal::NotMember,
            6 => Refusal::Malformed,
            7 => Refusal::Older,
            8 => Refusal::Removed,
            _ => return None,
        })
    }
}

// === impl Lane ===

impl Lane {
    fn from_wire(byte: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| *lane as u8 == byte)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::transport) const ONE: Identity = Identity {
        node: NodeId(1),
        cluster: 7,
        incarnation: 11,
    };

    /// A hello of node 1 to node 2.
    pub(in crate::transport) fn hello() -> Hello {
        let versions = (VERSION, OLDEST);
        Hello {
            versions,
            lane: Lane::Rpc,
            me: ONE,
            to: NodeId(2),
            link: 99,
            nonce: [3; NONCE],
        }
    }

    #[test]
    fn hello_layout_is_frozen() {
        let bytes = hello().encode();
        assert_eq!(bytes.len(), HELLO);
        assert_eq!(bytes[..9], *b"RKRY\0\x01\0\x01\x02");
        assert_eq!(
            bytes[9..49],
            [
                [0, 0, 0, 0, 0, 0, 0, 7],
                [0, 0, 0, 0, 0, 0, 0, 1],
                [0, 0, 0, 0, 0, 0, 0, 2],
                [0, 0, 0, 0, 0, 0, 0, 11],
                [0, 0, 0, 0, 0, 0, 0, 99]
            ]
            .concat()
        );
        assert_eq!(bytes[49..], [3; NONCE]);
    }

    proptest! {
        #[test]
        fn garbage_is_malformed_and_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Hello::decode(&garbage).is_err());
            let mut almost = MAGIC.to_vec();
            almost.extend_from_slice(&garbage);
            let _ = (Hello::decode(&almost), Challenge::decode(&garbage));
        }
    }
}
