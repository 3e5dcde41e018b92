//! Queries that a shard owner answers from its applied state.

pub(crate) mod blocking_pool;
pub(crate) mod rows;
pub(crate) mod serve;
