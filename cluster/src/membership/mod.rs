//! Who belongs to the cluster and who holds what: admission, placement, and the work of making it so.

pub(crate) mod admission;
pub(crate) mod contacts;
pub(crate) mod disks;
pub(crate) mod health;
pub(crate) mod placement;
pub(crate) mod reconcile;
