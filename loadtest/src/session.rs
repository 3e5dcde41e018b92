//! Session that is driven step by step, beside the clients of the load.
//!
//! It serves faults with members of their own, reads that are judged at once, and measurements of a single session.
//! Frames are JSON values, because speed does not matter here.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use protocol::{ClientCommand, SUBPROTOCOL};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::wire;

/// Session with an open connection.
pub(crate) struct ClientSession {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Events that arrived before an awaited response.
    events: VecDeque<Value>,
    /// Session id, which with `n` identifies the point of a resume.
    pub(crate) sid: String,
    /// Session seq of the last event.
    pub(crate) n: u64,
    pub(crate) resumed: bool,
}

/// Node and credentials of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientLogin<'a> {
    /// Address of the node, host:port.
    pub(crate) node: &'a str,
    pub(crate) token: &'a str,
    pub(crate) device: &'a str,
    /// Session to resume, and the session seq of the last applied event; `None` starts a new session.
    pub(crate) resume: Option<(&'a str, u64)>,
}

/// Reason for a missing response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `retry_ms` is set if the same command may succeed after this time.
    #[error("refused: {code}")]
    Refused { code: String, retry_ms: Option<u64> },
    #[error("lost: {0}")]
    Lost(String),
    #[error("no response within {0:?}")]
    Timeout(Duration),
}

/// Timeout of one response: longer than a failover, as the node itself retries for ten seconds.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(12);

// === impl ClientSession ===

impl ClientSession {
    /// Connects to a node and authenticates.
    pub(crate) async fn open(login: ClientLogin<'_>) -> Result<ClientSession, Error> {
        let opened = tokio::time::timeout(RESPONSE_TIMEOUT, ClientSession::dial(login)).await;
        opened.map_err(|_| Error::Timeout(RESPONSE_TIMEOUT))?
    }

    async fn dial(login: ClientLogin<'_>) -> Result<ClientSession, Error> {
        let stream = TcpStream::connect(login.node).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut request = format!("ws://{}{}", login.node, wire::PATH)
            .into_client_request()
            .map_err(lost)?;
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, _) = client_async(request, stream).await.map_err(lost)?;
        let mut session = ClientSession {
            socket,
            // 1 is the id of the authentication.
            next_id: 2,
            events: VecDeque::new(),
            sid: String::new(),
            n: 0,
            resumed: false,
        };
        // The first frame is `hello`.
        session.frame().await?;
        let auth = wire::auth(login.token, login.device, "step", login.resume);
        let auth = wire::encode(Some(1), auth);
        session.socket.send(Message::text(auth)).await.map_err(lost)?;
        let ready = session.answer(1).await?;
        session.sid = ready["sid"].as_str().unwrap_or_default().to_owned();
        session.n = ready["n"].as_u64().unwrap_or(0);
        session.resumed = ready["resumed"].as_bool().unwrap_or(false);
        Ok(session)
    }

    /// Sends a command and returns its response.
    pub(crate) async fn ask(&mut self, command: &ClientCommand) -> Result<Value, Error> {
        let id = self.say(command).await?;
        let answer = tokio::time::timeout(RESPONSE_TIMEOUT, self.answer(id)).await;
        answer.map_err(|_| Error::Timeout(RESPONSE_TIMEOUT))?
    }

    /// Sends a command, and repeats it after temporary refusals until `deadline`. The `cid` prevents a second effect.
    pub(crate) async fn ask_until(
        &mut self,
        command: &ClientCommand,
        deadline: Instant,
    ) -> Result<Value, Error> {
        loop {
            match self.ask(command).await {
                Err(Error::Refused {
                    retry_ms: Some(ms), ..
                }) if Instant::now() < deadline => {
                    // At least 20 ms against a busy loop, at most 500 ms to detect the end of an outage soon.
                    tokio::time::sleep(Duration::from_millis(ms.clamp(20, 500))).await;
                }
                answer => return answer,
            }
        }
    }

    /// Sends a command without waiting for the response. Returns the `id` that the response will carry.
    pub(crate) async fn say(&mut self, command: &ClientCommand) -> Result<u64, Error> {
        let id = self.next_id;
        self.next_id += 1;
        let frame = wire::encode(Some(id), command.clone());
        self.socket.send(Message::text(frame)).await.map_err(lost)?;
        Ok(id)
    }

    /// Sends a frame as it is, without an `id`.
    pub(crate) async fn shout(&mut self, frame: &str) -> Result<(), Error> {
        self.socket.send(Message::text(frame)).await.map_err(lost)
    }

    /// Waits for the response to `id`. Earlier events are held for [`ClientSession::event`].
    async fn answer(&mut self, id: u64) -> Result<Value, Error> {
        loop {
            let frame = self.frame().await?;
            if frame["id"].as_u64() == Some(id) {
                return refused(frame);
            }
            // Only numbered frames are events; the responses to other commands are discarded.
            if frame["n"].is_u64() {
                self.events.push_back(frame);
            }
        }
    }

    /// Waits for the next response to any command. Events are discarded.
    pub(crate) async fn any_answer(&mut self) -> Result<Value, Error> {
        loop {
            let frame = self.frame().await?;
            if frame["id"].is_u64() {
                return Ok(frame);
            }
        }
    }

    /// Returns the next event; `None` if none arrives until then.
    pub(crate) async fn event(&mut self, until: Instant) -> Result<Option<Value>, Error> {
        // Held events first, because they are older than those in the socket.
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        loop {
            match tokio::time::timeout_at(until, self.frame()).await {
                Err(_) => return Ok(None),
                Ok(Ok(frame)) if frame["n"].is_u64() => return Ok(Some(frame)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// Discards the held events.
    pub(crate) fn forget_events(&mut self) {
        self.events.clear();
    }

    async fn frame(&mut self) -> Result<Value, Error> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).map_err(lost)?;
                    if let Some(n) = frame["n"].as_u64() {
                        // `max`: a repeated number must not move the resume point back.
                        self.n = self.n.max(n);
                    }
                    return Ok(frame);
                }
                Some(Ok(Message::Close(frame))) => {
                    let why = frame.map_or_else(String::new, |frame| u16::from(frame.code).to_string());
                    return Err(Error::Lost(format!("closed {why}")));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(error)),
                None => return Err(Error::Lost("end of stream".to_owned())),
            }
        }
    }
}

