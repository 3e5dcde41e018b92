//! Receiver of webhooks: learns of messages for users who are away, to send them a push notification.
//!
//! ```text
//! CHAT_WEBHOOK_SECRET=… cargo run --bin recipe-push PORT
//! ```
//!
//! The node posts to `webhook.url`, signed with `webhook.secret` as Standard Webhooks specifies.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

struct Receiver {
    key: Vec<u8>,
    /// Ids of the posts that were handled: each is posted at least once. A database replaces this in an application.
    handled: Mutex<HashSet<String>>,
}

impl Receiver {
    /// Returns whether the post is from a node with this secret, unchanged, and not older than five minutes.
    fn verified(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        if timestamp.parse().map_or(u64::MAX, |then: u64| now.abs_diff(then)) > 300 {
            return false;
        }
        text("webhook-signature").split(' ').any(|one| {
            let signature = one
                .strip_prefix("v1,")
                .and_then(|text| BASE64.decode(text.as_bytes()).ok());
            let mac = Hmac::<Sha256>::new_from_slice(&self.key).ok();
            mac.zip(signature).is_some_and(|(mac, signature)| {
                let mac = mac.chain_update(format!("{id}.{timestamp}.")).chain_update(body);
                // Compares in constant time.
                mac.verify_slice(&signature).is_ok()
            })
        })
    }
}

async fn receive(request: HttpRequest, body: Bytes, receiver: Data<Receiver>) -> HttpResponse {
    if !receiver.verified(request.headers(), &body) {
        return HttpResponse::Unauthorized().finish();
    }
    let (Ok(post), Ok(mut handled)) = (serde_json::from_slice::<Value>(&body), receiver.handled.lock())
    else {
        return HttpResponse::InternalServerError().finish();
    };
    if post["type"] == "message" && handled.insert(post["id"].to_string()) {
        let (from, text) = (&post["message"]["u"], &post["message"]["b"]["text"]);
        for user in post["offline"].as_array().into_iter().flatten() {
            if user["muted"] != true {
                // Here the application calls its push service.
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                println!("push to {}: {}: {}", word(&user["u"]), word(from), word(text));
            }
        }
    }
    // Only now: a node repeats what is not answered with 2xx.
    HttpResponse::NoContent().finish()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).ok_or("usage: recipe-push PORT")?.parse()?;
    let secret = env::var("CHAT_WEBHOOK_SECRET")?;
    let receiver = Data::new(Receiver {
        key: BASE64.decode(secret.trim_start_matches("whsec_").as_bytes())?,
        handled: Mutex::default(),
    });
    let app = move || {
        App::new()
            .app_data(receiver.clone())
            .default_service(web::post().to(receive))
    };
    HttpServer::new(app)
        .workers(1)
        .bind(("127.0.0.1", port))?
        .run()
        .await?;
    Ok(())
}
