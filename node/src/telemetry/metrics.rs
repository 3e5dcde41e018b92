//! The node's figures for Prometheus: gateway and session here, storage and cluster from their crates.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use protocol::CloseCode;

/// The registry of a node, to which every part adds its figures at the start.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    registry: Arc<Mutex<Registry>>,
}

/// What the gateway and the sessions count.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Open sessions, authenticated or not.
    pub sessions: Gauge,
    /// Sessions that wait for their client to come back.
    pub sessions_away: Gauge,
    /// Bytes of events that are kept for them.
    pub sessions_away_bytes: Gauge,
    /// Sessions that ended because too many waited.
    pub away_dropped: Counter,
    /// Attempts to go on with a session, by what became of them.
    pub resumes: Family<ResumeLabels, Counter>,
    /// Sessions ended, by close code.
    pub closed: Family<CloseLabels, Counter>,
    /// Frames received.
    pub frames_in: Counter,
    /// Frames sent.
    pub frames_out: Counter,
    /// Pieces written to sockets; frames per piece show the coalescing.
    pub writes: Counter,
    /// Bytes received.
    pub bytes_in: Counter,
    /// Bytes sent.
    pub bytes_out: Counter,
    /// Commands refused, by code.
    pub refused: Family<CodeLabels, Counter>,
    /// Seconds from a send's arrival in the session to its answer.
    pub send_seconds: Histogram,
    /// Times that an outbox was full.
    pub resyncs: Counter,
    /// Ephemeral events dropped for slow clients.
    pub dropped: Counter,
    /// Tokens refused.
    pub auth_failures: Counter,
}

/// The close code of an ended session. A client may say any code: those of the protocol have their figure, all others
/// one together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CloseLabels {
    code: Closed,
}

/// A close code as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Closed {
    /// One of the protocol.
    Known(CloseCode),
    /// The client said none (1005 in RFC 6455).
    None,
    /// The client went away (1001), as browsers do.
    Away,
    /// Any other.
    Other,
}

/// The code of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabels {
    /// As on the wire.
    pub code: Code,
}

/// What became of an attempt to go on with a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResumeLabels {
    /// `resumed`, or why not.
    pub result: Code,
}

/// A refusal's code as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub &'static str);

// === impl Figures ===

impl Figures {
    /// Lets a part add its figures, under `rookery_`.
    pub fn register(&self, part: impl FnOnce(&mut Registry)) {
        part(self.registry.lock().sub_registry_with_prefix("rookery"));
    }

    /// All figures in the text format of OpenMetrics.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry.lock())
            .expect("a string takes everything");
        text
    }
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            sessions: Gauge::default(),
            sessions_away: Gauge::default(),
            sessions_away_bytes: Gauge::default(),
            away_dropped: Counter::default(),
            resumes: Family::default(),
            closed: Family::default(),
            frames_in: Counter::default(),
            frames_out: Counter::default(),
            writes: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            refused: Family::default(),
            // 0.5 ms to 16 s: one fsync to the end of the retry budget.
            send_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            resyncs: Counter::default(),
            dropped: Counter::default(),
            auth_failures: Counter::default(),
        }
    }
}

impl Metrics {
    /// Adds these figures to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("sessions", "Open sessions", self.sessions.clone());
        registry.register(
            "sessions_away",
            "Sessions that wait for their client",
            self.sessions_away.clone(),
        );
        registry.register(
            "sessions_away_bytes",
            "Bytes of events kept for clients that are away",
            self.sessions_away_bytes.clone(),
        );
        registry.register(
            "sessions_away_dropped",
            "Sessions ended because too many waited for their client",
            self.away_dropped.clone(),
        );
        registry.register(
            "session_resumes",
            "Attempts to go on with a session, by result",
            self.resumes.clone(),
        );
        registry.register(
            "sessions_closed",
            "Sessions ended, by close code",
            self.closed.clone(),
        );
        registry.register("frames_in", "WebSocket frames received", self.frames_in.clone());
        registry.register("frames_out", "WebSocket frames sent", self.frames_out.clone());
        registry.register("socket_writes", "Pieces written to sockets", self.writes.clone());
        registry.register("bytes_in", "Bytes received on WebSockets", self.bytes_in.clone());
        registry.register("bytes_out", "Bytes sent on WebSockets", self.bytes_out.clone());
        registry.register(
            "commands_refused",
            "Commands refused, by code",
            self.refused.clone(),
        );
        registry.register(
            "send_seconds",
            "Seconds from send to answer",
            self.send_seconds.clone(),
        );
        registry.register(
            "session_resyncs",
            "Outboxes that overflowed",
            self.resyncs.clone(),
        );
        registry.register(
            "events_dropped",
            "Ephemeral events not sent to slow clients",
            self.dropped.clone(),
        );
        registry.register("auth_failures", "Tokens refused", self.auth_failures.clone());
    }
}

// === impl CloseLabels, Closed ===

impl From<Option<u16>> for CloseLabels {
    fn from(code: Option<u16>) -> CloseLabels {
        let code = match code {
            None => Closed::None,
            Some(1001) => Closed::Away,
            Some(code) => CloseCode::from_code(code).map_or(Closed::Other, Closed::Known),
        };
        CloseLabels { code }
    }
}

impl EncodeLabelValue for Closed {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        match self {
            Closed::Known(code) => EncodeLabelValue::encode(&u32::from(code.code()), encoder),
            Closed::None => EncodeLabelValue::encode(&1005u32, encoder),
            Closed::Away => EncodeLabelValue::encode(&1001u32, encoder),
            Closed::Other => EncodeLabelValue::encode(&"other", encoder),
        }
    }
}

// === impl Code ===

impl EncodeLabelValue for Code {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}
