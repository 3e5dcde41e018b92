//! A cluster for the harness's own tests: several listeners over one log in memory, which speak enough of the protocol,
//! refuse, disconnect and resync at random, and break one promise on request.

mod core;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use futures::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::wire::SUBPROTOCOL;

/// The promise that the fake breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Defect {
    None,
    /// Acks a message that is not in the log.
    LosesAcked,
    /// Takes a retry for a new message.
    ForgetsCids,
    /// Leaves an event out of a live stream, and numbers on.
    SkipsLive,
    /// Leaves an event number out.
    SkipsNumber,
    /// Delivers another body to one receiver.
    AltersBody,
    /// Delivers an event under two places to different receivers.
    Forks,
    /// Delivers an event with another time to one receiver, so little off that only comparing shows it.
    ForksQuietly,
    /// Answers one message twice.
    AcksTwice,
    /// Never answers one message.
    StaysSilent,
    /// Resumes a session without an event that was missed, and numbers on.
    ResumeSkips,
    /// Resumes a session somewhere else than was asked for.
    ResumeElsewhere,
    /// Tells of a cursor that has gone back.
    CursorFalls,
    /// Counts one unread message too many.
    Miscounts,
    /// Serves the words of a deleted message.
    ServesDeleted,
    /// Goes on with a removed member as if it were there.
    KeepsMember,
    /// Leaves the removal out of what the removed is sent, says `resync`, and goes on with what comes after.
    SkipsRemoval,
    /// Answers those who were removed as if they were members.
    AnswersRemoved,
    /// Answers reads of one kind from before the last events.
    ReadsOld(&'static str),
    /// Refuses one command of a member for good.
    RefusesMember(&'static str),
    /// Refuses one message for good, and keeps it.
    RefusesAndKeeps,
    /// Leaves conversations that the client doesn't name out of the answer to `sync`.
    SyncLeavesOut,
    /// Leaves a conversation out of an inbox.
    LeavesOut,
    /// Sends a frame that is none.
    Garbles,
    /// Breaks no promise: hangs up right after `ready`, every second time.
    HangsUp,
}

/// The cluster. Its tasks end with the runtime.
pub(crate) struct Fake {
    pub(crate) nodes: Vec<String>,
    core: Rc<RefCell<Core>>,
}

struct Core {
    conversations: HashMap<String, Vec<Value>>,
    members: HashMap<String, BTreeSet<String>>,
    cids: HashMap<(String, String, String), Value>,
    /// What somebody has read.
    read: HashMap<(String, String), u64>,
    /// Whose cursors the others were told of.
    told: BTreeSet<(String, String)>,
    /// What was deleted, as it was.
    deleted: HashMap<(String, u64), Value>,
    sessions: HashMap<u64, Session>,
    next_session: u64,
    rng: StdRng,
    defect: Defect,
    /// Messages until the defect shows; then it shows once.
    fuse: u32,
    /// Whether connections break and commands are refused now and then.
    rough: Cell<bool>,
}

struct Session {
    user: String,
    sid: String,
    n: u64,
    out: mpsc::UnboundedSender<String>,
    /// The last events, for a resume.
    ring: VecDeque<(u64, Value)>,
    /// It was told to sync again once.
    resynced: bool,
    /// The conversations whose sender was refused, until the refused message comes again.
    gate: HashMap<String, String>,
}

// === impl Fake ===

impl Fake {
    pub(crate) async fn start(nodes: usize, seed: u64, rough: bool, defect: Defect) -> Fake {
        let core = Rc::new(RefCell::new(Core {
            conversations: HashMap::new(),
            members: HashMap::new(),
            cids: HashMap::new(),
            read: HashMap::new(),
            told: BTreeSet::new(),
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
        Fake { nodes: names, core }
    }

    /// Sessions that are open.
    pub(crate) fn online(&self) -> usize {
        self.core.borrow().sessions.len()
    }

    /// From now on nothing breaks by itself.
    pub(crate) fn calm(&self) {
        self.core.borrow().rough.set(false);
    }
}

fn choose_protocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response
        .headers_mut()
        .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// Answers `GET /v1/conversations/{c}/messages`, and tells whether the request was one.
async fn serve_http(stream: &mut TcpStream, core: &Rc<RefCell<Core>>) -> bool {
    let mut head = [0; 1024];
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
    let _ = tokio::io::AsyncReadExt::read(stream, &mut [0; 1024]).await;
    let _ = tokio::io::AsyncWriteExt::write_all(stream, answer.as_bytes()).await;
    true
}

async fn serve(mut stream: TcpStream, core: Rc<RefCell<Core>>) {
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
                    // Resumed on another socket: what this one still says comes too late.
                    if !core.sessions.contains_key(&session) { break }
                    if core.rough.get() && core.rng.random_bool(0.004) { break }
                    core.command(session, &command);
                    if core.rough.get() && core.rng.random_bool(0.004) { break } // done, and the answer is lost
                }
            }
        }
    }
    // The session stays for a resume; what it would have been told goes into its ring.
}
