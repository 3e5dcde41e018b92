//! Tests of shards in a cluster of nodes in this process.

mod upgrade;
