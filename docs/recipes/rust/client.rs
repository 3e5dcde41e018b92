//! Client: shows the messages of its user's conversations, and sends each line of the keyboard to one of them.
//!
//! ```text
//! CHAT_URL=… cargo run --bin recipe-client ACCESS.json
//! ```
//!
//! ACCESS.json is what recipe-backend printed. `node/chat-client` is a larger client with the same rules.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::error::Error;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Time without a frame after which a connection is dead: the server pings more often.
const IDLE_TIMEOUT: Duration = Duration::from_secs(40);
/// Id of the command `sync`, to tell its refusals from those of messages.
const SYNC: u64 = 1;

/// What outlives a connection.
struct Client {
    user: String,
    /// The last position applied of each conversation.
    seen: BTreeMap<String, u64>,
    /// Commands without an acknowledgement, oldest first. Only the first is in flight: so the order stays.
    outbox: VecDeque<Value>,
    /// The session, and its last event, to resume it.
    session: Option<(String, u64)>,
}

impl Client {
    /// Handles a frame of the server, and returns the frames that answer it.
    fn handle(&mut self, frame: &Value) -> Result<Vec<Value>> {
        if let (Some(n), Some((_, last))) = (frame["n"].as_u64(), &mut self.session) {
            *last = n;
        }
        match text(&frame["t"]) {
            "ready" => {
                println!("connected as {}", text(&frame["user"]));
                self.session = frame["sid"]
                    .as_str()
                    .map(|sid| (sid.to_owned(), frame["n"].as_u64().unwrap_or(0)));
                let sync = (frame["resumed"] != true).then(|| self.sync(&Value::Null));
                return Ok(sync.into_iter().chain(self.outbox.front().cloned()).collect());
            }
            "ack"
                if self
                    .outbox
                    .front()
                    .is_some_and(|first| first["cid"] == frame["cid"]) =>
            {
                self.outbox.pop_front();
                return Ok(self.outbox.front().cloned().into_iter().collect());
            }
            "err" if frame["temp"] != true => {
                return Err(format!("{}: {}", frame["code"], frame["msg"]).into());
            }
            "resync" | "activity" => return Ok(vec![self.sync(&Value::Null)]),
            "delta" | "conv" => {
                let items = frame["items"]
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![frame.clone()]);
                // Behind a gap the newest events stand alone; earlier ones are no longer kept.
                let events = items
                    .iter()
                    .flat_map(|item| item["events"].as_array().into_iter().flatten());
                let mut answers: Vec<Value> = events.filter_map(|event| self.apply(event, true)).collect();
                if frame["next"].is_string() {
                    answers.push(self.sync(&frame["next"]));
                }
                return Ok(answers);
            }
            _ if frame["s"].is_u64() => {
                let jump = !self.seen.contains_key(text(&frame["c"]));
                return Ok(self.apply(frame, jump).into_iter().collect());
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    /// Applies an event of a conversation's log, in order and once. If events before it are missing, it asks for them.
    fn apply(&mut self, event: &Value, jump: bool) -> Option<Value> {
        let (c, s) = (text(&event["c"]), event["s"].as_u64()?);
        let last = self.seen.get(c).copied().unwrap_or(0);
        if s <= last {
            return None;
        }
        if s != last + 1 && !jump {
            return Some(self.sync(&Value::Null));
        }
        self.seen.insert(c.to_owned(), s);
        if event["t"] != "msg" || event["deleted"] == true {
            return None;
        }
        println!("{}: {}", text(&event["u"]), text(&event["b"]["text"]));
        (event["u"] != self.user.as_str()).then(|| json!({ "t": "read", "c": c, "s": s }))
    }

    fn sync(&self, cursor: &Value) -> Value {
        let have: Vec<Value> = self.seen.iter().take(200).map(|(c, s)| json!([c, s])).collect();
        match cursor {
            Value::Null => json!({ "t": "sync", "id": SYNC, "have": have }),
            cursor => json!({ "t": "sync", "id": SYNC, "have": have, "cursor": cursor }),
        }
    }
}

/// The user, a token and the conversation. An application asks its back end, and again when the token has expired.
async fn access() -> Result<Value> {
    let file = env::args().nth(1).ok_or("usage: recipe-client ACCESS.json")?;
    Ok(serde_json::from_str(&tokio::fs::read_to_string(file).await?)?)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Runs one connection to its end. Returns the time after which to connect again, or `None` after the end of the keyboard.
async fn converse(
    client: &mut Client,
    keyboard: &mut Lines<BufReader<Stdin>>,
    typing: &mut bool,
) -> Result<Option<u64>> {
    let access = access().await?;
    let url = env::var("CHAT_URL")?.replacen("http", "ws", 1) + "/v1/ws";
    let mut request = url.into_client_request()?;
    let protocol = HeaderValue::from_static("chat.v1.json");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let connected = timeout(Duration::from_secs(10), tokio_tungstenite::connect_async(request)).await;
    let Ok(Ok((socket, _))) = connected else {
        return Ok(Some(1_000));
    };
    let (mut sink, mut stream) = socket.split();
    let mut auth =
        json!({ "t": "auth", "token": access["token"], "device": format!("{}-terminal", client.user) });
    if let Some((sid, n)) = &client.session {
        auth["resume"] = json!({ "sid": sid, "n": n });
    }
    if sink.send(Message::text(auth.to_string())).await.is_err() {
        return Ok(Some(1_000));
    }
    let mut confirm = interval(Duration::from_secs(10));
    let mut again: Option<Instant> = None;
    let mut behind = false;
    let mut retry_ms = 1_000;
    let mut idle_until = Instant::now() + IDLE_TIMEOUT;
    while *typing || !client.outbox.is_empty() {
        let mut frames = Vec::new();
        tokio::select! {
            received = stream.next() => {
                idle_until = Instant::now() + IDLE_TIMEOUT;
                match received {
                    Some(Ok(Message::Text(frame))) => {
                        let frame: Value = serde_json::from_str(&frame)?;
                        retry_ms = frame["retry_ms"].as_u64().unwrap_or(retry_ms);
                        if frame["t"] == "err" && frame["temp"] == true {
                            again = Some(Instant::now() + Duration::from_millis(retry_ms));
                            behind |= frame["id"] == SYNC;
                        }
                        frames = client.handle(&frame)?;
                    }
                    Some(Ok(Message::Close(Some(close)))) if u16::from(close.code) >= 4_400 => {
                        return Err(format!("closed with {}", close.code).into());
                    }
                    Some(Ok(_)) => {}
                    _ => return Ok(Some(retry_ms)),
                }
            }
            () = sleep_until(idle_until) => return Ok(Some(retry_ms)),
            line = keyboard.next_line(), if *typing => match line? {
                Some(line) => {
                    let cid = ulid::Ulid::generate().to_string();
                    let send = json!({ "t": "send", "c": access["c"], "cid": cid, "b": { "text": line } });
                    if client.outbox.is_empty() && client.session.is_some() {
                        frames.push(send.clone());
                    }
                    client.outbox.push_back(send);
                }
                None => *typing = false,
            },
            _ = confirm.tick() => {
                frames.extend(client.session.as_ref().map(|(_, n)| json!({ "t": "hb", "n": n })));
            }
            () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                again = None;
                frames.extend(std::mem::take(&mut behind).then(|| client.sync(&Value::Null)));
                frames.extend(client.outbox.front().cloned());
            }
        }
        for frame in frames {
            if sink.send(Message::text(frame.to_string())).await.is_err() {
                return Ok(Some(retry_ms));
            }
        }
    }
    sink.close().await?;
    Ok(None)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let user = text(&access().await?["user"]).to_owned();
    let mut client = Client {
        user,
        seen: BTreeMap::new(),
        outbox: VecDeque::new(),
        session: None,
    };
    let mut keyboard = BufReader::new(tokio::io::stdin()).lines();
    let mut typing = true;
    while let Some(wait) = converse(&mut client, &mut keyboard, &mut typing).await? {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    // A read of the keyboard cannot be cancelled, and would keep the runtime.
    std::process::exit(0)
}
