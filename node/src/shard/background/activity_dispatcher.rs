//! Activity notes to the shards of the members: one task per owned shard, over the conversations with an activity
//! watch.
//!
//! A message in a conversation without a watch starts one in its own transaction, so no crash separates the two and the
//! next owner finds it. The members' shards are notified at once, and again at the end of each window with new
//! messages. A window without ends the watch. A conversation thus costs a row per member and window, whatever its
//! traffic, and nothing while it is quiet.
//!
//! The window grows with the number of members beyond [`LARGE_CONVERSATION`]: no conversation writes more than that many rows per
//! window.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use cluster::ShardId;
use futures::StreamExt;
use futures::future::{LocalBoxFuture, join_all};
use futures::stream::FuturesUnordered;
use protocol::{ConversationId, UserId};
use tokio::time::Instant;
use tracing::debug;

use super::outbox_dispatcher::OUTBOX_RETRY;
use crate::shard::context::ShardContext;
use crate::shard_client::ShardClient;
use crate::shard_client::wait_until;
use crate::state_machine::{
    ActivityNote, LARGE_CONVERSATION, OutboxOp, ShardCommand, WatchedConversation, query,
};

/// Maximum number of conversations per round.
const PAGE: usize = 256;
/// Maximum number of members per scan.
const MEMBERS: usize = 1_024;
/// Approximate number of users per command.
const USERS: usize = 256;
/// Maximum number of concurrent rounds: an unreachable users' shard delays no other conversation.
const ROUNDS: usize = 8;
/// Interval between scans of the persisted watches.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Activity watches of the shard with their deadlines.
#[derive(Default)]
struct ActivityWatches {
    convs: HashMap<ConversationId, ActivityWatch>,
    /// Deadlines of the conversations that are in no round.
    due: BTreeSet<(Instant, ConversationId)>,
}

struct ActivityWatch {
    /// Position of the last message in a note.
    sent: u64,
    /// Deadline of the next check; `None` while a round holds the conversation.
    due: Option<Instant>,
}

/// Result of a round for one conversation.
enum ActivityVerdict {
    /// The members' shards recorded the message at this position; the next check follows after the window.
    Updated(u64, Duration),
    /// No new message: the watch ends unless one arrived in between.
    Quiet,
    /// The conversation has no watch any more.
    Over,
    /// A shard or the rows could not be reached.
    Missed,
}

type ActivityRound = LocalBoxFuture<'static, Vec<(ConversationId, ActivityVerdict)>>;

/// Sends activity notes until the shard's actors end.
pub(crate) async fn run(core: Rc<ShardContext>) {
    let mut watches = ActivityWatches::default();
    let mut rounds: FuturesUnordered<ActivityRound> = FuturesUnordered::new();
    let mut look = Instant::now();
    loop {
        if Instant::now() >= look {
            // Finds the watches that a previous owner left, which no wake-up announces.
            look = Instant::now() + LOOK_EVERY;
            match stored(&core).await {
                Ok(convs) => convs.into_iter().for_each(|conv| watches.add(conv)),
                Err(why) => {
                    debug!(
                        shard = core.shard.0,
                        why, "query of watched conversations failed, will retry"
                    );
                    look = Instant::now() + OUTBOX_RETRY;
                }
            }
        }
        core.take_watched().into_iter().for_each(|conv| watches.add(conv));
        // The limit bounds memory: each round holds a page of conversations and of their members.
        while rounds.len() < ROUNDS
            && let Some(convs) = watches.take(Instant::now())
        {
            rounds.push(Box::pin(round(core.clone(), convs)));
        }
        // At the limit a deadline must not end the select: the loop would spin until a round completes.
        let next = watches.next().filter(|_| rounds.len() < ROUNDS);
        tokio::select! {
            () = core.watched_wake.notified() => {}
            Some(done) = rounds.next() => {
                let retry = OUTBOX_RETRY;
                done.into_iter().for_each(|(conv, verdict)| watches.conclude(conv, verdict, retry));
            }
            () = wait_until(next.map(Instant::into_std)) => {}
            () = tokio::time::sleep_until(look) => {}
        }
    }
}

/// Returns all conversations of the shard with an activity watch.
async fn stored(core: &Rc<ShardContext>) -> Result<Vec<ConversationId>, &'static str> {
    let mut convs: Vec<ConversationId> = Vec::new();
    loop {
        let after = convs.last().cloned();
        let page = query(core, move |state| query::watches(state, after.as_ref(), MEMBERS)).await?;
        let more = page.len() == MEMBERS;
        convs.extend(page);
        if !more {
            return Ok(convs);
        }
    }
}

