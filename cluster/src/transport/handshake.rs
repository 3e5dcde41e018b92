//! How two nodes make sure of each other before the first request.
//!
//! ```text
//!   dialler                                                       acceptor
//!   Hello{versions, lane, cluster, from, to, incarnation, link, nonce} ──▶
//!                 ◀── Challenge{version, cluster, node, incarnation, nonce, proof}
//!   Proof ──▶
//!                 ◀── Welcome   (or, at any point, Refused{why})
//! ```
//!
//! A proof is HMAC-SHA256 under the cluster's secret over the prover's role, the whole hello and the whole challenge.
//! Both nonces are in it, so no recording of an earlier handshake fits; the role is in it, so none can be sent back.
//! Only the handshake is authenticated: whoever can change packets on the way afterwards can change frames.
//!
//! Either side refuses a peer whose disk is an older copy of itself, and one that was removed from the cluster. A node
//! acts on such a refusal only when the refusing side has proven the secret.
//!
//! A hello with `to` = 0 is a visit: one call from somebody who does not know who listens, usually to ask to join. Only
//! a visit may come from, or go to, a node of no cluster.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::io::AsyncWriteExt;

use super::frame::{Batch, Frame, FrameError, Kind};
use super::hello::{CHALLENGE, Challenge, Hello, NONCE, OLDEST, PROOF, Refusal, VERSION};
use super::wire::{Ended, FrameReader, WriteHalf};
use super::{Admission, Identity, Secret};
use crate::types::NodeId;

/// Largest body of a handshake frame, the cap while the peer is unknown.
pub(crate) const MAX_BODY: usize = 256;

/// How a handshake fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The other side has proven the secret, and does not admit this node.
    #[error("the peer does not admit this node: {0:?}")]
    NotAdmitted(Admission),
    #[error("{0}")]
    Ended(#[from] Ended),
}

#[derive(Clone, Copy)]
enum Role {
    Acceptor,
    Dialler,
}

/// The dialler's half: makes sure that the acceptor is the node that `hello` names, of the same cluster.
pub(crate) async fn dial(
    reader: &mut FrameReader,
    writer: &mut WriteHalf,
    hello: &Hello,
    secret: &Secret,
    admission: &(dyn Fn(Identity) -> Admission + Sync),
) -> Result<(), Failed> {
    let hello_bytes = hello.encode();
    say(writer, Kind::Hello, hello_bytes.clone()).await?;
    let body = hear(reader, Kind::Challenge).await?;
    let (challenge, proof) = Challenge::decode(&body).ok_or(Refusal::Malformed)?;
    if !(OLDEST..=VERSION).contains(&challenge.version) {
        return Err(Refusal::Version.into());
    }
    let transcript = [&hello_bytes[..], &body[..CHALLENGE]];
    if !verify(secret, Role::Acceptor, transcript, &proof) {
        return Err(Refusal::Secret.into());
    }
    if hello.to != NodeId(0) {
        same_cluster(hello.me.cluster, challenge.me.cluster)?;
        if challenge.me.node != hello.to {
            return Err(Refusal::Node.into());
        }
        if let Some(refusal) = Refusal::of(admission(challenge.me)) {
            return Err(refusal.into());
        }
    }
    say(
        writer,
        Kind::Proof,
        Bytes::copy_from_slice(&prove(secret, Role::Dialler, transcript)),
    )
    .await?;
    match hear(reader, Kind::Welcome).await {
        // Only here has the acceptor proven the secret.
        Err(Failed::Refused(refusal)) => Err(refusal
            .verdict()
            .map_or(Failed::Refused(refusal), Failed::NotAdmitted)),
        heard => heard.map(drop),
    }
}

