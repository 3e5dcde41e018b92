//! Presence: sessions of this node, their reports to the shard owners, and the owners' registry.

pub mod local_presence;
pub(crate) mod registry;
pub mod reporter;
mod settings;

pub use local_presence::LocalPresence;
pub use local_presence::{Device, EvictionReason, PresenceGuard, PresenceSink, SessionMark, SessionRefused};
pub(crate) use registry::RegistrationResponse;
pub use reporter::PresenceReporter;
pub(crate) use reporter::UpdateReceiver;
pub use settings::Settings;
