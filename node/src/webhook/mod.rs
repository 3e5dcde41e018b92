//! Webhook client: signed POST requests with a bounded number of attempts.
//!
//! Requests are signed as [Standard Webhooks](https://www.standardwebhooks.com) specifies, so that receivers verify
//! them with a library. `signature` creates the headers, and `exchange` sends HTTP/1.1 over one connection per attempt,
//! with TLS at `https://` addresses, which receivers outside of the private network require.
//!
//! Nothing is queued: beyond [`Settings::concurrent`] requests in progress, a call fails with [`WebhookError::Busy`].

mod exchange;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{ClusterClock, LogThrottle};
use hyper::Uri;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::config;
use crate::tls::OutgoingTls;
pub use signature::{SigningSecret, UnusableSecret};

/// Pause before the second attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(200);
/// Interval of the log line about failed deliveries.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Maximum pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Configuration of a receiver.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the receiver in metrics and log lines.
    pub name: &'static str,
    /// `https://host/path`, or `http://host:port/path` within a private network.
    pub url: String,
    /// PEM file of authorities to trust in addition to the system's; empty: none.
    pub ca_file: String,
    /// Shared key: base64, with or without the prefix `whsec_`.
    pub secret: String,
    /// Timeout of one attempt, from connecting to the head of the response.
    pub timeout: Duration,
    /// Number of attempts, including the first.
    pub attempts: u32,
    /// Maximum number of requests in progress.
    pub concurrent: usize,
    /// Clock for the signed timestamp, which the receiver compares with its own.
    pub clock: ClusterClock,
}

/// Receiver of signed posts. Cheap to clone.
#[derive(Clone)]
pub struct Webhook {
    target: Arc<WebhookEndpoint>,
}

struct WebhookEndpoint {
    name: &'static str,
    uri: Uri,
    tls: Option<OutgoingTls>,
    key: SigningSecret,
    timeout: Duration,
    attempts: u32,
    permits: Semaphore,
    throttle: LogThrottle,
    metrics: Metrics,
    clock: ClusterClock,
}

/// Failure of a post. The receiver may have processed it nevertheless, if a response was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Too many requests are in progress; a later call may succeed.
    #[error("too many webhook requests are in progress")]
    Busy,
    /// The receiver refused the request with this status; a repeat is useless.
    #[error("the receiver answered {0}")]
    Refused(u16),
    /// All attempts failed. One may have been processed; the receiver detects a repeat by its id.
    #[error("{0}")]
    Unreachable(String),
}

/// Metrics shared by all receivers of a node.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    posts: Family<WebhookLabels, Counter>,
    attempts_failed: Family<WebhookKind, Counter>,
}

/// Labels with the result of a post.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    hook: &'static str,
    outcome: &'static str,
}

/// Label with the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookKind {
    hook: &'static str,
}

// === impl Webhook ===

impl Webhook {
    /// Checks the settings without connecting.
    ///
    /// # Errors
    /// An invalid URL, key or certificate file.
    pub fn open(settings: Settings, metrics: Metrics) -> Result<Webhook, UnusableSecret> {
        let Settings {
            name,
            url,
            ca_file,
            secret,
            timeout,
            attempts,
            concurrent,
            clock,
        } = settings;
        let uri = config::webhook_url(&url)?;
        let secure = uri.scheme_str() == Some("https");
        // A counter that appears with its first failure shows no increase for it.
        for outcome in ["delivered", "busy", "refused", "unreachable"] {
            let labels = WebhookLabels { hook: name, outcome };
            drop(metrics.posts.get_or_create(&labels));
        }
        drop(metrics.attempts_failed.get_or_create(&WebhookKind { hook: name }));
        let target = WebhookEndpoint {
            name,
            uri,
            tls: secure.then(|| OutgoingTls::trusting(&ca_file)).transpose()?,
            key: SigningSecret::parse(&secret)?,
            timeout,
            attempts: attempts.max(1),
            permits: Semaphore::new(concurrent),
            throttle: LogThrottle::every(LOG_EVERY),
            metrics,
            clock,
        };
        Ok(Webhook {
            target: Arc::new(target),
        })
    }

    /// Posts a JSON body until the receiver accepts it with a 2xx, refuses it, or the attempts are exhausted.
    ///
    /// All attempts carry the same `id`, visible ASCII, by which the receiver detects a repeat.
    ///
    /// # Errors
    /// [`WebhookError`] distinguishes permanent from temporary failures.
    pub async fn post(&self, id: &str, body: Bytes) -> Result<(), WebhookError> {
        let result = self.tried(id, body).await;
        let outcome = match &result {
            Ok(()) => "delivered",
            Err(WebhookError::Busy) => "busy",
            Err(WebhookError::Refused(_)) => "refused",
            Err(WebhookError::Unreachable(_)) => "unreachable",
        };
        let labels = WebhookLabels {
            hook: self.target.name,
            outcome,
        };
        self.target.metrics.posts.get_or_create(&labels).inc();
        // `Busy` is no failure of the receiver, and is only counted.
        if let Err(why @ (WebhookError::Refused(_) | WebhookError::Unreachable(_))) = &result
            && let Some(held_back) = self.target.throttle.due()
        {
            warn!(hook = self.target.name, id, %why, held_back, "webhook delivery failed");
        }
        result
    }

    async fn tried(&self, id: &str, body: Bytes) -> Result<(), WebhookError> {
        let target = &*self.target;
        // Held over all attempts and pauses: posts that wait for a retry count as in progress.
        let Ok(_permit) = target.permits.try_acquire() else {
            return Err(WebhookError::Busy);
        };
        let mut pause = PAUSE;
        // Placeholder: at least one attempt follows and replaces it.
        let mut failed = WebhookError::Busy;
        for attempt in 1..=target.attempts {
            if attempt > 1 {
                // Half of it is random, so that posts that failed together are not repeated together.
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            // Signed per attempt: receivers refuse an old timestamp.
            let signed = target.key.sign(id, target.clock.now_ms() / 1_000, &body);
            let exchange = exchange::post(&target.uri, target.tls.as_ref(), &signed, body.clone());
            failed = match tokio::time::timeout(target.timeout, exchange).await {
                Ok(Ok(status)) if status.is_success() => return Ok(()),
                Ok(Ok(status)) if passing(status.as_u16()) => {
                    WebhookError::Unreachable(format!("the receiver answered {}", status.as_u16()))
                }
                Ok(Ok(status)) => return Err(WebhookError::Refused(status.as_u16())),
                Ok(Err(why)) => WebhookError::Unreachable(why),
                Err(_) => WebhookError::Unreachable("the receiver did not respond in time".to_owned()),
            };
            debug!(hook = target.name, id, attempt, why = %failed, "webhook attempt failed");
            let hook = WebhookKind { hook: target.name };
            target.metrics.attempts_failed.get_or_create(&hook).inc();
        }
        Err(failed)
    }
}

/// Returns `true` for statuses that may change on a repeat: 408, 429 and 5xx.
fn passing(status: u16) -> bool {
    status == 408 || status == 429 || status >= 500
}

// === impl Metrics ===

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "webhook_posts",
            "Webhook requests, by outcome",
            self.posts.clone(),
        );
        registry.register(
            "webhook_attempts_failed",
            "Failed attempts of webhook requests",
            self.attempts_failed.clone(),
        );
    }
}

#[cfg(test)]
mod tests;
