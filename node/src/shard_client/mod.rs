//! Shard client: routes a command to the shard owner of its conversation.
//!
//! Path of a message: step 4 of 13.
//!
//! [`ShardClient`] is the handle by which sessions reach all conversations. Commands pass through one command queue per
//! shard, in the order of the calls. The queue keeps them until they are acknowledged, resends them after an owner
//! change and expires them after the budget. A session therefore sees a failover as one slow response, in order.

pub mod command_error;
pub(crate) mod conversation_list;
pub(crate) mod mentions;
pub(crate) mod presence_query;
pub(crate) mod queries;

pub(crate) mod backoff;
mod client_context;
pub(crate) mod command_queue;
mod consent;
mod cursor_coalescer;
mod invitations;
mod local_shards;
pub(crate) mod owner_client;
mod scatter_gather;
pub(crate) mod send_window;
mod sender_hold;

pub(crate) use backoff::Backoff;
pub(crate) use client_context::{ClientContext, ClientSettings};
pub use command_error::{CommandAck, CommandError, HistoryResult, SyncItem};
pub(crate) use command_queue::CommandQueue;
pub(crate) use owner_client::OwnerCallError;

use std::sync::Arc;

use cluster::{Cluster, ClusterClock, ShardId};
use protocol::rest::MessagePage;
use protocol::{ConversationId, GroupInvite, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub(crate) use self::local_shards::LocalShards;
pub(crate) use self::owner_client::OwnerClient;
pub(crate) use self::scatter_gather::scatter;

use self::command_error::{ConvView, ListPage};
use super::state_machine::login::{Keyring, LoginKey, LoginOutcome, SecretBytes, TokenFamilyId};
use super::state_machine::query::{
    BansPage, BlocksPage, DeviceTokenEntry, IndexPage, MembersPage, Missed, PlacedEntry,
};
use super::state_machine::{CommandOrigin, ConversationOp, LoginOp, ShardCommand, UserOp};
use crate::rpc::presence::{TypingUpdate, VisiblePresence};
use crate::rpc::read::SinceQuery;
use crate::rpc::submit::AppliedReply;
use crate::rpc::{self, QueryMethod};

/// Client of all conversations of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct ShardClient {
    shared: Arc<ClientContext>,
}

// === impl ShardClient ===

impl ShardClient {
    pub(crate) fn new(shared: Arc<ClientContext>) -> ShardClient {
        ShardClient { shared }
    }

    /// Returns the clock of the cluster member.
    #[must_use]
    pub fn clock(&self) -> &ClusterClock {
        &self.shared.settings.clock
    }

    /// Queues the command for its shard owner before it returns: the order of calls is the order in the log, per user
    /// and conversation. The future resolves once, within the send budget.
    ///
    /// Temporary refusals (`busy`, `unavailable`, `timeout_unknown`) keep that order. Later commands of the same user
    /// and conversation are refused too, until the refused `cid` is sent again or a second has passed. Commands without
    /// a `cid`, the cursors, are exempt in both directions. Cursors of one user in one conversation are coalesced for a
    /// moment into one command.
    pub fn submit(
        &self,
        conv: ConversationId,
        origin: CommandOrigin,
        op: ConversationOp,
    ) -> impl Future<Output = Result<CommandAck, CommandError>> + Send + use<> {
        let done = self.submit_command(ShardCommand::Conversation {
            conversation: conv.clone(),
            origin,
            op,
        });
        async move { done.await?.ack(conv) }
    }

    /// Returns the user's own setting for invitations by others.
    pub async fn wishes(&self, user: &UserId) -> Result<GroupInvite, CommandError> {
        self::queries::wishes(&self.shared, user).await
    }

    /// Sets who may make the user a member of groups and channels.
    pub async fn wish(&self, user: UserId, group_invite: GroupInvite) -> Result<(), CommandError> {
        let op = UserOp::Wish { group_invite };
        self.submit_command(ShardCommand::User { user, op })
            .await
            .map(|_| ())
    }

    /// Returns the conversation as the member sees it; with `have`, also the events above that seq.
    pub async fn open(
        &self,
        user: &UserId,
        conv: &ConversationId,
        have: Option<u64>,
    ) -> Result<ConvView, CommandError> {
        self::queries::open(&self.shared, user, conv, have).await
    }

