//! User-related components: conversation list, presence and [`login`].
//!
//! The conversation's shard is authoritative for a membership. The user's shard holds a list derived from it, ordered
//! by last activity. The [`outbox_dispatcher`] propagates each membership change to it, and the [`activity`] task the
//! messages, a few times a minute. A page is cut from the list and completed by the owners of its conversations.
//!
//! Presence is soft state at the owner of the user's shard, in the [`registry`]. Each node registers its sessions and
//! watches with it ([`reporter`]). The [`local_presence`] of each worker thread tracks the sessions there.

pub(crate) mod activity;
pub(crate) mod inbox;
pub mod login;
pub(crate) mod mentions;
pub(crate) mod outbox_dispatcher;

pub(crate) mod webhook_dispatcher;

pub mod local_presence;

pub mod reporter;

pub(crate) mod registry;

pub(crate) mod metrics;
pub(crate) mod presence;
pub mod settings;

pub use local_presence::{
    Device, EvictionReason, LocalPresence, PresenceGuard, PresenceSink, SessionMark, SessionRefused,
};
pub use reporter::PresenceReporter;
pub use settings::Settings;

pub use crate::rpc::presence::VisiblePresence;
pub(crate) use webhook_dispatcher::CONCURRENT as CONCURRENT_WEBHOOKS;
pub use webhook_dispatcher::WebhookTarget;
