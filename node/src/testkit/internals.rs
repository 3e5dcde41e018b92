//! Items of other modules that integration tests and benches use.

pub use crate::auth::{KeyringCache, LoginService, TokenError, TokenVerifier, Tokens};
pub use crate::config::{Algorithm, AuthConfig, Config, HumanDuration, HumanSize, SecretString};
pub use crate::gateway::server::StreamProtocol;
pub use crate::lifecycle::{Error as StartError, Running, start};
pub use crate::presence::{
    Device, EvictionReason, LocalPresence, PresenceGuard, PresenceSink, SessionMark, SessionRefused,
};
pub use crate::rpc::SessionId;
pub use crate::shard::{Settings, WebhookTarget};
pub use crate::shard_client::{CommandAck, CommandError, ConversationSpec, ShardClient};
pub use crate::state_machine::query::{HistoryRange, HistoryRequest, MembersQuery, MessagesQuery};
pub use crate::state_machine::{
    ChatTable, CommandOrigin, ConversationOp, EventEnvelope, Keyring, PlacedEntry, SecretBytes, ShardCommand,
    ShardStateMachine, SigningKey, TABLES,
};
pub use crate::subscription::{DetachedHub, Subscriber, SubscriptionHub};
pub use crate::webhook::{Metrics as WebhookMetrics, Settings as WebhookSettings, Webhook};
