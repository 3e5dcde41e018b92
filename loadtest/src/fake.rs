//! A cluster for the harness's own tests: several listeners over one log in memory, which speak enough of the protocol,
//! refuse, disconnect and resync at random, and break one promise on request.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
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
    /// Answers one message twice.
    AcksTwice,
    /// Never answers one message.
    StaysSilent,
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
    n: u64,
    out: mpsc::UnboundedSender<String>,
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

    /// From now on nothing breaks by itself.
    pub(crate) fn calm(&self) {
        self.core.borrow().rough.set(false);
    }
}

#[expect(clippy::result_large_err, reason = "the type is the library's")]
fn choose_protocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response
        .headers_mut()
        .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

async fn serve(stream: TcpStream, core: Rc<RefCell<Core>>) {
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
                let core = &mut *core.borrow_mut();
                if command["t"] == "auth" {
                    session = Some(core.login(&command, out.clone()));
                } else if let Some(session) = session {
                    if core.rough.get() && core.rng.random_bool(0.004) { break }
                    core.command(session, &command);
                    if core.rough.get() && core.rng.random_bool(0.004) { break } // done, and the answer is lost
                }
            }
        }
    }
    if let Some(session) = session {
        core.borrow_mut().sessions.remove(&session);
    }
}

// === impl Core ===

impl Core {
    fn login(&mut self, command: &Value, out: mpsc::UnboundedSender<String>) -> u64 {
        let user = command["token"]
            .as_str()
            .unwrap()
            .trim_start_matches("dev:")
            .to_owned();
        let session = self.next_session;
        self.next_session += 1;
        let _ = out.send(
            json!({"t":"ready","id":command["id"],"user":user,"sid":"s","resumed":false,"n":0}).to_string(),
        );
        self.sessions.insert(
            session,
            Session {
                user,
                n: 0,
                out,
                gate: HashMap::new(),
            },
        );
        session
    }

    /// Whether this is the moment to break the promise.
    fn strikes(&mut self, defect: Defect) -> bool {
        if self.defect != defect || self.fuse > 0 {
            return false;
        }
        self.defect = Defect::None;
        true
    }

    fn command(&mut self, session: u64, command: &Value) {
        let id = command["id"].clone();
        let user = self.sessions[&session].user.clone();
        let c = command["c"].as_str().unwrap_or_default().to_owned();
        let answer = match command["t"].as_str().unwrap() {
            "create" => {
                let c = format!("g_{}", command["cid"].as_str().unwrap().replace(['.', '-'], "_"));
                let mut members: BTreeSet<String> = command["members"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|user| user.as_str().unwrap().to_owned())
                    .collect();
                members.insert(user.clone());
                if !self.conversations.contains_key(&c) {
                    let first = json!({"t":"member","c":c,"s":1,"ts":1,"u":user,"who":user,"role":"owner","why":"create"});
                    self.conversations.insert(c.clone(), vec![first]);
                }
                self.members.insert(c.clone(), members);
                json!({"t":"conv","id":id,"c":c,"last":{"s":1,"mn":0,"ts":1}})
            }
            "open" => {
                json!({"t":"conv","id":id,"c":c,"last":{"s":self.conversations[&c].len(),"mn":0,"ts":1}})
            }
            "hist" => {
                let after = command["after"].as_u64().unwrap() as usize;
                let log = &self.conversations[&c];
                let page: Vec<_> = log.iter().skip(after).take(7).cloned().collect();
                json!({"t":"hist","id":id,"c":c,"more":after + page.len() < log.len(),"events":page})
            }
            "sync" => {
                let (mut as_of, mut items) = (Vec::new(), Vec::new());
                for have in command["have"].as_array().unwrap() {
                    let (c, s) = (have[0].as_str().unwrap(), have[1].as_u64().unwrap() as usize);
                    let log = &self.conversations[c];
                    as_of.push(json!([c, log.len()]));
                    let missed = &log[s..];
                    let window = &missed[missed.len().saturating_sub(5)..];
                    items.push(json!({"c":c,"events":window,"gap":window.len() < missed.len()}));
                }
                json!({"t":"delta","id":id,"as_of":as_of,"items":items,"next":null})
            }
            "send" => return self.send(session, &user, &c, command),
            _ => return,
        };
        self.say(session, answer);
    }

    fn send(&mut self, session: u64, user: &str, c: &str, command: &Value) {
        let (id, cid) = (&command["id"], command["cid"].as_str().unwrap());
        self.fuse = self.fuse.saturating_sub(1);
        let gate = self.sessions[&session].gate.get(c).cloned();
        let refuse = match gate {
            Some(refused) if refused != cid => true,
            _ => self.rough.get() && self.rng.random_bool(0.02),
        };
        if refuse {
            let gate = &mut self.sessions.get_mut(&session).unwrap().gate;
            gate.entry(c.to_owned()).or_insert(cid.to_owned());
            return self.say(
                session,
                json!({"t":"err","id":id,"code":"busy","http":503,"temp":true,"retry_ms":5,"msg":"full"}),
            );
        }
        self.sessions.get_mut(&session).unwrap().gate.remove(c);
        if self.strikes(Defect::StaysSilent) {
            return;
        }
        let key = (c.to_owned(), user.to_owned(), cid.to_owned());
        let known = if self.strikes(Defect::ForgetsCids) {
            self.log(c, user, command);
            None
        } else {
            self.cids.get(&key).cloned()
        };
        let mut ack = match known {
            Some(ack) => ack,
            None => {
                let ack = if self.strikes(Defect::LosesAcked) {
                    json!({"t":"ack","c":c,"cid":cid,"s":self.conversations[c].len() + 1,"mn":1,"ts":1})
                } else {
                    self.log(c, user, command)
                };
                self.cids.insert(key, ack.clone());
                ack
            }
        };
        ack["id"] = id.clone();
        if self.strikes(Defect::AcksTwice) {
            self.say(session, ack.clone());
        }
        self.say(session, ack);
    }

    /// Appends a message and publishes it.
    fn log(&mut self, c: &str, user: &str, command: &Value) -> Value {
        let log = self.conversations.get_mut(c).unwrap();
        let (s, mn) = (log.len() + 1, log.len());
        let event =
            json!({"t":"msg","c":c,"s":s,"mn":mn,"ts":s,"u":user,"cid":command["cid"],"b":command["b"]});
        log.push(event.clone());
        let members = self.members[c].clone();
        let receivers: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, session)| members.contains(&session.user))
            .map(|(id, _)| *id)
            .collect();
        for receiver in receivers {
            let mut event = event.clone();
            if self.strikes(Defect::SkipsLive) {
                continue;
            }
            if self.strikes(Defect::AltersBody) {
                event["b"]["y"] = "other".into();
            }
            if self.strikes(Defect::Forks) {
                event["ts"] = 1_000_000.into();
            }
            let skip = u64::from(self.strikes(Defect::SkipsNumber));
            let resync = self.rough.get() && self.rng.random_bool(0.003);
            let session = self.sessions.get_mut(&receiver).unwrap();
            session.n += 1 + skip;
            let frame = if resync {
                json!({"t":"resync","why":"slow"})
            } else {
                event
            };
            // `n` comes first on the wire, as the protocol has it.
            let _ = session
                .out
                .send(format!("{{\"n\":{},{}", session.n, &frame.to_string()[1..]));
        }
        json!({"t":"ack","c":c,"cid":command["cid"],"s":s,"mn":mn,"ts":s})
    }

    fn say(&self, session: u64, frame: Value) {
        let _ = self.sessions[&session].out.send(frame.to_string());
    }
}
