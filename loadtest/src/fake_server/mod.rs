//! Fake cluster for the harness's own tests: several listeners over one in-memory log.
//!
//! It speaks a part of the protocol, randomly refuses, disconnects and sends `resync`, and breaks one promise on
//! request.

mod core;
mod reads;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use futures::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// Promise that the fake cluster breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Defect {
    None,
    /// Acknowledges a message that is not in the log.
    LosesAcked,
    /// Stores a retried message a second time.
    ForgetsCids,
    /// Omits an event from a live stream, without a gap in the session seq.
    SkipsLive,
    /// Skips a session seq.
    SkipsNumber,
    /// Delivers a different body to one receiver.
    AltersBody,
    /// Delivers an event with a greatly different timestamp to one receiver.
    Forks,
    /// Delivers an event with a slightly different timestamp to one receiver, so that only a comparison detects it.
    ForksQuietly,
    /// Acknowledges one message twice.
    AcksTwice,
    /// Never acknowledges one message.
    StaysSilent,
    /// Resumes a session without one of the missed events, without a gap in the session seq.
    ResumeSkips,
    /// Resumes a session at a session seq other than the requested one.
    ResumeElsewhere,
    /// Sends a receipt with a cursor that has moved back.
    CursorFalls,
    /// Counts one unread message too many.
    Miscounts,
    /// Returns the body of a deleted message.
    ServesDeleted,
    /// Treats a removed member as a member.
    KeepsMember,
    /// Omits the removal event for the removed member, sends `resync`, and delivers later events.
    SkipsRemoval,
    /// Answers removed members as if they were members.
    AnswersRemoved,
    /// Answers one kind of reads from a state before the last events.
    ReadsOld(&'static str),
    /// Definitely refuses one command of a member.
    RefusesMember(&'static str),
    /// Definitely refuses one message, but stores it.
    RefusesAndKeeps,
    /// Omits conversations from the response to `sync` that the client does not name.
    SyncLeavesOut,
    /// Omits a conversation from a conversation list.
    LeavesOut,
    /// Sends a malformed frame.
    Garbles,
    /// Breaks no promise: closes every second connection right after `ready`.
    HangsUp,
}

/// Fake cluster. Its tasks end with the runtime.
pub(crate) struct FakeServer {
    pub(crate) nodes: Vec<String>,
    core: Rc<RefCell<FakeState>>,
}

struct FakeState {
    conversations: HashMap<String, Vec<Value>>,
    members: HashMap<String, BTreeSet<String>>,
    cids: HashMap<(String, String, String), Value>,
    /// Read position, by conversation and user.
    read: HashMap<(String, String), u64>,
    /// Members whose receipts were sent before, by conversation and user.
    delivered: BTreeSet<(String, String)>,
    /// Original events of deleted messages.
    deleted: HashMap<(String, u64), Value>,
    sessions: HashMap<u64, FakeSession>,
    next_session: u64,
    rng: StdRng,
    defect: Defect,
    /// Messages until the defect appears, which happens once.
    fuse: u32,
    /// `true` if connections break and commands are refused at random.
    rough: Cell<bool>,
}

struct FakeSession {
    user: String,
    sid: String,
    n: u64,
    out: mpsc::UnboundedSender<String>,
    ring: VecDeque<(u64, Value)>,
    /// `true` once the session has received a `resync`.
    resynced: bool,
    /// Refused client message id per conversation; later messages are refused until it is sent again.
    gate: HashMap<String, String>,
}

// === impl FakeServer ===

impl FakeServer {
    pub(crate) async fn start(nodes: usize, seed: u64, rough: bool, defect: Defect) -> FakeServer {
        let core = Rc::new(RefCell::new(FakeState {
            conversations: HashMap::new(),
            members: HashMap::new(),
            cids: HashMap::new(),
            read: HashMap::new(),
            delivered: BTreeSet::new(),
            deleted: HashMap::new(),
            sessions: HashMap::new(),
            next_session: 1,
            rng: StdRng::seed_from_u64(seed),
            defect,
            fuse: 50,
            rough: Cell::new(rough),
        }));
        let mut names = Vec::new();
        for _ in 0..nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            names.push(listener.local_addr().unwrap().to_string());
            let core = core.clone();
            tokio::task::spawn_local(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(serve(stream, core.clone()));
                }
            });
        }
        FakeServer { nodes: names, core }
    }

    /// Returns the number of sessions.
    pub(crate) fn online(&self) -> usize {
        self.core.borrow().sessions.len()
    }

    /// Ends the random failures.
    pub(crate) fn quiet(&self) {
        self.core.borrow().rough.set(false);
    }
}

fn choose_protocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert(
        "sec-websocket-protocol",
        HeaderValue::from_static(protocol::SUBPROTOCOL),
    );
    Ok(response)
}

/// Answers `GET /v1/conversations/{c}/messages`. Returns `false` for other requests, which stay unread.
async fn serve_http(stream: &mut TcpStream, core: &Rc<RefCell<FakeState>>) -> bool {
    let mut head = [0; 1024];
    // Peeked: the bytes of a WebSocket handshake must stay in the socket.
    let Ok(read) = stream.peek(&mut head).await else {
        return true;
    };
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    let Some(c) = head
        .strip_prefix("GET /v1/conversations/")
        .and_then(|rest| rest.split('/').next())
    else {
        return false;
    };
    let user = head
        .split("Bearer dev:")
        .nth(1)
        .and_then(|rest| rest.split('\r').next());
    let (status, body) = core.borrow_mut().messages(c, user.unwrap_or_default());
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Consumed first: a close with unread bytes would reset the connection, and the response might be lost.
    let _ = tokio::io::AsyncReadExt::read(stream, &mut [0; 1024]).await;
    let _ = tokio::io::AsyncWriteExt::write_all(stream, answer.as_bytes()).await;
    true
}

async fn serve(mut stream: TcpStream, core: Rc<RefCell<FakeState>>) {
    if serve_http(&mut stream, &core).await {
        return;
    }
    let accept = tokio_tungstenite::accept_hdr_async(stream, choose_protocol);
    let Ok(mut socket) = accept.await else { return };
    let (out, mut frames) = mpsc::unbounded_channel();
    let _ = out.send(json!({"t":"hello","proto":1,"hb_ms":30000}).to_string());
    let mut session = None;
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { break };
                if socket.send(Message::text(frame)).await.is_err() { break }
            }
            message = socket.next() => {
                let Some(Ok(message)) = message else { break };
                let Message::Text(text) = message else { continue };
                let command: Value = serde_json::from_str(&text).unwrap();
                if command["t"] == "auth" {
                    let hangs_up = {
                        let core = &mut *core.borrow_mut();
                        session = Some(core.login(&command, out.clone()));
                        core.defect == Defect::HangsUp && core.rng.random_bool(0.5)
                    };
                    if hangs_up {
                        // `ready` is still queued, because this branch runs instead of the one that writes.
                        while let Ok(frame) = frames.try_recv() {
                            let _ = socket.feed(Message::text(frame)).await;
                        }
                        let _ = socket.close(None).await; // in one piece with what was fed
                        break;
                    }
                    continue;
                }
                let core = &mut *core.borrow_mut();
                if let Some(session) = session {
                    // The session was resumed on another connection, so commands of this one are too late.
                    if !core.sessions.contains_key(&session) { break }
                    if core.rough.get() && core.rng.random_bool(0.004) { break }
                    core.command(session, &command);
                    if core.rough.get() && core.rng.random_bool(0.004) { break } // done, and the answer is lost
                }
            }
        }
    }
    // The session remains for a resume; its further events go to its replay buffer.
}
