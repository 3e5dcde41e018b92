//! What members tell each other about themselves, and the cluster's own requests.
//!
//! Once a second, and at once when it becomes an owner, a member tells all others what it owns under which epochs and
//! which version of the map it has. A lost message costs a redirect; it can't do harm, since epochs only grow.

use serde::{Deserialize, Serialize};

/// The cluster's own methods on the rpc lane. Service methods are below [`FIRST`](Method::FIRST). The numbers are on
/// the wire: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Method {
    /// One way: a [`News`].
    News = 0xff00,
    /// A new node asks to join: answered with a [`Changed`](crate::shard::map::Changed).
    Join = 0xff01,
    /// A member asks for the map.
    Map = 0xff02,
    /// A member sends the meta group's owner a change. Refused by any other: it isn't passed on, so that nothing goes
    /// in circles.
    Change = 0xff03,
    /// A member asks the owner of a shard (`u16`) who votes in its group.
    Voters = 0xff04,
    /// Anybody asks who this node is: answered with an [`Introduction`](crate::membership::contacts::Introduction).
    Who = 0xff05,
    /// A member that doesn't hear the meta group's owner has another one pass a change on.
    PassOn = 0xff06,
    /// One way: how many rounds (`u64`) the sender's disk has synced.
    Synced = 0xff07,
    /// A member asks what this one's clock shows; see [`crate::clock::exchange`].
    Clock = 0xff08,
}

/// What a member says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct News {
    /// Version of the map it has.
    pub(crate) map_version: u64,
    /// Whether it is about to stop.
    pub(crate) draining: bool,
    /// Where it can be reached, whatever the map says.
    pub(crate) addr: String,
    /// Shards it owns, with their epochs.
    pub(crate) owned: Vec<(u16, u64)>,
}

// === impl Method ===

impl Method {
    /// The first number that isn't free for the service.
    pub(crate) const FIRST: u16 = 0xff00;

    pub(crate) fn from_wire(number: u16) -> Option<Method> {
        [
            Method::News,
            Method::Join,
            Method::Map,
            Method::Change,
            Method::Voters,
            Method::Who,
            Method::PassOn,
            Method::Synced,
            Method::Clock,
        ]
        .into_iter()
        .find(|&method| method as u16 == number)
    }
}
