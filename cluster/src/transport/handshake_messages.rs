//! Handshake messages and their encoding.
//!
//! ```text
//!   Hello      "RKRY" | newest u16 | oldest u16 | class u8 | cluster u64 | from u64 | to u64 | incarnation u64
//!              | level u32 | link u64 | nonce 32
//!   Challenge  version u16 | cluster u64 | node u64 | incarnation u64 | level u32 | nonce 32 | proof 32
//!   Proof      proof 32            Welcome  (empty)            Refused  reason u8 | newest u16
//! ```
//!
//! The hello up to `oldest` is common to all versions, so that any two versions can at least refuse each other.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{ConnectionClass, NodeIdentity, PeerAdmission};
use crate::ids::{FeatureLevel, NodeId};

/// Newest protocol version behind the handshake that this build supports.
pub(crate) const VERSION: u16 = 1;

/// Oldest supported version. A rolling upgrade requires that neighbouring releases overlap.
pub(crate) const OLDEST: u16 = 1;

const MAGIC: [u8; 4] = *b"RKRY";
const HELLO: usize = 4 + 2 + 2 + 1 + 8 + 8 + 8 + 8 + 4 + 8 + NONCE;
/// Length of a challenge without its proof.
pub(crate) const CHALLENGE: usize = 2 + 8 + 8 + 8 + 4 + NONCE;
pub(crate) const NONCE: usize = 32;
pub(crate) const PROOF: usize = 32;

/// First message of the dialler: its identity and the node that it expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TransportHello {
    /// Newest and oldest version that the dialler supports.
    pub(crate) versions: (u16, u16),
    pub(crate) class: ConnectionClass,
    pub(crate) me: NodeIdentity,
    /// Expected node; 0 for a one-shot call to any node.
    pub(crate) to: NodeId,
    /// Incarnation of the connection that this handshake establishes.
    pub(crate) link: u64,
    pub(crate) nonce: [u8; NONCE],
}

/// Response of the acceptor: its identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HandshakeChallenge {
    /// Version that both sides support.
    pub(crate) version: u16,
    pub(crate) me: NodeIdentity,
    pub(crate) nonce: [u8; NONCE],
}

/// Reason for which one side refuses the other. The numbers are part of the wire protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
#[repr(u8)]
pub(crate) enum HandshakeRefusal {
    #[error("no common protocol version: upgrade the older node")]
    Version = 1,
    #[error(
        "the node belongs to another cluster: correct the peer address or empty the new node's data directory"
    )]
    Cluster = 2,
    #[error("the cluster secrets differ: set the same cluster.secret on every node")]
    Secret = 3,
    #[error("another node listens on that address: correct the peer address")]
    Node = 4,
    /// Temporary: ends when the node has joined.
    #[error("the node belongs to no cluster yet")]
    NotMember = 5,
    #[error("not a handshake of a rookery node")]
    Malformed = 6,
    #[error(
        "the node's disk is an older copy and may have lost votes; empty it and start the node to join again"
    )]
    Older = 7,
    #[error(
        "the node was removed from the cluster: stop it, empty its data directory and start it to join under a new number"
    )]
    Removed = 8,
    #[error("the node's build does not support the feature level of the cluster: start a newer build")]
    Level = 9,
    #[error("the node requires TLS: set cluster.tls_dir on the dialling node")]
    TlsRequired = 10,
    #[error("the certificate of the dialling node is not for its number: issue one for that number")]
    Certificate = 11,
}

// === impl TransportHello ===

impl TransportHello {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HELLO);
        bytes.put_slice(&MAGIC);
        bytes.put_u16(self.versions.0);
        bytes.put_u16(self.versions.1);
        bytes.put_u8(self.class as u8);
        bytes.put_u64(self.me.cluster);
        bytes.put_u64(self.me.node.0);
        bytes.put_u64(self.to.0);
        bytes.put_u64(self.me.incarnation);
        bytes.put_u32(self.me.supported_level.0);
        bytes.put_u64(self.link);
        bytes.put_slice(&self.nonce);
        bytes.freeze()
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<TransportHello, HandshakeRefusal> {
        if bytes.len() < MAGIC.len() + 4 || bytes[..MAGIC.len()] != MAGIC {
            return Err(HandshakeRefusal::Malformed);
        }
        bytes.advance(MAGIC.len());
        let versions = (bytes.get_u16(), bytes.get_u16());
        if versions.0 < OLDEST || versions.1 > VERSION {
            // Other versions may have another layout from here on.
            return Err(HandshakeRefusal::Version);
        }
        if bytes.len() != HELLO - MAGIC.len() - 4 {
            return Err(HandshakeRefusal::Malformed);
        }
        let class = ConnectionClass::from_wire(bytes.get_u8()).ok_or(HandshakeRefusal::Malformed)?;
        let (cluster, node, to) = (bytes.get_u64(), NodeId(bytes.get_u64()), NodeId(bytes.get_u64()));
        let me = NodeIdentity {
            node,
            cluster,
            incarnation: bytes.get_u64(),
            supported_level: FeatureLevel(bytes.get_u32()),
        };
        let link = bytes.get_u64();
        let mut nonce = [0; NONCE];
        bytes.copy_to_slice(&mut nonce);
        Ok(TransportHello {
            versions,
            class,
            me,
            to,
            link,
            nonce,
        })
    }
}

