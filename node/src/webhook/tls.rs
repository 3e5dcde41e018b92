//! TLS to receivers: who is believed to be one.
//!
//! A receiver shows a certificate for the host of its address, signed by an authority that the system trusts
//! (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where else to look) or that the settings name. The node shows none: posts are
//! signed.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Unusable;

/// How receivers are connected to by TLS.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

// === impl Tls ===

impl Tls {
    /// Trusts the system's authorities and, with a name of a file, those in it.
    pub(super) fn trusting(ca_file: &str) -> Result<Tls, Unusable> {
        let mut roots = RootCertStore::empty();
        // What can't be read of the system's is not trusted, which shows when a receiver needs it.
        let found = rustls_native_certs::load_native_certs();
        let (_usable, _useless) = roots.add_parsable_certificates(found.certs);
        if !ca_file.is_empty() {
            for certificate in read(ca_file)? {
                let added = roots.add(certificate);
                added.map_err(|error| unusable(ca_file, &error))?;
            }
        }
        if roots.is_empty() {
            return Err(Unusable::from(
                "the system trusts no authority: install its certificates, or name a file of them",
            ));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Unusable::from(error.to_string()))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }

    /// Speaks TLS on a connection to `host`, if that is who it is; the error is for people.
    pub(super) async fn speak(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let spoken = self.0.connect(name, stream).await;
        spoken.map_err(|error| format!("TLS: {error}"))
    }
}

fn read(path: &str) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let file = CertificateDer::pem_file_iter(Path::new(path)).map_err(|error| unusable(path, &error))?;
    let read: Result<Vec<_>, _> = file.collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(unusable(path, &"no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &str, why: &dyn std::fmt::Display) -> Unusable {
    Unusable::from(format!("{path}: {why}"))
}
