//! The transport between nodes: order, bounds, refusals, and what callers are told when links break.

#![expect(clippy::unwrap_used, reason = "tests")]

mod hostile;
mod memory;
mod node;
mod proxy;
mod tcp;
mod tls;
