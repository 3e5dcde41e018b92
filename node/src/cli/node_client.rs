//! Client of a node's endpoints for operators, with streamed bodies.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::Error;

/// Environment variable with the admin token.
const TOKEN: &str = "ROOKERY_ADMIN_TOKEN";
/// Maximum bytes of a body that is read whole.
const WHOLE_BYTES: usize = 8 << 20;

/// Client of one node.
pub(super) struct NodeClient {
    url: String,
    /// Host and port, for the connection.
    host: String,
    token: Option<String>,
}

// === impl NodeClient ===

impl NodeClient {
    /// Returns a client for `http://HOST:PORT`. The token comes from the file, or else from the environment.
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> Result<NodeClient, Error> {
        let url = url.strip_suffix('/').unwrap_or(url);
        let host = url.strip_prefix("http://").unwrap_or_default();
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(Error::Refused {
                url: url.to_owned(),
                reason: "expected http://HOST:PORT, the address of the node itself".to_owned(),
            });
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        let host = if has_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let token = match token_file {
            Some(path) => Some(std::fs::read_to_string(path)?.trim().to_owned()),
            None => std::env::var(TOKEN).ok(),
        };
        Ok(NodeClient {
            url: url.to_owned(),
            host,
            token: token.filter(|token| !token.is_empty()),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request and returns the response, whose body is still to be read.
    ///
    /// # Errors
    /// There is no answer, or the node refuses.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, Error> {
        let unreachable = || Error::Unreachable(self.url.clone());
        let stream = TcpStream::connect(&self.host).await.map_err(|_| unreachable())?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|_| unreachable())?;
        // Ends with the response or with the process; an error of the connection is one of the body, too.
        tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::get(path).header(HOST, &self.host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.refused(error))?;
        let response = sender.send_request(request).await.map_err(|_| unreachable())?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => Err(self.refused(format!(
                "the node refuses the admin token: give server.admin_token by --token-file or {TOKEN}"
            ))),
            status => {
                let body = self.whole(response).await.unwrap_or_default();
                let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
                let detail = problem["detail"].as_str().unwrap_or("no reason given");
                Err(self.refused(format!("{status}: {detail}")))
            }
        }
    }

    /// Sends a request whose response is JSON.
    pub(super) async fn json(&self, path: &str) -> Result<Value, Error> {
        let response = self.get(path).await?;
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.refused(error))
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, Error> {
        let body = http_body_util::Limited::new(response.into_body(), WHOLE_BYTES);
        let whole = body.collect().await.map_err(|error| self.refused(error))?;
        Ok(whole.to_bytes())
    }

    fn refused(&self, reason: impl ToString) -> Error {
        Error::Refused {
            url: self.url.clone(),
            reason: reason.to_string(),
        }
    }
}
