//! TLS between nodes: both sides present a certificate of the cluster's own authority.
//!
//! The certificate of a node has two DNS names: `node`, and `node-N` with the number of the node. The dialler verifies
//! the name of the node that it dials, and the acceptor that of the node that the handshake inside names. Of a node
//! whose number is not known yet, one that asks to join, `node` is verified. The handshake with the shared secret
//! follows inside.
//!
//! While TLS is not required, both kinds of connections are accepted, and a peer that answers without TLS is dialled
//! without it: a cluster changes to TLS by restarting one node after the other.

use std::fmt;
use std::io::{self, Cursor};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::{
    Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::handshake_messages::HandshakeRefusal;
use super::io::IoStream;
use crate::ids::NodeId;

/// First byte of a TLS connection: the type of a record of the handshake. A frame begins with its length, whose first
/// byte is 0 until the peer is authenticated.
const TLS_HANDSHAKE: u8 = 22;

/// TLS of a node's transport: its certificates, which may be replaced while connections are open. Cheap to clone.
#[derive(Clone)]
pub struct PeerTls {
    certificates: Arc<ArcSwap<NodeCertificates>>,
    required: bool,
}

/// Certificate of a node with its key, and the authorities that it trusts.
pub struct NodeCertificates {
    dialler: Arc<ClientConfig>,
    acceptor: Arc<ServerConfig>,
}

/// Reason for which certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file is no PEM file, or is incomplete.
    #[error("{what}: {source}")]
    Pem {
        what: &'static str,
        source: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate.
    #[error("{0}: it contains no certificate")]
    Empty(&'static str),
    /// The certificate and the key do not belong together, or one of them is of an unknown kind.
    #[error("the certificate and the key: {0}")]
    Pair(rustls::Error),
    /// The certificate has ended, is not signed by an authority of the file, or is not one of a node.
    #[error("the certificate is not one of a node of these authorities: {0}")]
    Unsigned(rustls::Error),
    /// No certificate of the file is one of an authority.
    #[error("the authorities: {0}")]
    Authorities(String),
}

/// Certificate that a dialling node has presented.
#[derive(Debug)]
pub(crate) enum PeerCertificate {
    /// This node has no certificates itself, or its network is simulated.
    Unchecked,
    /// The connection is not encrypted.
    Missing { required: bool },
    /// Signed by an authority of this node.
    Presented(CertificateDer<'static>),
}

/// Returns the DNS name in the certificate of a node; for 0, that of all nodes.
#[must_use]
pub fn certificate_name(node: NodeId) -> String {
    match node {
        NodeId(0) => "node".to_owned(),
        NodeId(number) => format!("node-{number}"),
    }
}

/// Returns the failure of TLS behind an error; `None` for other errors.
pub(crate) fn tls_failure(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

// === impl PeerTls ===

impl PeerTls {
    /// Encrypts connections with these certificates. With `required`, a peer without TLS is refused.
    #[must_use]
    pub fn new(certificates: NodeCertificates, required: bool) -> PeerTls {
        PeerTls {
            certificates: Arc::new(ArcSwap::from_pointee(certificates)),
            required,
        }
    }

    /// Uses other certificates for new connections. Open ones stay.
    pub fn replace(&self, certificates: NodeCertificates) {
        self.certificates.store(Arc::new(certificates));
    }

    /// Encrypts an outgoing connection, and verifies that the other end is the node `to`; 0 accepts any node. Returns
    /// `None` if the peer has answered without TLS and TLS is not required: the connection is lost then.
    pub(crate) async fn dial(&self, stream: IoStream, to: NodeId) -> io::Result<Option<IoStream>> {
        let IoStream { reader, writer, from } = stream;
        let name = server_name(to).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&self.certificates.load().dialler));
        match connector.connect(name, tokio::io::join(reader, writer)).await {
            Ok(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                Ok(Some(IoStream {
                    reader: Box::new(reader),
                    writer: Box::new(writer),
                    from,
                }))
            }
            // A certificate that is refused is never a reason to go on without TLS.
            Err(error) if !self.required && is_no_tls(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Encrypts an incoming connection if its dialler begins with TLS, and returns the certificate of the dialler.
    pub(crate) async fn accept(&self, stream: IoStream) -> io::Result<(IoStream, PeerCertificate)> {
        let IoStream {
            mut reader,
            writer,
            from,
        } = stream;
        let first = reader.read_u8().await?;
        let reader = Cursor::new([first]).chain(reader);
        if first != TLS_HANDSHAKE {
            let stream = IoStream {
                reader: Box::new(reader),
                writer,
                from,
            };
            let required = self.required;
            return Ok((stream, PeerCertificate::Missing { required }));
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&self.certificates.load().acceptor));
        let stream = acceptor.accept(tokio::io::join(reader, writer)).await?;
        let presented = stream.get_ref().1.peer_certificates();
        // The verifier accepts no dialler without a certificate.
        let certificate = presented
            .and_then(<[_]>::first)
            .ok_or(io::ErrorKind::InvalidData)?;
        let certificate = PeerCertificate::Presented(certificate.clone().into_owned());
        let (reader, writer) = tokio::io::split(stream);
        let stream = IoStream {
            reader: Box::new(reader),
            writer: Box::new(writer),
            from,
        };
        Ok((stream, certificate))
    }
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls")
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

/// Returns `true` if the peer has answered something that is no TLS, as a node does that has no certificates.
fn is_no_tls(error: &io::Error) -> bool {
    matches!(tls_failure(error), Some(rustls::Error::InvalidMessage(_)))
}

fn server_name(node: NodeId) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    ServerName::try_from(certificate_name(node))
}

// === impl NodeCertificates ===

impl NodeCertificates {
    /// Reads PEM: the authorities, the certificate of the node with those that link it to an authority, and its key.
    ///
    /// # Errors
    /// A file that is incomplete, or files that do not belong together.
    pub fn from_pem(
        authorities: &[u8],
        certificate: &[u8],
        key: &[u8],
    ) -> Result<NodeCertificates, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in certificates("the authorities", authorities)? {
            let added = roots.add(authority);
            added.map_err(|error| CertificateError::Authorities(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates("the certificate", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| CertificateError::Pem {
            what: "the key",
            source,
        })?;
        let broken = |error: &dyn fmt::Display| CertificateError::Authorities(error.to_string());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| broken(&error))?;
        let mut acceptor = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(CertificateError::Pair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(CertificateError::Pair)?;
        // No diallers resume: each connection verifies the certificate of its peer again. Connections between nodes are few
        // and long.
        acceptor.send_tls13_tickets = 0;
        // Compared with the own authorities: a file of another cluster shows here, and not at every peer.
        verify(&chain, &roots, &provider).map_err(CertificateError::Unsigned)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| broken(&error))?;
        let mut dialler = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(CertificateError::Pair)?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(chain, key)
            .map_err(CertificateError::Pair)?;
        dialler.resumption = Resumption::disabled();
        Ok(NodeCertificates {
            dialler: Arc::new(dialler),
            acceptor: Arc::new(acceptor),
        })
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|source| CertificateError::Pem { what, source })?;
    if read.is_empty() {
        return Err(CertificateError::Empty(what));
    }
    Ok(read)
}

/// Verifies that the first certificate is one of a node, signed by one of the authorities.
fn verify(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    provider: &CryptoProvider,
) -> Result<(), rustls::Error> {
    let Some((leaf, links)) = chain.split_first() else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    let leaf = ParsedCertificate::try_from(leaf)?;
    let algorithms = provider.signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, roots, links, UnixTime::now(), algorithms)?;
    let name = server_name(NodeId(0)).map_err(|error| rustls::Error::General(error.to_string()))?;
    verify_server_name(&leaf, &name)
}

// === impl PeerCertificate ===

impl PeerCertificate {
    /// Checks that the connection may be one of this node; 0 is a node without a number.
    ///
    /// # Errors
    /// The refusal that the dialler receives.
    pub(crate) fn check(&self, node: NodeId) -> Result<(), HandshakeRefusal> {
        match self {
            PeerCertificate::Unchecked | PeerCertificate::Missing { required: false } => Ok(()),
            PeerCertificate::Missing { required: true } => Err(HandshakeRefusal::TlsRequired),
            PeerCertificate::Presented(certificate) => {
                let certificate = ParsedCertificate::try_from(certificate);
                let verified = certificate.ok().zip(server_name(node).ok());
                match verified.map(|(certificate, name)| verify_server_name(&certificate, &name)) {
                    Some(Ok(())) => Ok(()),
                    _ => Err(HandshakeRefusal::Certificate),
                }
            }
        }
    }
}
