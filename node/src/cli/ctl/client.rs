//! Client of the admin API: one request per connection, to the first of several nodes that can be reached.

mod curl;
mod events;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) use self::events::EventReader;
pub(super) use crate::cli::probe::Trust;

use super::failure::Failure;
use crate::cli::probe;
use crate::config::{AdminToken, SecretString};

/// Maximum size of an answer: an overview of hundreds of nodes and shards is far below.
const LARGEST: usize = 16 << 20;
/// Environment variable with the admin token.
pub(in crate::cli) const TOKEN: &str = "ROOKERY_ADMIN_TOKEN";

/// Client of the admin API.
pub(super) struct AdminClient {
    urls: Vec<String>,
    token: Option<SecretString>,
    timeout: Duration,
    trust: Trust,
    debugs: bool,
}

/// Answer of a node.
pub(super) struct Answer {
    /// Address of the node that answered.
    pub(super) url: String,
    pub(super) status: u16,
    /// Body as JSON; null if there is none, or if it is none.
    pub(super) body: Value,
}

/// Reason for a missing answer.
enum Lost {
    /// Nothing was sent: another node may be asked.
    Unsent,
    /// The request was sent, and may have had its effect.
    Sent,
}

/// Checks that an address is one of a node itself, and returns it without a slash at its end.
pub(in crate::cli) fn http_url(text: &str) -> Result<String, String> {
    let url = text.strip_suffix('/').unwrap_or(text);
    match url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
    {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@']) => Ok(url.to_owned()),
        _ => Err("expected http://HOST:PORT or https://HOST:PORT, the address of the node itself".to_owned()),
    }
}

/// Returns the token of the file, or of the environment, or `None`.
pub(in crate::cli) fn token(file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    let (text, source) = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::Config(format!("{}: {error}", path.display())))?;
            (text, path.display().to_string())
        }
        None => (std::env::var(TOKEN).unwrap_or_default(), TOKEN.to_owned()),
    };
    // In the form of the setting, so that a node and its operators may use one file.
    let tokens =
        AdminToken::parse_all(&text).map_err(|reason| Failure::Config(format!("{source}: {reason}")))?;
    let first = tokens.into_iter().next().map(|token| token.token);
    if first.is_none() && file.is_some() {
        return Err(Failure::Config(format!("{source}: has no token")));
    }
    Ok(first)
}

// === impl AdminClient ===

impl AdminClient {
    pub(super) fn new(urls: Vec<String>, token: Option<SecretString>, timeout: Duration) -> AdminClient {
        AdminClient {
            urls,
            token,
            timeout,
            trust: Trust::System,
            debugs: false,
        }
    }

    /// Returns this client with the authorities that it trusts.
    pub(super) fn trusting(self, trust: Trust) -> AdminClient {
        AdminClient { trust, ..self }
    }

    /// Returns this client, which prints its requests if `debugs`.
    pub(super) fn debugging(self, debugs: bool) -> AdminClient {
        AdminClient { debugs, ..self }
    }