/// Reads the conversations, sends notes of new messages, and ends the watches of quiet ones.
async fn round(
    core: Rc<ShardContext>,
    convs: Vec<(ConversationId, u64)>,
) -> Vec<(ConversationId, ActivityVerdict)> {
    let conversations = ShardClient::new(core.shared.client.clone());
    let asked: Vec<ConversationId> = convs.iter().map(|(conv, _)| conv.clone()).collect();
    let missed = |convs: Vec<(ConversationId, u64)>| {
        convs
            .into_iter()
            .map(|(conv, _)| (conv, ActivityVerdict::Missed))
            .collect()
    };
    let look = move |state: &storage::ShardState| {
        // One view for all: the positions belong to the same state.
        let view = state.view();
        asked
            .iter()
            .map(|conv| query::watched(&view, conv))
            .collect::<Result<Vec<_>, _>>()
    };
    let found = match query(&core, look).await {
        Ok(found) => found,
        Err(why) => {
            debug!(shard = core.shard.0, why, "activity delivery failed, will retry");
            return missed(convs);
        }
    };
    let (mut verdicts, mut changed, mut quiet) = (Vec::new(), Vec::new(), Vec::new());
    for ((conv, sent), found) in convs.into_iter().zip(found) {
        match found {
            None => verdicts.push((conv, ActivityVerdict::Over)),
            Some(watched) if watched.last.seq > sent => changed.push(watched),
            Some(_) => quiet.push((conv, sent)),
        }
    }
    let done = propagate(&core, &conversations, &changed).await;
    let window = core.shared.settings.activity_window;
    for (watched, done) in changed.into_iter().zip(done) {
        let verdict = if done {
            // A larger conversation is notified less often, so that the rows per window stay bounded.
            let windows = u32::try_from(watched.members.div_ceil(LARGE_CONVERSATION)).unwrap_or(u32::MAX);
            ActivityVerdict::Updated(watched.last.seq, window.saturating_mul(windows.max(1)))
        } else {
            ActivityVerdict::Missed
        };
        verdicts.push((watched.conv, verdict));
    }
    if !quiet.is_empty() {
        // The state machine compares the position: a message committed after the read keeps its watch.
        let op = OutboxOp::EndWatch { items: quiet.clone() };
        let done = conversations
            .submit_to(Some(core.shard), ShardCommand::Outbox(op))
            .await;
        let verdict = |(conv, _)| {
            (
                conv,
                if done.is_ok() {
                    ActivityVerdict::Quiet
                } else {
                    ActivityVerdict::Missed
                },
            )
        };
        verdicts.extend(quiet.into_iter().map(verdict));
    }
    verdicts
}

/// Notifies the members' shards with few commands per shard. Returns, per conversation, true if all were reached.
async fn propagate(
    core: &Rc<ShardContext>,
    conversations: &ShardClient,
    changed: &[WatchedConversation],
) -> Vec<bool> {
    let mut done = vec![true; changed.len()];
    let mut after: Vec<Option<UserId>> = vec![None; changed.len()];
    let mut left: Vec<usize> = (0..changed.len()).collect();
    // Large conversations are sent in parts, which bounds the members held in memory.
    while !left.is_empty() {
        let asked: Vec<_> = left
            .iter()
            .map(|at| (changed[*at].conv.clone(), after[*at].clone()))
            .collect();
        let look = move |state: &storage::ShardState| {
            let view = state.view();
            let members = asked
                .iter()
                .map(|(conv, after)| query::members_after(&view, conv, after.as_ref(), MEMBERS));
            members.collect::<Result<Vec<_>, _>>()
        };
        // Incomplete conversations count as missed; repeating their notes is harmless.
        let Ok(members) = query(core, look).await else {
            left.into_iter().for_each(|at| done[at] = false);
            break;
        };
        let pages: Vec<(usize, Vec<UserId>)> = left.drain(..).zip(members).collect();
        for (at, missed) in submit(core, conversations, changed, &pages).await {
            done[at] &= !missed;
        }
        for (at, users) in pages {
            if users.len() == MEMBERS && done[at] {
                after[at] = users.last().cloned();
                left.push(at);
            }
        }
    }
    done
}

