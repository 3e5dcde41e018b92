//! Connections of this program to nodes, and a minimal HTTP client for checking those of a local cluster.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::{AnyCertificate, provider, system_roots};

/// Authorities by which the certificate of a node is verified.
#[derive(Clone)]
pub(super) enum Trust {
    /// Those of the system (`SSL_CERT_FILE`). A loopback address may have any certificate.
    System,
    /// Those of a file, at any address.
    Only(Arc<RootCertStore>),
}

/// Response with status and body.
pub(super) struct ProbeResult {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Connection to a node, with or without TLS.
pub(super) trait NodeStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> NodeStream for S {}

/// Sends `GET path` to a node; see [`connect`] for its address. Returns `None` if there is no valid response within two
/// seconds.
pub(super) async fn get(node: &str, path: &str) -> Option<ProbeResult> {
    let asked = async { request(connect(node, &Trust::System).await?, host(node), path).await };
    tokio::time::timeout(Duration::from_secs(2), asked)
        .await
        .ok()?
        .ok()
}

/// Connects to a node at `host:port`, with `http://` or nothing before it, or with TLS at `https://host:port`. The port
/// may be left out.
///
/// # Errors
/// A node that cannot be reached, or whose certificate is not accepted.
pub(super) async fn connect(node: &str, trust: &Trust) -> std::io::Result<Box<dyn NodeStream>> {
    let host = host(node);
    if !node.starts_with("https://") {
        return Ok(Box::new(TcpStream::connect(with_port(host, 80)).await?));
    }
    let address = with_port(host, 443);
    let stream = TcpStream::connect(&address).await?;
    let name = address.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let server = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
    Ok(Box::new(connector(name, trust)?.connect(server, stream).await?))
}

/// Returns the address of a node without its scheme, as the header `Host` has it.
pub(super) fn host(node: &str) -> &str {
    node.trim_start_matches("https://").trim_start_matches("http://")
}

/// Returns a host with its port. An address of IPv6 without a port ends with its bracket.
fn with_port(host: &str, port: u16) -> String {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    if has_port {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    }
}

fn connector(host: &str, trust: &Trust) -> std::io::Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    let config = match trust {
        Trust::Only(roots) => config.with_root_certificates(roots.clone()),
        Trust::System if is_loopback(host) => {
            let verifier = Arc::new(AnyCertificate::new(provider()));
            config.dangerous().with_custom_certificate_verifier(verifier)
        }
        Trust::System => config.with_root_certificates(system_roots()),
    };
    Ok(TlsConnector::from(Arc::new(config.with_no_client_auth())))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn request(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    http: &str,
    path: &str,
) -> std::io::Result<ProbeResult> {
    // The end of the connection delimits the response, so no length has to be parsed.
    let head = format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let broken = || std::io::Error::other("not an HTTP response");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(broken)?;
    Ok(ProbeResult {
        status,
        body: body.to_owned(),
    })
}

// === impl Trust ===

impl Trust {
    /// Reads the authorities of a PEM file.
    ///
    /// # Errors
    /// A file that cannot be read, or has no usable certificate.
    pub(super) fn of_file(path: &Path) -> Result<Trust, String> {
        let broken = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
        let pem = std::fs::read(path).map_err(|error| broken(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| broken(&error))?;
            roots.add(certificate).map_err(|error| broken(&error))?;
        }
        match roots.is_empty() {
            true => Err(broken(&"has no certificate")),
            false => Ok(Trust::Only(Arc::new(roots))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_of_an_address_may_be_left_out() {
        for (host, expected) in [
            ("a", "a:80"),
            ("a:1", "a:1"),
            ("[::1]", "[::1]:80"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(with_port(host, 80), expected);
        }
        assert_eq!(with_port(host("https://a"), 443), "a:443");
    }
}
