//! `rookery chat`: a small terminal client, and an example of a client that follows the protocol's rules.
//!
//! It stores each change until the server has acknowledged it, and resends it with the same `cid` after a reconnect. It
//! applies an event only if it is the next one of its conversation. It follows the advice of close codes. After the end
//! of a connection it continues at the next of its nodes, and resumes the session there.
//!
//! `model` contains these rules and performs no I/O, `nodes` the choice of the node. This module has the socket, the
//! keyboard and the timers.

mod model;
mod nodes;
mod typed;
mod words;

use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use futures::{SinkExt, StreamExt};
use protocol::{CloseAdvice, SUBPROTOCOL, UserId, close};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use self::model::{ChatModel, ClientAction};
use self::nodes::{NodeRotation, NodeUrl};

/// Maximum pause between two attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pause after the first failed attempt.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Interval at which received events are confirmed.
const CONFIRM: Duration = Duration::from_secs(1);

/// Arguments of `rookery chat`.
#[derive(Args)]
pub struct ChatArgs {
    /// The URLs of nodes, e.g. ws://127.0.0.1:8080: the option several times, or one list with commas. The client begins
    /// at the first, and goes on at the next when a node dies, drains or cannot be reached.
    #[arg(
        long = "url",
        value_name = "URL",
        env = "ROOKERY_CHAT_URL",
        value_delimiter = ',',
        default_value = "ws://127.0.0.1:8080"
    )]
    urls: Vec<NodeUrl>,
    /// The id of the user to log in as.
    #[arg(long)]
    user: UserId,
    /// The access token. Default: the development token of the user.
    #[arg(long, env = "ROOKERY_CHAT_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Cause of a connection's end.
enum ConnectionEnd {
    Quit,
    /// The client reconnects after this time; `None`: after a backoff.
    Again(Option<Duration>),
    /// Reconnecting is useless; the text gives the reason.
    Stop(String),
}

type Keyboard = Lines<BufReader<Stdin>>;

// === impl ChatArgs ===

impl ChatArgs {
    /// Runs the client until the person quits or the server forbids reconnecting.
    ///
    /// # Errors
    /// The reason of the server for closing the connection.
    pub async fn run(self) -> Result<(), String> {
        let token = self.token.unwrap_or_else(|| format!("dev:{}", self.user));
        let mut nodes = NodeRotation::new(self.urls);
        let mut model = ChatModel::new(self.user, token);
        let mut keyboard = BufReader::new(tokio::io::stdin()).lines();
        let mut attempt = 0;
        loop {
            let node = nodes.current();
            let end = match connect(node).await {
                Ok(socket) => {
                    model.connected(node.authority());
                    converse(socket, &mut model, &mut keyboard, &mut attempt).await
                }
                Err(why) => ended(format_args!("! {why}")),
            };
            match end {
                ConnectionEnd::Quit => return Ok(()),
                ConnectionEnd::Stop(why) => return Err(why),
                ConnectionEnd::Again(pause) => {
                    let pause = pause.unwrap_or_else(|| jitter(attempt));
                    attempt += 1;
                    nodes.advance();
                    let line = format!(
                        "! not connected; trying {} in {:.1} s",
                        nodes.current().authority(),
                        pause.as_secs_f64()
                    );
                    if !print(line)? || wait(pause, &mut model, &mut keyboard).await? {
                        return Ok(());
                    }
                }
            }
        }
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(node: &NodeUrl) -> Result<Socket, String> {
    let request = node.as_str().into_client_request();
    let mut request = request.map_err(|error| error.to_string())?;
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    // `connect_async` has no timeout of its own.
    match tokio::time::timeout(Duration::from_secs(10), connect_async(request)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no response".to_owned()),
    }
}

/// Runs one connection until it ends.
async fn converse(
    socket: Socket,
    model: &mut ChatModel,
    keyboard: &mut Keyboard,
    attempt: &mut u32,
) -> ConnectionEnd {
    let (mut sink, mut stream) = socket.split();
    let mut confirm = tokio::time::interval(CONFIRM);
    let mut retry: Option<tokio::time::Instant> = None;
    let mut received = tokio::time::Instant::now();
    loop {
        // All branches are cancellation-safe: a partial line or frame stays in its buffer.
        let acts = tokio::select! {
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    received = tokio::time::Instant::now();
                    // Reset by a frame, not by the connect: a server that accepts connections and closes them at once
                    // still meets a growing pause.
                    *attempt = 0;
                    model.frame(&text)
                }
                Some(Ok(Message::Close(frame))) => return verdict(frame, model),
                Some(Ok(_)) => {
                    // A ping, which the library answers.
                    received = tokio::time::Instant::now();
                    Vec::new()
                }
                Some(Err(tungstenite::Error::ConnectionClosed)) | None => return ConnectionEnd::Again(None),
                Some(Err(error)) => return ended(format_args!("! {error}")),
            },
            // A node that lost its power or its network closes nothing.
            () = tokio::time::sleep_until(received + model.receive_timeout()) => {
                return ended("! no sign of the node");
            }
            line = keyboard.next_line() => match line {
                Ok(Some(line)) => model.line(&line),
                _ => vec![ClientAction::Quit],
            },
            _ = confirm.tick() => model.confirm(),
            // `select!` evaluates the expression even if the branch is disabled, hence the default.
            () = tokio::time::sleep_until(retry.unwrap_or_else(tokio::time::Instant::now)), if retry.is_some() => {
                retry = None;
                model.pending()
            }
        };
        for act in acts {
            match act {
                ClientAction::Print(line) => match print(line) {
                    Ok(true) => {}
                    Ok(false) => return ConnectionEnd::Quit,
                    Err(why) => return ConnectionEnd::Stop(why),
                },
                ClientAction::Retry(pause) => retry = Some(tokio::time::Instant::now() + pause),
                ClientAction::Quit => {
                    // Best effort: the server also detects the end of the TCP connection.
                    let _lost = sink.close().await;
                    return ConnectionEnd::Quit;
                }
                ClientAction::Send(text) => {
                    // Changes that could not be sent stay in the model and are resent after the reconnect.
                    if sink.send(Message::text(text)).await.is_err() {
                        return ConnectionEnd::Again(None);
                    }
                }
            }
        }
    }
}