/// Proposes the notes to the shards of the users. Returns, per conversation and command, true if the shard was not
/// reached.
async fn submit(
    core: &Rc<ShardContext>,
    conversations: &ShardClient,
    changed: &[WatchedConversation],
    pages: &[(usize, Vec<UserId>)],
) -> Vec<(usize, bool)> {
    let Some(cluster) = core.shared.client.cluster() else {
        return pages.iter().map(|(at, _)| (*at, true)).collect();
    };
    let mut shards: HashMap<ShardId, Vec<(usize, Vec<UserId>)>> = HashMap::new();
    for (at, users) in pages {
        for user in users {
            let items = shards.entry(cluster.shard_of(user)).or_default();
            match items.last_mut() {
                Some((known, users)) if known == at => users.push(user.clone()),
                _ => items.push((*at, vec![user.clone()])),
            }
        }
    }
    let mut commands = Vec::new();
    for (shard, items) in shards {
        let (mut batch, mut users_in, mut ats) = (Vec::new(), 0, Vec::new());
        for (at, users) in items {
            users_in += users.len();
            ats.push(at);
            batch.push(ActivityNote {
                conv: changed[at].conv.clone(),
                last: changed[at].last,
                large: changed[at].members > LARGE_CONVERSATION,
                users,
            });
            // The limit bounds the rows of one log entry, which every replica applies in one go.
            if users_in >= USERS {
                commands.push((shard, std::mem::take(&mut batch), std::mem::take(&mut ats)));
                users_in = 0;
            }
        }
        if !batch.is_empty() {
            commands.push((shard, batch, ats));
        }
    }
    let done = join_all(commands.into_iter().map(|(shard, items, ats)| {
        let done = conversations.submit_to(Some(shard), ShardCommand::Outbox(OutboxOp::Active { items }));
        async move { (ats, done.await.is_err()) }
    }));
    let answers = done.await.into_iter();
    answers
        .flat_map(|(ats, missed)| ats.into_iter().map(move |at| (at, missed)))
        .collect()
}

async fn query<T: Send + 'static>(
    core: &Rc<ShardContext>,
    look: impl FnOnce(&storage::ShardState) -> Result<T, query::QueryError> + Send + 'static,
) -> Result<T, &'static str> {
    let cluster = core.shared.client.cluster();
    let state = cluster
        .ok_or("the cluster member is not running yet")?
        .state(core.shard);
    let read = move || look(&state).map_err(|error| error.to_string());
    match core.shared.reads.run(read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) => Err("the rows cannot be read"),
        Err(_) => Err("the query was refused"),
    }
}

// === impl ActivityWatches ===

impl ActivityWatches {
    /// Adds a conversation with an immediate deadline; a known one keeps its deadline.
    fn add(&mut self, conv: ConversationId) {
        if !self.convs.contains_key(&conv) {
            self.convs
                .insert(conv.clone(), ActivityWatch { sent: 0, due: None });
            self.schedule(conv, Instant::now());
        }
    }

    fn schedule(&mut self, conv: ConversationId, due: Instant) {
        if let Some(watch) = self.convs.get_mut(&conv) {
            watch.due = Some(due);
            self.due.insert((due, conv));
        }
    }

    /// Pops up to a page of conversations whose deadline has passed, each with the last position in a note.
    fn take(&mut self, now: Instant) -> Option<Vec<(ConversationId, u64)>> {
        let mut convs = Vec::new();
        while convs.len() < PAGE && self.due.first().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, conv)) = self.due.pop_first()
                && let Some(watch) = self.convs.get_mut(&conv)
            {
                watch.due = None;
                convs.push((conv, watch.sent));
            }
        }
        Some(convs).filter(|convs| !convs.is_empty())
    }

    /// Returns the earliest deadline.
    fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Applies the result of a round and sets the next deadline.
    fn conclude(&mut self, conv: ConversationId, verdict: ActivityVerdict, retry: Duration) {
        let now = Instant::now();
        let due = match verdict {
            ActivityVerdict::Over => {
                self.convs.remove(&conv);
                return;
            }
            ActivityVerdict::Updated(s, window) => {
                if let Some(watch) = self.convs.get_mut(&conv) {
                    watch.sent = s;
                }
                now + window
            }
            // A message may have arrived in between: the next check either removes the conversation or sends a note.
            ActivityVerdict::Quiet => now,
            ActivityVerdict::Missed => now + retry,
        };
        self.schedule(conv, due);
    }
}
