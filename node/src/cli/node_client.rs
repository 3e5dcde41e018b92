//! Client of a node's endpoints for operators, with streamed bodies. `ctl` has one for short answers.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::ctl::{TOKEN, token};
use super::{Error, probe};
use crate::config::SecretString;

/// Maximum bytes of a body that is read whole.
const WHOLE_BYTES: usize = 8 << 20;

/// Client of one node.
pub(super) struct NodeClient {
    url: String,
    token: Option<SecretString>,
}

// === impl NodeClient ===

impl NodeClient {
    /// Returns a client of a node. The token comes from the file, or else from the environment.
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> Result<NodeClient, Error> {
        let token = token(token_file).map_err(|failure| Error::Refused {
            url: url.to_owned(),
            reason: failure.to_string(),
        })?;
        Ok(NodeClient {
            url: url.to_owned(),
            token,
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
        self.send(Method::GET, path).await
    }

    /// Sends a request for a change, without a body.
    ///
    /// # Errors
    /// There is no answer, or the node refuses.
    pub(super) async fn post(&self, path: &str) -> Result<(), Error> {
        self.send(Method::POST, path).await.map(drop)
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, Error> {
        let unreachable = || Error::Unreachable(self.url.clone());
        let stream = probe::connect(&self.url, &probe::Trust::System)
            .await
            .map_err(|_| unreachable())?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|_| unreachable())?;
        // Ends with the response or with the process; an error of the connection is one of the body, too.
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder().method(method).uri(path);
        let mut request = request.header(HOST, probe::host(&self.url));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.0));
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.refused(error))?;
        let response = sender.send_request(request).await.map_err(|_| unreachable())?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED => Err(Error::NotAllowed(format!(
                "{}: the node refuses the admin token: give one of server.admin_token by --token-file or {TOKEN}",
                self.url
            ))),
            status => {
                let body = self.whole(response).await.unwrap_or_default();
                let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
                let detail = problem["detail"].as_str().unwrap_or("no reason given");
                Err(match status {
                    StatusCode::FORBIDDEN => Error::NotAllowed(format!("{}: {detail}", self.url)),
                    _ => self.refused(format!("{status}: {detail}")),
                })
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
