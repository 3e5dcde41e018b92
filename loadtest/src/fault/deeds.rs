//! What each fault does, how it is healed, and what shows that it bit.

mod addresses;
mod clocks;
mod disks;
mod pauses;
mod removal;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::{DRAIN, Fault, How, Whom};
use crate::client::Common;
use crate::http;
use crate::links::{Effect, Installed, Links, Way};
use crate::local::{self, Hit, Local};
use crate::oracle::{ConvIx, Kind};
use crate::payload::ClientIx;
use crate::progress::Step;
use crate::session::{self, Login, Session};

/// One fault, on its way.
pub(super) struct Deed<'a> {
    pub(super) fault: &'a Fault,
    pub(super) local: &'a Local,
    pub(super) nodes: &'a [u64],
    pub(super) conversation: &'a str,
    /// The first member of the conversation, who may do everything in it.
    pub(super) creator: ClientIx,
    pub(super) common: &'a Common,
    /// Its number in the plan.
    pub(super) number: usize,
    pub(super) step: &'a Step,
}

/// Why a fault isn't one that was installed.
#[derive(Debug)]
pub(super) enum Trouble {
    Skipped(String),
    Indeterminate(String),
}

type Done = Result<String, Trouble>;

/// How often the owner is chased.
const CHASE: usize = 5;
/// How long a node may take to show a fault, or a shard to have a new owner.
const PATIENCE: Duration = Duration::from_secs(30);

// === impl Deed ===

