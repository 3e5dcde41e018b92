//! Certificates of nodes under test, and connections to them by TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::within;
use crate::config::Config;
use crate::tls::{CertificateAuthority, IssuedCertificate, provider};

/// Authority of a test, and a directory with the files of nodes.
pub struct TestCertificates {
    authority: CertificateAuthority,
    dir: TempDir,
}

// === impl TestCertificates ===

impl TestCertificates {
    /// Makes an authority, and a certificate for the clients of a node on this machine.
    pub fn new() -> TestCertificates {
        let (authority, _) = CertificateAuthority::create().unwrap();
        let certificates = TestCertificates {
            authority,
            dir: tempfile::tempdir().unwrap(),
        };
        certificates.renew(90);
        std::fs::write(
            certificates.authority_file(),
            certificates.authority.certificate(),
        )
        .unwrap();
        certificates
    }

    /// Sets the certificate for clients, and looks at its files often.
    pub fn configure(&self, config: &mut Config) {
        config.server.tls_cert_file = self.cert_file().display().to_string();
        config.server.tls_key_file = self.key_file().display().to_string();
        config.tuning.certificate_interval = crate::config::HumanDuration::millis(50);
    }

    /// Replaces certificate and key for clients by new ones, and returns the certificate.
    pub fn renew(&self, days: u32) -> CertificateDer<'static> {
        let issued = self.issue(days);
        std::fs::write(self.key_file(), &issued.key).unwrap();
        std::fs::write(self.cert_file(), &issued.certificate).unwrap();
        CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
    }

    /// Issues a certificate for clients, without writing it.
    pub fn issue(&self, days: u32) -> IssuedCertificate {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        self.authority.issue(&names, days).unwrap()
    }

    /// Writes the certificate of a node with this number, and returns its `cluster.tls_dir`.
    pub fn node_dir(&self, node: u64) -> PathBuf {
        let dir = self.dir.path().join(format!("node-{node}"));
        let names = ["node".to_owned(), format!("node-{node}")];
        let issued = self.authority.issue(&names, 30).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("ca.crt"), self.authority.certificate()).unwrap();
        std::fs::write(dir.join("tls.key"), &issued.key).unwrap();
        std::fs::write(dir.join("tls.crt"), &issued.certificate).unwrap();
        dir
    }

    pub fn cert_file(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    pub fn key_file(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    /// Returns the file with the certificate of the authority.
    pub fn authority_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Connects to a node, whose certificate must be of this authority.
    pub async fn connect(&self, addr: SocketAddr) -> TlsStream<TcpStream> {
        let connected = within("a handshake of TLS ends", self.try_connect(addr)).await;
        connected.expect("a connection by TLS")
    }

    /// Connects to a node. An error is that of the connection, or of either side's TLS.
    pub async fn try_connect(&self, addr: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.certificate().as_bytes()).unwrap();
        roots.add(authority).unwrap();
        // A configuration for each connection: a resumed session would present no certificate.
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(addr).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Returns the certificate that a node presents to a new connection.
    pub async fn presented(&self, addr: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(addr).await;
        let presented = stream.get_ref().1.peer_certificates().unwrap();
        presented[0].clone().into_owned()
    }

    /// Sends a request over a connection of its own, and returns everything until its end.
    pub async fn round_trip(&self, addr: SocketAddr, request: &[u8]) -> String {
        let mut stream = self.connect(addr).await;
        let exchange = async {
            stream.write_all(request).await.unwrap();
            stream.flush().await.unwrap();
            let mut text = String::new();
            // A server that ends without a goodbye of TLS is an error here.
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        within("the server responds by TLS", exchange).await
    }

    /// Returns the value of a node's metric, 0 if it is missing.
    pub async fn figure(&self, addr: SocketAddr, name: &str) -> u64 {
        let request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let text = self.round_trip(addr, request).await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    }
}

impl Default for TestCertificates {
    fn default() -> Self {
        TestCertificates::new()
    }
}
