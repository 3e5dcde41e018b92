//! `rookery chat`: a small terminal client, and an example of what every client owes the protocol.
//!
//! It keeps what it sends until the server has acknowledged it, and sends it again under the same `cid` after a
//! reconnect; it applies an event only if it is the next one of its conversation; it obeys the verdict of close codes.
//! `model` is all of that, pure; here are the socket, the keyboard and the clock.

mod model;
mod typed;
mod words;

use std::time::Duration;

use clap::Args;
use futures::{SinkExt, StreamExt};
use protocol::{SUBPROTOCOL, UserId, Verdict, close};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use self::model::{Act, Model};

/// Longest pause between two attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pause after the first failed attempt.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// How often what has arrived is confirmed.
const CONFIRM: Duration = Duration::from_secs(1);

/// `rookery chat`.
#[derive(Args)]
pub struct Chat {
    /// Any node, e.g. ws://127.0.0.1:8080.
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    url: String,
    /// Who you are.
    #[arg(long)]
    user: UserId,
    /// Your token. Default: the development token of the user.
    #[arg(long, env = "ROOKERY_CHAT_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// How a connection ended.
enum End {
    /// The person wants to leave.
    Quit,
    /// Come back after this time, or when convenient.
    Again(Option<Duration>),
    /// Coming back is useless.
    Stop(String),
}

type Keyboard = Lines<BufReader<Stdin>>;

// === impl Chat ===

impl Chat {
    /// Chats until the person leaves or the server says to stay away.
    ///
    /// # Errors
    /// Why the server turned the client away.
    pub async fn run(self) -> Result<(), String> {
        let token = self.token.unwrap_or_else(|| format!("dev:{}", self.user));
        let url = endpoint(&self.url);
        let mut model = Model::new(self.user, token);
        let mut keyboard = BufReader::new(tokio::io::stdin()).lines();
        let mut attempt = 0;
        loop {
            let end = match connect(&url).await {
                Ok(socket) => converse(socket, &mut model, &mut keyboard, &mut attempt).await,
                Err(why) => {
                    println!("! {why}");
                    End::Again(None)
                }
            };
            match end {
                End::Quit => return Ok(()),
                End::Stop(why) => return Err(why),
                End::Again(pause) => {
                    let pause = pause.unwrap_or_else(|| jitter(attempt));
                    attempt += 1;
                    println!("! not connected; again in {:.1} s", pause.as_secs_f64());
                    if wait(pause, &mut model, &mut keyboard).await {
                        return Ok(());
                    }
                }
            }
        }
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(url: &str) -> Result<Socket, String> {
    let mut request = url.into_client_request().map_err(|error| error.to_string())?;
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    match tokio::time::timeout(Duration::from_secs(10), connect_async(request)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// One connection, from its opening to its end.
async fn converse(socket: Socket, model: &mut Model, keyboard: &mut Keyboard, attempt: &mut u32) -> End {
    let (mut sink, mut stream) = socket.split();
    let mut confirm = tokio::time::interval(CONFIRM);
    let mut retry: Option<tokio::time::Instant> = None;
    model.connected();
    loop {
        let acts = tokio::select! {
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    *attempt = 0;
                    model.frame(&text)
                }
                Some(Ok(Message::Close(frame))) => return verdict(frame),
                Some(Ok(_)) => Vec::new(),
                Some(Err(tungstenite::Error::ConnectionClosed)) | None => return End::Again(None),
                Some(Err(error)) => {
                    println!("! {error}");
                    return End::Again(None);
                }
            },
            line = keyboard.next_line() => match line {
                Ok(Some(line)) => model.line(&line),
                _ => vec![Act::Quit],
            },
            _ = confirm.tick() => model.confirm(),
            () = tokio::time::sleep_until(retry.unwrap_or_else(tokio::time::Instant::now)), if retry.is_some() => {
                retry = None;
                model.pending()
            }
        };
        for act in acts {
            match act {
                Act::Print(line) => println!("{line}"),
                Act::Retry(pause) => retry = Some(tokio::time::Instant::now() + pause),
                Act::Quit => {
                    // The server notices the end of the connection anyway.
                    let _lost = sink.close().await;
                    return End::Quit;
                }
                Act::Send(text) => {
                    if sink.send(Message::text(text)).await.is_err() {
                        return End::Again(None);
                    }
                }
            }
        }
    }
}

/// Waits, while the keyboard goes on being heard. Whether the person wants to leave.
async fn wait(pause: Duration, model: &mut Model, keyboard: &mut Keyboard) -> bool {
    let over = tokio::time::sleep(pause);
    tokio::pin!(over);
    loop {
        let line = tokio::select! {
            () = &mut over => return false,
            line = keyboard.next_line() => line,
        };
        let Ok(Some(line)) = line else { return true };
        for act in model.line(&line) {
            match act {
                Act::Print(line) => println!("{line}"),
                Act::Quit => return true,
                // Sent after the next connect.
                Act::Send(_) | Act::Retry(_) => {}
            }
        }
    }
}

fn verdict(frame: Option<CloseFrame>) -> End {
    let Some(frame) = frame else {
        return End::Again(None);
    };
    let code = u16::from(frame.code);
    let retry = close::Reason::decode(&frame.reason).map(|reason| Duration::from_millis(reason.retry_ms));
    match Verdict::of(code) {
        Verdict::Resume | Verdict::NewSession => End::Again(retry),
        Verdict::Stop => End::Stop(format!("the server closed the connection ({code})")),
    }
}

/// Full jitter: everybody comes back at another time.
fn jitter(attempt: u32) -> Duration {
    let most = PAUSE_MIN.saturating_mul(1 << attempt.min(6)).min(PAUSE_MAX);
    most.mul_f64(rand::random_range(0.1..=1.0))
}

/// The endpoint of a node given with or without its path.
fn endpoint(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let scheme = if url.contains("://") { "" } else { "ws://" };
    match rest.split_once('/') {
        Some((_, path)) if !path.is_empty() => format!("{scheme}{url}"),
        _ => format!("{scheme}{}/v1/ws", url.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_enough_of_an_address() {
        assert_eq!(endpoint("ws://127.0.0.1:8080"), "ws://127.0.0.1:8080/v1/ws");
        assert_eq!(endpoint("127.0.0.1:8080/"), "ws://127.0.0.1:8080/v1/ws");
        assert_eq!(
            endpoint("wss://chat.example.org/x/ws"),
            "wss://chat.example.org/x/ws"
        );
    }
}
