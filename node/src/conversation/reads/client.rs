//! The asking side: one request per owner, asked again where a shard moved.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::{CallError, Cluster, NodeId, ShardId};
use futures::future::join_all;
use protocol::message::Messages;
use protocol::{ConvId, ErrorCode, GroupInvite, RawEvent, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use crate::conversation::answer::{ConvView, HistoryPage, Refusal, SyncItem};
use crate::conversation::route::ask;
use crate::conversation::shared::Shared;
use crate::conversation::timeline::read;
use crate::rpc::read::{Blocks, History, Members, Open, Sync, Synced};
use crate::rpc::{self, Refused};

/// Events of one conversation in a `sync`.
const SYNC_EVENTS: u32 = 50;
/// The largest page.
const PAGE: usize = protocol::limits::PAGE;

pub(crate) async fn open(
    shared: &Arc<Shared>,
    user: &UserId,
    conv: &ConvId,
    have: Option<u64>,
) -> Result<ConvView, Refusal> {
    let question = Open {
        conv: conv.clone(),
        user: user.clone(),
        have,
    };
    let view: read::ConvView = ask(shared, shard_of(shared, conv)?, rpc::OPEN, &question).await?;
    view.wire().map_err(malformed)
}

pub(crate) async fn history(
    shared: &Arc<Shared>,
    user: &UserId,
    conv: &ConvId,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> Result<HistoryPage, Refusal> {
    let question = page(user, conv, before, after, limit);
    let page: read::HistoryPage = ask(shared, shard_of(shared, conv)?, rpc::HISTORY, &question).await?;
    Ok(HistoryPage {
        events: raw(&page.events)?,
        more: page.more,
        gap: page.gap,
    })
}

pub(crate) async fn messages(
    shared: &Arc<Shared>,
    user: &UserId,
    conv: &ConvId,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> Result<Messages, Refusal> {
    let question = page(user, conv, before, after, limit);
    let page: read::MessagesPage = ask(shared, shard_of(shared, conv)?, rpc::MESSAGES, &question).await?;
    page.wire(conv).map_err(malformed)
}

fn page(user: &UserId, conv: &ConvId, before: Option<u64>, after: Option<u64>, limit: usize) -> History {
    let page = match (before, after) {
        (Some(before), _) => read::Page::Before(before),
        (None, Some(after)) => read::Page::After(after),
        (None, None) => read::Page::Newest,
    };
    History {
        conv: conv.clone(),
        user: user.clone(),
        page,
        limit: u32::try_from(limit.clamp(1, PAGE)).unwrap_or(1),
    }
}

pub(crate) async fn members(
    shared: &Arc<Shared>,
    user: &UserId,
    conv: &ConvId,
    after: Option<UserId>,
    limit: usize,
) -> Result<read::MembersPage, Refusal> {
    let limit = u32::try_from(limit.clamp(1, PAGE)).unwrap_or(1);
    let question = Members {
        conv: conv.clone(),
        user: user.clone(),
        after,
        limit,
    };
    ask(shared, shard_of(shared, conv)?, rpc::MEMBERS, &question).await
}

pub(crate) async fn bans(
    shared: &Arc<Shared>,
    user: &UserId,
    conv: &ConvId,
    after: Option<UserId>,
    limit: usize,
) -> Result<read::BansPage, Refusal> {
    let limit = u32::try_from(limit.clamp(1, PAGE)).unwrap_or(1);
    let question = Members {
        conv: conv.clone(),
        user: user.clone(),
        after,
        limit,
    };
    ask(shared, shard_of(shared, conv)?, rpc::BANS, &question).await
}

pub(crate) async fn blocks(
    shared: &Arc<Shared>,
    user: &UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<read::BlocksPage, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    let limit = u32::try_from(limit.clamp(1, PAGE)).unwrap_or(1);
    let user = user.clone();
    ask(shared, shard, rpc::BLOCKS, &Blocks { user, after, limit }).await
}

pub(crate) async fn wishes(shared: &Arc<Shared>, user: &UserId) -> Result<GroupInvite, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    ask(shared, shard, rpc::WISHES, user).await
}

pub(crate) async fn sync(shared: &Arc<Shared>, user: &UserId, wants: Vec<(ConvId, u64)>) -> Vec<SyncItem> {
    let question = |wants: &[&(ConvId, u64)]| Sync {
        user: user.clone(),
        wants: wants.iter().map(|want| (*want).clone()).collect(),
        limit: SYNC_EVENTS,
    };
    let windows: Vec<Option<Result<read::Window, Refused>>> =
        scatter::<_, _, Synced, _>(shared, &wants, |(conv, _)| conv, rpc::SYNC, question).await;
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

/// Asks about many conversations, one request per owner. `None` where no owner answered within the budget.
pub(crate) async fn scatter<K, Q, A, T>(
    shared: &Arc<Shared>,
    keys: &[K],
    conv: impl Fn(&K) -> &ConvId,
    method: u16,
    question: impl Fn(&[&K]) -> Q,
) -> Vec<Option<Result<T, Refused>>>
where
    Q: Serialize,
    A: DeserializeOwned + IntoIterator<Item = Result<T, Refused>>,
{
    let mut answers: Vec<Option<Result<T, Refused>>> = keys.iter().map(|_| None).collect();
    let Some(cluster) = shared.cluster() else {
        return answers;
    };
    let give_up = Instant::now() + shared.settings.ask_budget;
    for attempt in 0u32.. {
        let mut groups: HashMap<NodeId, Vec<usize>> = HashMap::new();
        let mut missing = false;
        for (at, key) in keys.iter().enumerate().filter(|(at, _)| answers[*at].is_none()) {
            missing = true;
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
                    timeout_at(give_up, call).await.unwrap_or(Err(CallError::Lost)),
                )
            }
        });
        let calls: Vec<_> = calls.collect();
        for (at, answer) in join_all(calls).await {
            let Some(group) = answer.ok().and_then(|body| rpc::decode::<A>(&body).ok()) else {
                continue;
            };
            for (at, answer) in at.into_iter().zip(group) {
                match answer {
                    Err(Refused::NotOwner { owner, epoch }) => hint(cluster, conv(&keys[at]), owner, epoch),
                    answer => answers[at] = Some(answer),
                }
            }
        }
        let wait = Duration::from_millis(rand::random_range(10..=(20u64 << attempt.min(5)).clamp(20, 400)));
        if answers.iter().all(Option::is_some) || Instant::now() + wait >= give_up {
            break;
        }
        sleep(wait).await;
    }
    answers
}

/// The shard of a conversation.
pub(crate) fn shard_of(shared: &Shared, conv: &ConvId) -> Result<ShardId, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    Ok(cluster.shard_of(conv.as_str().as_bytes()))
}

fn hint(cluster: &Cluster, conv: &ConvId, owner: Option<u64>, epoch: u64) {
    if let Some(owner) = owner {
        cluster.hint(cluster.shard_of(conv.as_str().as_bytes()), NodeId(owner), epoch);
    }
}

fn raw(tails: &[bytes::Bytes]) -> Result<Vec<RawEvent>, Refusal> {
    tails
        .iter()
        .map(|tail| RawEvent::from_tail(tail))
        .collect::<Result<_, _>>()
        .map_err(malformed)
}

pub(crate) fn malformed(why: String) -> Refusal {
    Refusal {
        code: ErrorCode::Internal,
        msg: format!("a stored event can't be read: {why}"),
        retry_ms: Some(1_000),
    }
}
