//! Back end of an application: registers users, gives them a conversation, and mints a token for one of them.
//!
//! ```text
//! CHAT_URL=… CHAT_SECRET=… CHAT_API_KEY=… cargo run --bin recipe-backend USER OTHER...
//! ```
//!
//! It prints what the application hands to the device of USER, who is signed in there: the user, a token and the
//! conversation.

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::sleep;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Number of attempts of a request.
const ATTEMPTS: u32 = 5;

/// Makes a JWT that every node accepts: HS256 with the secret of `auth.secret`, the user in `sub`, an end in `exp`.
fn mint_token(secret: &str, user: &str, life: Duration) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let claims = json!({ "sub": user, "iat": now.as_secs(), "exp": (now + life).as_secs() });
    let key = EncodingKey::from_secret(secret.as_bytes())?;
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &key)?)
}

/// Sends a request with the API key. After a temporary refusal or a lost answer it is sent again, which is safe: users are
/// a state, and a conversation has a `cid`.
async fn server_api(path: &str, body: &Value) -> Result<Value> {
    for attempt in 1.. {
        let wait = match post(path, body).await {
            Ok((status, answer)) if status < 300 => return Ok(answer),
            Ok((_, problem)) => match problem["retry_ms"].as_u64() {
                Some(wait) if attempt < ATTEMPTS => wait,
                _ => return Err(format!("{path}: {}: {}", problem["code"], problem["detail"]).into()),
            },
            Err(_) if attempt < ATTEMPTS => 1_000,
            Err(error) => return Err(error),
        };
        sleep(Duration::from_millis(wait)).await;
    }
    unreachable!("the last attempt returns")
}

/// Sends a request once, over a connection of its own, and returns status and body.
async fn post(path: &str, body: &Value) -> Result<(u16, Value)> {
    let uri: Uri = env::var("CHAT_URL")?.parse()?;
    let host = uri.authority().ok_or("CHAT_URL has no host")?.as_str();
    let stream = TcpStream::connect((uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(format!("/v1/server/{path}"))
        .header("host", host)
        .header("authorization", format!("Bearer {}", env::var("CHAT_API_KEY")?))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, serde_json::from_slice(&body)?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let people: Vec<String> = env::args().skip(1).collect();
    let [user, _, ..] = &people[..] else {
        return Err("usage: recipe-backend USER OTHER...".into());
    };
    let users: Vec<Value> = people
        .iter()
        .map(|u| json!({ "u": u, "name": capitalized(u) }))
        .collect();
    let verdicts = server_api("users", &json!({ "users": users })).await?;
    for verdict in verdicts["items"].as_array().into_iter().flatten() {
        if verdict["ok"] != true {
            return Err(format!("{}: {}: {}", verdict["u"], verdict["err"], verdict["msg"]).into());
        }
    }
    // The same people get the same conversation, however often and from whichever of them this is called.
    let mut sorted = people.clone();
    sorted.sort();
    let room = HEXLOWER.encode(&Sha256::digest(sorted.join("\0"))[..16]);
    let conversation = json!({
        "kind": "group", "owner": sorted[0], "members": sorted[1..], "title": "Order 1001", "cid": format!("order-{room}"),
    });
    let conversation = server_api("conversations", &conversation).await?;
    let token = mint_token(&env::var("CHAT_SECRET")?, user, Duration::from_secs(900))?;
    println!(
        "{}",
        json!({ "user": user, "token": token, "c": conversation["c"] })
    );
    Ok(())
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
