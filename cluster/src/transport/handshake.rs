//! Handshake: mutual authentication of two nodes before the first request.
//!
//! ```text
//!   dialler                                                       acceptor
//!   Hello{versions, class, cluster, from, to, incarnation, link, nonce} ──▶
//!                 ◀── Challenge{version, cluster, node, incarnation, nonce, proof}
//!   Proof ──▶
//!                 ◀── Welcome   (or, at any point, Refused{reason})
//! ```
//!
//! A proof is HMAC-SHA256 under the cluster's secret over the prover's role, the whole hello and the whole challenge.
//! It includes both nonces, so a recording of an earlier handshake does not verify, and the role, so a proof cannot be
//! reflected. Only the handshake is authenticated: an attacker who can change packets afterwards can change frames.
//!
//! Either side refuses a peer whose disk is an older copy of itself, and one that was removed from the cluster. A node
//! acts on such a refusal only if the refusing side has proven the secret.
//!
//! A hello with `to` = 0 announces a one-shot call by a caller that has only an address, usually a join request. Only
//! such a call may come from, or go to, a node of no cluster.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::io::AsyncWriteExt;

use super::connection::{CloseCause, FrameReader, WriteHalf};
use super::frame::{FrameBatch, FrameError, FrameKind, TransportFrame};
use super::handshake_messages::{
    CHALLENGE, HandshakeChallenge, HandshakeRefusal, NONCE, OLDEST, PROOF, TransportHello, VERSION,
};
use super::{ClusterSecret, NodeIdentity, PeerAdmission};
use crate::ids::NodeId;

/// Largest body of a handshake frame; the limit until the peer is authenticated.
pub(crate) const MAX_BODY: usize = 256;

