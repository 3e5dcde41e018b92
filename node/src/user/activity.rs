//! Tells messages to the shards of their members: one task per owned shard, over the conversations that are watched.
//!
//! A message in a conversation that is not watched begins a watch, in its own transaction; so no crash separates the
//! two, and the next owner finds it. The members' shards are told at once, then at the end of each window if something
//! came since; a window without ends the watch. So a conversation costs a row per member and window, however much is
//! sent there, and nothing while it is quiet.
//!
//! The window grows with the members beyond [`LARGE`]: no conversation writes more than that many rows in a window.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use cluster::ShardId;
use futures::StreamExt;
use futures::future::{LocalBoxFuture, join_all};
use futures::stream::FuturesUnordered;
use protocol::{ConvId, UserId};
use tokio::time::Instant;
use tracing::debug;

use crate::conversation::Conversations;
use crate::conversation::shard::core::Core;
use crate::conversation::timeline::read::{self, Watched};
use crate::conversation::timeline::{Activity, Command, Op};
use crate::rpc::owner::wait_until;

/// Members of the largest conversation that is told every window.
pub(crate) const LARGE: u64 = 256;
/// Conversations looked at in one round.
const PAGE: usize = 256;
/// Members read in one step.
const MEMBERS: usize = 1_024;
/// Users in one command.
const USERS: usize = 256;
/// Rounds under way: one whose users' shard can't be reached holds up no other.
const ROUNDS: usize = 8;
/// Without a reason, the watched conversations are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The watched conversations, and when each is due.
#[derive(Default)]
struct Watches {
    convs: HashMap<ConvId, Watch>,
    /// Those that are in no round.
    due: BTreeSet<(Instant, ConvId)>,
}

struct Watch {
    /// The last message that was told.
    sent: u64,
    /// When it is looked at; `None`: it is in a round.
    due: Option<Instant>,
}

/// What a round came to for a conversation.
enum Verdict {
    /// Its members' shards know of this message, and are told again after the window.
    Updated(u64, Duration),
    /// There was nothing new: the watch ends unless a message came in between.
    Quiet,
    /// It is not watched any more.
    Over,
    /// Somebody could not be reached.
    Missed,
}

type Round = LocalBoxFuture<'static, Vec<(ConvId, Verdict)>>;

/// Tells until the shard's actors end.
pub(crate) async fn run(core: Rc<Core>) {
    let mut watches = Watches::default();
    let mut rounds: FuturesUnordered<Round> = FuturesUnordered::new();
    let mut look = Instant::now();
    loop {
        if Instant::now() >= look {
            look = Instant::now() + LOOK_EVERY;
            match stored(&core).await {
                Ok(convs) => convs.into_iter().for_each(|conv| watches.add(conv)),
                Err(why) => {
                    debug!(
                        shard = core.shard.0,
                        why, "watched conversations not read, trying again"
                    );
                    look = Instant::now() + core.shared.settings.outbox_retry;
                }
            }
        }
        core.take_watched().into_iter().for_each(|conv| watches.add(conv));
        while rounds.len() < ROUNDS
            && let Some(convs) = watches.take(Instant::now())
        {
            rounds.push(Box::pin(round(core.clone(), convs)));
        }
        let next = watches.next().filter(|_| rounds.len() < ROUNDS);
        tokio::select! {
            () = core.watched_wake.notified() => {}
            Some(done) = rounds.next() => {
                let retry = core.shared.settings.outbox_retry;
                done.into_iter().for_each(|(conv, verdict)| watches.conclude(conv, verdict, retry));
            }
            () = wait_until(next.map(Instant::into_std)) => {}
            () = tokio::time::sleep_until(look) => {}
        }
    }
}

/// All conversations of the shard that are watched.
async fn stored(core: &Rc<Core>) -> Result<Vec<ConvId>, &'static str> {
    let mut convs: Vec<ConvId> = Vec::new();
    loop {
        let after = convs.last().cloned();
        let page = query(core, move |state| read::watches(state, after.as_ref(), MEMBERS)).await?;
        let more = page.len() == MEMBERS;
        convs.extend(page);
        if !more {
            return Ok(convs);
        }
    }
}

