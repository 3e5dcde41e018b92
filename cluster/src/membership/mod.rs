//! Membership of the cluster and placement of the shards: joining, placement, reconciliation, and the state of the
//! other members.

pub(crate) mod peer_contacts;
pub(crate) mod peer_incarnations;
pub(crate) mod placement;
pub(crate) mod quorum_monitor;
pub(crate) mod reconcile;
