//! Webhook dispatcher: one task per owned shard that delivers queued messages. The receiver is notified of messages
//! that absent members have not read, and of those in conversations with webhook names.
//!
//! The queue row is written in the transaction of its message. The dispatcher finds the absent members, posts, and
//! removes the row by a command of its own. After an interruption it posts again, so delivery is at least once, and the
//! receiver detects a repetition by its id. While the receiver is down the queue grows to a bound; beyond it the oldest
//! messages are dropped.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{ClusterClock, NodeId};
use futures::future::join_all;
use protocol::{ConversationKind, EncodedEvent, UserId};
use serde::Serialize;
use tracing::{debug, warn};

use crate::config::Config;
use crate::rpc::submit::BatchStreamId;
use crate::shard::context::ShardContext;
use crate::shard::inbound_batch::{BatchReply, InboundBatch};
use crate::shard::pending_header::PendingHeader;
use crate::shard_client::{ShardClient, presence_query};
use crate::state_machine::{
    LARGE_CONVERSATION, OutboxId, QueuedWebhook, ShardCommand, WebhookBacklog, WebhookOp, query,
};
use crate::webhook::{self, Webhook, WebhookError};

/// Maximum number of messages per round.
const PAGE: usize = 64;
/// Interval of checks without a wake-up.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Maximum pause while the receiver is down, as a multiple of the first; the pause doubles up to it.
const LONGEST_PAUSE: u32 = 64;

/// Timeout of one attempt to notify the receiver.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent requests to the receiver.
pub(crate) const CONCURRENT: usize = 64;

/// Webhook for messages, with its bounds.
#[derive(Clone)]
pub struct WebhookTarget {
    pub webhook: Webhook,
    /// Size of the largest conversation whose messages are delivered for absent members.
    pub members: u64,
    /// Maximum number of queued messages per shard; the oldest are dropped beyond it.
    pub backlog: u64,
    /// First pause before the receiver is tried again; it doubles.
    pub retry: Duration,
}

// === impl WebhookTarget ===

impl WebhookTarget {
    /// Builds the webhook of the configuration, or returns `None` without a URL.
    ///
    /// # Errors
    /// An invalid URL, key or certificate file.
    pub fn open(
        config: &Config,
        metrics: webhook::Metrics,
        clock: ClusterClock,
    ) -> Result<Option<WebhookTarget>, webhook::UnusableSecret> {
        let receiver = &config.webhook;
        if receiver.url.is_empty() {
            return Ok(None);
        }
        let settings = webhook::Settings {
            name: "messages",
            url: receiver.url.clone(),
            ca_file: receiver.ca_file.clone(),
            secret: receiver.secret.0.clone(),
            timeout: TIMEOUT,
            attempts: config.tuning.webhook_attempts,
            concurrent: CONCURRENT,
            clock,
        };
        Ok(Some(WebhookTarget {
            webhook: Webhook::open(settings, metrics)?,
            members: LARGE_CONVERSATION,
            backlog: receiver.backlog,
            retry: config.tuning.webhook_retry.0,
        }))
    }
}

/// JSON body of a webhook request.
#[derive(Serialize)]
struct WebhookBody<'a> {
    #[serde(rename = "type")]
    sort: &'static str,
    id: &'a str,
    c: &'a str,
    kind: ConversationKind,
    title: Option<&'a str>,
    message: &'a EncodedEvent,
    offline: Vec<OfflineMember<'a>>,
    hooks: &'a [String],
}

/// Member without a live session.
#[derive(Serialize)]
struct OfflineMember<'a> {
    u: &'a UserId,
    muted: bool,
    mentioned: bool,
}

/// Result of a round.
enum WebhookRound {
    /// More messages may be queued.
    Again,
    Empty,
}