    /// Returns what a `GET` of the path answers.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.send(Method::GET, path, None).await?;
        let url = answer.url.clone();
        serde_json::from_value(answer.accepted()?).map_err(|error| Failure::NoNode {
            url,
            reason: format!("answered something else: {error}"),
        })
    }

    /// Makes a change, and returns the body of the answer.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.send(method, path, body).await?.accepted()
    }

    /// Returns the answer of the first node that can be reached, whatever its status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut unreached = Vec::new();
        for url in &self.urls {
            let lost = match self.exchange(url, &method, path, body).await {
                Ok((status, body)) => {
                    return Ok(Answer {
                        url: url.clone(),
                        status,
                        body: serde_json::from_slice(&body).unwrap_or_default(),
                    });
                }
                Err(lost) => lost,
            };
            // A repeated question does no harm; a repeated change might.
            if let Lost::Sent = lost
                && method != Method::GET
            {
                return Err(Failure::Unknown(format!("{url} did not answer")));
            }
            unreached.push(url.as_str());
        }
        Err(Failure::Unreachable(unreached.join(", ")))
    }

    /// Follows the server-sent events of the first node that can be reached.
    pub(super) async fn follow(&self, path: &str) -> Result<EventReader, Failure> {
        let body = self.download(Method::GET, path, "text/event-stream").await?;
        Ok(EventReader::new(body, self.timeout))
    }

    /// Returns the body of the first node that can be reached, which is still to be read.
    pub(super) async fn download(
        &self,
        method: Method,
        path: &str,
        accepts: &'static str,
    ) -> Result<Incoming, Failure> {
        let mut unreached = Vec::new();
        for url in &self.urls {
            let response = match self.open(url, &method, path, None, accepts).await {
                Ok(response) => response,
                Err(Lost::Sent) if method != Method::GET => {
                    return Err(Failure::Unknown(format!("{url} did not answer")));
                }
                Err(_) => {
                    unreached.push(url.as_str());
                    continue;
                }
            };
            if response.status().is_success() {
                return Ok(response.into_body());
            }
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            let answer = Answer {
                url: url.clone(),
                status,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let refused = answer.accepted().err();
            return Err(refused.unwrap_or_else(|| Failure::Unreachable(url.clone())));
        }
        Err(Failure::Unreachable(unreached.join(", ")))
    }

    async fn exchange(
        &self,
        url: &str,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Bytes), Lost> {
        let answering = async {
            let response = self.open(url, method, path, body, "application/json").await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            Ok((status, body.map_err(|_| Lost::Sent)?.to_bytes()))
        };
        let answered = tokio::time::timeout(self.timeout * 2, answering).await;
        answered.unwrap_or(Err(Lost::Sent))
    }

    /// Sends a request, and returns the response, whose body is still to be read.
    async fn open(
        &self,
        url: &str,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        accepts: &'static str,
    ) -> Result<Response<Incoming>, Lost> {
        if self.debugs {
            eprintln!("{}", curl::command(url, method, path, body, self.token.is_some()));
        }
        let connecting = tokio::time::timeout(self.timeout, probe::connect(url, &self.trust));
        let Ok(Ok(stream)) = connecting.await else {
            return Err(Lost::Unsent);
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, probe::host(url))
            .header(USER_AGENT, concat!("rookery-ctl/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, accepts)
            .header(CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.0));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request.body(Full::new(body)).map_err(|_| Lost::Unsent)?;
        let asking = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Ends with the connection, which this request has for itself.
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let answered = tokio::time::timeout(self.timeout, asking).await;
        answered
            .map_err(|_| Lost::Sent)?
            .map_err(|_: hyper::Error| Lost::Sent)
    }
}

// === impl Answer ===

impl Answer {
    /// Returns the body of an answer with success.
    pub(super) fn accepted(self) -> Result<Value, Failure> {
        let Answer { url, status, body } = self;
        let detail = body["detail"].as_str();
        match (status, detail) {
            (200..300, _) => Ok(body),
            (401 | 403, Some(detail)) => Err(Failure::NotAllowed(format!("{url}: {detail}"))),
            (504, Some(detail)) => Err(Failure::Unknown(format!("{url}: {detail}"))),
            // A path of the admin API that is unknown: this is the port for clients, or a node of another version.
            (404, Some("this path does not exist")) => Err(Failure::NoNode {
                url,
                reason: "has no admin API: --url must name the port of server.admin".to_owned(),
            }),
            (_, Some(detail)) => Err(Failure::Refused(format!("{url}: {detail}"))),
            (_, None) => Err(Failure::NoNode {
                url,
                reason: format!("answered {status}, which is not the answer of a node"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_that_of_a_node_itself() {
        for (text, url) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://node-1/", "http://node-1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            (
                "https://node-1.example.org:8443/",
                "https://node-1.example.org:8443",
            ),
        ] {
            assert_eq!(http_url(text).as_deref(), Ok(url));
        }
        for text in [
            "wss://chat.example.org",
            "https://",
            "127.0.0.1:8080",
            "http://",
            "http://a:1/x",
        ] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn exit_code_follows_from_the_status_of_the_answer() {
        let code = |status: u16, detail: Option<&str>| {
            let answer = Answer {
                url: "u".to_owned(),
                status,
                body: detail.map_or(Value::Null, |detail| json!({ "detail": detail })),
            };
            answer
                .accepted()
                .map_or_else(|failure| failure.exit_code(), |_| 0)
        };
        for (status, detail, expected) in [
            (200, None, 0),
            (204, None, 0),
            (400, Some("x"), 1),
            (401, Some("x"), 4),
            (403, Some("x"), 4),
            (404, Some("the cluster has no such node"), 1),
            (404, Some("this path does not exist"), 1),
            (409, Some("x"), 1),
            (503, Some("x"), 1),
            (504, Some("x"), 5),
            // A proxy, or another program.
            (401, None, 1),
            (502, None, 1),
        ] {
            assert_eq!(code(status, detail), expected, "{status} {detail:?}");
        }
    }

    #[test]
    fn token_of_a_file_may_have_the_form_of_the_setting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert_eq!(token(Some(&path)).unwrap_err().exit_code(), 64);
        for (text, expected) in [
            ("0123456789abcdef\n", Some("0123456789abcdef")),
            ("# mine\noperate:me:0123456789abcdef", Some("0123456789abcdef")),
            ("", None),
            ("short", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let found = token(Some(&path));
            match expected {
                Some(expected) => assert_eq!(found.unwrap().unwrap().0, expected),
                None => assert_eq!(found.unwrap_err().exit_code(), 64, "{text}"),
            }
        }
    }
}
