//! Connection limit of a node, derived from the limit of open files, so that storage and peers never lack a file.
//!
//! ```text
//! limit of open files = tables on the disk + everything else of the node + clients + overflow
//! ```
//! A connection is one file. It acquires a client permit with the first request that only clients make, and releases it
//! after a response if the client is still unidentified. Requests of operators and probes need no permit.
//!
//! Without a free permit the client receives 503 and the connection is closed after that response. Connections without
//! a permit fill the space that clients leave, and a small overflow beside it. Beyond that, the oldest one is
//! [evicted](super::unserved).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};
use cluster::LogThrottle;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use protocol::ErrorCode;

use super::connection::TrackedConnection;
use super::problem::Problem;
use super::socketio;
use crate::auth::login_service;
use crate::config::Config;
use crate::session::WorkerContext;
use crate::shard_client::CommandError;

/// Files of a node beside tables, connections and webhook posts: write-ahead log, peers, listeners.
const OWN: u64 = 112;
/// Files of each thread that polls sockets.
const PER_THREAD: u64 = 6;
/// Minimum number of client permits; with fewer the node does not start.
const LEAST_CLIENTS: u64 = 16;
/// Connections that each thread accepts beyond its limit while evicted ones close.
const SPARE: usize = 8;
/// Bytes that an unidentified client may send for one request: a head with the longest token and 16 KiB beside it, or
/// the body of a login.
pub(super) const UNKNOWN_BYTES: usize = 24_576;
/// Range of the retry time in milliseconds for refused clients; random, so that they do not return together.
const COME_BACK_MS: std::ops::Range<u64> = 1_000..5_000;
/// Interval of the log line about refused clients.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Division of the limit of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimit {
    /// Maximum number of client connections.
    pub clients: usize,
    /// Connections beyond `clients`: those without a request yet, and those that receive a refusal.
    pub overflow: usize,
    /// Files of tables that the storage may keep open.
    pub tables: u32,
    /// Set if the configuration asked for more clients than the limit permits.
    pub lowered: bool,
}

/// The limit of open files leaves fewer than `LEAST_CLIENTS` permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("RLIMIT_NOFILE is {limit}, and must be at least {least} here (ulimit -n, LimitNOFILE)")]
pub struct FileLimitTooLow {
    limit: u64,
    least: u64,
}

/// Connection limiter of a node. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionLimiter {
    inner: Arc<Inner>,
}

struct Inner {
    clients: usize,
    overflow: usize,
    taken: AtomicUsize,
    open: Gauge,
    most: Gauge,
    refused: Counter,
    throttle: LogThrottle,
}

/// State of one connection in the limiter: with or without a client permit. Released on drop.
pub struct ConnectionPermit {
    limiter: ConnectionLimiter,
    taken: Cell<bool>,
}

// === impl FileLimit ===

impl FileLimit {
    /// Divides a limit of open files.
    ///
    /// # Errors
    /// A limit too low for `LEAST_CLIENTS` clients.
    pub fn of(limit: u64, config: &Config) -> Result<FileLimit, FileLimitTooLow> {
        let threads = config.threads();
        let mut own = OWN + PER_THREAD * threads.total() as u64 + (SPARE * threads.clients) as u64;
        // Each webhook request in progress holds one socket.
        if !config.login.webhook_url.is_empty() {
            own += login_service::CONCURRENT_DELIVERIES as u64;
        }
        if !config.webhook.url.is_empty() {
            own += crate::shard::CONCURRENT as u64;
        }
        // A quarter for tables, within bounds: reopening a table costs a read a file access, a client without a file
        // gets nothing.
        let tables = (limit / 4).clamp(64, 512);
        let overflow = (limit / 16).clamp(16, 64);
        let least = own + tables + overflow + LEAST_CLIENTS;
        if limit < least {
            return Err(FileLimitTooLow { limit, least });
        }
        let room = usize::try_from(limit - own - tables - overflow).unwrap_or(usize::MAX / 2);
        let wanted = config.server.max_connections;
        Ok(FileLimit {
            clients: if wanted == 0 { room } else { wanted.min(room) },
            overflow: usize::try_from(overflow).unwrap_or(usize::MAX),
            tables: u32::try_from(tables).unwrap_or(u32::MAX),
            lowered: wanted > room,
        })
    }
}

