//! Sessions that go from one node of a cluster to another: whole nodes, in this process, seen from raw sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../gateway/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the gateway, which need all of it"
)]
mod support;

mod test_cluster;

mod device;
mod drain;
mod listen;
mod many;
mod moments;
mod removed;
mod resume;
