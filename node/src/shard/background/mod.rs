//! Background tasks of an owned shard.

pub(super) mod activity_dispatcher;
pub(super) mod erasure;
pub(super) mod login_gc;
pub(super) mod outbox_dispatcher;
pub(super) mod presence_maintenance;
pub(super) mod retention;
pub(super) mod webhook_dispatcher;
