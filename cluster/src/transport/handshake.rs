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
//! Inside of TLS, the acceptor compares the dialler's certificate with the number in its hello; the dialler has compared
//! that of the acceptor before.
//!
//! A hello with `to` = 0 announces a one-shot call by a caller that has only an address, usually a join request. Only
//! such a call may come from, or go to, a node of no cluster.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::AsyncWriteExt;

use super::connection::{CloseCause, FrameReader, WriteHalf};
use super::frame::{FrameBatch, FrameError, FrameKind, TransportFrame};
use super::handshake_messages::{
    CHALLENGE, HandshakeChallenge, HandshakeRefusal, NONCE, OLDEST, PROOF, TransportHello, VERSION,
};
use super::tls::{PeerCertificate, tls_failure};
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
    /// TLS failed: a certificate was refused, by this side or the other one.
    #[error("TLS: {0}")]
    Insecure(rustls::Error),
    #[error("{0}")]
    Ended(CloseCause),
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
    certificate: &PeerCertificate,
    admission: &(dyn Fn(NodeIdentity) -> PeerAdmission + Sync),
) -> Result<TransportHello, HandshakeError> {
    let mut result = examine(reader, writer, me, nonce, secret).await;
    if let Ok(hello) = &result
        && let Err(refusal) = certificate.check(hello.me.node)
    {
        result = Err(refusal.into());
    }
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
    writer.flush().await?;
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

// === impl HandshakeError ===

impl From<CloseCause> for HandshakeError {
    /// Finds a failure of TLS: the other side's refusal of a certificate arrives with the first bytes that are read.
    fn from(ended: CloseCause) -> HandshakeError {
        match &ended {
            CloseCause::Io(error) => tls_failure(error)
                .cloned()
                .map_or(HandshakeError::Ended(ended), HandshakeError::Insecure),
            _ => HandshakeError::Ended(ended),
        }
    }
}

#[cfg(test)]
mod tests;