// === impl ConnectionLimiter ===

impl ConnectionLimiter {
    /// Creates the limiter for a budget.
    #[must_use]
    pub fn new(budget: FileLimit) -> ConnectionLimiter {
        let most = Gauge::default();
        most.set(i64::try_from(budget.clients).unwrap_or(i64::MAX));
        let inner = Inner {
            clients: budget.clients,
            overflow: budget.overflow,
            taken: AtomicUsize::new(0),
            open: Gauge::default(),
            most,
            refused: Counter::default(),
            throttle: LogThrottle::every(LOG_EVERY),
        };
        ConnectionLimiter {
            inner: Arc::new(inner),
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        let Inner {
            open, most, refused, ..
        } = &*self.inner;
        registry.register("connections", "Open connections", open.clone());
        registry.register("connections_limit", "Limit of open connections", most.clone());
        registry.register(
            "connections_refused",
            "Requests refused because the connection limit was reached",
            refused.clone(),
        );
    }

    /// Returns the metrics of the open connections and of their limit.
    #[must_use]
    pub fn gauges(&self) -> (Gauge, Gauge) {
        (self.inner.open.clone(), self.inner.most.clone())
    }

    /// Returns the connections per thread beyond which the oldest unserved one is evicted.
    pub(super) fn per_worker(&self, workers: usize) -> usize {
        let all = self.inner.clients.saturating_add(self.inner.overflow);
        all.div_ceil(workers)
    }

    /// Returns the connections that a thread accepts, including those that are being closed after eviction.
    pub(super) fn accepted_per_worker(&self, workers: usize) -> usize {
        self.per_worker(workers).saturating_add(SPARE)
    }

    /// Counts an accepted connection, without a client permit yet.
    pub(super) fn accept(&self) -> ConnectionPermit {
        self.inner.open.inc();
        ConnectionPermit {
            limiter: self.clone(),
            taken: Cell::new(false),
        }
    }
}

// === impl ConnectionPermit ===

impl ConnectionPermit {
    /// Acquires a client permit unless one is held. Returns `true` if the connection holds one afterwards.
    pub(super) fn take(&self) -> bool {
        if !self.taken.get() {
            let Inner { clients, taken, .. } = &*self.limiter.inner;
            let next = |now| (now < *clients).then_some(now + 1);
            // A counter that guards no other data: relaxed ordering suffices.
            let order = Ordering::Relaxed;
            self.taken.set(taken.fetch_update(order, order, next).is_ok());
        }
        self.taken.get()
    }