/// Proposes the webhook policy before anything else of this owner, so that no message is committed before the policy
/// applies, not even the first one of a cluster. Disabling it is left to the dispatcher.
pub(crate) fn announce(core: &ShardContext) {
    let Some(hook) = &core.shared.settings.webhook else {
        return;
    };
    let on = ShardCommand::Webhook(WebhookOp::HooksOn {
        members: hook.members,
    });
    // No node has this id: the stream is internal and holds one batch. The result is ignored, because the dispatcher
    // compares the policy and proposes it again.
    let id = BatchStreamId {
        node: NodeId(0),
        incarnation: 0,
        stream: 0,
    };
    let (unused, _) = tokio::sync::oneshot::channel();
    let reply = BatchReply::Local(unused);
    if core.streams.lock().admit(id, 0) {
        let (commands, level) = (vec![on.encode()], core.feature_level());
        let validate = |bytes: &Bytes| PendingHeader::validate(bytes, level);
        InboundBatch::open(id, 0, commands, validate, reply, &core.streams, &core.batch.load)
            .for_each(|pending| core.batch.push(pending));
    }
}

/// Delivers queued messages until the shard's actors end.
pub(crate) async fn run(core: Rc<ShardContext>) {
    let conversations = ShardClient::new(core.shared.client.clone());
    let first = core
        .shared
        .settings
        .webhook
        .as_ref()
        .map_or(LOOK_EVERY, |hook| hook.retry);
    let (mut pause, mut overflowing) = (first, false);
    loop {
        match round(&core, &conversations, &mut overflowing).await {
            Ok(WebhookRound::Again) => pause = first,
            Ok(WebhookRound::Empty) => {
                pause = first;
                match core.shared.settings.webhook {
                    Some(_) => {
                        let _ = tokio::time::timeout(LOOK_EVERY, core.hook_wake.notified()).await;
                    }
                    // Without a webhook a round only drops what a former policy queued, which needs no wake-up.
                    None => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
            Err(why) => {
                debug!(shard = core.shard.0, why, "webhook delivery failed, will retry");
                // Not ended by wake-ups: new messages must not shorten the pause of a receiver that is down.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(first * LONGEST_PAUSE);
            }
        }
    }
}

async fn round(
    core: &Rc<ShardContext>,
    conversations: &ShardClient,
    overflowing: &mut bool,
) -> Result<WebhookRound, &'static str> {
    let waiting = look(core).await?;
    let hook = core.shared.settings.webhook.as_ref();
    let members = hook.map_or(0, |hook| hook.members);
    if waiting.members != members {
        // The announcement may be lost, or come from an owner with other settings.
        submit(core, conversations, WebhookOp::HooksOn { members }).await?;
    }
    let backlog = hook.map_or(0, |hook| hook.backlog);
    if waiting.all > backlog {
        // The receiver was down for too long, or the webhook was disabled.
        let excess = usize::try_from(waiting.all - backlog).unwrap_or(PAGE).min(PAGE);
        let ids: Vec<OutboxId> = waiting
            .oldest
            .iter()
            .take(excess)
            .map(|queued| queued.id)
            .collect();
        core.shared.client.metrics.hooks_dropped.inc_by(ids.len() as u64);
        if !std::mem::replace(overflowing, true) && hook.is_some() {
            warn!(
                shard = core.shard.0,
                waiting = waiting.all,
                backlog,
                "webhook backlog full, dropping the oldest"
            );
        }
        // Removed by a command: only the log may shrink the queue, the same on every replica.
        remove(core, conversations, ids).await?;
        return Ok(WebhookRound::Again);
    }
    // Re-armed at half only, so that a queue at its bound logs one warning per outage.
    if waiting.all <= backlog / 2 {
        *overflowing = false;
    }
    let Some(hook) = hook else {
        // Without a webhook on this node there is no receiver, and nothing is retained for another node.
        return Ok(WebhookRound::Empty);
    };
    if waiting.oldest.is_empty() {
        return Ok(WebhookRound::Empty);
    }
    // Queried for the whole page at once: one request per users' shard instead of one per message.
    let present = present(core, &waiting).await?;
    let posts = waiting
        .oldest
        .iter()
        .map(|queued| post(core, &hook.webhook, queued, &present));
    let done: Vec<Option<OutboxId>> = join_all(posts).await;
    let missed = done.iter().any(Option::is_none);
    let ids: Vec<OutboxId> = done.into_iter().flatten().collect();
    // Removed even if others failed: a slow receiver would otherwise get the delivered ones again.
    if !ids.is_empty() {
        remove(core, conversations, ids).await?;
    }
    if missed {
        Err("the receiver cannot be reached")
    } else {
        Ok(WebhookRound::Again)
    }
}

async fn look(core: &Rc<ShardContext>) -> Result<WebhookBacklog, &'static str> {
    let cluster = core.shared.client.cluster();
    let state = cluster
        .ok_or("the cluster member is not running yet")?
        .state(core.shard);
    let read = move || query::queued(&state.view(), PAGE).map_err(|error| error.to_string());
    match core.shared.reads.run(read).await {
        Ok(Ok(waiting)) => Ok(waiting),
        Ok(Err(_)) => Err("the list cannot be read"),
        Err(_) => Err("the query was refused"),
    }
}