fn refused(frame: Value) -> Result<Value, Error> {
    if frame["t"] != "err" {
        return Ok(frame);
    }
    Err(Error::Refused {
        code: frame["code"].as_str().unwrap_or("unnamed").to_owned(),
        retry_ms: frame["retry_ms"].as_u64(),
    })
}

fn lost(error: impl ToString) -> Error {
    Error::Lost(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_server::{Defect, FakeServer};
    use protocol::{ConversationId, ConversationKind};

    #[test]
    fn a_session_asks_receives_and_goes_on_at_another_node() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let fake = FakeServer::start(2, 3, false, Defect::None).await;
            let login = |node, resume| ClientLogin {
                node,
                token: "dev:ann",
                device: "d",
                resume,
            };
            let mut session = ClientSession::open(login(&fake.nodes[0], None)).await.unwrap();
            let create = wire::create(ConversationKind::Group, "x", vec![wire::user("bob")]);
            let made = session.ask(&create).await.unwrap();
            let c = ConversationId::parse(made["c"].as_str().unwrap()).unwrap();
            let send = wire::send(&c, wire::message_id("y"), r#"{"text":"hi"}"#.to_owned());
            assert_eq!(session.ask(&send).await.unwrap()["s"], 2);
            let until = Instant::now() + RESPONSE_TIMEOUT;
            let event = session.event(until).await.unwrap().unwrap();
            assert_eq!((event["t"].as_str(), session.n), (Some("msg"), 1));
            let log = wire::hist(&c, 0, 7);
            let page = session.ask(&log).await.unwrap();
            assert_eq!(page["events"].as_array().map(Vec::len), Some(2));

            let (sid, n) = (session.sid.clone(), session.n);
            drop(session);
            let again = ClientSession::open(login(&fake.nodes[1], Some((&sid, n))))
                .await
                .unwrap();
            assert!(again.resumed && again.n == n);
            let mut other = ClientSession::open(ClientLogin {
                token: "dev:eve",
                ..login(&fake.nodes[1], None)
            })
            .await
            .unwrap();
            let refused = other.ask(&log).await;
            assert!(matches!(refused, Err(Error::Refused { code, retry_ms: None }) if code == "not_member"));
        });
    }
}