impl Deed<'_> {
    /// Does it, waits, heals it. Answers what showed that it bit.
    pub(super) async fn run(&self, rng: &mut StdRng) -> Done {
        if self.nodes.is_empty() {
            return Err(Trouble::Skipped("no node to do it to".to_owned()));
        }
        let before = self.local.owner(self.conversation).await;
        let evidence = match self.fault.how {
            How::Kill | How::Stop | How::Drain => self.signal().await,
            How::Roll => self.roll().await,
            How::Chase => self.chase().await,
            How::PauseKill => self.pause_kill().await,
            How::Swizzle => self.swizzle(rng).await,
            How::Rollback => self.roll_back().await,
            How::Full => self.fill().await,
            How::Slow => self.slow().await,
            How::Clock | How::ClockAhead | How::ClockBehind | How::ClockDrift => self.jump().await,
            How::PauseCut => self.pause_cut().await,
            How::Kick => self.kick().await,
            How::Move => self.change_addresses().await,
            how => match effect(how) {
                Some(effect) => self.links(effect).await,
                None => Err(Trouble::Skipped("not a fault of links".to_owned())),
            },
        }?;
        let after = self.local.owner(self.conversation).await;
        Ok(match (before, after) {
            (Some(before), Some(after)) if before != after => {
                format!("{evidence}; owner {before} to {after}")
            }
            _ => evidence,
        })
    }

    /// Kill, stop and drain.
    async fn signal(&self) -> Done {
        let (fault, local, nodes) = (self.fault, self.local, self.nodes);
        fault.begin(local, nodes).map_err(skipped)?;
        self.hold().await;
        let stopped = fault.how == How::Stop;
        let bit = nodes.iter().all(|node| {
            if stopped {
                local.is_stopped(*node)
            } else {
                // A drain may still be under way.
                fault.how == How::Drain || local.is_gone(*node)
            }
        });
        fault.heal(local, nodes).await?;
        bitten(
            bit,
            match fault.how {
                How::Stop => "the processes stood still",
                How::Drain => "the processes ended by themselves",
                _ => "the processes were gone",
            },
        )
    }

    async fn roll(&self) -> Done {
        let began = Instant::now();
        for node in self.nodes {
            self.step.say(format!("node {node}"));
            self.local.hit(*node, Hit::Drain)?;
            self.local.ended(*node, DRAIN).await?;
            self.local.restart(*node).await?;
            self.local.ready(*node).await?;
            tokio::time::sleep(self.fault.hold).await;
        }
        let took = began.elapsed().as_secs_f64();
        Ok(format!("{} nodes in {took:.1} s", self.nodes.len()))
    }

    async fn chase(&self) -> Done {
        let mut killed: Vec<u64> = Vec::new();
        for _ in 0..CHASE {
            let owner = self
                .until(async |deed: &Self| {
                    let owner = deed.local.owner(deed.conversation).await?;
                    // Others may still believe in the one that is gone.
                    (!deed.local.is_gone(owner)).then_some(owner)
                })
                .await
                .ok_or_else(|| Trouble::Indeterminate(format!("no owner after {killed:?} were killed")))?;
            self.step.say(format!("killing node {owner}"));
            self.local.hit(owner, Hit::Kill)?;
            tokio::time::sleep(self.fault.hold).await;
            // The next one is chased while this one starts: its restart must not wait for a majority.
            self.local.restart(owner).await?;
            self.local.ready(owner).await?;
            killed.push(owner);
        }
        Ok(format!("killed {killed:?}"))
    }

    /// A is stopped and misses what B and C agree on; B is killed; C is stopped; A wakes and B starts again.
    async fn pause_kill(&self) -> Done {
        let all = self.all();
        let owner = self.local.owner(self.conversation).await;
        let mut others = all.iter().copied().filter(|node| Some(*node) != owner);
        let (Some(c), Some(a), Some(b)) = (owner, others.next(), others.next()) else {
            return Err(Trouble::Skipped("needs an owner and two others".to_owned()));
        };
        let local = self.local;
        local.hit(a, Hit::Stop).map_err(skipped)?;
        self.step.say(format!("{a} stopped, {b} and {c} go on"));
        self.hold().await;
        local.hit(b, Hit::Kill)?;
        local.hit(c, Hit::Stop)?;
        local.hit(a, Hit::Continue)?;
        local.restart(b).await?;
        self.step.say(format!("{c} stopped, {a} woken, {b} restarted"));
        // They are a majority, and the only one that there is.
        let went_on = local.ready(b).await;
        self.hold().await;
        local.hit(c, Hit::Continue)?;
        went_on?;
        for node in [a, b, c] {
            local.ready(node).await?;
        }
        Ok(format!(
            "{a} missed what {b} and {c} acknowledged, then {a} and {b} went on without {c}"
        ))
    }

    async fn links(&self, effect: Effect) -> Done {
        let pair = matches!(self.fault.whom, Whom::Pair(..) | Whom::Bridge);
        let ways = self.fault.how.ways(pair, self.nodes, &self.all());
        let on = self.wires()?.install(ways.clone(), effect);
        self.hold().await;
        let touched = on.touched();
        drop(on);
        self.all_ready().await?;
        bitten(
            touched > 0,
            &format!("the proxy between the nodes met it {touched} times, on the ways {ways:?}"),
        )
    }

    async fn swizzle(&self, rng: &mut StdRng) -> Done {
        let links = self.wires()?;
        let mut ways = How::Mute.ways(false, self.nodes, &self.all());
        ways.retain(|(a, b)| a < b || !self.nodes.contains(b));
        ways.shuffle(rng);
        let pause = self.fault.hold / (2 * ways.len().max(1)) as u32;
        let mut on: Vec<(Way, Installed)> = Vec::new();
        for (a, b) in &ways {
            on.push(((*a, *b), links.install(vec![(*a, *b), (*b, *a)], Effect::Cut)));
            self.step.say(format!("{} links cut", on.len()));
            tokio::time::sleep(pause).await;
        }
        on.shuffle(rng);
        let healed: Vec<Way> = on.iter().rev().map(|(way, _)| *way).collect();
        let mut touched = 0;
        while let Some((_, installed)) = on.pop() {
            tokio::time::sleep(pause).await;
            touched += installed.touched();
        }
        self.all_ready().await?;
        bitten(
            touched > 0,
            &format!("the proxy between the nodes met it {touched} times; cut {ways:?}, healed {healed:?}"),
        )
    }

    /// A session of a client's user at a node, beside the client's own.
    async fn session(&self, node: u64, client: ClientIx, device: &str) -> Result<Session, session::Error> {
        self.session_of(node, client, device, None).await
    }

    async fn session_of(
        &self,
        node: u64,
        client: ClientIx,
        device: &str,
        resume: Option<(&str, u64)>,
    ) -> Result<Session, session::Error> {
        let at = self.local.node(node);
        let at = at.ok_or_else(|| session::Error::Lost(format!("there is no node {node}")))?;
        Session::open(Login {
            node: &at.http,
            token: &self.token(client),
            device,
            resume,
        })
        .await
    }

    fn user(&self, client: ClientIx) -> String {
        self.common.world.borrow().payload.user(client)
    }

    fn token(&self, client: ClientIx) -> String {
        self.common.token.replace("{user}", &self.user(client))
    }

    /// The conversation, as the oracle knows it.
    fn conv(&self) -> ConvIx {
        self.common
            .world
            .borrow_mut()
            .oracle
            .conversation(self.conversation)
    }

    /// The fault has seen a broken promise.
    fn violate(&self, kind: Kind, client: Option<ClientIx>, s: u64, detail: String) {
        let conv = self.conv();
        let oracle = &mut self.common.world.borrow_mut().oracle;
        oracle.violate(kind, Some(conv), client, s, detail);
    }

    async fn metrics(&self, node: u64) -> Option<String> {
        http::get(&self.local.node(node)?.http, "/metrics").await.ok()
    }

    async fn hold(&self) {
        self.step.wait(self.fault.hold).await;
    }

    async fn all_ready(&self) -> Result<(), Trouble> {
        for node in self.local.nodes() {
            // One that another fault holds comes back with that fault.
            if !self.local.is_gone(node.id) && !self.local.is_stopped(node.id) {
                self.local.ready(node.id).await?;
            }
        }
        Ok(())
    }

    fn all(&self) -> Vec<u64> {
        self.local.nodes().iter().map(|node| node.id).collect()
    }

    fn wires(&self) -> Result<&Links, Trouble> {
        let none = || Trouble::Skipped("the links between the nodes are not the harness's".to_owned());
        self.local.links().ok_or_else(none)
    }

    async fn until<T>(&self, condition: impl AsyncFn(&Self) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(met) = condition(self).await {
                return Some(met);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

/// What a fault of links does to what passes.
fn effect(how: How) -> Option<Effect> {
    let ms = Duration::from_millis;
    Some(match how {
        How::Cut | How::Mute | How::Deaf => Effect::Cut,
        How::Delay => Effect::Delay(ms(20), ms(120)),
        How::Loss => Effect::Loss(5),
        How::Reset => Effect::Reset(ms(400)),
        // A megabit.
        How::Throttle => Effect::Throttle(125_000),
        _ => return None,
    })
}

fn bitten(bit: bool, evidence: &str) -> Done {
    if bit {
        Ok(evidence.to_owned())
    } else {
        Err(Trouble::Indeterminate(format!("did not bite: {evidence}")))
    }
}

fn skipped(error: impl ToString) -> Trouble {
    Trouble::Skipped(error.to_string())
}

// === impl Trouble ===

impl From<local::Error> for Trouble {
    fn from(error: local::Error) -> Trouble {
        Trouble::Indeterminate(error.to_string())
    }
}
