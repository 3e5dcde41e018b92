//! Metrics for Prometheus: those of gateway and sessions, and the registry for those of other components.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use protocol::{CloseCode, ErrorCode};
use storage::LatencyBuckets;

use super::loop_lag::LoopLag;
use super::process::ProcessCollector;

/// Metrics registry of a node; components register at the start.
#[derive(Clone, Debug)]
pub struct MetricsRegistry {
    registry: Arc<Mutex<Registry>>,
}

/// Metrics of the gateway and the sessions.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    /// 1 while the node is ready, as `/readyz` reports it. Set by each scrape.
    pub ready: Gauge,
    /// Open sessions, including unauthenticated ones.
    pub sessions: Gauge,
    /// Commands in the backlogs of all sessions.
    pub session_backlog: Gauge,
    /// Bytes of events that the clients of all sessions have not confirmed, at the last measurement.
    pub session_outbox_bytes: Gauge,
    /// Lags of the threads.
    pub loop_lag: LoopLag,
    pub sessions_detached: Gauge,
    /// Bytes of events buffered for detached sessions.
    pub sessions_detached_bytes: Gauge,
    /// Detached sessions ended because of the limits.
    pub detached_dropped: Counter,
    /// Attempts to resume a session, by result.
    pub resumes: Family<ResumeLabels, Counter>,
    /// Writes of the durable cursors of a device that were accepted.
    pub device_cursors_written: Counter,
    /// Sessions ended, by close code.
    pub closed: Family<CloseLabels, Counter>,
    pub frames_in: Counter,
    pub frames_out: Counter,
    /// Chunks written to sockets; frames per chunk show the coalescing.
    pub writes: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Commands refused, by code.
    pub refused: Family<CodeLabels, Counter>,
    /// Seconds from a send's arrival in the session to its answer.
    send_seconds: Histogram,
    /// The same durations, of which this process computes quantiles.
    pub send_latency: Arc<LatencyBuckets>,
    /// Answered sends, of which the histogram tells the number only in a scrape.
    sends_answered: Counter,
    /// Overflows of outbound queues.
    pub resyncs: Counter,
    /// Ephemeral events dropped for slow clients.
    pub dropped: Counter,
    pub auth_failures: Counter,
    /// HTTP requests answered, by route and status.
    pub http_requests: Family<HttpLabels, Counter>,
    /// Open connections by protocol, the native one aside.
    pub gateway_connections: Family<GatewayLabels, Gauge>,
    /// Frames without a meaning by protocol, which the gateways ignore.
    pub gateway_frames_ignored: Family<GatewayLabels, Counter>,
}

/// Labels of an answered HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabels {
    /// Pattern of the route, such as `/v1/users/{u}`; empty without one. Paths are chosen by clients, and each would be
    /// a series.
    pub route: String,
    pub status: u16,
}

/// Label with the name of a gateway, such as `cable`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GatewayLabels {
    pub gateway: &'static str,
}

/// Label with the close code of an ended session. Codes outside of the protocol share one value, since clients may send
/// any and each would be a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CloseLabels {
    code: CloseLabel,
}

/// Close code as a label value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum CloseLabel {
    /// Code of the protocol.
    Known(CloseCode),
    /// Close frame without a code (1005 in RFC 6455).
    None,
    /// Going away (1001), sent by browsers.
    GoingAway,
    Other,
}

/// Label with the error code of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabels {
    pub code: ErrorLabel,
}

/// Label with the result of a resume attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResumeLabels {
    /// `resumed`, or the reason for the failure.
    pub result: ErrorLabel,
}

/// Error code as a label value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorLabel(pub &'static str);

// === impl MetricsRegistry ===

impl Default for MetricsRegistry {
    fn default() -> MetricsRegistry {
        let mut registry = Registry::default();
        // Without the prefix: dashboards for any program ask for these names.
        registry.register_collector(Box::new(ProcessCollector));
        MetricsRegistry {
            registry: Arc::new(Mutex::new(registry)),
        }
    }
}

impl MetricsRegistry {
    /// Registers the metrics of a component under the prefix `rookery_`.
    pub fn register(&self, part: impl FnOnce(&mut Registry)) {
        part(self.registry.lock().sub_registry_with_prefix("rookery"));
    }

    /// Renders all metrics in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry.lock())
            .expect("a string takes everything");
        text
    }
}

// === impl ServerMetrics ===

impl Default for ServerMetrics {
    fn default() -> Self {
        ServerMetrics {
            ready: Gauge::default(),
            sessions: Gauge::default(),
            session_backlog: Gauge::default(),
            session_outbox_bytes: Gauge::default(),
            loop_lag: LoopLag::default(),
            sessions_detached: Gauge::default(),
            sessions_detached_bytes: Gauge::default(),
            detached_dropped: Counter::default(),
            resumes: Family::default(),
            device_cursors_written: Counter::default(),
            closed: Family::default(),
            frames_in: Counter::default(),
            frames_out: Counter::default(),
            writes: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            refused: Family::default(),
            // 0.5 ms to 16 s: from a single fsync to beyond the command timeout.
            send_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            send_latency: Arc::default(),
            sends_answered: Counter::default(),
            resyncs: Counter::default(),
            dropped: Counter::default(),
            auth_failures: Counter::default(),
            http_requests: Family::default(),
            gateway_connections: Family::default(),
            gateway_frames_ignored: Family::default(),
        }
    }
}

