//! What a session of a user with many conversations costs: to begin, to show the first page of its inbox, to catch up by
//! a page of `sync`; and what its subscriptions take of the nodes' memory. The same user's sessions are measured one
//! after the other at all nodes, with the CPU that the nodes used meanwhile, above what they use for nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::Common;
use crate::measure::latency::{Percentiles, histogram};
use crate::progress::Step;
use crate::session::{Error, Login, Session};
use crate::target::Target;

/// How many conversations users have, and how they are measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sizes {
    /// One user each.
    pub(crate) conversations: Vec<u32>,
    /// Users who make the conversations, so that no one's rate or share of another's memberships is the bound.
    pub(crate) creators: u32,
    /// Of each operation.
    pub(crate) rounds: u32,
    /// Opened together for the memory of their subscriptions.
    pub(crate) sessions: u32,
}

/// A user with so many conversations, as the report has it. Times in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ManyReport {
    pub(crate) conversations: u32,
    /// From connecting to `ready`, ...
    pub(crate) to_ready: Percentiles,
    /// ... to the first page of the inbox, ...
    pub(crate) to_listed: Percentiles,
    /// ... and to the first page of `sync`, with which the subscriptions stand.
    pub(crate) to_synced: Percentiles,
    /// The first page of the inbox, of at most ten rows, in a session that is there.
    pub(crate) list: Percentiles,
    /// A page of `sync`, likewise, and how many conversations it shows.
    pub(crate) sync: Percentiles,
    pub(crate) sync_shows: u64,
    /// CPU of all nodes together for one, in microseconds.
    pub(crate) begin_cpu_us: Option<f64>,
    pub(crate) list_cpu_us: Option<f64>,
    pub(crate) sync_cpu_us: Option<f64>,
    /// Memory of all nodes together, in KiB; `null` where there are too few subscriptions to tell.
    pub(crate) kib_per_subscription: Option<f64>,
}

/// What a creator has to do next.
enum Chore {
    Create(u32),
    Send(u32, String),
}

/// Creators that are connected at once.
const CREATORS_AT_ONCE: usize = 32;
/// Commands of each that wait for an answer.
const IN_FLIGHT: usize = 12;
/// Rows of a page, for every user the same.
const ROWS: u32 = 10;
/// Fewer subscriptions say nothing about the memory of one.
const SUBSCRIPTIONS: u64 = 1000;
/// Live conversations of a session unless the nodes are set otherwise.
const LIVE: u64 = 1000;
/// How long the nodes are watched doing nothing, and how long they may take to come to rest.
const REST: Duration = Duration::from_secs(3);

/// Makes the users and their conversations, and measures one user after the other.
pub(crate) async fn measure(
    sizes: &Sizes,
    common: &Common,
    target: &Target,
    step: &Step,
) -> Result<Vec<ManyReport>, Error> {
    let user = |count: u32| format!("many-{}-{count}", common.instance);
    for count in &sizes.conversations {
        step.say(format!("making {count} conversations of one user"));
        fill(common, &user(*count), *count, sizes.creators).await?;
    }
    tokio::time::sleep(REST).await;
    let bench = Bench {
        common,
        target,
        idle_us_per_s: idle(target).await,
        rounds: sizes.rounds,
    };
    let mut reports = Vec::new();
    for count in &sizes.conversations {
        step.say(format!("a user with {count} conversations"));
        reports.push(bench.user(&user(*count), *count, sizes.sessions).await?);
    }
    Ok(reports)
}

/// Gives a user conversations, made by others in parallel, each with one message.
pub(crate) async fn fill(common: &Common, user: &str, count: u32, creators: u32) -> Result<(), Error> {
    let creators = creators.clamp(1, count.max(1));
    let nodes = common.nodes.borrow().clone();
    let shares = (0..creators).map(|creator| {
        let node = nodes[creator as usize % nodes.len()].clone();
        let numbers = (creator..count).step_by(creators as usize);
        create(common, node, format!("{user}-by{creator}"), user, numbers)
    });
    stream::iter(shares)
        .buffer_unordered(CREATORS_AT_ONCE)
        .try_collect()
        .await
}

