//! Questions about conversations: asked by sessions and relays of any node, answered by the owner from its rows.
//!
//! In the order a question takes: `client` (grouped by owner) → `serve` (proves that it still is the owner) →
//! `pool` (threads that may block) → `rows` (what the rules' own reading functions say).

pub(crate) mod client;
pub(crate) mod pool;
pub(crate) mod rows;
pub(crate) mod serve;