impl ServerMetrics {
    /// Creates the series of every known label: a counter that appears with its first event shows no increase for it.
    fn create_series(&self) {
        let closes = CloseCode::ALL.into_iter().map(CloseLabel::Known);
        for code in closes.chain([CloseLabel::None, CloseLabel::GoingAway, CloseLabel::Other]) {
            drop(self.closed.get_or_create(&CloseLabels { code }));
        }
        for code in ErrorCode::ALL {
            let code = ErrorLabel(code.as_str());
            drop(self.refused.get_or_create(&CodeLabels { code }));
        }
        for result in ["resumed", "rebuilt", "expired", "gap", "unknown"] {
            let result = ErrorLabel(result);
            drop(self.resumes.get_or_create(&ResumeLabels { result }));
        }
        for gateway in ["cable", "mqtt", "socketio"] {
            drop(self.gateway_connections.get_or_create(&GatewayLabels { gateway }));
            drop(
                self.gateway_frames_ignored
                    .get_or_create(&GatewayLabels { gateway }),
            );
        }
    }

    /// Records an answered send and its duration.
    pub fn send_answered(&self, took: Duration) {
        self.send_seconds.observe(took.as_secs_f64());
        self.send_latency.observe(took);
        self.sends_answered.inc();
    }

    /// Returns the number of answered sends since the start of the node.
    #[must_use]
    pub fn sends_answered(&self) -> u64 {
        self.sends_answered.get()
    }

    pub fn register(&self, registry: &mut Registry) {
        self.create_series();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of the program", Info::new(version));
        registry.register(
            "ready",
            "1 while the node accepts clients, as /readyz reports it",
            self.ready.clone(),
        );
        registry.register("sessions", "Open sessions", self.sessions.clone());
        registry.register(
            "session_backlog",
            "Commands received and not dispatched yet, in all sessions",
            self.session_backlog.clone(),
        );
        registry.register(
            "session_outbox_bytes",
            "Bytes of events that the clients of all sessions have not confirmed, measured every 5 s",
            self.session_outbox_bytes.clone(),
        );
        self.loop_lag.register(registry);
        registry.register(
            "sessions_detached",
            "Detached sessions",
            self.sessions_detached.clone(),
        );
        registry.register(
            "sessions_detached_bytes",
            "Bytes of events buffered for detached sessions",
            self.sessions_detached_bytes.clone(),
        );
        registry.register(
            "sessions_detached_dropped",
            "Detached sessions evicted because their number or size reached its limit",
            self.detached_dropped.clone(),
        );
        registry.register(
            "session_resumes",
            "Attempts to resume a session, by result",
            self.resumes.clone(),
        );
        registry.register(
            "device_cursors_written",
            "Writes of the durable cursors of a device that were accepted",
            self.device_cursors_written.clone(),
        );
        registry.register(
            "sessions_closed",
            "Sessions ended, by close code",
            self.closed.clone(),
        );
        registry.register("frames_in", "WebSocket frames received", self.frames_in.clone());
        registry.register("frames_out", "WebSocket frames sent", self.frames_out.clone());
        registry.register(
            "socket_writes",
            "Write calls on client sockets",
            self.writes.clone(),
        );
        registry.register("bytes_in", "Bytes received on WebSockets", self.bytes_in.clone());
        registry.register("bytes_out", "Bytes sent on WebSockets", self.bytes_out.clone());
        registry.register(
            "commands_refused",
            "Commands refused, by error code",
            self.refused.clone(),
        );
        registry.register(
            "send_seconds",
            "Time from the receipt of a send command to its response, in seconds",
            self.send_seconds.clone(),
        );
        registry.register(
            "session_resyncs",
            "Overflows of outbound queues",
            self.resyncs.clone(),
        );
        registry.register(
            "events_dropped",
            "Ephemeral events dropped for slow consumers",
            self.dropped.clone(),
        );
        registry.register("auth_failures", "Tokens refused", self.auth_failures.clone());
        registry.register(
            "http_requests",
            "HTTP requests answered, by route and status; a WebSocket counts when it opens",
            self.http_requests.clone(),
        );
        registry.register(
            "gateway_connections",
            "Open connections, by gateway",
            self.gateway_connections.clone(),
        );
        registry.register(
            "gateway_frames_ignored",
            "Frames without a meaning, by gateway",
            self.gateway_frames_ignored.clone(),
        );
    }
}

// === impl CloseLabels, CloseLabel ===

impl From<Option<u16>> for CloseLabels {
    fn from(code: Option<u16>) -> CloseLabels {
        let code = match code {
            None => CloseLabel::None,
            Some(1001) => CloseLabel::GoingAway,
            Some(code) => CloseCode::from_code(code).map_or(CloseLabel::Other, CloseLabel::Known),
        };
        CloseLabels { code }
    }
}

impl EncodeLabelValue for CloseLabel {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        match self {
            CloseLabel::Known(code) => EncodeLabelValue::encode(&u32::from(code.code()), encoder),
            CloseLabel::None => EncodeLabelValue::encode(&1005u32, encoder),
            CloseLabel::GoingAway => EncodeLabelValue::encode(&1001u32, encoder),
            CloseLabel::Other => EncodeLabelValue::encode(&"other", encoder),
        }
    }
}

// === impl ErrorLabel ===

impl EncodeLabelValue for ErrorLabel {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}