/// One creator's share.
async fn create(
    common: &Common,
    node: String,
    creator: String,
    user: &str,
    numbers: impl Iterator<Item = u32>,
) -> Result<(), Error> {
    let token = common.token.replace("{user}", &creator);
    let login = Login {
        node: &node,
        token: &token,
        device: "creator",
        resume: None,
    };
    let mut session = Session::open(login).await?;
    let mut chores: VecDeque<Chore> = numbers.map(Chore::Create).collect();
    let mut asked: HashMap<u64, Chore> = HashMap::new();
    while !chores.is_empty() || !asked.is_empty() {
        while asked.len() < IN_FLIGHT
            && let Some(chore) = chores.pop_front()
        {
            let id = session.say(&chore.command(user)).await?;
            asked.insert(id, chore);
        }
        let answer = session.any_answer().await?;
        let Some(chore) = answer["id"].as_u64().and_then(|id| asked.remove(&id)) else {
            continue;
        };
        match (answer["t"].as_str(), chore) {
            (Some("conv"), Chore::Create(number)) => {
                let c = answer["c"].as_str().unwrap_or_default().to_owned();
                chores.push_back(Chore::Send(number, c));
            }
            (Some("err"), chore) => {
                let Some(ms) = answer["retry_ms"].as_u64() else {
                    return Err(Error::Refused {
                        code: answer["code"].as_str().unwrap_or_default().to_owned(),
                        retry_ms: None,
                    });
                };
                chores.push_front(chore);
                tokio::time::sleep(Duration::from_millis(ms.min(1000))).await;
            }
            _ => {}
        }
        session.forget_events();
    }
    Ok(())
}

// === impl Chore ===

impl Chore {
    fn command(&self, user: &str) -> Value {
        match self {
            Chore::Create(number) => json!({
                "t": "create", "kind": "group", "cid": format!("many-{number}"), "members": [user],
            }),
            Chore::Send(number, c) => json!({
                "t": "send", "c": c, "cid": format!("first-{number}"), "b": {"text": "hello"},
            }),
        }
    }
}

/// What measures.
struct Bench<'a> {
    common: &'a Common,
    target: &'a Target,
    /// CPU of all nodes when nothing is asked.
    idle_us_per_s: Option<f64>,
    rounds: u32,
}

// === impl Bench ===

