//! Measures the cost of a session for a user with many conversations: the start, the first page of the conversation
//! list, a page of `sync`, and the memory of the subscriptions.
//!
//! Sessions of the same user are measured one after the other at all nodes. CPU time is that of all nodes, minus their
//! idle use.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use hdrhistogram::Histogram;
use protocol::{ClientCommand, ConversationId, ConversationKind, UserId};
use tokio::time::Instant;

use crate::cluster::LoadTarget;
use crate::load::SharedRun;
use crate::measure::{ManyReport, Percentiles, histogram};
use crate::progress::ProgressStep;
use crate::session::{ClientLogin, ClientSession, Error};
use crate::spec::ConversationSizes;
use crate::wire;

/// Next command of a creator.
enum Chore {
    Create(u32),
    Send(u32, ConversationId),
}

/// Maximum number of creators that are connected concurrently.
const CREATORS_AT_ONCE: usize = 32;
/// Maximum number of unanswered commands of one creator.
const IN_FLIGHT: usize = 12;
/// Rows of a page, the same for every user.
const ROWS: usize = 10;
/// Minimum number of subscriptions for a meaningful memory measurement.
const SUBSCRIPTIONS: u64 = 1000;
/// Default limit of subscriptions per session.
const LIVE: u64 = 1000;
/// Time for which the idle nodes are measured, and for them to become idle.
const REST: Duration = Duration::from_secs(3);
/// Pause between two sessions of one user; longer than the initial subscriptions of a session take.
const BETWEEN: Duration = Duration::from_secs(1);

/// Creates the users and their conversations, and measures one user after the other.
pub(crate) async fn measure(
    sizes: &ConversationSizes,
    common: &SharedRun,
    target: &LoadTarget,
    step: &ProgressStep,
) -> Result<Vec<ManyReport>, Error> {
    let user = |count: u32| wire::user(&format!("many-{}-{count}", common.instance));
    for count in &sizes.conversations {
        step.say(format!("creating {count} conversations of one user"));
        fill(common, &user(*count), *count, sizes.creators).await?;
    }
    // Background work of the setup must not count as idle use.
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

/// Creates conversations for a user, each with one message, through several creators in parallel.
pub(crate) async fn fill(common: &SharedRun, user: &UserId, count: u32, creators: u32) -> Result<(), Error> {
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

/// Creates one creator's conversations.
async fn create(
    common: &SharedRun,
    node: String,
    creator: String,
    user: &UserId,
    numbers: impl Iterator<Item = u32>,
) -> Result<(), Error> {
    let token = common.token.replace("{user}", &creator);
    let login = ClientLogin {
        node: &node,
        token: &token,
        device: "creator",
        resume: None,
    };
    let mut session = ClientSession::open(login).await?;
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
                let created = ConversationId::parse(answer["c"].as_str().unwrap_or_default());
                let c = created.map_err(|error| Error::Lost(error.to_string()))?;
                chores.push_back(Chore::Send(number, c));
            }
            (Some("err"), chore) => {
                let Some(ms) = answer["retry_ms"].as_u64() else {
                    return Err(Error::Refused {
                        code: answer["code"].as_str().unwrap_or_default().to_owned(),
                        retry_ms: None,
                    });
                };
                // At the front: the client message id makes the retry safe, and the order is kept.
                chores.push_front(chore);
                tokio::time::sleep(Duration::from_millis(ms.min(1000))).await;
            }
            _ => {}
        }
        // Events of the created conversations would accumulate.
        session.forget_events();
    }
    Ok(())
}

// === impl Chore ===

impl Chore {
    fn command(&self, user: &UserId) -> ClientCommand {
        match self {
            Chore::Create(number) => {
                let (kind, cid) = (ConversationKind::Group, format!("many-{number}"));
                wire::create(kind, &cid, vec![user.clone()])
            }
            Chore::Send(number, c) => {
                let cid = wire::message_id(&format!("first-{number}"));
                wire::send(c, cid, r#"{"text":"hello"}"#.to_owned())
            }
        }
    }
}

/// Parameters of the measurement.
struct Bench<'a> {
    common: &'a SharedRun,
    target: &'a LoadTarget,
    /// CPU time of all idle nodes, in microseconds per second.
    idle_us_per_s: Option<f64>,
    rounds: u32,
}

