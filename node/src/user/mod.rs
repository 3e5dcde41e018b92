//! What belongs to a user rather than to a conversation: the list of conversations, who is there, and the [`login`].
//!
//! The truth about a membership is in the conversation's shard. The user's shard holds a list derived from it, in the order
//! of what happened last: each change is told to it by the outbox pump, and messages by the [`activity`] task, a few
//! times a minute. A page of the inbox is cut from the list, and then the owners of the conversations on it are asked.
//!
//! Who is there is soft state at the owner of the user's shard: the [`directory`]. Each node tells it of its sessions and
//! of whom they watch ([`attendance`]); the [`desk`] of each worker thread is where sessions take their seats.

pub(crate) mod activity;
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