// === impl HandshakeChallenge ===

impl HandshakeChallenge {
    /// Encodes the challenge without the proof, which is computed over these bytes.
    pub(crate) fn encode(&self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(CHALLENGE);
        bytes.put_u16(self.version);
        bytes.put_u64(self.me.cluster);
        bytes.put_u64(self.me.node.0);
        bytes.put_u64(self.me.incarnation);
        bytes.put_u32(self.me.supported_level.0);
        bytes.put_slice(&self.nonce);
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<(HandshakeChallenge, [u8; PROOF])> {
        if bytes.len() != CHALLENGE + PROOF {
            return None;
        }
        let version = bytes.get_u16();
        let (cluster, node) = (bytes.get_u64(), NodeId(bytes.get_u64()));
        let me = NodeIdentity {
            node,
            cluster,
            incarnation: bytes.get_u64(),
            supported_level: FeatureLevel(bytes.get_u32()),
        };
        let (mut nonce, mut proof) = ([0; NONCE], [0; PROOF]);
        bytes.copy_to_slice(&mut nonce);
        bytes.copy_to_slice(&mut proof);
        Some((HandshakeChallenge { version, me, nonce }, proof))
    }
}

// === impl HandshakeRefusal ===

impl HandshakeRefusal {
    /// Returns true if the reason passes by itself; any other needs an operator and is logged as a warning.
    pub(crate) fn is_passing(self) -> bool {
        self == HandshakeRefusal::NotMember
    }

    /// Returns the refusal that corresponds to a decision; `None` for an admitted peer.
    pub(crate) fn of(admission: PeerAdmission) -> Option<HandshakeRefusal> {
        match admission {
            PeerAdmission::Admitted => None,
            PeerAdmission::OlderDisk => Some(HandshakeRefusal::Older),
            PeerAdmission::Removed => Some(HandshakeRefusal::Removed),
            PeerAdmission::BelowLevel => Some(HandshakeRefusal::Level),
        }
    }

    /// Returns the decision behind a refusal of this node; `None` for other reasons.
    pub(crate) fn verdict(self) -> Option<PeerAdmission> {
        match self {
            HandshakeRefusal::Older => Some(PeerAdmission::OlderDisk),
            HandshakeRefusal::Removed => Some(PeerAdmission::Removed),
            HandshakeRefusal::Level => Some(PeerAdmission::BelowLevel),
            _ => None,
        }
    }

    pub(crate) fn from_wire(code: u8) -> Option<HandshakeRefusal> {
        Some(match code {
            1 => HandshakeRefusal::Version,
            2 => HandshakeRefusal::Cluster,
            3 => HandshakeRefusal::Secret,
            4 => HandshakeRefusal::Node,
            5 => HandshakeRefusal::NotMember,
            6 => HandshakeRefusal::Malformed,
            7 => HandshakeRefusal::Older,
            8 => HandshakeRefusal::Removed,
            9 => HandshakeRefusal::Level,
            10 => HandshakeRefusal::TlsRequired,
            11 => HandshakeRefusal::Certificate,
            _ => return None,
        })
    }
}

// === impl ConnectionClass ===

impl ConnectionClass {
    fn from_wire(byte: u8) -> Option<ConnectionClass> {
        ConnectionClass::ALL
            .into_iter()
            .find(|class| *class as u8 == byte)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::transport) const ONE: NodeIdentity = NodeIdentity {
        node: NodeId(1),
        cluster: 7,
        incarnation: 11,
        supported_level: FeatureLevel(1),
    };

    /// Returns a hello of node 1 to node 2.
    pub(in crate::transport) fn hello() -> TransportHello {
        let versions = (VERSION, OLDEST);
        TransportHello {
            versions,
            class: ConnectionClass::Rpc,
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
            bytes[9..41],
            [
                [0, 0, 0, 0, 0, 0, 0, 7],
                [0, 0, 0, 0, 0, 0, 0, 1],
                [0, 0, 0, 0, 0, 0, 0, 2],
                [0, 0, 0, 0, 0, 0, 0, 11]
            ]
            .concat()
        );
        assert_eq!(bytes[41..53], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99]);
        assert_eq!(bytes[53..], [3; NONCE]);
    }

    proptest! {
        #[test]
        fn garbage_is_malformed_and_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(TransportHello::decode(&garbage).is_err());
            let mut almost = MAGIC.to_vec();
            almost.extend_from_slice(&garbage);
            let _ = (TransportHello::decode(&almost), HandshakeChallenge::decode(&garbage));
        }
    }
}
