//! One HTTP request and the head of its response, over its own connection.

use std::pin::pin;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::signature::SignedHeaders;
use crate::tls::OutgoingTls;

/// Posts the body and returns the status; errors are texts for people. Redirects are not followed: the settings name
/// the receiver.
pub(super) async fn post(
    uri: &Uri,
    tls: Option<&OutgoingTls>,
    signed: &SignedHeaders,
    body: Bytes,
) -> Result<StatusCode, String> {
    let host = uri.host().unwrap_or_default();
    // IPv6 addresses have brackets in a URI, which the resolver does not accept.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let usual = if tls.is_some() { 443 } else { 80 };
    let stream = TcpStream::connect((bare, uri.port_u16().unwrap_or(usual)))
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("rookery/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .header("webhook-id", &signed.id)
        .header("webhook-timestamp", signed.timestamp)
        .header("webhook-signature", &signed.signature)
        .body(Full::new(body))
        .map_err(|error| format!("the request cannot be built: {error}"))?;
    match tls {
        None => ask(stream, request).await,
        Some(tls) => ask(tls.speak(bare, stream).await?, request).await,
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        // A response that is ready takes precedence over the end of the connection.
        biased;
        answer = &mut answer => answer,
        // The connection may end first, after reading the response or with an error. In both cases the response future
        // is ready.
        _ended = connection => answer.await,
    };
    Ok(answer.map_err(broken)?.status())
}

fn broken(error: hyper::Error) -> String {
    format!("the connection failed: {error}")
}
