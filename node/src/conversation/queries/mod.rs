//! Queries about conversations: sent by sessions and subscription managers of any node, answered by the shard owner
//! from its rows.
//!
//! Path of a query: `client` (grouped by owner) → `serve` (proves the ownership) → `pool` (blocking threads) → `rows`
//! (the state machine's read functions).

pub(crate) mod client;
pub(crate) mod pool;
pub(crate) mod rows;
pub(crate) mod serve;