/// The acceptor's half up to the welcome: makes sure that the dialler belongs here, and tells it why when it does not.
pub(crate) async fn accept(
    reader: &mut FrameReader,
    writer: &mut WriteHalf,
    me: Identity,
    nonce: [u8; NONCE],
    secret: &Secret,
    admission: &(dyn Fn(Identity) -> Admission + Sync),
) -> Result<Hello, Failed> {
    let mut result = examine(reader, writer, me, nonce, secret).await;
    if let Ok(hello) = &result
        && hello.to != NodeId(0)
        && let Some(refusal) = Refusal::of(admission(hello.me))
    {
        result = Err(refusal.into());
    }
    if let Err(Failed::Refused(refusal)) = &result {
        let mut body = BytesMut::with_capacity(3);
        body.put_u8(*refusal as u8);
        body.put_u16(VERSION);
        // It is being turned away: whether it hears why is its business.
        drop(say(writer, Kind::Refused, body.freeze()).await);
        drop(writer.shutdown().await);
    }
    result
}

/// Ends the acceptor's half: from here on the dialler's frames are requests.
pub(crate) async fn welcome(writer: &mut WriteHalf) -> Result<(), Ended> {
    say(writer, Kind::Welcome, Bytes::new()).await
}

async fn examine(
    reader: &mut FrameReader,
    writer: &mut WriteHalf,
    me: Identity,
    nonce: [u8; NONCE],
    secret: &Secret,
) -> Result<Hello, Failed> {
    let hello_bytes = hear(reader, Kind::Hello).await?;
    let hello = Hello::decode(&hello_bytes)?;
    let version = VERSION.min(hello.versions.0);
    if version < OLDEST.max(hello.versions.1) {
        return Err(Refusal::Version.into());
    }
    if hello.to != NodeId(0) {
        same_cluster(me.cluster, hello.me.cluster)?;
        if hello.to != me.node || hello.me.node == me.node {
            return Err(Refusal::Node.into());
        }
    } else if hello.me.cluster != 0 && me.cluster != 0 {
        same_cluster(me.cluster, hello.me.cluster)?;
    }
    let challenge = Challenge { version, me, nonce }.encode();
    let transcript = [&hello_bytes[..], &challenge[..]];
    let mut body = challenge.clone();
    body.put_slice(&prove(secret, Role::Acceptor, transcript));
    say(writer, Kind::Challenge, body.freeze()).await?;
    let proof = hear(reader, Kind::Proof).await?;
    if !verify(secret, Role::Dialler, transcript, &proof) {
        return Err(Refusal::Secret.into());
    }
    Ok(hello)
}

fn same_cluster(mine: u64, theirs: u64) -> Result<(), Refusal> {
    match (mine, theirs) {
        (0, _) | (_, 0) => Err(Refusal::NotMember),
        (mine, theirs) if mine == theirs => Ok(()),
        _ => Err(Refusal::Cluster),
    }
}

