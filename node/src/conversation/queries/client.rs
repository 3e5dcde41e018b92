//! Client side of queries: one request per shard owner, repeated where a shard has moved.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::{CallError, Cluster, NodeId, ShardId};
use futures::future::join_all;
use protocol::message::MessagePage;
use protocol::{ConversationId, EncodedEvent, ErrorCode, GroupInvite, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use crate::conversation::command_error::{CommandError, ConvView, HistoryResult, SyncItem};
use crate::conversation::shard_client::ask;
use crate::conversation::shared::ServiceShared;
use crate::conversation::state_machine::query;
use crate::rpc::read::{HistoryRequest, ListBlocks, MembersQuery, OpenQuery, SyncQuery, Synced};
use crate::rpc::{self, RpcError};

/// Events per conversation in a `sync`.
const SYNC_EVENTS: u32 = 50;
/// Largest page in entries.
const PAGE: usize = protocol::limits::PAGE;

pub(crate) async fn open(
    shared: &Arc<ServiceShared>,
    user: &UserId,
    conv: &ConversationId,
    have: Option<u64>,
) -> Result<ConvView, CommandError> {
    let question = OpenQuery {
        conv: conv.clone(),
        user: user.clone(),
        have,
    };
    let view: query::MemberConversation = ask(shared, shard_of(shared, conv)?, rpc::OPEN, &question).await?;
    view.wire().map_err(malformed)
}

pub(crate) async fn history(
    shared: &Arc<ServiceShared>,
    user: &UserId,
    conv: &ConversationId,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> Result<HistoryResult, CommandError> {
    let question = page(user, conv, before, after, limit);
    let page: query::HistoryPage = ask(shared, shard_of(shared, conv)?, rpc::HISTORY, &question).await?;
    Ok(HistoryResult {
        events: raw(&page.events)?,
        more: page.more,
        gap: page.gap,
    })
}

pub(crate) async fn messages(
    shared: &Arc<ServiceShared>,
    user: &UserId,
    conv: &ConversationId,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> Result<MessagePage, CommandError> {
    let question = page(user, conv, before, after, limit);
    let page: query::MessagesPage = ask(shared, shard_of(shared, conv)?, rpc::MESSAGES, &question).await?;
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
    shared: &Arc<ServiceShared>,
    user: &UserId,
    conv: &ConversationId,
    after: Option<UserId>,
    limit: usize,
) -> Result<query::MembersPage, CommandError> {
    users_of(shared, rpc::MEMBERS, user, conv, after, limit).await
}

pub(crate) async fn bans(
    shared: &Arc<ServiceShared>,
    user: &UserId,
    conv: &ConversationId,
    after: Option<UserId>,
    limit: usize,
) -> Result<query::BansPage, CommandError> {
    users_of(shared, rpc::BANS, user, conv, after, limit).await
}

/// Requests a page of the members or bans of a conversation, for `user`.
async fn users_of<P: DeserializeOwned>(
    shared: &Arc<ServiceShared>,
    method: u16,
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
    shared: &Arc<ServiceShared>,
    user: &UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<query::BlocksPage, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    let (user, limit) = (user.clone(), page_size(limit));
    ask(shared, shard, rpc::BLOCKS, &ListBlocks { user, after, limit }).await
}

pub(crate) async fn wishes(shared: &Arc<ServiceShared>, user: &UserId) -> Result<GroupInvite, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    ask(shared, shard, rpc::WISHES, user).await
}

pub(crate) async fn sync(
    shared: &Arc<ServiceShared>,
    user: &UserId,
    wants: Vec<(ConversationId, u64)>,
) -> Vec<SyncItem> {
    let question = |wants: &[&(ConversationId, u64)]| SyncQuery {
        user: user.clone(),
        wants: wants.iter().map(|want| (*want).clone()).collect(),
        limit: SYNC_EVENTS,
    };
    let windows: Vec<Option<Result<query::MissedEvents, RpcError>>> =
        scatter::<_, _, Synced, _>(shared, &wants, |(conv, _)| conv, rpc::SYNC, question).await;
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

/// Sends a query about many conversations, one request per shard owner. An entry is `None` if no owner responded within
/// the budget.
pub(crate) async fn scatter<K, Q, A, T>(
    shared: &Arc<ServiceShared>,
    keys: &[K],
    conv: impl Fn(&K) -> &ConversationId,
    method: u16,
    question: impl Fn(&[&K]) -> Q,
) -> Vec<Option<Result<T, RpcError>>>
where
    Q: Serialize,
    A: DeserializeOwned + IntoIterator<Item = Result<T, RpcError>>,
{
    let mut answers: Vec<Option<Result<T, RpcError>>> = keys.iter().map(|_| None).collect();
    let Some(cluster) = shared.cluster() else {
        return answers;
    };
    let give_up = Instant::now() + shared.settings.ask_budget;
    for attempt in 0u32.. {
        // Grouped again in each attempt: hints of the last one may have moved some shards.
        let mut groups: HashMap<NodeId, Vec<usize>> = HashMap::new();
        let mut missing = false;
        for (at, key) in keys.iter().enumerate().filter(|(at, _)| answers[*at].is_none()) {
            missing = true;
            // Shards without a known owner are left for the next attempt.
            if let Some(owner) = cluster
                .route(cluster.shard_of(conv(key).as_str().as_bytes()))
                .owner
            {
                groups.entry(owner).or_default().push(at);
            }
        }
        if !missing {
            break;
        }
        let calls = groups.into_iter().map(|(owner, at)| {
            let asked: Vec<&K> = at.iter().map(|at| &keys[*at]).collect();
            let body = rpc::encode(&question(&asked));
            let call = cluster.call(owner, method, body, shared.settings.call_deadline);
            async move {
                (
                    at,
                    // The call's own timeout may exceed the rest of the budget.
                    timeout_at(give_up, call).await.unwrap_or(Err(CallError::Lost)),
                )
            }
        });
        let calls: Vec<_> = calls.collect();
        for (at, answer) in join_all(calls).await {
            // A lost or unreadable response concerns its group only; the other groups keep theirs.
            let Some(group) = answer.ok().and_then(|body| rpc::decode::<A>(&body).ok()) else {
                continue;
            };
            for (at, answer) in at.into_iter().zip(group) {
                match answer {
                    // Stays unanswered for the next attempt. Any other refusal is final here.
                    Err(RpcError::NotOwner { owner, epoch }) => hint(cluster, conv(&keys[at]), owner, epoch),
                    answer => answers[at] = Some(answer),
                }
            }
        }
        // Jitter: callers that lost the same owner must not retry in step.
        let wait = Duration::from_millis(rand::random_range(10..=(20u64 << attempt.min(5)).clamp(20, 400)));
        if answers.iter().all(Option::is_some) || Instant::now() + wait >= give_up {
            break;
        }
        sleep(wait).await;
    }
    answers
}

/// Returns the shard of a conversation; a temporary refusal until the cluster member runs.
pub(crate) fn shard_of(shared: &ServiceShared, conv: &ConversationId) -> Result<ShardId, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    Ok(cluster.shard_of(conv.as_str().as_bytes()))
}

fn hint(cluster: &Cluster, conv: &ConversationId, owner: Option<u64>, epoch: u64) {
    if let Some(owner) = owner {
        cluster.hint(cluster.shard_of(conv.as_str().as_bytes()), NodeId(owner), epoch);
    }
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
