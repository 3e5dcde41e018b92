//! How many connections a node holds, so that the rest of it never lacks a file.
//!
//! ```text
//! limit of open files = tables on the disk + everything else of the node + clients + guests
//! ```
//! A connection is one file. It takes a client's seat when it asks for what only clients ask, and gives it back when it
//! was answered without being known; what operators and probes ask needs none. Whoever finds no client's seat is refused
//! with 503 and gone after that one answer. Connections without a seat fill what the clients leave, and some guests'
//! places beside; beyond that the one that waits longest [gives way](super::unserved).

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::Error;
use actix_web::ResponseError;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap};
use actix_web::middleware::Next;
use cluster::Seldom;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use protocol::ErrorCode;

use super::connection::Connection;
use super::problem::Problem;
use crate::config::Config;
use crate::conversation::Refusal;

/// Files of a node beside tables, connections and posts: its log, peers, listeners.
const OWN: u64 = 112;
/// Files of each thread that waits for sockets.
const PER_THREAD: u64 = 6;
/// With room for fewer clients it is no use to start.
const LEAST_CLIENTS: u64 = 16;
/// Connections that each thread may accept before one that gives way to them is closed.
const SPARE: usize = 8;
/// Bytes that one who is not known may send for a request: its head with the longest token and 16 KiB beside it, or the
/// body of a login.
pub(super) const UNKNOWN_BYTES: usize = 24_576;
/// Clients that were refused come back within this time, not all at once.
const COME_BACK_MS: std::ops::Range<u64> = 1_000..5_000;
/// How often it is logged that clients are refused.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// How the limit of open files is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Connections of clients.
    pub clients: usize,
    /// Connections beyond that, which have asked for nothing, or are refused in words.
    pub guests: usize,
    /// Files of tables that the storage keeps open.
    pub tables: u32,
    /// Whether more clients were wanted.
    pub lowered: bool,
}

/// The limit of open files leaves no room for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of open files is {limit}, and must be at least {least} here (ulimit -n, LimitNOFILE)")]
pub struct TooFew {
    limit: u64,
    least: u64,
}

/// The seats of a node. Cheap to clone.
#[derive(Clone)]
pub struct Seats {
    inner: Arc<Inner>,
}

struct Inner {
    clients: usize,
    guests: usize,
    taken: AtomicUsize,
    open: Gauge,
    most: Gauge,
    refused: Counter,
    said: Seldom,
}

/// What a connection holds: a client's seat, or none. Dropped, it is free.
pub struct Seat {
    seats: Seats,
    taken: Cell<bool>,
}

// === impl Budget ===

impl Budget {
    /// Divides a limit of open files.
    ///
    /// # Errors
    /// When it is too low to serve anybody.
    pub fn of(limit: u64, config: &Config) -> Result<Budget, TooFew> {
        let workers = workers(config) + config.cluster.threads + config.chat.threads;
        let mut own = OWN + PER_THREAD * workers as u64 + (SPARE * self::workers(config)) as u64;
        if !config.login.webhook_url.is_empty() {
            own += config.login.webhook_posts as u64;
        }
        if !config.hooks.url.is_empty() {
            own += config.hooks.concurrent as u64;
        }
        // Room for clients first, then for tables that needn't be opened again; more than that nobody misses.
        let tables = (limit / 4).clamp(64, 512);
        let guests = (limit / 16).clamp(16, 64);
        let least = own + tables + guests + LEAST_CLIENTS;
        if limit < least {
            return Err(TooFew { limit, least });
        }
        let room = usize::try_from(limit - own - tables - guests).unwrap_or(usize::MAX / 2);
        let wanted = config.server.max_connections;
        Ok(Budget {
            clients: if wanted == 0 { room } else { wanted.min(room) },
            guests: usize::try_from(guests).unwrap_or(usize::MAX),
            tables: u32::try_from(tables).unwrap_or(u32::MAX),
            lowered: wanted > room,
        })
    }
}

/// Threads that serve clients.
pub(super) fn workers(config: &Config) -> usize {
    match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

// === impl Seats ===

impl Seats {
    /// Seats for so many.
    #[must_use]
    pub fn new(budget: Budget) -> Seats {
        let most = Gauge::default();
        most.set(i64::try_from(budget.clients).unwrap_or(i64::MAX));
        let inner = Inner {
            clients: budget.clients,
            guests: budget.guests,
            taken: AtomicUsize::new(0),
            open: Gauge::default(),
            most,
            refused: Counter::default(),
            said: Seldom::every(LOG_EVERY),
        };
        Seats {
            inner: Arc::new(inner),
        }
    }

    /// Adds the figures to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Inner {
            open, most, refused, ..
        } = &*self.inner;
        registry.register("connections", "Open connections", open.clone());
        registry.register("connections_limit", "Connections that are served", most.clone());
        registry.register(
            "connections_refused",
            "Requests refused because all connections were taken",
            refused.clone(),
        );
    }

    /// Connections of one of so many threads, beyond which one gives way to another.
    pub(super) fn per_worker(&self, workers: usize) -> usize {
        let all = self.inner.clients.saturating_add(self.inner.guests);
        all.div_ceil(workers)
    }

    /// Connections that such a thread holds until those that give way are closed.
    pub(super) fn accepted_per_worker(&self, workers: usize) -> usize {
        self.per_worker(workers).saturating_add(SPARE)
    }

    /// For a connection that was just accepted: no client's seat yet.
    pub(super) fn accept(&self) -> Seat {
        self.inner.open.inc();
        Seat {
            seats: self.clone(),
            taken: Cell::new(false),
        }
    }
}

