//! Minimal HTTP client for checking the nodes of a local cluster.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::{AnyCertificate, provider, system_roots};

/// Response with status and body.
pub(super) struct ProbeResult {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Sends `GET path` to a node at `host:port`, with TLS if `https://` is before it. Returns `None` if there is no valid
/// response within two seconds.
///
/// The certificate is verified with the authorities of the system (`SSL_CERT_FILE`), except at a loopback address.
pub(super) async fn get(node: &str, path: &str) -> Option<ProbeResult> {
    tokio::time::timeout(Duration::from_secs(2), connect(node, path))
        .await
        .ok()?
        .ok()
}

async fn connect(node: &str, path: &str) -> std::io::Result<ProbeResult> {
    let Some(http) = node.strip_prefix("https://") else {
        return request(TcpStream::connect(node).await?, node, path).await;
    };
    let stream = TcpStream::connect(http).await?;
    let host = http.rsplit_once(':').map_or(http, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let stream = connector(host)?.connect(name, stream).await?;
    request(stream, http, path).await
}

fn connector(host: &str) -> std::io::Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    let config = if is_loopback(host) {
        let verifier = Arc::new(AnyCertificate::new(provider()));
        config.dangerous().with_custom_certificate_verifier(verifier)
    } else {
        config.with_root_certificates(system_roots())
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
