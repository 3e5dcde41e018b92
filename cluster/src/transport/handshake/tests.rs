//! Handshakes of two nodes, honest and not.

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
        let hello = accept(
            &mut ar,
            &mut aw,
            acceptor,
            [4; NONCE],
            &secrets.1,
            &PeerCertificate::Unchecked,
            &admits.1,
        )
        .await?;
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
        accept(
            &mut ar,
            &mut aw,
            TWO,
            [4; NONCE],
            &secret,
            &PeerCertificate::Unchecked,
            &|_| { PeerAdmission::Admitted }
        )
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
    let accepting = accept(
        &mut ar,
        &mut aw,
        TWO,
        [4; NONCE],
        &secret,
        &PeerCertificate::Unchecked,
        &admission,
    );
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
