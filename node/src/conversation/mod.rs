//! Conversations: the pure rules, the actor that runs them on the shard that owns it, and the way there.
pub mod timeline;
