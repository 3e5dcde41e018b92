//! One request and the head of its answer, over a connection of its own.

use std::pin::pin;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::sign::Signed;
use super::tls::Tls;

/// Posts the body; the error is for people. Redirects are answers like any other: a receiver says where it is in the
/// settings.
pub(super) async fn post(
    uri: &Uri,
    tls: Option<&Tls>,
    signed: &Signed,
    body: Bytes,
) -> Result<StatusCode, String> {
    let host = uri.host().unwrap_or_default();
    // An address of IPv6 has brackets in a URI and none for a connection.
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
        .map_err(|error| format!("no request can be made: {error}"))?;
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
        biased;
        answer = &mut answer => answer,
        // It ends when the answer was read; then the answer is there, or why not.
        _ended = connection => answer.await,
    };
    Ok(answer.map_err(broken)?.status())
}

fn broken(error: hyper::Error) -> String {
    format!("the connection broke: {error}")
}