/// Waits for the pause while processing keyboard input. Returns `true` if the person quits.
async fn wait(pause: Duration, model: &mut ChatModel, keyboard: &mut Keyboard) -> Result<bool, String> {
    let over = tokio::time::sleep(pause);
    tokio::pin!(over);
    loop {
        let line = tokio::select! {
            () = &mut over => return Ok(false),
            line = keyboard.next_line() => line,
        };
        let Ok(Some(line)) = line else { return Ok(true) };
        for act in model.line(&line) {
            match act {
                ClientAction::Print(line) if print(&line)? => {}
                ClientAction::Print(_) | ClientAction::Quit => return Ok(true),
                // Changes stay in the model and are sent after the next connect. Queries are dropped.
                ClientAction::Send(_) | ClientAction::Retry(_) => {}
            }
        }
    }
}

/// Prints a line. Returns `false` if its reader has closed the pipe: without an output there is nothing to go on for.
fn print(line: impl fmt::Display) -> Result<bool, String> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("standard output: {error}")),
    }
}

/// Prints why a connection has ended, and returns what follows.
fn ended(line: impl fmt::Display) -> ConnectionEnd {
    match print(line) {
        Ok(true) => ConnectionEnd::Again(None),
        Ok(false) => ConnectionEnd::Quit,
        Err(why) => ConnectionEnd::Stop(why),
    }
}

fn verdict(frame: Option<CloseFrame>, model: &mut ChatModel) -> ConnectionEnd {
    let Some(frame) = frame else {
        return ConnectionEnd::Again(None);
    };
    let code = u16::from(frame.code);
    let retry =
        close::CloseReason::decode(&frame.reason).map(|reason| Duration::from_millis(reason.retry_ms));
    match CloseAdvice::of(code) {
        CloseAdvice::Resume => ConnectionEnd::Again(retry),
        CloseAdvice::NewSession => {
            model.forget_session();
            ConnectionEnd::Again(retry)
        }
        CloseAdvice::Stop => ConnectionEnd::Stop(format!("the server closed the connection ({code})")),
    }
}

/// Returns a pause with full jitter, so that clients of a failed node do not reconnect together.
fn jitter(attempt: u32) -> Duration {
    let most = PAUSE_MIN.saturating_mul(1 << attempt.min(6)).min(PAUSE_MAX);
    most.mul_f64(rand::random_range(0.1..=1.0))
}