/// Reason for which a handshake fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("{0}")]
    Refused(#[from] HandshakeRefusal),
    /// The other side has proven the secret and does not admit this node.
    #[error("the peer does not admit this node: {0:?}")]
    NotAdmitted(PeerAdmission),
    #[error("{0}")]
    Ended(#[from] CloseCause),
}

#[derive(Clone, Copy)]
enum HandshakeRole {
    Acceptor,
    Dialler,
}

/// Performs the dialler's side: verifies that the acceptor is the node named by `hello`, of the same cluster.
pub(crate) async fn dial(
    reader: &mut FrameReader,
    writer: &mut WriteHalf,
    hello: &TransportHello,
    secret: &ClusterSecret,
    admission: &(dyn Fn(NodeIdentity) -> PeerAdmission + Sync),
) -> Result<(), HandshakeError> {
    let hello_bytes = hello.encode();
    say(writer, FrameKind::Hello, hello_bytes.clone()).await?;
    let body = read_message(reader, FrameKind::Challenge).await?;
    let (challenge, proof) = HandshakeChallenge::decode(&body).ok_or(HandshakeRefusal::Malformed)?;
    if !(OLDEST..=VERSION).contains(&challenge.version) {
        return Err(HandshakeRefusal::Version.into());
    }
    let transcript = [&hello_bytes[..], &body[..CHALLENGE]];
    if !verify(secret, HandshakeRole::Acceptor, transcript, &proof) {
        return Err(HandshakeRefusal::Secret.into());
    }
    // Checked after the acceptor's proof, so that only a real member can make this node refuse for these reasons.
    if hello.to != NodeId(0) {
        same_cluster(hello.me.cluster, challenge.me.cluster)?;
        if challenge.me.node != hello.to {
            return Err(HandshakeRefusal::Node.into());
        }
        if let Some(refusal) = HandshakeRefusal::of(admission(challenge.me)) {
            return Err(refusal.into());
        }
    }
    say(
        writer,
        FrameKind::Proof,
        Bytes::copy_from_slice(&prove(secret, HandshakeRole::Dialler, transcript)),
    )
    .await?;
    match read_message(reader, FrameKind::Welcome).await {
        // A refusal counts as a verdict about this node only here, where the acceptor has proven the secret.
        Err(HandshakeError::Refused(refusal)) => Err(refusal
            .verdict()
            .map_or(HandshakeError::Refused(refusal), HandshakeError::NotAdmitted)),
        result => result.map(drop),
    }
}

/// Performs the acceptor's side up to the welcome: verifies the dialler, and sends it the reason of a refusal.
pub(crate) async fn accept(
    reader: &mut FrameReader,
    writer: &mut WriteHalf,
    me: NodeIdentity,
    nonce: [u8; NONCE],
    secret: &ClusterSecret,
    admission: &(dyn Fn(NodeIdentity) -> PeerAdmission + Sync),
) -> Result<TransportHello, HandshakeError> {
    let mut result = examine(reader, writer, me, nonce, secret).await;
    if let Ok(hello) = &result
        // A one-shot call has no peer id to decide about.
        && hello.to != NodeId(0)
        && let Some(refusal) = HandshakeRefusal::of(admission(hello.me))
    {
        result = Err(refusal.into());
    }
    if let Err(HandshakeError::Refused(refusal)) = &result {
        let mut body = BytesMut::with_capacity(3);
        body.put_u8(*refusal as u8);
        body.put_u16(VERSION);
        // Best effort: the dialler may have closed the connection already.
        drop(say(writer, FrameKind::Refused, body.freeze()).await);
        drop(writer.shutdown().await);
    }
    result
}

/// Completes the acceptor's side: the dialler's next frames are requests.
pub(crate) async fn welcome(writer: &mut WriteHalf) -> Result<(), CloseCause> {
    say(writer, FrameKind::Welcome, Bytes::new()).await
}

async fn examine(
    reader: &mut FrameReader,
    writer: &mut WriteHalf,
    me: NodeIdentity,
    nonce: [u8; NONCE],
    secret: &ClusterSecret,
) -> Result<TransportHello, HandshakeError> {
    let hello_bytes = read_message(reader, FrameKind::Hello).await?;
    let hello = TransportHello::decode(&hello_bytes)?;
    let version = VERSION.min(hello.versions.0);
    if version < OLDEST.max(hello.versions.1) {
        return Err(HandshakeRefusal::Version.into());
    }
    if hello.to != NodeId(0) {
        same_cluster(me.cluster, hello.me.cluster)?;
        if hello.to != me.node || hello.me.node == me.node {
            return Err(HandshakeRefusal::Node.into());
        }
    } else if hello.me.cluster != 0 && me.cluster != 0 {
        same_cluster(me.cluster, hello.me.cluster)?;
    }
    // The acceptor proves the secret first, so a dialler never sends its proof to a node outside of the cluster.
    let challenge = HandshakeChallenge { version, me, nonce }.encode();
    let transcript = [&hello_bytes[..], &challenge[..]];
    let mut body = challenge.clone();
    body.put_slice(&prove(secret, HandshakeRole::Acceptor, transcript));
    say(writer, FrameKind::Challenge, body.freeze()).await?;
    let proof = read_message(reader, FrameKind::Proof).await?;
    if !verify(secret, HandshakeRole::Dialler, transcript, &proof) {
        return Err(HandshakeRefusal::Secret.into());
    }
    Ok(hello)
}

fn same_cluster(mine: u64, theirs: u64) -> Result<(), HandshakeRefusal> {
    match (mine, theirs) {
        (0, _) | (_, 0) => Err(HandshakeRefusal::NotMember),
        (mine, theirs) if mine == theirs => Ok(()),
        _ => Err(HandshakeRefusal::Cluster),
    }
}

async fn say(writer: &mut WriteHalf, kind: FrameKind, body: Bytes) -> Result<(), CloseCause> {
    let mut batch = FrameBatch::default();
    batch.push(TransportFrame {
        kind,
        id: 0,
        method: 0,
        body,
    });
    for chunk in batch.finish() {
        writer.write_all(&chunk).await?;
    }
    Ok(())
}

async fn read_message(reader: &mut FrameReader, kind: FrameKind) -> Result<Bytes, HandshakeError> {
    let frame = match reader.next().await {
        Ok(frame) => frame,
        // The peer uses another protocol or a newer version.
        Err(CloseCause::Corrupt(
            FrameError::TooLong { .. } | FrameError::TooShort(_) | FrameError::Kind(_),
        )) => {
            return Err(HandshakeRefusal::Malformed.into());
        }
        Err(ended) => return Err(ended.into()),
    };
    if frame.kind == kind {
        return Ok(frame.body);
    }
    let refusal = (frame.kind == FrameKind::Refused)
        .then(|| frame.body.first().copied())
        .flatten();
    Err(refusal
        .and_then(HandshakeRefusal::from_wire)
        .unwrap_or(HandshakeRefusal::Malformed)
        .into())
}

fn prove(secret: &ClusterSecret, role: HandshakeRole, transcript: [&[u8]; 2]) -> [u8; PROOF] {
    mac(secret, role, transcript).finalize().into_bytes().into()
}

fn verify(secret: &ClusterSecret, role: HandshakeRole, transcript: [&[u8]; 2], proof: &[u8]) -> bool {
    // Compared in constant time: the timing must not reveal how much of a forged proof is right.
    mac(secret, role, transcript).verify_slice(proof).is_ok()
}

fn mac(secret: &ClusterSecret, role: HandshakeRole, transcript: [&[u8]; 2]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length");
    mac.update(match role {
        HandshakeRole::Acceptor => b"rookery transport 1 acceptor",
        HandshakeRole::Dialler => b"rookery transport 1 dialler ",
    });
    // Both parts have a fixed length, so no byte can move from one to the other under the same proof.
    transcript.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::handshake_messages::tests::{ONE, hello};

    const TWO: NodeIdentity = NodeIdentity {
        node: NodeId(2),
        cluster: 7,
        incarnation: 22,
        supported_level: crate::ids::FeatureLevel(1),
    };

    fn halves(socket: tokio::io::DuplexStream) -> (FrameReader, WriteHalf) {
        let (reader, writer) = tokio::io::split(socket);
        (FrameReader::new(Box::new(reader), MAX_BODY), Box::new(writer))
    }

    /// Performs a handshake with `hello` at a node that is `acceptor`, and returns both sides' results.
    async fn shake(
        hello: TransportHello,
        acceptor: NodeIdentity,
        secrets: (&str, &str),
    ) -> (Result<(), HandshakeError>, Result<TransportHello, HandshakeError>) {
        shake_if(hello, acceptor, secrets, (true, true)).await
    }

    /// As [`shake`], with the decision of each side about the other: `true` admits it.
    async fn shake_if(
        hello: TransportHello,
        acceptor: NodeIdentity,
        secrets: (&str, &str),
        admits: (bool, bool),
    ) -> (Result<(), HandshakeError>, Result<TransportHello, HandshakeError>) {
        let verdict = |admits| {
            if admits {
                PeerAdmission::Admitted
            } else {
                PeerAdmission::OlderDisk
            }
        };
        let admits = (move |_| verdict(admits.0), move |_| verdict(admits.1));
        let (left, right) = tokio::io::duplex(4096);
        let ((mut dr, mut dw), (mut ar, mut aw)) = (halves(left), halves(right));
        let secrets = (ClusterSecret::from(secrets.0), ClusterSecret::from(secrets.1));
        let dialling = async {
            let result = dial(&mut dr, &mut dw, &hello, &secrets.0, &admits.0).await;
            drop(dw.shutdown().await);
            result
        };
        let accepting = async {
            let hello = accept(&mut ar, &mut aw, acceptor, [4; NONCE], &secrets.1, &admits.1).await?;
            welcome(&mut aw).await?;
            Ok(hello)
        };
        tokio::join!(dialling, accepting)
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, HandshakeError>) -> HandshakeRefusal {
        match result {
            Err(HandshakeError::Refused(refusal)) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn nodes_of_one_cluster_with_one_secret_shake_hands() {
        let (dialled, accepted) = shake(hello(), TWO, ("s", "s")).await;
        dialled.unwrap();
        assert_eq!(accepted.unwrap(), hello());
    }

    #[tokio::test]
    async fn wrong_secret_is_noticed_by_the_dialler_first() {
        let (dialled, accepted) = shake(hello(), TWO, ("s", "t")).await;
        assert_eq!(refusal(dialled), HandshakeRefusal::Secret);
        assert!(matches!(accepted, Err(HandshakeError::Ended(_))));
    }

    #[tokio::test]
    async fn dialler_without_the_secret_is_refused_by_the_acceptor() {
        let (left, right) = tokio::io::duplex(4096);
        let ((mut dr, mut dw), (mut ar, mut aw)) = (halves(left), halves(right));
        let rogue = async {
            say(&mut dw, FrameKind::Hello, hello().encode()).await.unwrap();
            read_message(&mut dr, FrameKind::Challenge).await.unwrap();
            say(&mut dw, FrameKind::Proof, Bytes::from_static(&[0; PROOF]))
                .await
                .unwrap();
            read_message(&mut dr, FrameKind::Welcome).await
        };
        let secret = ClusterSecret::from("s");
        let (answer, accepted) = tokio::join!(
            rogue,
            accept(&mut ar, &mut aw, TWO, [4; NONCE], &secret, &|_| {
                PeerAdmission::Admitted
            })
        );
        assert_eq!(refusal(answer), HandshakeRefusal::Secret);
        assert_eq!(refusal(accepted), HandshakeRefusal::Secret);
    }

    #[tokio::test]
    async fn peer_of_another_cluster_is_refused() {
        let (dialled, accepted) = shake(hello(), NodeIdentity { cluster: 8, ..TWO }, ("s", "s")).await;
        assert_eq!(
            (refusal(dialled), refusal(accepted)),
            (HandshakeRefusal::Cluster, HandshakeRefusal::Cluster)
        );
    }

    #[tokio::test]
    async fn another_node_on_the_address_is_refused() {
        let (dialled, _) = shake(
            hello(),
            NodeIdentity {
                node: NodeId(3),
                ..TWO
            },
            ("s", "s"),
        )
        .await;
        assert_eq!(refusal(dialled), HandshakeRefusal::Node);
    }

    #[tokio::test]
    async fn link_to_or_from_a_node_of_no_cluster_is_refused_for_now() {
        let (dialled, _) = shake(hello(), NodeIdentity { cluster: 0, ..TWO }, ("s", "s")).await;
        assert!(refusal(dialled).is_passing());
        let (dialled, _) = shake(
            TransportHello {
                me: NodeIdentity { cluster: 0, ..ONE },
                ..hello()
            },
            TWO,
            ("s", "s"),
        )
        .await;
        assert!(refusal(dialled).is_passing());
    }

    #[tokio::test]
    async fn one_shot_call_needs_no_cluster_but_not_a_foreign_one() {
        let one_shot = TransportHello {
            me: NodeIdentity { cluster: 0, ..ONE },
            to: NodeId(0),
            ..hello()
        };
        shake(one_shot.clone(), TWO, ("s", "s")).await.0.unwrap();
        let foreign = TransportHello {
            me: NodeIdentity { cluster: 8, ..ONE },
            ..one_shot
        };
        assert_eq!(
            refusal(shake(foreign, TWO, ("s", "s")).await.0),
            HandshakeRefusal::Cluster
        );
    }

    #[tokio::test]
    async fn an_older_disk_of_either_side_ends_the_handshake() {
        let (dialled, accepted) = shake_if(hello(), TWO, ("s", "s"), (true, false)).await;
        assert!(
            matches!(
                dialled,
                Err(HandshakeError::NotAdmitted(PeerAdmission::OlderDisk))
            ),
            "{dialled:?}"
        );
        assert_eq!(refusal(accepted), HandshakeRefusal::Older);
        let (dialled, accepted) = shake_if(hello(), TWO, ("s", "s"), (false, true)).await;
        assert_eq!(refusal(dialled), HandshakeRefusal::Older);
        assert!(matches!(accepted, Err(HandshakeError::Ended(_))), "{accepted:?}");
    }

    #[tokio::test]
    async fn a_node_below_the_level_learns_of_its_refusal() {
        let (left, right) = tokio::io::duplex(4096);
        let ((mut dr, mut dw), (mut ar, mut aw)) = (halves(left), halves(right));
        let (secret, hello) = (ClusterSecret::from("s"), hello());
        // The level of the dialler reaches the acceptor.
        let admission = |peer: NodeIdentity| {
            if peer.supported_level < crate::ids::FeatureLevel(2) {
                PeerAdmission::BelowLevel
            } else {
                PeerAdmission::Admitted
            }
        };
        let dialling = dial(&mut dr, &mut dw, &hello, &secret, &|_| PeerAdmission::Admitted);
        let accepting = accept(&mut ar, &mut aw, TWO, [4; NONCE], &secret, &admission);
        let (dialled, accepted) = tokio::join!(dialling, accepting);
        assert!(
            matches!(
                dialled,
                Err(HandshakeError::NotAdmitted(PeerAdmission::BelowLevel))
            ),
            "{dialled:?}"
        );
        assert_eq!(refusal(accepted), HandshakeRefusal::Level);
    }

    #[tokio::test]
    async fn older_disk_is_not_reported_before_the_secret_is_proven() {
        let (left, right) = tokio::io::duplex(4096);
        let ((mut dr, mut dw), (mut ar, mut aw)) = (halves(left), halves(right));
        let rogue = async {
            read_message(&mut ar, FrameKind::Hello).await.unwrap();
            let body = Bytes::copy_from_slice(&[HandshakeRefusal::Older as u8, 0, 1]);
            say(&mut aw, FrameKind::Refused, body).await.unwrap();
        };
        let (secret, hello) = (ClusterSecret::from("s"), hello());
        let dialling = dial(&mut dr, &mut dw, &hello, &secret, &|_| PeerAdmission::Admitted);
        let (dialled, ()) = tokio::join!(dialling, rogue);
        assert_eq!(refusal(dialled), HandshakeRefusal::Older);
    }

    #[tokio::test]
    async fn handshake_requires_overlapping_protocol_versions() {
        let newer = TransportHello {
            versions: (VERSION + 2, VERSION + 1),
            ..hello()
        };
        assert_eq!(
            refusal(shake(newer, TWO, ("s", "s")).await.0),
            HandshakeRefusal::Version
        );
        let overlapping = TransportHello {
            versions: (VERSION + 2, VERSION),
            ..hello()
        };
        shake(overlapping, TWO, ("s", "s")).await.0.unwrap();
    }

    #[test]
    fn proofs_differ_by_role_secret_and_transcript_and_are_frozen() {
        let proof =
            |secret: &str, role, part: &[u8]| prove(&ClusterSecret::from(secret), role, [part, b"challenge"]);
        let one = proof("s", HandshakeRole::Acceptor, b"hello");
        assert_ne!(one, proof("s", HandshakeRole::Dialler, b"hello"));
        assert_ne!(one, proof("t", HandshakeRole::Acceptor, b"hello"));
        assert_ne!(one, proof("s", HandshakeRole::Acceptor, b"hallo"));
        assert_eq!(one[..4], [8, 198, 223, 137]);
    }
}