/// Returns, for all members in question, true if the member has a live session. Fails if an owner cannot be reached.
async fn present(
    core: &Rc<ShardContext>,
    waiting: &WebhookBacklog,
) -> Result<HashMap<UserId, bool>, &'static str> {
    let members = waiting.oldest.iter().flat_map(|queued| &queued.members);
    let users: BTreeSet<UserId> = members.map(|absent| absent.user.clone()).collect();
    let users: Vec<UserId> = users.into_iter().collect();
    let live = presence_query::live(&core.shared.client, &users).await;
    let known = users.into_iter().zip(live);
    let known = known.map(|(user, live)| live.map(|live| (user, live)));
    known
        .collect::<Option<_>>()
        .ok_or("the presence of the members is unknown")
}

/// Delivers one message. Returns its id if the entry can be removed: delivered, unnecessary, or refused for good.
async fn post(
    core: &Rc<ShardContext>,
    webhook: &Webhook,
    queued: &QueuedWebhook,
    present: &HashMap<UserId, bool>,
) -> Option<OutboxId> {
    let Some(message) = queued
        .tail
        .as_ref()
        .and_then(|tail| EncodedEvent::from_tail(tail).ok())
    else {
        return Some(queued.id);
    };
    let absent = queued
        .members
        .iter()
        .filter(|absent| present.get(&absent.user) == Some(&false));
    let offline = join_all(absent.map(|absent| async move {
        Some(OfflineMember {
            u: &absent.user,
            muted: absent.muted,
            mentioned: absent.mentioned && alerts(core, queued, &absent.user).await?,
        })
    }));
    let offline: Vec<OfflineMember<'_>> = offline.await.into_iter().collect::<Option<_>>()?;
    if offline.is_empty() && queued.hooks.is_empty() {
        return Some(queued.id);
    }
    // Derived from the entry, so that a repetition by any owner carries the same id.
    let id = format!("{}-{}-{}", core.shard.0, queued.id.index, queued.id.n);
    let body = WebhookBody {
        sort: "message",
        id: &id,
        c: queued.conv.as_str(),
        kind: queued.kind,
        title: queued.title.as_deref(),
        message: &message,
        offline,
        hooks: &queued.hooks,
    };
    let body = serde_json::to_vec(&body).expect("a wire shape always serialises");
    match webhook.post(&id, Bytes::from(body)).await {
        Ok(()) => {
            core.shared.client.metrics.webhook_delivered.inc();
            Some(queued.id)
        }
        Err(WebhookError::Refused(status)) => {
            debug!(id, status, "webhook receiver refused the message");
            Some(queued.id)
        }
        Err(WebhookError::Busy | WebhookError::Unreachable(_)) => None,
    }
}

/// Returns true if the mention alerts the user, that is, if the user does not block the author; `None` if unknown now.
async fn alerts(core: &Rc<ShardContext>, queued: &QueuedWebhook, user: &UserId) -> Option<bool> {
    let author = queued.author.as_ref()?;
    presence_query::blocks(&core.shared.client, user, author)
        .await
        .ok()
        .map(|blocks| !blocks)
}

async fn remove(
    core: &Rc<ShardContext>,
    conversations: &ShardClient,
    ids: Vec<OutboxId>,
) -> Result<(), &'static str> {
    submit(core, conversations, WebhookOp::WebhookDelivered { ids }).await
}

async fn submit(
    core: &Rc<ShardContext>,
    conversations: &ShardClient,
    op: WebhookOp,
) -> Result<(), &'static str> {
    let done = conversations.submit_to(Some(core.shard), ShardCommand::Webhook(op));
    done.await
        .map(|_| ())
        .map_err(|_| "the shard cannot accept commands")
}

// === impl WebhookTarget ===

impl std::fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("members", &self.members)
            .field("backlog", &self.backlog)
            .finish_non_exhaustive()
    }
}