// === impl Bench ===

impl Bench<'_> {
    async fn user(&self, user: &UserId, count: u32, sessions: u32) -> Result<ManyReport, Error> {
        let list = wire::list(None, ROWS);
        let sync = wire::sync(Vec::new(), None);
        let [mut ready, mut listed, mut synced] = [(); 3].map(|()| histogram());
        // One unmeasured session per node fills the caches from the disk.
        for node in 0..self.nodes() {
            self.open(user, node, "begin").await?.ask(&sync).await?;
        }
        // Memory first: later sessions would reuse what earlier ones have released, and hide the growth.
        let kib_per_subscription = self.memory(user, count, sessions).await?;
        let cpu = self.cpu().await;
        for round in 0..self.rounds {
            // The replaced session finishes its subscriptions in the background: without the pause they would be measured
            // as part of the next begin.
            tokio::time::sleep(BETWEEN).await;
            let began = Instant::now();
            // The same device each time, so that the previous session is replaced.
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

    /// Repeats one query in a session per node. Returns its times, its CPU time, and the number of items of a page.
    async fn pages(
        &self,
        user: &UserId,
        question: &ClientCommand,
    ) -> Result<(Percentiles, Option<f64>, u64), Error> {
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

    /// Opens many sessions, and returns the growth of the nodes' memory per subscription, in KiB.
    async fn memory(&self, user: &UserId, count: u32, sessions: u32) -> Result<Option<f64>, Error> {
        let set = self.target.settings.iter();
        // The last setting of a key is the effective one, hence `next_back`.
        let live = set.filter_map(|setting| setting.strip_prefix("limits.subscriptions_per_session="));
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
            session.ask(&wire::sync(Vec::new(), None)).await?;
            held.push(session);
        }
        // Deferred allocations and releases of the nodes must have happened.
        tokio::time::sleep(REST).await;
        let grown = before.zip(self.rss().await);
        drop(held);
        Ok(grown.map(|(before, after)| after.saturating_sub(before) as f64 / subscriptions as f64))
    }

    async fn open(&self, user: &UserId, number: usize, device: &str) -> Result<ClientSession, Error> {
        let node = self.target.nodes[number % self.nodes()].as_str();
        let token = self.common.token.replace("{user}", user.as_str());
        ClientSession::open(ClientLogin {
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

    /// Returns the CPU time of all nodes so far, and the time of its reading.
    async fn cpu(&self) -> (Option<u64>, Instant) {
        (cpu(self.target).await, Instant::now())
    }

    /// Returns the CPU time per round since the given reading, above the idle use.
    async fn cpu_each(&self, (before, then): (Option<u64>, Instant)) -> Option<f64> {
        let took = then.elapsed().as_secs_f64();
        // Saturating, because the counters of a restarted node begin anew.
        let used = cpu(self.target).await?.saturating_sub(before?) as f64;
        let above = (used - self.idle_us_per_s? * took).max(0.0);
        Some(above / f64::from(self.rounds.max(1)))
    }

    async fn rss(&self) -> Option<u64> {
        self.target.usage().await.iter().map(|usage| usage.rss()).sum()
    }
}

async fn cpu(target: &LoadTarget) -> Option<u64> {
    target.usage().await.iter().map(|usage| usage.cpu()).sum()
}

/// Returns the CPU time of all idle nodes, in microseconds per second.
async fn idle(target: &LoadTarget) -> Option<f64> {
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
    use crate::fake_server::{Defect, FakeServer};

    #[test]
    fn creators_make_every_conversation_once_with_a_message() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let fake = FakeServer::start(3, 5, false, Defect::None).await;
            let common = SharedRun::of_fake(&fake, 0);
            fill(&common, &wire::user("ann"), 50, 7).await.unwrap();
            let mut session = ClientSession::open(ClientLogin {
                node: &fake.nodes[0],
                token: "dev:ann",
                device: "d",
                resume: None,
            })
            .await
            .unwrap();
            let inbox = session
                .ask(&wire::list(None, protocol::limits::PAGE))
                .await
                .unwrap();
            let rows = inbox["items"].as_array().unwrap();
            let messages = rows.iter().filter(|row| row["last"]["t"] == "msg");
            assert_eq!((rows.len(), messages.count()), (50, 50));
        });
    }
}