    /// Returns a page of the log: the newest events below `before`, or the oldest above `after`, or the newest of all.
    pub async fn history(
        &self,
        user: &UserId,
        conv: &ConversationId,
        before: Option<u64>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<HistoryResult, CommandError> {
        self::queries::history(&self.shared, user, conv, before, after, limit).await
    }

    /// Returns the events after seq `after` that the user, a member at that position, has missed; 0 means the position
    /// before the membership.
    pub(crate) async fn missed(
        &self,
        user: &UserId,
        conv: &ConversationId,
        after: u64,
    ) -> Result<Missed, CommandError> {
        let question = SinceQuery {
            conv: conv.clone(),
            user: user.clone(),
            after,
        };
        let cluster = self.shared.cluster().ok_or_else(CommandError::unavailable)?;
        let shard = cluster.shard_of(conv);
        ask(&self.shared, shard, QueryMethod::Missed, &question).await
    }

    /// Returns a page of messages in their present state: the newest below `before`, or the oldest above `after`, or
    /// the newest of all.
    pub async fn messages(
        &self,
        user: &UserId,
        conv: &ConversationId,
        before: Option<u64>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<MessagePage, CommandError> {
        self::queries::messages(&self.shared, user, conv, before, after, limit).await
    }

    /// Returns a page of the members with ids above `after`, in the order of their ids.
    pub async fn members(
        &self,
        user: &UserId,
        conv: &ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<MembersPage, CommandError> {
        self::queries::members(&self.shared, user, conv, after, limit).await
    }

    /// Returns a page of the banned users with ids above `after`, in the order of their ids; for owners and admins.
    pub async fn bans(
        &self,
        user: &UserId,
        conv: &ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<BansPage, CommandError> {
        self::queries::bans(&self.shared, user, conv, after, limit).await
    }

    /// Returns a page of the users blocked by `user`, with ids above `after`, in the order of their ids. A new block is
    /// in force shortly before it is listed.
    pub async fn blocks(
        &self,
        user: &UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<BlocksPage, CommandError> {
        self::queries::blocks(&self.shared, user, after, limit).await
    }

    /// Returns the missed events of each conversation in the order of `wants`, with one request per shard owner.
    /// Conversations are left out if the user is no member or their shard owner can't be reached; the caller must query
    /// those again.
    pub async fn sync(&self, user: &UserId, wants: Vec<(ConversationId, u64)>) -> Vec<SyncItem> {
        self::queries::sync(&self.shared, user, wants).await
    }

    /// Returns a page of the user's conversation list, the latest message first. Rows whose shard owner can't be
    /// reached are marked `stale`.
    pub async fn inbox(
        &self,
        user: &UserId,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<ListPage, CommandError> {
        let mut page = conversation_list::page(&self.shared, user, cursor, limit).await?;
        // Blocks are rows of the user's shard; the owners of the conversations count blocked mentions too.
        mentions::without_blocked(&self.shared, user, &mut page.items).await;
        Ok(page)
    }

    /// Returns the user's conversations with the latest messages, behind position `from`, as the user's shard has them.
    pub async fn latest(
        &self,
        user: &UserId,
        from: Option<(u64, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<PlacedEntry>, CommandError> {
        conversation_list::latest(&self.shared, user, from, limit).await
    }

    /// Returns the user's conversations with ids above `after`, in the order of their ids.
    pub async fn index(
        &self,
        user: &UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<IndexPage, CommandError> {
        conversation_list::by_id(&self.shared, user, after, limit).await
    }

    /// Returns the presence of `user` as visible to `viewer`. A blocked viewer gets no state later than the block.
    pub async fn presence(&self, viewer: &UserId, user: &UserId) -> Result<VisiblePresence, CommandError> {
        presence_query::presence(&self.shared, viewer, user).await
    }

    /// Publishes to the members that the user types or has stopped. There is no acknowledgement; the notice of a
    /// non-member is dropped.
    pub fn typing(&self, user: &UserId, conv: &ConversationId, on: bool) {
        let (user, conv) = (user.clone(), conv.clone());
        let sent = self.shared.owners().and_then(|owners| {
            let shard = owners.cluster().shard_of(conv.as_str().as_bytes());
            let owner = owners.route(shard).owner?;
            let update = rpc::encode(&TypingUpdate { conv, user, on });
            owners.cluster().cast(owner, rpc::TYPING, update).ok()
        });
        // Counted only: the next notice replaces a dropped one.
        if sent.is_none() {
            self.shared.user_metrics.typing_dropped.inc();
        }
    }

    /// Returns for each user, in the given order, the presence of a connected session on any node; `None` if unknown at
    /// present. A detached session does not count.
    pub async fn live(&self, users: &[UserId]) -> Vec<Option<bool>> {
        presence_query::live(&self.shared, users).await
    }

    /// Submits a step of a login.
    pub(crate) async fn login(&self, key: LoginKey, op: LoginOp) -> Result<LoginOutcome, CommandError> {
        match self.submit_command(ShardCommand::Login { key, op }).await? {
            AppliedReply::Login(outcome) => Ok(outcome),
            _ => Err(AppliedReply::unexpected()),
        }
    }

    /// Returns the device tokens of a user, expired ones until they are swept.
    pub(crate) async fn device_tokens(&self, user: &UserId) -> Result<Vec<DeviceTokenEntry>, CommandError> {
        self::queries::devices(&self.shared, user, None).await
    }

    /// Returns the device token with this id and hash; `None` if it was revoked.
    pub(crate) async fn device_token(
        &self,
        user: &UserId,
        id: TokenFamilyId,
        token: SecretBytes,
    ) -> Result<Option<DeviceTokenEntry>, CommandError> {
        let found = self::queries::devices(&self.shared, user, Some((id, token))).await?;
        Ok(found.into_iter().next())
    }

    /// Returns the signing keys of the cluster, or `None` before the first were created.
    pub(crate) async fn keyring(&self) -> Result<Option<Keyring>, CommandError> {
        let cluster = self.shared.cluster().ok_or_else(CommandError::unavailable)?;
        ask(
            &self.shared,
            cluster.shard_of(&LoginKey::Keyring.routing()),
            QueryMethod::Keys,
            &(),
        )
        .await
    }

    /// Submits to the shard that follows from the command, see [`ShardClient::submit`].
    pub(crate) fn submit_command(
        &self,
        command: ShardCommand,
    ) -> impl Future<Output = Result<AppliedReply, CommandError>> + Send + use<> {
        let shard = self
            .shared
            .cluster()
            .and_then(|cluster| shard_of(cluster, &command));
        self.submit_to(shard, command)
    }

    /// Submits to a shard that does not follow from the command.
    pub(crate) fn submit_to(
        &self,
        shard: Option<ShardId>,
        command: ShardCommand,
    ) -> impl Future<Output = Result<AppliedReply, CommandError>> + Send + use<> {
        // Queued here and not in the future: the order must not depend on when the caller polls.
        let queue = shard.and_then(|shard| self.shared.command_queue(shard));
        let ticket = match queue {
            Some(queue) => queue.push(command, &self.shared),
            None => Err(CommandError::unavailable()),
        };
        async move {
            match ticket {
                // A closed channel means that the queue ended: the command may have been applied.
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(CommandError::unknown())),
                Err(refusal) => Err(refusal),
            }
        }
    }
}

/// Sends a query to the owner of a shard, within the budget of queries.
pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
    shared: &Arc<ClientContext>,
    shard: ShardId,
    method: impl Into<u16>,
    question: &Q,
) -> Result<A, CommandError> {
    let owners = shared.owners().ok_or_else(CommandError::unavailable)?;
    let deadline = Instant::now() + shared.settings.query_timeout;
    owners.call(shard, method.into(), question, deadline).await
}

/// Returns the shard whose log decides the command; `None` for a command on the rows of a shard itself.
fn shard_of(cluster: &Cluster, command: &ShardCommand) -> Option<ShardId> {
    match command {
        ShardCommand::Conversation { conversation, .. } => {
            Some(cluster.shard_of(conversation.as_str().as_bytes()))
        }
        ShardCommand::User { user, .. } => Some(cluster.shard_of(user.as_str().as_bytes())),
        ShardCommand::Login { key, .. } => Some(cluster.shard_of(&key.routing())),
        ShardCommand::Outbox(_) | ShardCommand::Webhook(_) | ShardCommand::Retention(_) => None,
    }
}
