//! What belongs to a user rather than to a conversation: the list of conversations, who is there, and the [`login`].
//!
//! The truth about a membership is in the conversation's shard. The user's shard holds a list derived from it, to which
//! each change is told by the outbox pump; the inbox is read by asking the list first and then the
//! owners of the conversations.
//!
//! Who is there is soft state at the owner of the user's shard: the [`directory`]. Each node tells it of its sessions and
//! of whom they watch ([`attendance`]); the [`desk`] of each worker thread is where sessions take their seats.

pub(crate) mod inbox;
pub mod login;
pub(crate) mod mentions;
pub(crate) mod outbox_pump;

pub(crate) mod hook_pump;

pub mod desk;

pub mod attendance;

pub(crate) mod directory;

pub(crate) mod metrics;
pub(crate) mod presence;
pub mod settings;

pub use attendance::{Attendance, Shown};
pub use desk::{Desk, Device, Loss, Refused, Screen, Seat, SessionMark};
pub use hook_pump::Hook;
pub use settings::Settings;
