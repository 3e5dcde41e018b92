//! How a code gets to its address: by the configured webhook, or in development by the log.
//!
//! The request for the code waits for it, so that 202 means that somebody has taken the code to deliver it. Nobody but
//! the receiver of the webhook knows who has an account: here every address is treated alike.

use bytes::Bytes;
use cluster::Clock;
use serde::Serialize;

use super::address::Address;
use crate::config;
use crate::conversation::Refusal;
use crate::webhook::{self, Failed, Webhook};
use protocol::ErrorCode;

/// Where codes go.
pub(crate) enum Delivery {
    /// To a webhook.
    Hook(Webhook),
    /// To the log, for development.
    Log,
    /// Login by code is not switched on.
    Nowhere,
}

/// What the webhook gets. It does not hold the challenge: whoever delivers codes can't use them.
#[derive(Serialize)]
struct Post<'a> {
    r#type: &'static str,
    to: &'a str,
    channel: &'static str,
    code: &'a str,
    expires_in: u64,
}

// === impl Delivery ===

impl Delivery {
    pub(crate) fn new(
        settings: &config::Login,
        dev: bool,
        metrics: webhook::Metrics,
        clock: Clock,
    ) -> Result<Delivery, webhook::Unusable> {
        if settings.webhook_url.is_empty() {
            return Ok(if dev { Delivery::Log } else { Delivery::Nowhere });
        }
        let hook = webhook::Settings {
            name: "login",
            url: settings.webhook_url.clone(),
            ca_file: settings.webhook_ca_file.clone(),
            secret: settings.webhook_secret.0.clone(),
            timeout: settings.webhook_timeout_ms.duration(),
            attempts: settings.webhook_attempts,
            concurrent: settings.webhook_posts,
            clock,
        };
        Ok(Delivery::Hook(Webhook::open(hook, metrics)?))
    }

    /// Delivers a code.
    pub(crate) async fn deliver(&self, to: &Address, code: &str, expires_in: u64) -> Result<(), Refusal> {
        match self {
            Delivery::Hook(hook) => {
                let post = Post {
                    r#type: "login.code",
                    to: to.as_str(),
                    channel: to.channel().as_str(),
                    code,
                    expires_in,
                };
                let body = serde_json::to_vec(&post).expect("text always serialises");
                let id = format!("code_{}", ulid::Ulid::new());
                let posted = hook.post(&id, Bytes::from(body)).await;
                posted.map_err(|failed| {
                    if failed != Failed::Busy {
                        tracing::debug!(id, %failed, "a code was not delivered");
                    }
                    undelivered(failed == Failed::Busy)
                })
            }
            Delivery::Log => {
                tracing::info!(to = to.as_str(), code, "one-time code, for development");
                Ok(())
            }
            Delivery::Nowhere => Err(undelivered(false)),
        }
    }
}

fn undelivered(busy: bool) -> Refusal {
    Refusal {
        code: if busy {
            ErrorCode::Busy
        } else {
            ErrorCode::Unavailable
        },
        msg: "the code could not be delivered".to_owned(),
        retry_ms: Some(5_000),
    }
}
