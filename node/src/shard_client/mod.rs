//! Shard client: routes a command to the shard owner of its conversation.
//!
//! Path of a message: step 4 of 13.
//!
//! [`ShardClient`] is the handle by which sessions reach all conversations. Commands pass through one command queue per
//! shard, in the order of the calls. The queue keeps them until they are acknowledged, resends them after an owner
//! change and expires them after the budget. A session therefore sees a failover as one slow response, in order.

mod command_error;
mod conversation_list;
mod mentions;
pub(crate) mod presence_query;
mod profile_cache;
mod profiles;
pub(crate) mod queries;

mod backoff;
mod client_context;
mod command_queue;
mod consent;
mod cursor_coalescer;
mod invitations;
mod local_shards;
pub(crate) mod owner_client;
mod scatter_gather;
mod send_window;
mod sender_hold;

pub(crate) use backoff::{Backoff, wait_until};
pub(crate) use client_context::{ClientContext, ClientSettings};
pub use command_error::{CommandAck, CommandError, SyncItem};
pub(crate) use command_queue::CommandQueue;
pub use invitations::ConversationSpec;
pub(crate) use owner_client::OwnerCallError;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, ClusterClock, ShardId};
use protocol::command::UpdateProfile;
use protocol::response::{UserCards, UserProfile};
use protocol::{ConversationId, GroupInvite, UserId};

pub(crate) use self::local_shards::LocalShards;
pub(crate) use self::owner_client::OwnerClient;
pub(crate) use self::queries::malformed;
pub(crate) use self::scatter_gather::scatter;

use self::command_error::{ConvView, ListPage};
use super::state_machine::query::{
    DeviceCursorsQuery, IndexPage, OpenQuery, PlacedEntry, ShardQuery, SyncQuery,
};
use super::state_machine::{
    CommandOrigin, ConversationOp, DeviceCursors, ErasedMessages, ErasureId, ErasureOp, LoginKey, LoginOp,
    LoginOutcome, ShardCommand, UserOp,
};
use crate::rpc::presence::{TypingUpdate, VisiblePresence};
use crate::rpc::submit::AppliedReply;
use crate::rpc::{self, NumberedQuery, SessionId};

