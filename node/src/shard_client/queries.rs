//! Client side of queries: requests and responses of each query.

use std::sync::Arc;

use cluster::ShardId;
use protocol::rest::MessagePage;
use protocol::{ConversationId, EncodedEvent, ErrorCode, GroupInvite, UserId};
use serde::de::DeserializeOwned;

use super::command_error::{CommandError, ConvView, HistoryResult, SyncItem};
use super::{ask, scatter};
use crate::rpc::login::{Devices, DevicesQuery};
use crate::rpc::read::{HistoryRequest, ListBlocks, MembersQuery, OpenQuery, SyncQuery, Synced};
use crate::rpc::{QueryMethod, RpcError};
use crate::shard_client::ClientContext;
use crate::state_machine::{SecretBytes, TokenFamilyId, query};

/// Events per conversation in a `sync`.
const SYNC_EVENTS: u32 = 50;
/// Largest page in entries.
const PAGE: usize = protocol::limits::PAGE;

pub(crate) async fn open(
    shared: &Arc<ClientContext>,
    user: &UserId,
    conv: &ConversationId,
    have: Option<u64>,
) -> Result<ConvView, CommandError> {
    let question = OpenQuery {
        conv: conv.clone(),
        user: user.clone(),
        have,
    };
    let view: query::MemberConversation =
        ask(shared, shard_of(shared, conv)?, QueryMethod::Open, &question).await?;
    view.wire().map_err(malformed)
}

pub(crate) async fn history(
    shared: &Arc<ClientContext>,
    user: &UserId,
    conv: &ConversationId,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> Result<HistoryResult, CommandError> {
    let question = page(user, conv, before, after, limit);
    let page: query::HistoryPage =
        ask(shared, shard_of(shared, conv)?, QueryMethod::History, &question).await?;
    Ok(HistoryResult {
        events: raw(&page.events)?,
        more: page.more,
        gap: page.gap,
    })
}

pub(crate) async fn messages(
    shared: &Arc<ClientContext>,
    user: &UserId,
    conv: &ConversationId,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> Result<MessagePage, CommandError> {
    let question = page(user, conv, before, after, limit);
    let page: query::MessagesPage =
        ask(shared, shard_of(shared, conv)?, QueryMethod::Messages, &question).await?;
    page.wire(conv).map_err(malformed)
}

fn page(
    user: &UserId,
    conv: &ConversationId,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> HistoryRequest {
    let page = match (before, after) {
        (Some(before), _) => query::HistoryRange::Before(before),
        (None, Some(after)) => query::HistoryRange::After(after),
        (None, None) => query::HistoryRange::Newest,
    };
    HistoryRequest {
        conv: conv.clone(),
        user: user.clone(),
        page,
        limit: page_size(limit),
    }
}

/// Bounds the requested number of items to a page of 1 to [`PAGE`].
fn page_size(limit: usize) -> u32 {
    u32::try_from(limit.clamp(1, PAGE)).unwrap_or(1)
}

pub(crate) async fn members(
    shared: &Arc<ClientContext>,
    user: &UserId,
    conv: &ConversationId,
    after: Option<UserId>,
    limit: usize,
) -> Result<query::MembersPage, CommandError> {
    users_of(shared, QueryMethod::Members, user, conv, after, limit).await
}

pub(crate) async fn bans(
    shared: &Arc<ClientContext>,
    user: &UserId,
    conv: &ConversationId,
    after: Option<UserId>,
    limit: usize,
) -> Result<query::BansPage, CommandError> {
    users_of(shared, QueryMethod::Bans, user, conv, after, limit).await
}

/// Requests a page of the members or bans of a conversation, for `user`.
async fn users_of<P: DeserializeOwned>(
    shared: &Arc<ClientContext>,
    method: QueryMethod,
    user: &UserId,
    conv: &ConversationId,
    after: Option<UserId>,
    limit: usize,
) -> Result<P, CommandError> {
    let question = MembersQuery {
        conv: conv.clone(),
        user: user.clone(),
        after,
        limit: page_size(limit),
    };
    ask(shared, shard_of(shared, conv)?, method, &question).await
}

pub(crate) async fn blocks(
    shared: &Arc<ClientContext>,
    user: &UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<query::BlocksPage, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let shard = cluster.shard_of(user);
    let (user, limit) = (user.clone(), page_size(limit));
    ask(
        shared,
        shard,
        QueryMethod::Blocks,
        &ListBlocks { user, after, limit },
    )
    .await
}

pub(crate) async fn wishes(shared: &Arc<ClientContext>, user: &UserId) -> Result<GroupInvite, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let shard = cluster.shard_of(user);
    ask(shared, shard, QueryMethod::Wishes, user).await
}

pub(crate) async fn devices(
    shared: &Arc<ClientContext>,
    user: &UserId,
    presented: Option<(TokenFamilyId, SecretBytes)>,
) -> Result<Devices, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let (shard, user) = (cluster.shard_of(user), user.clone());
    ask(
        shared,
        shard,
        QueryMethod::Devices,
        &DevicesQuery { user, presented },
    )
    .await
}

pub(crate) async fn sync(
    shared: &Arc<ClientContext>,
    user: &UserId,
    wants: Vec<(ConversationId, u64)>,
) -> Vec<SyncItem> {
    let question = |wants: &[&(ConversationId, u64)]| SyncQuery {
        user: user.clone(),
        wants: wants.iter().map(|want| (*want).clone()).collect(),
        limit: SYNC_EVENTS,
    };
    let windows: Vec<Option<Result<query::MissedEvents, RpcError>>> =
        scatter::<_, _, Synced, _>(shared, &wants, |(conv, _)| conv, QueryMethod::Sync, question).await;
    // The caller distinguishes non-memberships from unreachable owners by a query of its own.
    let items = wants.into_iter().zip(windows).filter_map(|((conv, _), window)| {
        let window = window?.ok()?;
        let events = raw(&window.events).ok()?;
        Some(SyncItem {
            conv,
            as_of: window.as_of,
            events,
            gap: window.gap,
        })
    });
    items.collect()
}

/// Returns the shard of a conversation; a temporary refusal until the cluster member runs.
pub(crate) fn shard_of(shared: &ClientContext, conv: &ConversationId) -> Result<ShardId, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    Ok(cluster.shard_of(conv))
}

fn raw(tails: &[bytes::Bytes]) -> Result<Vec<EncodedEvent>, CommandError> {
    tails
        .iter()
        .map(|tail| EncodedEvent::from_tail(tail))
        .collect::<Result<_, _>>()
        .map_err(malformed)
}

pub(crate) fn malformed(why: String) -> CommandError {
    CommandError {
        code: ErrorCode::Internal,
        msg: format!("a stored event cannot be read: {why}"),
        retry_ms: Some(1_000),
    }
}
