//! TLS of the ports for clients.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::{CertificateInfo, provider};

/// TLS of the ports for clients, whose certificate may be replaced while connections are open. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    current: Arc<CurrentCertificate>,
    http: TlsAcceptor,
    stream: TlsAcceptor,
}

/// Certificate that new connections get.
struct CurrentCertificate(ArcSwap<CertifiedKey>);

/// Reads a certificate, those that link it to an authority, and its key, from PEM. Returns them with the earliest end of
/// a certificate, in seconds since 1970.
///
/// # Errors
/// A text for people: files that are incomplete or do not belong together.
pub fn certified_key(certificate: &[u8], key: &[u8]) -> Result<(CertifiedKey, u64), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate: the file contains none".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key: {error}"))?;
    let end = CertificateInfo::earliest_end(&chain).map_err(|error| format!("the certificate: {error}"))?;
    let certified = CertifiedKey::from_der(chain, key, &provider());
    let certified = certified.map_err(|error| match error {
        Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
        error => format!("the certificate and the key: {error}"),
    })?;
    Ok((certified, end))
}

// === impl ClientTls ===

impl ClientTls {
    /// Serves TLS 1.2 and 1.3 with this certificate.
    ///
    /// # Errors
    /// Never with the provider that the program is built with.
    pub fn new(certificate: CertifiedKey) -> Result<ClientTls, Error> {
        let current = Arc::new(CurrentCertificate(ArcSwap::from_pointee(certificate)));
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let stream = config.with_no_client_auth().with_cert_resolver(current.clone());
        let mut http = stream.clone();
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(ClientTls {
            current,
            http: TlsAcceptor::from(Arc::new(http)),
            stream: TlsAcceptor::from(Arc::new(stream)),
        })
    }

    /// Uses another certificate for new connections. Open ones stay.
    pub fn replace(&self, certificate: CertifiedKey) {
        self.current.0.store(Arc::new(certificate));
    }

    /// Returns the acceptor of the port for HTTP.
    #[must_use]
    pub fn http(&self) -> TlsAcceptor {
        self.http.clone()
    }

    /// Returns the acceptor of a port for another protocol, which a client may name as it likes (ALPN).
    #[must_use]
    pub fn stream(&self) -> TlsAcceptor {
        self.stream.clone()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

// === impl CurrentCertificate ===

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for CurrentCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentCertificate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::CertificateAuthority;
    use super::*;

    #[test]
    fn a_certificate_is_used_with_its_own_key_only() {
        let (authority, _) = CertificateAuthority::create().unwrap();
        let names = ["chat.example.org".to_owned()];
        let [one, two] = [90, 30].map(|days| authority.issue(&names, days).unwrap());
        let load = |certificate: &str, key: &str| certified_key(certificate.as_bytes(), key.as_bytes());
        let (_, end) = load(&one.certificate, &one.key).unwrap();
        let (_, earlier) = load(&two.certificate, &two.key).unwrap();
        assert!(earlier < end);
        let chain = format!("{}{}", one.certificate, two.certificate);
        assert_eq!(
            load(&chain, &one.key).unwrap().1,
            earlier,
            "the earliest end of the chain"
        );

        let reason = |certificate: &str, key: &str| load(certificate, key).unwrap_err();
        assert_eq!(
            reason(&one.certificate, &two.key),
            "the key is not that of the certificate"
        );
        let half = &one.certificate[..one.certificate.len() / 2];
        assert!(reason(half, &one.key).starts_with("the certificate: "));
        assert!(reason("", &one.key).starts_with("the certificate: "));
        assert!(reason(&one.certificate, "").starts_with("the key: "));
        let half = &one.key[..one.key.len() / 2];
        assert!(reason(&one.certificate, half).starts_with("the key: "));
    }
}
