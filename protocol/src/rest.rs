//! Pages that only REST returns: bans, blocked users, and messages in their current state.

pub use crate::groups::member_list::{BanEntryRow, BanList};
pub use crate::groups::message_state::{MessagePage, MessageState};
pub use crate::groups::profile::BlockList;
