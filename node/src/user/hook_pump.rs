//! Tells the hook of messages that members who are away have not seen, and of those that a conversation's own hooks want:
//! one task per owned shard that empties the shard's list of intents.
//!
//! An intent is written in the transaction of its message. The pump looks who is away, posts, and removes the intent by
//! a command of its own; whatever breaks off in between is done again, so the receiver is told at least once, and knows
//! a repeat by its id. While the receiver is down the list grows up to a bound; beyond it the oldest are given up.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use futures::future::join_all;
use protocol::{Kind, RawEvent, UserId};
use serde::Serialize;
use tracing::{debug, warn};

use super::presence;
use crate::conversation::Conversations;
use crate::conversation::shard::batch::{Batch, BatchReply};
use crate::conversation::shard::core::Core;
use crate::conversation::shard::streams::StreamId;
use crate::conversation::timeline::read::{self, ToTell, Waiting};
use crate::conversation::timeline::{Command, Op, OutboxId};
use crate::webhook::{Failed, Webhook};

/// Messages told at once.
const PAGE: usize = 64;
/// Without a reason, the list is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The pause doubles while the receiver is down, up to so many times the first.
const LONGEST_PAUSE: u32 = 64;

/// Where messages are told, and within which bounds.
#[derive(Clone)]
pub struct Hook {
    /// The receiver.
    pub webhook: Webhook,
    /// Members of the largest conversation whose messages are told for those who are away.
    pub members: u64,
    /// Messages per shard that wait; of more the oldest are given up.
    pub backlog: u64,
    /// Pause before the receiver is tried again; it doubles.
    pub retry: Duration,
}

/// The body of a post.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    sort: &'static str,
    id: &'a str,
    c: &'a str,
    kind: Kind,
    title: Option<&'a str>,
    message: &'a RawEvent,
    offline: Vec<Offline<'a>>,
    hooks: &'a [String],
}

/// A member without a live session.
#[derive(Serialize)]
struct Offline<'a> {
    u: &'a UserId,
    muted: bool,
    mentioned: bool,
}

/// What a round came to.
enum Round {
    /// There may be more.
    Again,
    /// Nothing waits.
    Empty,
}

/// Says in the log that messages are told, before anything else that this owner proposes: so none is sent before it
/// counts, not even the first of a cluster. That they are told no more has time.
pub(crate) fn announce(core: &Core) {
    let Some(hook) = &core.shared.settings.hook else {
        return;
    };
    let on = Command::hooks(Op::HooksOn {
        members: hook.members,
    });
    // No node has this number: it is a stream of the owner's own, of one batch. Nobody waits for the answer; should
    // there be none, the pump says it again.
    let id = StreamId {
        node: NodeId(0),
        incarnation: 0,
        stream: 0,
    };
    let (nobody, _) = tokio::sync::oneshot::channel();
    let reply = BatchReply::Local(nobody);
    if core.streams.lock().admit(id, 0) {
        Batch::open(id, 0, vec![on.encode()], reply, &core.streams, &core.load)
            .for_each(|pending| core.propose(pending));
    }
}

