//! Byte stream of a client: the connection itself, or TLS over it.
//!
//! The connection below counts the bytes, holds the permit and can be cut, with TLS as without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Io;
use crate::tls::CertificateMetrics;

/// Encrypted bytes that TLS holds for a client that does not read: one record. More stays in the outbound queue, where a
/// slow consumer is detected.
const UNSENT: usize = 16 << 10;

/// Byte stream of a client.
pub(super) enum ClientStream {
    Plain(Io),
    Encrypted(Box<TlsStream<Io>>),
}

/// TLS of one listener, if it has a certificate.
#[derive(Clone)]
pub(super) struct ClientHandshake {
    pub(super) acceptor: Option<TlsAcceptor>,
    /// Time limit of the handshake.
    pub(super) timeout: Duration,
    pub(super) metrics: CertificateMetrics,
}

// === impl ClientHandshake ===

impl ClientHandshake {
    /// Performs the handshake of TLS on a listener that has a certificate.
    ///
    /// # Errors
    /// A client that speaks no TLS, does not accept the certificate, or does not finish in time.
    pub(super) async fn perform(&self, io: Io) -> io::Result<ClientStream> {
        let Some(acceptor) = &self.acceptor else {
            return Ok(ClientStream::Plain(io));
        };
        let accepting = acceptor.accept_with(io, |session| session.set_buffer_limit(Some(UNSENT)));
        let accepted = match tokio::time::timeout(self.timeout, accepting).await {
            Ok(accepted) => accepted,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match accepted {
            Ok(stream) => Ok(ClientStream::Encrypted(Box::new(stream))),
            Err(error) => {
                self.metrics.handshakes_failed.inc();
                tracing::debug!(%error, "TLS handshake with a client failed");
                Err(error)
            }
        }
    }
}

// === impl ClientStream ===

impl ClientStream {
    /// Returns the connection below.
    pub(super) fn io(&self) -> &Io {
        match self {
            ClientStream::Plain(io) => io,
            ClientStream::Encrypted(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            ClientStream::Encrypted(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientStream::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            ClientStream::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(io) => Pin::new(io).poll_flush(cx),
            ClientStream::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            ClientStream::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