impl Bench<'_> {
    async fn user(&self, user: &str, count: u32, sessions: u32) -> Result<ManyReport, Error> {
        let list = json!({"t": "list", "limit": ROWS});
        let sync = json!({"t": "sync", "have": []});
        let [mut ready, mut listed, mut synced] = [(); 3].map(|()| histogram());
        // Once at each node before it counts: what it has to read from the disk is read.
        for node in 0..self.nodes() {
            self.open(user, node, "begin").await?.ask(&sync).await?;
        }
        // First of all: what a session has left behind is taken by the next one, and nothing grows any more.
        let kib_per_subscription = self.memory(user, count, sessions).await?;
        let cpu = self.cpu().await;
        for round in 0..self.rounds {
            let began = Instant::now();
            // The same device each time: the session before is replaced.
            let mut session = self.open(user, round as usize, "begin").await?;
            record(&mut ready, began);
            session.ask(&list).await?;
            record(&mut listed, began);
            session.ask(&sync).await?;
            record(&mut synced, began);
        }
        let begin_cpu_us = self.cpu_each(cpu).await;
        let (list, list_cpu_us, _) = self.pages(user, &list).await?;
        let (sync, sync_cpu_us, sync_shows) = self.pages(user, &sync).await?;
        Ok(ManyReport {
            conversations: count,
            to_ready: Percentiles::of(&ready),
            to_listed: Percentiles::of(&listed),
            to_synced: Percentiles::of(&synced),
            list,
            sync,
            sync_shows,
            begin_cpu_us,
            list_cpu_us,
            sync_cpu_us,
            kib_per_subscription,
        })
    }

    /// The same question again and again, in one session at each node: times, CPU of one, and how many items it shows.
    async fn pages(&self, user: &str, question: &Value) -> Result<(Percentiles, Option<f64>, u64), Error> {
        let mut sessions = Vec::new();
        for node in 0..self.nodes() {
            let mut session = self.open(user, node, &format!("pages-{node}")).await?;
            session.ask(question).await?;
            sessions.push(session);
        }
        let (mut times, mut shows) = (histogram(), 0);
        let cpu = self.cpu().await;
        for round in 0..self.rounds {
            let at = round as usize % sessions.len();
            let began = Instant::now();
            let answer = sessions[at].ask(question).await?;
            record(&mut times, began);
            shows = answer["items"].as_array().map_or(0, |items| items.len() as u64);
        }
        Ok((Percentiles::of(&times), self.cpu_each(cpu).await, shows))
    }

    /// Opens many sessions, and divides what the nodes have grown by.
    async fn memory(&self, user: &str, count: u32, sessions: u32) -> Result<Option<f64>, Error> {
        let set = self.target.settings.iter();
        let live = set.filter_map(|setting| setting.strip_prefix("limits.subscriptions="));
        let live = live
            .filter_map(|value| value.parse().ok())
            .next_back()
            .unwrap_or(LIVE);
        let subscriptions = u64::from(sessions) * live.min(u64::from(count));
        if subscriptions < SUBSCRIPTIONS {
            return Ok(None);
        }
        let before = self.rss().await;
        let mut held = Vec::new();
        for number in 0..sessions {
            let device = format!("held-{number}");
            let mut session = self.open(user, number as usize, &device).await?;
            session.ask(&json!({"t": "sync", "have": []})).await?;
            held.push(session);
        }
        tokio::time::sleep(REST).await;
        let grown = before.zip(self.rss().await);
        drop(held);
        Ok(grown.map(|(before, after)| after.saturating_sub(before) as f64 / subscriptions as f64))
    }

    async fn open(&self, user: &str, number: usize, device: &str) -> Result<Session, Error> {
        let node = self.target.nodes[number % self.nodes()].as_str();
        let token = self.common.token.replace("{user}", user);
        Session::open(Login {
            node,
            token: &token,
            device,
            resume: None,
        })
        .await
    }

    fn nodes(&self) -> usize {
        self.target.nodes.len()
    }

    /// CPU of all nodes so far, and when that was.
    async fn cpu(&self) -> (Option<u64>, Instant) {
        (cpu(self.target).await, Instant::now())
    }

    /// CPU of each round since then.
    async fn cpu_each(&self, (before, then): (Option<u64>, Instant)) -> Option<f64> {
        let took = then.elapsed().as_secs_f64();
        let used = cpu(self.target).await?.saturating_sub(before?) as f64;
        let above = (used - self.idle_us_per_s? * took).max(0.0);
        Some(above / f64::from(self.rounds.max(1)))
    }

    async fn rss(&self) -> Option<u64> {
        self.target.usage().await.iter().map(|usage| usage.rss()).sum()
    }
}

async fn cpu(target: &Target) -> Option<u64> {
    target.usage().await.iter().map(|usage| usage.cpu()).sum()
}

/// CPU of all nodes that nobody asks anything, in microseconds a second.
async fn idle(target: &Target) -> Option<f64> {
    let (before, began) = (cpu(target).await, Instant::now());
    tokio::time::sleep(REST).await;
    let used = cpu(target).await?.saturating_sub(before?);
    Some(used as f64 / began.elapsed().as_secs_f64())
}

fn record(times: &mut Histogram<u64>, since: Instant) {
    times.saturating_record(since.elapsed().as_micros() as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Defect, Fake};
    use crate::tests::common;

    #[test]
    fn every_conversation_is_made_once_with_a_message_by_creators_that_share_the_work() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let fake = Fake::start(3, 5, false, Defect::None).await;
            let common = common(&fake, 0);
            fill(&common, "ann", 50, 7).await.unwrap();
            let mut session = Session::open(Login {
                node: &fake.nodes[0],
                token: "dev:ann",
                device: "d",
                resume: None,
            })
            .await
            .unwrap();
            let inbox = session.ask(&json!({"t": "list"})).await.unwrap();
            let rows = inbox["items"].as_array().unwrap();
            let messages = rows.iter().filter(|row| row["last"]["t"] == "msg");
            assert_eq!((rows.len(), messages.count()), (50, 50));
        });
    }
}
