//! Queries that a shard owner answers from its applied state.

pub(super) mod blocking_pool;
pub(super) mod rows;
pub(super) mod serve;
