//! State machine of the shards: rows, command and time in; rows and an outcome out.
//!
//! [`ShardStateMachine`] runs on each replica of every shard. Its decisions depend on nothing but the rows, the command
//! and the batch's time: no clock, no randomness, no order of a hash map, no setting. Authorisation, numbering,
//! timestamps and idempotency are decided here, in log order, and nowhere else. The prechecks of an actor only save a
//! log entry.
//!
//! Path of a command: [`ShardCommand`] (the proposal) → `apply` (one batch, by one file per group of commands, over the
//! rows of `apply_context`) → [`ShardOutcome`] (input of the proposing owner). `query` answers members from the same
//! rows. `rules` holds the permissions.

mod command;

mod command_header;

mod command_table;

mod consent;

mod login;

mod api_keys;

mod tables;

mod apply;

mod apply_context;
mod command_codec;
mod custom_data;
mod dedup;
mod deleted;
mod device_cursors;
mod erasure;
mod event_row;
mod keys;
mod message_state;
mod owner_succession;
mod profile;
mod row_store;
mod rows;
mod rules;
mod user_access;

mod outcome;

mod correction;
mod key_material;

pub mod query;

pub use self::api_keys::{ApiKeyId, KeyScope, KeyScopes};
pub use self::apply::ShardStateMachine;
pub use self::command::{ActivityNote, CommandDecodeError, CommandOrigin, ShardCommand};
pub(crate) use self::command_header::CommandHeader;
pub use self::command_table::{
    CommandKind, ConversationOp, ErasureOp, LoginOp, OutboxOp, RetentionOp, UserOp, WebhookOp,
};
pub use self::erasure::{ErasedMessages, ErasedShard, ErasureId, ErasureJob, ErasureStep};
pub use self::outcome::{
    ApplyEffect, CommandResult, EventEnvelope, MovedMember, OutboxId, OutboxOutcome, RetentionOutcome,
    ShardOutcome, UserOutcome,
};
#[cfg(test)]
pub use self::row_store::RowReader;
pub use self::rules::LARGE_CONVERSATION;
pub use self::tables::{ChatTable, TABLES};
pub use self::user_access::UserAccess;

#[cfg(test)]
mod tests;

pub(crate) use self::correction::{CorrectedRows, correct_user_rows};
pub(crate) use self::key_material::is_key_material;
pub(crate) use command_header::CommandSubject;
pub(crate) use command_table::MembershipRule;
pub use consent::{AdditionLimits, AdditionVerdict};
pub use device_cursors::DeviceCursors;
#[cfg(any(test, feature = "testkit"))]
pub use login::SigningKey;
pub use login::{
    AttemptLimit, KeyRotationPolicy, Keyring, LoginCodeId, LoginHash, LoginKey, LoginOutcome, SecretBytes,
    TokenFamilyId,
};
pub(crate) use outcome::error_number;
pub(crate) use query::{
    ApiKeyEntry, AuditEntry, DeviceTokenEntry, Direction, LoggedEvent, MembershipSpan, OutboxEntry,
    PresenceVisibility, QueuedWebhook, RetentionPage, WatchedConversation, WebhookBacklog,
};
pub use query::{PlacedEntry, QueryError, RetentionPolicies, RetentionPolicy};
