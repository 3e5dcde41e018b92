//! Delivery of one-time codes: by the configured webhook, or to the log in development.
//!
//! The client's request completes after the delivery, so 202 means that the webhook has accepted the code. Only the
//! receiver of the webhook can tell which identifiers have an account: this node treats all alike.

use std::time::Duration;

use bytes::Bytes;
use cluster::ClusterClock;
use serde::Serialize;

use super::identifier::LoginIdentifier;
use crate::config;
use crate::shard_client::CommandError;
use crate::webhook::{self, Webhook, WebhookError};
use protocol::ErrorCode;

/// Destination of one-time codes.
pub(crate) enum OtpDelivery {
    Hook(Webhook),
    /// Writes codes to the log, for development only.
    Log,
    /// Login by code is disabled.
    Disabled,
}

/// Timeout of one attempt to deliver a code. The client waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Number of attempts to deliver a code, including the first.
const ATTEMPTS: u32 = 3;
/// Maximum number of concurrent deliveries. Further requests are refused as busy.
pub(crate) const CONCURRENT: usize = 64;

/// JSON body of the webhook request. It omits the challenge, so that the receiver cannot log in with the code.
#[derive(Serialize)]
struct OtpPayload<'a> {
    r#type: &'static str,
    to: &'a str,
    channel: &'static str,
    code: &'a str,
    expires_in: u64,
}

// === impl OtpDelivery ===

impl OtpDelivery {
    pub(crate) fn new(
        settings: &config::LoginConfig,
        dev: bool,
        metrics: webhook::Metrics,
        clock: ClusterClock,
    ) -> Result<OtpDelivery, webhook::UnusableSecret> {
        if settings.webhook_url.is_empty() {
            return Ok(if dev {
                OtpDelivery::Log
            } else {
                OtpDelivery::Disabled
            });
        }
        let hook = webhook::Settings {
            name: "login",
            url: settings.webhook_url.clone(),
            ca_file: settings.webhook_ca_file.clone(),
            secret: settings.webhook_secret.0.clone(),
            timeout: TIMEOUT,
            attempts: ATTEMPTS,
            concurrent: CONCURRENT,
            clock,
        };
        Ok(OtpDelivery::Hook(Webhook::open(hook, metrics)?))
    }

    /// Delivers a code. The error is temporary and tells the client to retry.
    pub(crate) async fn deliver(
        &self,
        to: &LoginIdentifier,
        code: &str,
        expires_in: u64,
    ) -> Result<(), CommandError> {
        match self {
            OtpDelivery::Hook(hook) => {
                let post = OtpPayload {
                    r#type: "login.code",
                    to: to.as_str(),
                    channel: to.channel().as_str(),
                    code,
                    expires_in,
                };
                let body = serde_json::to_vec(&post).expect("text always serialises");
                // One id for all attempts of this delivery, so that the receiver can drop repetitions.
                let id = format!("code_{}", ulid::Ulid::generate());
                let posted = hook.post(&id, Bytes::from(body)).await;
                posted.map_err(|failed| {
                    if failed != WebhookError::Busy {
                        tracing::debug!(id, %failed, "one-time code delivery failed");
                    }
                    undelivered(failed == WebhookError::Busy)
                })
            }
            OtpDelivery::Log => {
                // Reached with `dev_tokens` only: in production no code may appear in the log.
                tracing::info!(to = to.as_str(), code, "one-time code, for development");
                Ok(())
            }
            OtpDelivery::Disabled => Err(undelivered(false)),
        }
    }
}

fn undelivered(busy: bool) -> CommandError {
    CommandError {
        code: if busy {
            ErrorCode::Busy
        } else {
            ErrorCode::Unavailable
        },
        msg: "the code could not be delivered".to_owned(),
        retry_ms: Some(5_000),
    }
}
