//! TLS client for servers of others: receivers of webhooks, object storage.
//!
//! The server presents a certificate for the host of its URL, signed by an authority that the system trusts
//! (`SSL_CERT_FILE` and `SSL_CERT_DIR` override its location) or that the settings name. This side presents no
//! certificate: requests are signed.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{provider, system_roots};

/// TLS configuration for servers of others.
#[derive(Clone)]
pub struct OutgoingTls(TlsConnector);

// === impl OutgoingTls ===

impl OutgoingTls {
    /// Trusts the authorities of the system and, if `ca_file` is not empty, those in the file.
    ///
    /// # Errors
    /// Text for people: the file is no use, or nothing is trusted.
    pub fn trusting(ca_file: &str) -> Result<OutgoingTls, String> {
        let mut roots = system_roots();
        if !ca_file.is_empty() {
            for certificate in read(ca_file)? {
                let added = roots.add(certificate);
                added.map_err(|error| unusable(ca_file, &error))?;
            }
        }
        if roots.is_empty() {
            return Err(
                "the system has no trusted certificate authorities: install them, or set a file of them"
                    .to_owned(),
            );
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        // The clients speak this version only.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(OutgoingTls(TlsConnector::from(Arc::new(config))))
    }

    /// Establishes TLS with `host` and verifies its certificate.
    ///
    /// # Errors
    /// Text for people.
    pub async fn speak(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let spoken = self.0.connect(name, stream).await;
        spoken.map_err(|error| format!("TLS: {error}"))
    }
}

fn read(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = CertificateDer::pem_file_iter(Path::new(path)).map_err(|error| unusable(path, &error))?;
    let read: Result<Vec<_>, _> = file.collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(unusable(path, &"it contains no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &str, why: &dyn std::fmt::Display) -> String {
    format!("{path}: {why}")
}
