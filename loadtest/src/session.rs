//! One session that is driven step by step, beside the clients of the load: for faults that need a member of their own,
//! for reads whose answers are judged at once, and for what only a single session can measure. Frames are JSON values:
//! nothing here is fast, and nothing has to be.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::wire;

/// A connected session.
pub(crate) struct Session {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Events that arrived while an answer was awaited.
    events: VecDeque<Value>,
    /// With `n`, what may be resumed.
    pub(crate) sid: String,
    /// The number of the last event.
    pub(crate) n: u64,
    pub(crate) resumed: bool,
}

/// Whose session, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    /// host:port.
    pub(crate) node: &'a str,
    pub(crate) token: &'a str,
    pub(crate) device: &'a str,
    /// The session that it goes on with, and the last event of it that was applied.
    pub(crate) resume: Option<(&'a str, u64)>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// With a time, the same may succeed after so many milliseconds.
    #[error("refused: {code}")]
    Refused { code: String, retry_ms: Option<u64> },
    #[error("lost: {0}")]
    Lost(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// How long one answer may take: longer than a failover, as the node itself tries for ten seconds.
const ANSWER: Duration = Duration::from_secs(12);

// === impl Session ===

impl Session {
    /// Connects and authenticates.
    pub(crate) async fn open(login: Login<'_>) -> Result<Session, Error> {
        let opened = tokio::time::timeout(ANSWER, Session::dial(login)).await;
        opened.map_err(|_| Error::Timeout(ANSWER))?
    }

    async fn dial(login: Login<'_>) -> Result<Session, Error> {
        let stream = TcpStream::connect(login.node).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut request = format!("ws://{}{}", login.node, wire::PATH)
            .into_client_request()
            .map_err(lost)?;
        let protocol = HeaderValue::from_static(wire::SUBPROTOCOL);
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, _) = client_async(request, stream).await.map_err(lost)?;
        let mut session = Session {
            socket,
            next_id: 2,
            events: VecDeque::new(),
            sid: String::new(),
            n: 0,
            resumed: false,
        };
        session.frame().await?;
        let auth = wire::auth(1, login.token, login.device, "step", login.resume);
        session.socket.send(Message::text(auth)).await.map_err(lost)?;
        let ready = session.answer(1).await?;
        session.sid = ready["sid"].as_str().unwrap_or_default().to_owned();
        session.n = ready["n"].as_u64().unwrap_or(0);
        session.resumed = ready["resumed"].as_bool().unwrap_or(false);
        Ok(session)
    }

    /// Says something that has an answer, and returns it.
    pub(crate) async fn ask(&mut self, command: &Value) -> Result<Value, Error> {
        let id = self.say(command).await?;
        let answer = tokio::time::timeout(ANSWER, self.answer(id)).await;
        answer.map_err(|_| Error::Timeout(ANSWER))?
    }

    /// The same, again after each temporary refusal until it is done: a command with its `cid` is done once.
    pub(crate) async fn ask_until(&mut self, command: &Value, deadline: Instant) -> Result<Value, Error> {
        loop {
            match self.ask(command).await {
                Err(Error::Refused {
                    retry_ms: Some(ms), ..
                }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(ms.clamp(20, 500))).await;
                }
                answer => return answer,
            }
        }
    }

    /// Says something without waiting for its answer; returns the `id` that the answer will carry.
    pub(crate) async fn say(&mut self, command: &Value) -> Result<u64, Error> {
        let (mut frame, id) = (command.clone(), self.next_id);
        self.next_id += 1;
        frame["id"] = json!(id);
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .map_err(lost)?;
        Ok(id)
    }

    /// Sends a frame as it is, whether or not anything is answered.
    pub(crate) async fn shout(&mut self, frame: &str) -> Result<(), Error> {
        self.socket.send(Message::text(frame)).await.map_err(lost)
    }

    /// The answer to `id`; events that come before it are kept for [`Session::event`].
    async fn answer(&mut self, id: u64) -> Result<Value, Error> {
        loop {
            let frame = self.frame().await?;
            if frame["id"].as_u64() == Some(id) {
                return refused(frame);
            }
            if frame["n"].is_u64() {
                self.events.push_back(frame);
            }
        }
    }

    /// The next answer, whatever it answers.
    pub(crate) async fn any_answer(&mut self) -> Result<Value, Error> {
        loop {
            let frame = self.frame().await?;
            if frame["id"].is_u64() {
                return Ok(frame);
            }
        }
    }

    /// The next event; `None` if there is none until then.
    pub(crate) async fn event(&mut self, until: Instant) -> Result<Option<Value>, Error> {
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

    /// Lets go what arrived while answers were awaited.
    pub(crate) fn forget_events(&mut self) {
        self.events.clear();
    }

    async fn frame(&mut self) -> Result<Value, Error> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).map_err(lost)?;
                    if let Some(n) = frame["n"].as_u64() {
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
    use crate::fake::{Defect, Fake};

    #[test]
    fn a_session_asks_receives_and_goes_on_at_another_node() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let fake = Fake::start(2, 3, false, Defect::None).await;
            let login = |node, resume| Login {
                node,
                token: "dev:ann",
                device: "d",
                resume,
            };
            let mut session = Session::open(login(&fake.nodes[0], None)).await.unwrap();
            let create = json!({"t": "create", "kind": "group", "cid": "x", "members": ["bob"]});
            let made = session.ask(&create).await.unwrap();
            let send = json!({"t": "send", "c": made["c"], "cid": "y", "b": {"text": "hi"}});
            assert_eq!(session.ask(&send).await.unwrap()["s"], 2);
            let until = Instant::now() + ANSWER;
            let event = session.event(until).await.unwrap().unwrap();
            assert_eq!((event["t"].as_str(), session.n), (Some("msg"), 1));
            let log = json!({"t": "hist", "c": made["c"], "after": 0, "limit": 7});
            let page = session.ask(&log).await.unwrap();
            assert_eq!(page["events"].as_array().map(Vec::len), Some(2));

            let (sid, n) = (session.sid.clone(), session.n);
            drop(session);
            let again = Session::open(login(&fake.nodes[1], Some((&sid, n))))
                .await
                .unwrap();
            assert!(again.resumed && again.n == n);
            let mut other = Session::open(Login {
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
