//! Task that reads certificates again when their files have changed, or at SIGHUP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::PemFiles;

/// Metrics of the certificates. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CertificateMetrics {
    /// End of the certificate in use, in seconds since 1970.
    not_after: Family<CertificateLabels, Gauge>,
    /// Looks at files that could not be used.
    refused: Counter,
    /// Handshakes with clients that failed.
    pub handshakes_failed: Counter,
}

/// Label with the use of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    certificate: &'static str,
}

/// Connections that a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateUse {
    Clients,
    Nodes,
}

/// User of the contents of files: returns the end of the certificate, or the reason of a refusal.
type TakeIntoUse = Box<dyn FnMut(&[Vec<u8>]) -> Result<u64, String> + Send>;

/// Files of one certificate, and its user.
pub struct CertificateSource {
    usage: CertificateUse,
    files: PemFiles,
    take_into_use: TakeIntoUse,
    /// Reason for which the files were refused at the last look.
    refused: Option<String>,
}

/// Certificates of a node that are renewed while it runs.
#[derive(Default)]
pub struct CertificateWatch {
    sources: Vec<CertificateSource>,
    metrics: CertificateMetrics,
}

// === impl CertificateWatch ===

impl CertificateWatch {
    /// Adds a certificate in use, which ends at `end` (seconds since 1970).
    pub fn add(&mut self, source: CertificateSource, end: u64) {
        self.metrics.in_use(source.usage, end);
        self.sources.push(source);
    }

    #[must_use]
    pub fn metrics(&self) -> CertificateMetrics {
        self.metrics.clone()
    }

    /// Looks at the files at this interval and at SIGHUP, and never returns. Without certificates it leaves the signal
    /// alone.
    pub async fn run(mut self, every: Duration) {
        if self.sources.is_empty() {
            return std::future::pending().await;
        }
        let mut reload = match signal(SignalKind::hangup()) {
            Ok(reload) => Some(reload),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be received; certificates are only read again after a change");
                None
            }
        };
        loop {
            let is_requested = tokio::select! {
                () = tokio::time::sleep(every) => false,
                () = requested(&mut reload) => true,
            };
            // Blocking: the files may be on a disk of the network.
            let looked = tokio::task::spawn_blocking(move || {
                self.look(is_requested);
                self
            });
            match looked.await {
                Ok(watch) => self = watch,
                // The runtime ends.
                Err(_) => return,
            }
        }
    }

    /// Reads the files that have changed, those that were refused before, and with `is_requested` all of them.
    fn look(&mut self, is_requested: bool) {
        for source in &mut self.sources {
            if is_requested || source.refused.is_some() || source.files.is_changed() {
                source.reload(is_requested, &self.metrics);
            }
        }
    }
}

async fn requested(reload: &mut Option<Signal>) {
    match reload {
        Some(reload) => {
            reload.recv().await;
        }
        None => std::future::pending().await,
    }
}

// === impl CertificateSource ===

impl CertificateSource {
    /// Watches files that were read already. `take_into_use` receives their later contents, in the order of the paths, and
    /// returns the end of the certificate in seconds since 1970; if it fails, it has changed nothing.
    #[must_use]
    pub fn new(
        usage: CertificateUse,
        files: PemFiles,
        take_into_use: impl FnMut(&[Vec<u8>]) -> Result<u64, String> + Send + 'static,
    ) -> CertificateSource {
        CertificateSource {
            usage,
            files,
            take_into_use: Box::new(take_into_use),
            refused: None,
        }
    }

    fn reload(&mut self, is_requested: bool, metrics: &CertificateMetrics) {
        let certificate = self.usage.name();
        let contents = self.files.read();
        match contents.and_then(|contents| (self.take_into_use)(&contents)) {
            Ok(end) => {
                self.refused = None;
                metrics.in_use(self.usage, end);
                tracing::info!(certificate, days_left = days_left(end), "certificate reloaded");
            }
            Err(reason) => {
                // A file that stays half-written is reported once.
                if is_requested || self.refused.as_ref() != Some(&reason) {
                    tracing::warn!(
                        certificate,
                        reason,
                        "certificate files refused, the previous certificate stays in use"
                    );
                }
                self.refused = Some(reason);
                metrics.refused.inc();
            }
        }
    }
}

/// Returns the days until a time in seconds since 1970; negative after it.
fn days_left(end: u64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = i64::try_from(end).unwrap_or(i64::MAX) - i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    left.div_euclid(86_400)
}

// === impl CertificateUse ===

impl CertificateUse {
    fn name(self) -> &'static str {
        match self {
            CertificateUse::Clients => "clients",
            CertificateUse::Nodes => "nodes",
        }
    }
}

// === impl CertificateMetrics ===

impl CertificateMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "tls_not_after_seconds",
            "End of the certificate in use, in seconds since 1970",
            self.not_after.clone(),
        );
        registry.register(
            "tls_files_refused",
            "Looks at certificate files that could not be used; the previous certificate stays in use",
            self.refused.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "TLS handshakes with clients that failed",
            self.handshakes_failed.clone(),
        );
    }

    fn in_use(&self, usage: CertificateUse, end: u64) {
        let labels = CertificateLabels {
            certificate: usage.name(),
        };
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        self.not_after.get_or_create(&labels).set(end);
        if days_left(end.unsigned_abs()) < 0 {
            tracing::warn!(certificate = usage.name(), "the certificate has ended");
        }
    }
}
