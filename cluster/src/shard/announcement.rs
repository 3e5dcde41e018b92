//! Announcements between members, and the cluster's own request methods.
//!
//! A member sends all others its owned shards with their epochs and the version of its map: once a second, and
//! immediately when it becomes an owner. A lost announcement costs a redirect. It cannot do harm, since epochs only
//! grow.

use serde::{Deserialize, Serialize};

/// The cluster's own methods on the rpc connection. Methods of the service are below [`FIRST`](MemberMethod::FIRST).
/// The numbers are part of the wire protocol: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum MemberMethod {
    /// One-way message with a [`MemberAnnouncement`].
    Announcement = 0xff00,
    /// Join request of a new node; the response is a [`MapChangeResult`](crate::shard::MapChangeResult).
    Join = 0xff01,
    /// Request for the cluster map.
    Map = 0xff02,
    /// Map change for the meta group's owner. Any other member refuses it and does not forward it, so that requests
    /// cannot circulate.
    Change = 0xff03,
    /// Request to the owner of a shard (`u16`) for the voters of its group.
    GetVoters = 0xff04,
    /// Request for a node's identity, also from nodes of no cluster; the response is an
    /// [`Introduction`](crate::membership::Introduction).
    GetIdentity = 0xff05,
    /// Map change that the receiver forwards to the meta group's owner, for a member that cannot reach the owner.
    ForwardMapChange = 0xff06,
    /// One-way number of commit groups (`u64`) that the sender's disk has synced.
    Synced = 0xff07,
    /// Request for the wall clock of a member; see the clock exchange of [`member`](crate::member).
    Clock = 0xff08,
    /// Request to the owner of a shard (`u16`) for its applied index (`u64`). A position to compare with, not a proof.
    GetApplied = 0xff09,
    /// Request for the summary of a replica's rows at one index; see [`member`](crate::member).
    GetRows = 0xff10,
    /// Request to the owner of a shard (`u16`) for a comparison of its replicas.
    Compare = 0xff11,
    /// Request to the owner of a shard (`u16`) to rebuild the replica of a node (`u64`).
    Rebuild = 0xff12,
    /// Request to the owner of a shard (`u16`) for all members of its group, committed or not, learners included.
    GetMembers = 0xff13,
    /// Request to a member to discard its replica of a shard (`u16`), which is no member of its group any more.
    Discard = 0xff14,
    /// Notes of failovers for the meta group's owner: a command of its group; the response is empty.
    NoteFailovers = 0xff0a,
    /// Request to the meta group's owner for the history of failovers from a time (`u64`) on.
    GetFailovers = 0xff0b,
}

/// Announcement of a member about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberAnnouncement {
    pub(crate) map_version: u64,
    pub(crate) draining: bool,
    /// Address of the member; may differ from the one in the map.
    pub(crate) addr: String,
    /// Owned shards, with their epochs.
    pub(crate) owned: Vec<(u16, u64)>,
}

// === impl MemberMethod ===

impl MemberMethod {
    /// First number reserved for the cluster; the service uses lower ones.
    pub(crate) const FIRST: u16 = 0xff00;

    pub(crate) fn from_wire(number: u16) -> Option<MemberMethod> {
        [
            MemberMethod::Announcement,
            MemberMethod::Join,
            MemberMethod::Map,
            MemberMethod::Change,
            MemberMethod::GetVoters,
            MemberMethod::GetIdentity,
            MemberMethod::ForwardMapChange,
            MemberMethod::Synced,
            MemberMethod::Clock,
            MemberMethod::GetApplied,
            MemberMethod::GetRows,
            MemberMethod::Compare,
            MemberMethod::Rebuild,
            MemberMethod::GetMembers,
            MemberMethod::Discard,
            MemberMethod::NoteFailovers,
            MemberMethod::GetFailovers,
        ]
        .into_iter()
        .find(|&method| method as u16 == number)
    }
}