/// Looks at conversations, tells what is new, and ends the watches over those where nothing is.
async fn round(core: Rc<Core>, convs: Vec<(ConvId, u64)>) -> Vec<(ConvId, Verdict)> {
    let conversations = Conversations::new(core.shared.clone());
    let asked: Vec<ConvId> = convs.iter().map(|(conv, _)| conv.clone()).collect();
    let missed = |convs: Vec<(ConvId, u64)>| {
        convs
            .into_iter()
            .map(|(conv, _)| (conv, Verdict::Missed))
            .collect()
    };
    let look = move |state: &storage::State| {
        let view = state.view();
        asked
            .iter()
            .map(|conv| read::watched(&view, conv))
            .collect::<Result<Vec<_>, _>>()
    };
    let found = match query(&core, look).await {
        Ok(found) => found,
        Err(why) => {
            debug!(shard = core.shard.0, why, "activity not told, trying again");
            return missed(convs);
        }
    };
    let (mut verdicts, mut changed, mut quiet) = (Vec::new(), Vec::new(), Vec::new());
    for ((conv, sent), found) in convs.into_iter().zip(found) {
        match found {
            None => verdicts.push((conv, Verdict::Over)),
            Some(watched) if watched.last.s > sent => changed.push(watched),
            Some(_) => quiet.push((conv, sent)),
        }
    }
    let done = propagate(&core, &conversations, &changed).await;
    let window = core.shared.settings.activity_window;
    for (watched, done) in changed.into_iter().zip(done) {
        let verdict = if done {
            let windows = u32::try_from(watched.members.div_ceil(LARGE)).unwrap_or(u32::MAX);
            Verdict::Updated(watched.last.s, window.saturating_mul(windows.max(1)))
        } else {
            Verdict::Missed
        };
        verdicts.push((watched.conv, verdict));
    }
    if !quiet.is_empty() {
        let op = Op::EndWatch { items: quiet.clone() };
        let done = conversations
            .submit_to(Some(core.shard), Command::active(op))
            .await;
        let verdict = |(conv, _)| {
            (
                conv,
                if done.is_ok() {
                    Verdict::Quiet
                } else {
                    Verdict::Missed
                },
            )
        };
        verdicts.extend(quiet.into_iter().map(verdict));
    }
    verdicts
}

/// Tells the members' shards, a few commands per shard. Says of each conversation whether all were told.
async fn propagate(core: &Rc<Core>, conversations: &Conversations, changed: &[Watched]) -> Vec<bool> {
    let mut done = vec![true; changed.len()];
    let mut after: Vec<Option<UserId>> = vec![None; changed.len()];
    let mut left: Vec<usize> = (0..changed.len()).collect();
    // Of a large conversation a part at a time, so that what is in memory is bounded.
    while !left.is_empty() {
        let asked: Vec<_> = left
            .iter()
            .map(|at| (changed[*at].conv.clone(), after[*at].clone()))
            .collect();
        let look = move |state: &storage::State| {
            let view = state.view();
            let members = asked
                .iter()
                .map(|(conv, after)| read::members_after(&view, conv, after.as_ref(), MEMBERS));
            members.collect::<Result<Vec<_>, _>>()
        };
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

/// Proposes what is told to the shards concerned. Returns for each conversation whether a shard could not be reached.
async fn submit(
    core: &Rc<Core>,
    conversations: &Conversations,
    changed: &[Watched],
    pages: &[(usize, Vec<UserId>)],
) -> Vec<(usize, bool)> {
    let Some(cluster) = core.shared.cluster() else {
        return pages.iter().map(|(at, _)| (*at, true)).collect();
    };
    let mut shards: HashMap<ShardId, Vec<(usize, Vec<UserId>)>> = HashMap::new();
    for (at, users) in pages {
        for user in users {
            let items = shards
                .entry(cluster.shard_of(user.as_str().as_bytes()))
                .or_default();
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
            batch.push(Activity {
                conv: changed[at].conv.clone(),
                last: changed[at].last,
                large: changed[at].members > LARGE,
                users,
            });
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
        let done = conversations.submit_to(Some(shard), Command::active(Op::Active { items }));
        async move { (ats, done.await.is_err()) }
    }));
    let answers = done.await.into_iter();
    answers
        .flat_map(|(ats, missed)| ats.into_iter().map(move |at| (at, missed)))
        .collect()
}

async fn query<T: Send + 'static>(
    core: &Rc<Core>,
    look: impl FnOnce(&storage::State) -> Result<T, read::Denied> + Send + 'static,
) -> Result<T, &'static str> {
    let cluster = core.shared.cluster();
    let state = cluster
        .ok_or("the cluster member doesn't run yet")?
        .state(core.shard);
    let read = move || look(&state).map_err(|error| error.to_string());
    match core.shared.reads.run(read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) => Err("the rows can't be read"),
        Err(_) => Err("the read was refused"),
    }
}

// === impl Watches ===

impl Watches {
    /// A conversation is watched; one that is known has its turn.
    fn add(&mut self, conv: ConvId) {
        if !self.convs.contains_key(&conv) {
            self.convs.insert(conv.clone(), Watch { sent: 0, due: None });
            self.schedule(conv, Instant::now());
        }
    }

    fn schedule(&mut self, conv: ConvId, due: Instant) {
        if let Some(watch) = self.convs.get_mut(&conv) {
            watch.due = Some(due);
            self.due.insert((due, conv));
        }
    }

    /// Takes what is due into a round, each with the last message that was told.
    fn take(&mut self, now: Instant) -> Option<Vec<(ConvId, u64)>> {
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

    /// When the next one is due.
    fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes what a round came to.
    fn conclude(&mut self, conv: ConvId, verdict: Verdict, retry: Duration) {
        let now = Instant::now();
        let due = match verdict {
            Verdict::Over => {
                self.convs.remove(&conv);
                return;
            }
            Verdict::Updated(s, window) => {
                if let Some(watch) = self.convs.get_mut(&conv) {
                    watch.sent = s;
                }
                now + window
            }
            // Whether a message came in between is seen at the next look.
            Verdict::Quiet => now,
            Verdict::Missed => now + retry,
        };
        self.schedule(conv, due);
    }
}
