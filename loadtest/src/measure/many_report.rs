//! Costs of the sessions of a user with many conversations.

use serde::{Deserialize, Serialize};

use super::recorder::Percentiles;

/// Result for one user, as written to the report. Times are in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ManyReport {
    pub(crate) conversations: u32,
    /// Time from the connect to `ready`.
    pub(crate) to_ready: Percentiles,
    /// Time from the connect to the first page of the conversation list.
    pub(crate) to_listed: Percentiles,
    /// Time from the connect to the first page of `sync`, after which the subscriptions are active.
    pub(crate) to_synced: Percentiles,
    /// First page of the conversation list, of at most ten rows, in an established session.
    pub(crate) list: Percentiles,
    /// Page of `sync` in an established session; `sync_shows` is its number of conversations.
    pub(crate) sync: Percentiles,
    pub(crate) sync_shows: u64,
    /// CPU time of all nodes together for one operation, in microseconds.
    pub(crate) begin_cpu_us: Option<f64>,
    pub(crate) list_cpu_us: Option<f64>,
    pub(crate) sync_cpu_us: Option<f64>,
    /// Memory of all nodes together, in KiB; `None` if there are too few subscriptions.
    pub(crate) kib_per_subscription: Option<f64>,
}
