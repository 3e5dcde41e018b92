//! Connections to one server by HTTP/1.1, with or without TLS, kept for further requests.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::CONTENT_LENGTH;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::tls::OutgoingTls;

/// Maximum bytes of a body that explains a refusal.
const REASON_BYTES: u64 = 64 << 10;

/// Connections to one server.
pub(super) struct Connections {
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    tls: Option<OutgoingTls>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// Response with its whole body.
#[derive(Debug)]
pub(super) struct WholeResponse {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// Failure of a request.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// A repeat may succeed.
    Passing(String),
    /// The body is longer than the caller permits; it states this length, or was cut behind it.
    TooLong(u64),
}

// === impl Connections ===

impl Connections {
    pub(super) fn new(host: &str, port: u16, tls: Option<OutgoingTls>) -> Connections {
        Connections {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            tls,
            idle: Mutex::default(),
        }
    }

    /// Sends a request and reads the response, whose body may have `limit` bytes if it is a success.
    pub(super) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: u64,
    ) -> Result<WholeResponse, ExchangeError> {
        let mut sender = self.sender().await.map_err(ExchangeError::Passing)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let limit = if status.is_success() { limit } else { REASON_BYTES };
        let body = read(response, limit).await?;
        // Only behind a whole body: the connection would continue in the middle of one.
        if !sender.is_closed() {
            self.idle.lock().push(sender);
        }
        Ok(WholeResponse { status, body })
    }

    /// Returns a connection without a request in progress.
    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        loop {
            let idle = self.idle.lock().pop();
            let Some(mut sender) = idle else {
                return self.connect().await;
            };
            // The server may have closed it meanwhile.
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        match &self.tls {
            None => handshake(stream).await,
            Some(tls) => handshake(tls.speak(&self.host, stream).await?).await,
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("the connection failed: {error}"))?;
    // Ends with its sender; an error of the connection is one of the request, too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn read(response: Response<Incoming>, limit: u64) -> Result<Vec<u8>, ExchangeError> {
    let stated = response.headers().get(CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok()?.parse().ok());
    if let Some(stated) = stated.filter(|stated| *stated > limit) {
        return Err(ExchangeError::TooLong(stated));
    }
    let (mut whole, mut body) = (Vec::new(), response.into_body());
    while let Some(part) = body.frame().await {
        let part = part.map_err(broken)?;
        whole.extend_from_slice(part.data_ref().map_or(&[][..], |data| &data[..]));
        if whole.len() as u64 > limit {
            return Err(ExchangeError::TooLong(whole.len() as u64));
        }
    }
    Ok(whole)
}

fn broken(error: hyper::Error) -> ExchangeError {
    ExchangeError::Passing(format!("the connection failed: {error}"))
}
