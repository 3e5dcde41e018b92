//! Telling another service something over HTTP: a signed POST, tried a bounded number of times.
//!
//! Requests are signed as [Standard Webhooks](https://www.standardwebhooks.com) describes it, so that receivers verify
//! them with a library: `sign` makes the headers, `exchange` speaks HTTP/1.1 over one connection per attempt, `tls`
//! protects it where the address begins with `https://`, as it must be for a receiver beyond the private network.
//!
//! Nothing is queued. A caller that has more to say than [`Settings::concurrent`] permits is told [`Failed::Busy`].

mod exchange;
pub mod sign;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Clock, Seldom};
use hyper::Uri;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use self::tls::Tls;
pub use sign::{Key, Unusable};

/// The pause before the second attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is logged that posts are not taken.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What an address looks like.
const LIKE: &str = "must be an address like https://push.example.org/told or http://127.0.0.1:9000/codes";

/// Where to, and how hard to try.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the receiver is for, as the figures call it.
    pub name: &'static str,
    /// `https://host/path`, or `http://host:port/path` within a private network.
    pub url: String,
    /// A file of certificates (PEM) of authorities that are trusted beside the system's, if it has a name.
    pub ca_file: String,
    /// The key that both sides know: base64, `whsec_` in front or not.
    pub secret: String,
    /// How long one attempt may take, from connecting to the head of the answer.
    pub timeout: Duration,
    /// Attempts, the first included.
    pub attempts: u32,
    /// Posts under way at the same time.
    pub concurrent: usize,
    /// What time it is: the receiver compares it with its own clock.
    pub clock: Clock,
}

/// A receiver of signed posts. Cheap to clone.
#[derive(Clone)]
pub struct Webhook {
    target: Arc<Target>,
}

struct Target {
    name: &'static str,
    uri: Uri,
    tls: Option<Tls>,
    key: Key,
    timeout: Duration,
    attempts: u32,
    places: Semaphore,
    said: Seldom,
    metrics: Metrics,
    clock: Clock,
}

/// Why a post has not arrived, as far as this side knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Too many are under way: later.
    #[error("too many posts are under way")]
    Busy,
    /// The receiver doesn't want it, with this status: the same again is useless.
    #[error("the receiver answered {0}")]
    Refused(u16),
    /// No attempt was taken. An earlier one may have been: the receiver knows a repeat by its id.
    #[error("{0}")]
    Unreachable(String),
}

/// What is counted. One for all receivers of a node.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    posts: Family<Labels, Counter>,
    attempts_failed: Family<Hook, Counter>,
}

/// How a post ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    hook: &'static str,
    outcome: &'static str,
}

/// Which receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Hook {
    hook: &'static str,
}

// === impl Webhook ===

impl Webhook {
    /// Checks the settings; connects nowhere yet.
    ///
    /// # Errors
    /// What is wrong with the address, the key or the certificates.
    pub fn open(settings: Settings, metrics: Metrics) -> Result<Webhook, Unusable> {
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
        let uri = address(&url)?;
        let secure = uri.scheme_str() == Some("https");
        let target = Target {
            name,
            uri,
            tls: secure.then(|| Tls::trusting(&ca_file)).transpose()?,
            key: Key::parse(&secret)?,
            timeout,
            attempts: attempts.max(1),
            places: Semaphore::new(concurrent),
            said: Seldom::every(LOG_EVERY),
            metrics,
            clock,
        };
        Ok(Webhook {
            target: Arc::new(target),
        })
    }

    /// Posts a JSON body until the receiver has answered with a 2xx, refused it, or the attempts are used up. All
    /// attempts carry the same `id`, visible ASCII, by which the receiver knows a repeat.
    ///
    /// # Errors
    /// [`Failed`] says whether the same may succeed later.
    pub async fn post(&self, id: &str, body: Bytes) -> Result<(), Failed> {
        let result = self.tried(id, body).await;
        let outcome = match &result {
            Ok(()) => "taken",
            Err(Failed::Busy) => "busy",
            Err(Failed::Refused(_)) => "refused",
            Err(Failed::Unreachable(_)) => "unreachable",
        };
        let labels = Labels {
            hook: self.target.name,
            outcome,
        };
        self.target.metrics.posts.get_or_create(&labels).inc();
        if let Err(why @ (Failed::Refused(_) | Failed::Unreachable(_))) = &result
            && let Some(held_back) = self.target.said.due()
        {
            warn!(hook = self.target.name, id, %why, held_back, "a post was not taken");
        }
        result
    }

    async fn tried(&self, id: &str, body: Bytes) -> Result<(), Failed> {
        let target = &*self.target;
        let Ok(_place) = target.places.try_acquire() else {
            return Err(Failed::Busy);
        };
        let mut pause = PAUSE;
        let mut failed = Failed::Busy;
        for attempt in 1..=target.attempts {
            if attempt > 1 {
                // Half of it at random, so that many posts that failed together don't come back together.
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            let signed = target.key.sign(id, target.clock.now_ms() / 1_000, &body);
            let exchange = exchange::post(&target.uri, target.tls.as_ref(), &signed, body.clone());
            failed = match tokio::time::timeout(target.timeout, exchange).await {
                Ok(Ok(status)) if status.is_success() => return Ok(()),
                Ok(Ok(status)) if passing(status.as_u16()) => {
                    Failed::Unreachable(format!("the receiver answered {}", status.as_u16()))
                }
                Ok(Ok(status)) => return Err(Failed::Refused(status.as_u16())),
                Ok(Err(why)) => Failed::Unreachable(why),
                Err(_) => Failed::Unreachable("the receiver took too long".to_owned()),
            };
            debug!(hook = target.name, id, attempt, why = %failed, "post not taken");
            let hook = Hook { hook: target.name };
            target.metrics.attempts_failed.get_or_create(&hook).inc();
        }
        Err(failed)
    }
}

/// Checks the address of a receiver.
///
/// # Errors
/// What is wrong with it.
pub fn address(url: &str) -> Result<Uri, Unusable> {
    let uri: Uri = url.parse().map_err(|_| Unusable::from(LIKE))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err(Unusable::from(LIKE)),
    }
}

/// Whether a status may be another one soon.
fn passing(status: u16) -> bool {
    status == 408 || status == 429 || status >= 500
}

// === impl Metrics ===

impl Metrics {
    /// Adds these figures to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "webhook_posts",
            "Posts to webhooks, by outcome",
            self.posts.clone(),
        );
        registry.register(
            "webhook_attempts_failed",
            "Attempts of posts that were not taken",
            self.attempts_failed.clone(),
        );
    }
}

#[cfg(test)]
mod tests;