/// Events per conversation in a `sync`.
const SYNC_EVENTS: u32 = 50;

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

    /// Sets who may make the user a member of groups and channels.
    pub async fn wish(&self, user: UserId, group_invite: GroupInvite) -> Result<(), CommandError> {
        let op = UserOp::Wish { group_invite };
        self.submit_command(ShardCommand::User { user, op })
            .await
            .map(|_| ())
    }

    /// Changes the access of a user on every node; without a value only the sessions of the user end.
    pub(crate) async fn put_access(
        &self,
        user: UserId,
        deactivated: Option<bool>,
        before_s: Option<u64>,
    ) -> Result<(), CommandError> {
        let op = UserOp::PutAccess {
            deactivated,
            before_s,
        };
        self.submit_command(ShardCommand::User { user, op })
            .await
            .map(|_| ())
    }

    /// Begins the erasure of a user, and returns its id. An erasure that was begun before keeps its id.
    ///
    /// # Errors
    /// `conflict` if it was begun before for other messages.
    pub(crate) async fn erase(
        &self,
        user: UserId,
        messages: ErasedMessages,
    ) -> Result<ErasureId, CommandError> {
        let cluster = self.shared.cluster().ok_or_else(CommandError::unavailable)?;
        let shard = cluster.shard_of(user.as_str().as_bytes());
        // Drawn until it falls into the shard of the user, which then follows from the id. The number of shards is small.
        let id = loop {
            let id = ErasureId(rand::random());
            if cluster.shard_of(&id.0) == shard {
                break id;
            }
        };
        let op = UserOp::Erase {
            id,
            tombstone: UserId::tombstone(&rand::random()),
            messages,
        };
        match self.submit_command(ShardCommand::User { user, op }).await? {
            AppliedReply::Erasing(id) => Ok(id),
            _ => Err(AppliedReply::unexpected()),
        }
    }

    /// Changes the profile of a user.
    pub async fn put_profile(&self, user: UserId, patch: &UpdateProfile) -> Result<(), CommandError> {
        let op = profiles::change(patch);
        self.submit_command(ShardCommand::User { user, op })
            .await
            .map(drop)
    }

    /// Returns the profile of a user; an empty one if the user has none, or does not exist.
    pub async fn profile(&self, user: &UserId) -> Result<UserProfile, CommandError> {
        profiles::profile(&self.shared, user).await
    }

    /// Returns profiles in the order of the ids, each once. Those whose shard owner can't be reached are left out.
    pub async fn profiles(&self, ids: Vec<UserId>) -> Vec<UserProfile> {
        profiles::profiles(&self.shared, ids).await
    }

    /// Returns the profiles of users for the side table of a response. It waits only a moment: left out are users whose
    /// shard owner does not answer in time, and those without a profile.
    pub async fn cards(&self, users: BTreeSet<UserId>) -> UserCards {
        profiles::cards(&self.shared, users).await
    }

    /// Returns the page of a query, from the owner of its shard.
    ///
    /// # Errors
    /// The owner's refusal, or an unreachable shard.
    pub async fn query<Q: ShardQuery + NumberedQuery>(&self, question: &Q) -> Result<Q::Page, CommandError> {
        queries::query(&self.shared, question).await
    }

    /// Returns the conversation as the member sees it; with `have`, also the events above that seq.
    pub async fn open(
        &self,
        user: &UserId,
        conv: &ConversationId,
        have: Option<u64>,
    ) -> Result<ConvView, CommandError> {
        let (conv, user) = (conv.clone(), user.clone());
        let view = self.query(&OpenQuery { conv, user, have }).await?;
        view.page().map_err(queries::malformed)
    }

    /// Returns the missed events of each conversation in the order of `wants`, with one request per shard owner.
    /// Conversations are left out if the user is no member or their shard owner can't be reached; the caller must query
    /// those again.
    pub async fn sync(&self, user: &UserId, wants: Vec<(ConversationId, u64)>) -> Vec<SyncItem> {
        let question = SyncQuery {
            user: user.clone(),
            wants,
            limit: SYNC_EVENTS,
        };
        let windows = scatter(&self.shared, &question).await;
        // The caller distinguishes non-memberships from unreachable owners by a query of its own.
        let items = question
            .wants
            .into_iter()
            .zip(windows)
            .filter_map(|((conv, _), window)| {
                let window = window?.ok()?;
                Some(SyncItem {
                    conv,
                    as_of: window.as_of,
                    events: window.page().ok()?,
                    gap: window.gap,
                })
            });
        items.collect()
    }

    /// Returns a page of the user's conversation list, the latest message first. Rows whose shard owner can't be
    /// reached are marked `stale`.
    #[cfg(any(test, feature = "testkit"))]
    pub async fn inbox(
        &self,
        user: &UserId,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<ListPage, CommandError> {
        self.inbox_of_kind(user, (cursor, None), limit).await
    }

    /// Returns a page of the user's conversation list, the latest message first; with a kind only the conversations
    /// whose custom data has it. Rows whose shard owner can't be reached are marked `stale`, and are in it in any case.
    pub async fn inbox_of_kind(
        &self,
        user: &UserId,
        (cursor, data_kind): (Option<String>, Option<&str>),
        limit: usize,
    ) -> Result<ListPage, CommandError> {
        let mut page = conversation_list::page(&self.shared, user, (cursor, data_kind), limit).await?;
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

    /// Returns the presence of each user in the given order, for the cluster itself; `None` if the owner of the user's
    /// shard can't be reached.
    pub(crate) async fn presence_of_all(&self, users: &[UserId]) -> Vec<Option<VisiblePresence>> {
        presence_query::of_all(&self.shared, users).await
    }

    /// Returns the id of the last session of a device, connected or waiting, on any node.
    pub(crate) async fn last_session(
        &self,
        user: &UserId,
        device: &str,
    ) -> Result<Option<SessionId>, CommandError> {
        let last = presence_query::last_session(&self.shared, user, device).await?;
        Ok(last.map(|last| last.sid))
    }

    /// Stores the durable cursors of a device for this time; `None` removes them. Queued before it returns.
    pub(crate) fn put_device_cursors(
        &self,
        user: UserId,
        device: Box<str>,
        cursors: Option<DeviceCursors>,
        validity: Duration,
    ) -> impl Future<Output = Result<(), CommandError>> + Send + use<> {
        let valid_ms = u64::try_from(validity.as_millis()).unwrap_or(u64::MAX);
        let op = UserOp::PutCursors {
            device,
            cursors,
            valid_ms,
        };
        let stored = self.submit_command(ShardCommand::User { user, op });
        async move { stored.await.map(drop) }
    }

    /// Returns the durable cursors of a device, unless they have expired.
    pub(crate) async fn device_cursors(
        &self,
        user: UserId,
        device: Box<str>,
    ) -> Result<Option<DeviceCursors>, CommandError> {
        let stored = self.query(&DeviceCursorsQuery { user, device }).await?;
        let now_ms = self.clock().now_ms();
        let stored = stored.filter(|stored| stored.expires_ms > now_ms);
        Ok(stored.map(|stored| stored.cursors))
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
    #[cfg(any(test, feature = "testkit"))]
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

/// Returns the shard whose log decides the command; `None` for a command on the rows of a shard itself.
fn shard_of(cluster: &Cluster, command: &ShardCommand) -> Option<ShardId> {
    match command {
        ShardCommand::Conversation { conversation, .. } => {
            Some(cluster.shard_of(conversation.as_str().as_bytes()))
        }
        ShardCommand::User { user, .. } => Some(cluster.shard_of(user.as_str().as_bytes())),
        ShardCommand::Login { key, .. } => Some(cluster.shard_of(&key.routing())),
        ShardCommand::Erasure(ErasureOp::EraseIn { conversation, .. }) => {
            Some(cluster.shard_of(conversation.as_str().as_bytes()))
        }
        ShardCommand::Outbox(_) | ShardCommand::Webhook(_) | ShardCommand::Retention(_) => None,
    }
}