// === impl Seat ===

impl Seat {
    /// Takes a client's seat, if it holds none; whether it holds one.
    pub(super) fn take(&self) -> bool {
        if !self.taken.get() {
            let Inner { clients, taken, .. } = &*self.seats.inner;
            let next = |now| (now < *clients).then_some(now + 1);
            let order = Ordering::Relaxed;
            self.taken.set(taken.fetch_update(order, order, next).is_ok());
        }
        self.taken.get()
    }

    /// Gives it back.
    pub(super) fn give_back(&self) {
        if self.taken.replace(false) {
            self.seats.inner.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn refuse(&self) -> Problem {
        let Inner {
            clients,
            refused,
            said,
            ..
        } = &*self.seats.inner;
        refused.inc();
        if let Some(held_back) = said.due() {
            tracing::warn!(
                limit = clients,
                held_back,
                "all connections are taken: refusing clients"
            );
        }
        Problem::from(Refusal {
            code: ErrorCode::Busy,
            msg: "this node holds as many connections as it can".to_owned(),
            retry_ms: Some(rand::random_range(COME_BACK_MS)),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_back();
        self.seats.inner.open.dec();
    }
}

/// Serves clients that find a seat, and whatever operators and probes ask.
pub(super) async fn usher<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(connection) = Connection::under(request.request()) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    if operators(request.path()) {
        connection.asks_as_operator();
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let refused = if !connection.asks_as_client() {
        connection.seat().refuse()
    } else if !connection.is_identified() && is_large(request.headers()) {
        let msg = format!("without a token a body has at most {UNKNOWN_BYTES} bytes");
        Problem::new(ErrorCode::TooLarge, msg)
    } else {
        let response = next.call(request).await?.map_into_left_body();
        connection.is_answered();
        return Ok(response);
    };
    let mut response = request
        .into_response(refused.error_response())
        .map_into_right_body();
    response
        .response_mut()
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    Ok(response)
}

/// Whether a body is announced that is more than one who is not known may send, without a token that could change that.
fn is_large(headers: &HeaderMap) -> bool {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let large = length.is_some_and(|length| length.parse().is_ok_and(|length: usize| length > UNKNOWN_BYTES));
    large && !headers.contains_key(AUTHORIZATION)
}

fn operators(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/metrics" | "/v1/cluster") || path.starts_with("/v1/cluster/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: u64, wanted: usize) -> Result<Budget, TooFew> {
        let mut config = Config::default();
        config.server.workers = 2;
        config.server.max_connections = wanted;
        Budget::of(limit, &config)
    }

    #[test]
    fn what_is_divided_is_the_limit_and_no_more() {
        for limit in [300, 1_024, 20_000, 1 << 20] {
            let Budget {
                clients,
                guests,
                tables,
                lowered,
            } = budget(limit, 0).unwrap();
            assert!(!lowered);
            assert!((clients + guests) as u64 + u64::from(tables) < limit - OWN);
        }
        let all = budget(u64::MAX, 0).unwrap();
        assert!(all.clients > 1 << 30, "without a limit there is none");
    }

    #[test]
    fn a_bound_of_ones_own_holds_as_far_as_the_limit_permits() {
        let Budget { clients, lowered, .. } = budget(20_000, 500).unwrap();
        assert_eq!((clients, lowered), (500, false));
        let Budget { clients, lowered, .. } = budget(1_024, 10_000).unwrap();
        assert_eq!((clients, lowered), (budget(1_024, 0).unwrap().clients, true));
    }

    #[test]
    fn a_limit_that_leaves_no_room_for_clients_is_an_error_that_says_what_would() {
        let TooFew { least, .. } = budget(100, 0).unwrap_err();
        assert_eq!(budget(least, 0).unwrap().clients as u64, LEAST_CLIENTS);
        assert!(budget(least - 1, 0).is_err());
    }

    #[test]
    fn a_client_has_a_seat_as_long_as_one_is_free() {
        let seats = Seats::new(Budget {
            clients: 2,
            guests: 3,
            tables: 64,
            lowered: false,
        });
        assert_eq!(seats.per_worker(2), 3);
        let all: Vec<Seat> = (0..4).map(|_| seats.accept()).collect();
        assert_eq!(seats.inner.taken.load(Ordering::Relaxed), 0, "nobody has asked");
        assert!(all[0].take() && all[1].take() && all[0].take());
        assert!(!all[2].take(), "there are two");
        all[0].give_back();
        assert!(all[2].take() && !all[0].take());
        drop(all);
        assert_eq!(seats.inner.open.get(), 0);
        assert_eq!(seats.inner.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn operators_are_answered_when_nobody_else_is() {
        for path in [
            "/livez",
            "/readyz",
            "/metrics",
            "/v1/cluster",
            "/v1/cluster/owner",
        ] {
            assert!(operators(path), "{path}");
        }
        for path in ["/v1/ws", "/v1/clusters", "/metrics/", "/"] {
            assert!(!operators(path), "{path}");
        }
    }
}
