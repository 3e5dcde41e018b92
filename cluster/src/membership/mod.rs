//! State and decisions about the members, without tasks and I/O: placement of the shards, incarnations of the members'
//! disks, their addresses, and the connected majority. The loops that act on them run in [`member`](crate::member).

#[cfg(test)]
mod duty_test;
mod peer_contacts;
mod peer_incarnations;
mod placement;
mod quorum_monitor;

pub(crate) use peer_contacts::{Introduction, PeerContacts};
pub(crate) use peer_incarnations::{PeerIncarnations, incarnation};
pub(crate) use placement::placement_of;
pub(crate) use quorum_monitor::QuorumMonitor;