async fn say(writer: &mut WriteHalf, kind: Kind, body: Bytes) -> Result<(), Ended> {
    let mut batch = Batch::default();
    batch.push(Frame {
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

async fn hear(reader: &mut FrameReader, kind: Kind) -> Result<Bytes, Failed> {
    let frame = match reader.next().await {
        Ok(frame) => frame,
        // Somebody who speaks another protocol, or a newer one than ours.
        Err(Ended::Corrupt(FrameError::TooLong { .. } | FrameError::TooShort(_) | FrameError::Kind(_))) => {
            return Err(Refusal::Malformed.into());
        }
        Err(ended) => return Err(ended.into()),
    };
    if frame.kind == kind {
        return Ok(frame.body);
    }
    let refusal = (frame.kind == Kind::Refused)
        .then(|| frame.body.first().copied())
        .flatten();
    Err(refusal
        .and_then(Refusal::from_wire)
        .unwrap_or(Refusal::Malformed)
        .into())
}

fn prove(secret: &Secret, role: Role, transcript: [&[u8]; 2]) -> [u8; PROOF] {
    mac(secret, role, transcript).finalize().into_bytes().into()
}

fn verify(secret: &Secret, role: Role, transcript: [&[u8]; 2], proof: &[u8]) -> bool {
    mac(secret, role, transcript).verify_slice(proof).is_ok()
}

fn mac(secret: &Secret, role: Role, transcript: [&[u8]; 2]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length");
    mac.update(match role {
        Role::Acceptor => b"rookery transport 1 acceptor",
        Role::Dialler => b"rookery transport 1 dialler ",
    });
    // Both parts have a fixed length, so nothing can move from one to the other.
    transcript.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::hello::tests::{ONE, hello};

    const TWO: Identity = Identity {
        node: NodeId(2),
        cluster: 7,
        incarnation: 22,
    };

    fn halves(socket: tokio::io::DuplexStream) -> (FrameReader, WriteHalf) {
        let (reader, writer) = tokio::io::split(socket);
        (FrameReader::new(Box::new(reader), MAX_BODY), Box::new(writer))
    }

    /// Both halves' results of a handshake with `hello` at a node that is `acceptor`.
    async fn shake(
        hello: Hello,
        acceptor: Identity,
        secrets: (&str, &str),
    ) -> (Result<(), Failed>, Result<Hello, Failed>) {
        shake_if(hello, acceptor, secrets, (true, true)).await
    }

    /// The same, where each of the two admits the other or not.
    async fn shake_if(
        hello: Hello,
        acceptor: Identity,
        secrets: (&str, &str),
        admits: (bool, bool),
    ) -> (Result<(), Failed>, Result<Hello, Failed>) {
        let verdict = |admits| {
            if admits {
                Admission::Admitted
            } else {
                Admission::OlderDisk
            }
        };
        let admits = (move |_| verdict(admits.0), move |_| verdict(admits.1));
        let (left, right) = tokio::io::duplex(4096);
        let ((mut dr, mut dw), (mut ar, mut aw)) = (halves(left), halves(right));
        let secrets = (Secret::from(secrets.0), Secret::from(secrets.1));
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

    fn refusal<T: std::fmt::Debug>(result: Result<T, Failed>) -> Refusal {
        match result {
            Err(Failed::Refused(refusal)) => refusal,
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
        assert_eq!(refusal(dialled), Refusal::Secret);
        assert!(matches!(accepted, Err(Failed::Ended(_))));
    }

    #[tokio::test]
    async fn dialler_without_the_secret_is_refused_by_the_acceptor() {
        let (left, right) = tokio::io::duplex(4096);
        let ((mut dr, mut dw), (mut ar, mut aw)) = (halves(left), halves(right));
        let rogue = async {
            say(&mut dw, Kind::Hello, hello().encode()).await.unwrap();
            hear(&mut dr, Kind::Challenge).await.unwrap();
            say(&mut dw, Kind::Proof, Bytes::from_static(&[0; PROOF]))
                .await
                .unwrap();
            hear(&mut dr, Kind::Welcome).await
        };
        let secret = Secret::from("s");
        let (answer, accepted) = tokio::join!(
            rogue,
            accept(&mut ar, &mut aw, TWO, [4; NONCE], &secret, &|_| {
                Admission::Admitted
            })
        );
        assert_eq!(refusal(answer), Refusal::Secret);
        assert_eq!(refusal(accepted), Refusal::Secret);
    }

    #[tokio::test]
    async fn peer_of_another_cluster_is_refused() {
        let (dialled, accepted) = shake(hello(), Identity { cluster: 8, ..TWO }, ("s", "s")).await;
        assert_eq!(
            (refusal(dialled), refusal(accepted)),
            (Refusal::Cluster, Refusal::Cluster)
        );
    }

    #[tokio::test]
    async fn another_node_on_the_address_is_refused() {
        let (dialled, _) = shake(
            hello(),
            Identity {
                node: NodeId(3),
                ..TWO
            },
            ("s", "s"),
        )
        .await;
        assert_eq!(refusal(dialled), Refusal::Node);
    }

    #[tokio::test]
    async fn link_to_or_from_a_node_of_no_cluster_is_refused_for_now() {
        let (dialled, _) = shake(hello(), Identity { cluster: 0, ..TWO }, ("s", "s")).await;
        assert!(refusal(dialled).is_passing());
        let (dialled, _) = shake(
            Hello {
                me: Identity { cluster: 0, ..ONE },
                ..hello()
            },
            TWO,
            ("s", "s"),
        )
        .await;
        assert!(refusal(dialled).is_passing());
    }

    #[tokio::test]
    async fn visit_from_a_node_of_no_cluster_is_welcome_and_from_another_cluster_is_not() {
        let visit = Hello {
            me: Identity { cluster: 0, ..ONE },
            to: NodeId(0),
            ..hello()
        };
        shake(visit.clone(), TWO, ("s", "s")).await.0.unwrap();
        let stranger = Hello {
            me: Identity { cluster: 8, ..ONE },
            ..visit
        };
        assert_eq!(
            refusal(shake(stranger, TWO, ("s", "s")).await.0),
            Refusal::Cluster
        );
    }

    #[tokio::test]
    async fn a_dialler_with_an_older_disk_is_told_and_an_acceptor_with_one_is_left() {
        let (dialled, accepted) = shake_if(hello(), TWO, ("s", "s"), (true, false)).await;
        assert!(
            matches!(dialled, Err(Failed::NotAdmitted(Admission::OlderDisk))),
            "{dialled:?}"
        );
        assert_eq!(refusal(accepted), Refusal::Older);
        let (dialled, accepted) = shake_if(hello(), TWO, ("s", "s"), (false, true)).await;
        assert_eq!(refusal(dialled), Refusal::Older);
        assert!(matches!(accepted, Err(Failed::Ended(_))), "{accepted:?}");
    }

    #[tokio::test]
    async fn nobody_is_told_that_his_disk_is_older_before_the_secret_is_proven() {
        let (left, right) = tokio::io::duplex(4096);
        let ((mut dr, mut dw), (mut ar, mut aw)) = (halves(left), halves(right));
        let rogue = async {
            hear(&mut ar, Kind::Hello).await.unwrap();
            let body = Bytes::copy_from_slice(&[Refusal::Older as u8, 0, 1]);
            say(&mut aw, Kind::Refused, body).await.unwrap();
        };
        let (secret, hello) = (Secret::from("s"), hello());
        let dialling = dial(&mut dr, &mut dw, &hello, &secret, &|_| Admission::Admitted);
        let (dialled, ()) = tokio::join!(dialling, rogue);
        assert_eq!(refusal(dialled), Refusal::Older);
    }

    #[tokio::test]
    async fn versions_that_do_not_overlap_are_refused_and_newer_ones_that_do_are_not() {
        let newer = Hello {
            versions: (VERSION + 2, VERSION + 1),
            ..hello()
        };
        assert_eq!(refusal(shake(newer, TWO, ("s", "s")).await.0), Refusal::Version);
        let overlapping = Hello {
            versions: (VERSION + 2, VERSION),
            ..hello()
        };
        shake(overlapping, TWO, ("s", "s")).await.0.unwrap();
    }

    #[test]
    fn proofs_differ_by_role_secret_and_transcript_and_are_frozen() {
        let proof =
            |secret: &str, role, part: &[u8]| prove(&Secret::from(secret), role, [part, b"challenge"]);
        let one = proof("s", Role::Acceptor, b"hello");
        assert_ne!(one, proof("s", Role::Dialler, b"hello"));
        assert_ne!(one, proof("t", Role::Acceptor, b"hello"));
        assert_ne!(one, proof("s", Role::Acceptor, b"hallo"));
        assert_eq!(one[..4], [8, 198, 223, 137]);
    }
}
