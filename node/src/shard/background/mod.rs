//! Background tasks of an owned shard.

pub(crate) mod activity_dispatcher;
pub(crate) mod login_gc;
pub(crate) mod outbox_dispatcher;
pub(crate) mod presence_maintenance;
pub(crate) mod retention;
pub(crate) mod webhook_dispatcher;