    /// Releases the client permit, if one is held.
    pub(super) fn give_back(&self) {
        if self.taken.replace(false) {
            self.limiter.inner.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn refuse(&self) -> Problem {
        let Inner {
            clients,
            refused,
            throttle,
            ..
        } = &*self.limiter.inner;
        refused.inc();
        // Throttled: refusals come in bursts.
        if let Some(held_back) = throttle.due() {
            tracing::warn!(
                limit = clients,
                held_back,
                "connection limit reached, refusing clients"
            );
        }
        Problem::from(CommandError {
            code: ErrorCode::Busy,
            msg: "this node has reached its connection limit".to_owned(),
            retry_ms: Some(rand::random_range(COME_BACK_MS)),
        })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.give_back();
        self.limiter.inner.open.dec();
    }
}

/// Middleware that serves requests of clients with a permit and all requests of operators and probes, and refuses the
/// others.
pub(super) async fn refuse_overflow<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(connection) = TrackedConnection::under(request.request()) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    if operators(request.path()) {
        connection.asks_as_operator();
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let refused = if !connection.asks_as_client() {
        connection.permit().refuse()
        // Judged by the declared length, before the body is read. A chunked body hits the bound on unidentified bytes.
    } else if !connection.is_identified() && is_large(&request) {
        let msg = format!("the body of a request without a token is limited to {UNKNOWN_BYTES} bytes");
        Problem::new(ErrorCode::TooLarge, msg)
    } else {
        let response = next.call(request).await?.map_into_left_body();
        // A permit must not outlive a response to an unidentified client, or idle strangers would occupy all of them.
        connection.is_answered();
        return Ok(response);
    };
    // Refused before its body was read. The connection closes, since the unread body would be parsed as the next
    // request.
    let mut response = request
        .into_response(refused.error_response())
        .map_into_right_body();
    response
        .response_mut()
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    Ok(response)
}

/// Middleware of the listener for operators, whose requests need no permit.
pub(super) async fn serve_operators<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Some(connection) = TrackedConnection::under(request.request()) {
        connection.asks_as_operator();
    }
    next.call(request).await
}

/// Returns `true` if the declared body exceeds the bound for unidentified clients and no token or id is present that
/// could lift it.
fn is_large(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let large = length.is_some_and(|length| length.parse().is_ok_and(|length: usize| length > UNKNOWN_BYTES));
    // The id of an open connection of Engine.IO is as good as a token.
    large && !headers.contains_key(AUTHORIZATION) && !names_engine(request)
}

fn names_engine(request: &ServiceRequest) -> bool {
    let worker = request.app_data::<web::Data<Rc<WorkerContext>>>();
    worker.is_some_and(|worker| {
        socketio::names_connection(request.path(), request.query_string(), &worker.config)
    })
}

fn operators(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/metrics" | "/v1/cluster")
        || path.starts_with("/v1/cluster/")
        || path.starts_with("/v1/admin/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: u64, wanted: usize) -> Result<FileLimit, FileLimitTooLow> {
        let mut config = Config::default();
        config.server.threads = 2;
        config.server.max_connections = wanted;
        FileLimit::of(limit, &config)
    }

    #[test]
    fn what_is_divided_is_the_limit_and_no_more() {
        for limit in [300, 1_024, 20_000, 1 << 20] {
            let FileLimit {
                clients,
                overflow,
                tables,
                lowered,
            } = budget(limit, 0).unwrap();
            assert!(!lowered);
            assert!((clients + overflow) as u64 + u64::from(tables) < limit - OWN);
        }
        let all = budget(u64::MAX, 0).unwrap();
        assert!(all.clients > 1 << 30, "without a limit there is none");
    }

    #[test]
    fn a_bound_of_ones_own_holds_as_far_as_the_limit_permits() {
        let FileLimit { clients, lowered, .. } = budget(20_000, 500).unwrap();
        assert_eq!((clients, lowered), (500, false));
        let FileLimit { clients, lowered, .. } = budget(1_024, 10_000).unwrap();
        assert_eq!((clients, lowered), (budget(1_024, 0).unwrap().clients, true));
    }

    #[test]
    fn file_limit_without_room_for_clients_names_the_least_limit() {
        let FileLimitTooLow { least, .. } = budget(100, 0).unwrap_err();
        assert_eq!(budget(least, 0).unwrap().clients as u64, LEAST_CLIENTS);
        assert!(budget(least - 1, 0).is_err());
    }

    #[test]
    fn a_client_gets_a_permit_as_long_as_one_is_free() {
        let limiter = ConnectionLimiter::new(FileLimit {
            clients: 2,
            overflow: 3,
            tables: 64,
            lowered: false,
        });
        assert_eq!(limiter.per_worker(2), 3);
        let all: Vec<ConnectionPermit> = (0..4).map(|_| limiter.accept()).collect();
        assert_eq!(limiter.inner.taken.load(Ordering::Relaxed), 0, "nobody has asked");
        assert!(all[0].take() && all[1].take() && all[0].take());
        assert!(!all[2].take(), "there are two");
        all[0].give_back();
        assert!(all[2].take() && !all[0].take());
        drop(all);
        assert_eq!(limiter.inner.open.get(), 0);
        assert_eq!(limiter.inner.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn operators_are_answered_when_all_permits_are_taken() {
        for path in [
            "/livez",
            "/readyz",
            "/metrics",
            "/v1/cluster",
            "/v1/cluster/owner",
            "/v1/admin/overview",
        ] {
            assert!(operators(path), "{path}");
        }
        for path in ["/v1/ws", "/v1/clusters", "/metrics/", "/"] {
            assert!(!operators(path), "{path}");
        }
    }
}
