//! Result of the search for the highest rate.

use serde::{Deserialize, Serialize};

use super::recorder::Percentiles;

/// Result of the search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FoundMax {
    pub(crate) limit_p99_us: u64,
    pub(crate) limit_errors: f64,
    /// Highest rate within the limits; `None` if no rate was.
    pub(crate) held: Option<f64>,
    pub(crate) probes: Vec<RateProbe>,
}

/// Measurement at one rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RateProbe {
    pub(crate) rate: f64,
    pub(crate) held: bool,
    /// Exceeded limit; `None` if the rate held.
    pub(crate) why: Option<String>,
    pub(crate) sent: u64,
    pub(crate) errors: u64,
    pub(crate) ack: Percentiles,
    pub(crate) deliver: Percentiles,
    /// Percent of one core. Near 100, the harness is the limit and not the cluster.
    pub(crate) harness_cpu_percent: f64,
}