/// Empties the list until the shard's actors end.
pub(crate) async fn run(core: Rc<Core>) {
    let conversations = Conversations::new(core.shared.clone());
    let first = core
        .shared
        .settings
        .hook
        .as_ref()
        .map_or(LOOK_EVERY, |hook| hook.retry);
    let (mut pause, mut overflowing) = (first, false);
    loop {
        match round(&core, &conversations, &mut overflowing).await {
            Ok(Round::Again) => pause = first,
            Ok(Round::Empty) => {
                pause = first;
                match core.shared.settings.hook {
                    Some(_) => {
                        let _ = tokio::time::timeout(LOOK_EVERY, core.hook_wake.notified()).await;
                    }
                    None => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
            Err(why) => {
                debug!(shard = core.shard.0, why, "hook not told, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(first * LONGEST_PAUSE);
            }
        }
    }
}

async fn round(
    core: &Rc<Core>,
    conversations: &Conversations,
    overflowing: &mut bool,
) -> Result<Round, &'static str> {
    let waiting = look(core).await?;
    let hook = core.shared.settings.hook.as_ref();
    let members = hook.map_or(0, |hook| hook.members);
    if waiting.members != members {
        submit(core, conversations, Op::HooksOn { members }).await?;
    }
    let backlog = hook.map_or(0, |hook| hook.backlog);
    if waiting.all > backlog {
        // The receiver was away for too long, or is wanted no more.
        let excess = usize::try_from(waiting.all - backlog).unwrap_or(PAGE).min(PAGE);
        let ids: Vec<OutboxId> = waiting.oldest.iter().take(excess).map(|told| told.id).collect();
        core.shared.metrics.hooks_dropped.inc_by(ids.len() as u64);
        if !std::mem::replace(overflowing, true) && hook.is_some() {
            warn!(
                shard = core.shard.0,
                waiting = waiting.all,
                backlog,
                "more messages wait for the hook than may: giving up the oldest"
            );
        }
        remove(core, conversations, ids).await?;
        return Ok(Round::Again);
    }
    if waiting.all <= backlog / 2 {
        *overflowing = false;
    }
    let Some(hook) = hook else {
        // Whoever has subscribed elsewhere is told by nobody here, and nothing is kept for it.
        return Ok(Round::Empty);
    };
    if waiting.oldest.is_empty() {
        return Ok(Round::Empty);
    }
    let present = present(core, &waiting).await?;
    let posts = waiting
        .oldest
        .iter()
        .map(|told| post(core, &hook.webhook, told, &present));
    let done: Vec<Option<OutboxId>> = join_all(posts).await;
    let missed = done.iter().any(Option::is_none);
    let ids: Vec<OutboxId> = done.into_iter().flatten().collect();
    if !ids.is_empty() {
        remove(core, conversations, ids).await?;
    }
    if missed {
        Err("the receiver can't be reached")
    } else {
        Ok(Round::Again)
    }
}

async fn look(core: &Rc<Core>) -> Result<Waiting, &'static str> {
    let cluster = core.shared.cluster();
    let state = cluster
        .ok_or("the cluster member doesn't run yet")?
        .state(core.shard);
    let read = move || read::to_tell(&state.view(), PAGE).map_err(|error| error.to_string());
    match core.shared.reads.run(read).await {
        Ok(Ok(waiting)) => Ok(waiting),
        Ok(Err(_)) => Err("the list can't be read"),
        Err(_) => Err("the read was refused"),
    }
}

/// Who of all members concerned has a live session.
async fn present(core: &Rc<Core>, waiting: &Waiting) -> Result<HashMap<UserId, bool>, &'static str> {
    let members = waiting.oldest.iter().flat_map(|told| &told.members);
    let users: BTreeSet<UserId> = members.map(|away| away.user.clone()).collect();
    let users: Vec<UserId> = users.into_iter().collect();
    let live = presence::live(&core.shared, &users).await;
    let known = users.into_iter().zip(live);
    let known = known.map(|(user, live)| live.map(|live| (user, live)));
    known.collect::<Option<_>>().ok_or("who is there is not known")
}

/// Tells of one message. Returns its id when that is over: it was told, needs not be, or never will.
async fn post(
    core: &Rc<Core>,
    webhook: &Webhook,
    told: &ToTell,
    present: &HashMap<UserId, bool>,
) -> Option<OutboxId> {
    let Some(message) = told.tail.as_ref().and_then(|tail| RawEvent::from_tail(tail).ok()) else {
        return Some(told.id);
    };
    let away = told
        .members
        .iter()
        .filter(|away| present.get(&away.user) == Some(&false));
    let offline = join_all(away.map(|away| async move {
        Some(Offline {
            u: &away.user,
            muted: away.muted,
            mentioned: away.mentioned && alerts(core, told, &away.user).await?,
        })
    }));
    let offline: Vec<Offline<'_>> = offline.await.into_iter().collect::<Option<_>>()?;
    if offline.is_empty() && told.hooks.is_empty() {
        return Some(told.id);
    }
    let id = format!("{}-{}-{}", core.shard.0, told.id.index, told.id.n);
    let body = Told {
        sort: "message",
        id: &id,
        c: told.conv.as_str(),
        kind: told.kind,
        title: told.title.as_deref(),
        message: &message,
        offline,
        hooks: &told.hooks,
    };
    let body = serde_json::to_vec(&body).expect("a wire shape always serialises");
    match webhook.post(&id, Bytes::from(body)).await {
        Ok(()) => {
            core.shared.metrics.hooks_told.inc();
            Some(told.id)
        }
        Err(Failed::Refused(status)) => {
            debug!(id, status, "the hook doesn't want it");
            Some(told.id)
        }
        Err(Failed::Busy | Failed::Unreachable(_)) => None,
    }
}

/// Whether the author's mention alerts the user: not if the user blocks the author. `None` if that isn't known now.
async fn alerts(core: &Rc<Core>, told: &ToTell, user: &UserId) -> Option<bool> {
    let author = told.author.as_ref()?;
    presence::blocks(&core.shared, user, author)
        .await
        .ok()
        .map(|blocks| !blocks)
}

async fn remove(
    core: &Rc<Core>,
    conversations: &Conversations,
    ids: Vec<OutboxId>,
) -> Result<(), &'static str> {
    submit(core, conversations, Op::HooksTold { ids }).await
}

async fn submit(core: &Rc<Core>, conversations: &Conversations, op: Op) -> Result<(), &'static str> {
    let done = conversations.submit_to(Some(core.shard), Command::hooks(op));
    done.await.map(|_| ()).map_err(|_| "the log takes no command now")
}

// === impl Hook ===

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("members", &self.members)
            .field("backlog", &self.backlog)
            .finish_non_exhaustive()
    }
}
