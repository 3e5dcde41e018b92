//! Actions of the faults: injection, healing and evidence of their effect.

mod addresses;
mod clocks;
mod disks;
mod pauses;
mod removal;

use std::time::{Duration, Instant};

use protocol::{ConversationId, UserId};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::injection::DRAIN;
use crate::cluster::{self, LocalProcesses, ProcessSignal};
use crate::http;
use crate::measure::SharedContext;
use crate::network_proxy::{Direction, FaultGuard, NetworkFault, NetworkProxy};
use crate::oracle::{ConvIx, ViolationKind};
use crate::payload::ClientIx;
use crate::progress::ProgressStep;
use crate::session::{self, ClientLogin, ClientSession};
use crate::spec::{Fault, FaultKind, FaultTarget};

/// One fault in progress.
pub(super) struct FaultRun<'a> {
    pub(super) fault: &'a Fault,
    pub(super) local: &'a LocalProcesses,
    pub(super) nodes: &'a [u64],
    /// First conversation of the run; `None` for a run without any.
    pub(super) conversation: Option<&'a ConversationId>,
    /// First member of the conversation, who holds every permission in it.
    pub(super) creator: ClientIx,
    pub(super) context: &'a SharedContext,
    /// Token template; `{user}` is replaced by the user's name.
    pub(super) token: &'a str,
    /// Index of the fault in the plan.
    pub(super) number: usize,
    pub(super) step: &'a ProgressStep,
}

/// Reason for which a fault does not count as injected.
#[derive(Debug)]
pub(super) enum FaultError {
    Skipped(String),
    Indeterminate(String),
}

type FaultEffect = Result<String, FaultError>;

/// Number of owners that are killed in a row.
const CHASE: usize = 5;
/// Longest time for a node to show a fault, or for a shard to get a new owner.
const PATIENCE: Duration = Duration::from_secs(30);

// === impl FaultRun ===

impl FaultRun<'_> {
    /// Injects the fault, holds it and heals it. Returns the evidence of its effect.
    pub(super) async fn run(&self, rng: &mut StdRng) -> FaultEffect {
        if self.nodes.is_empty() {
            return Err(FaultError::Skipped("no node matches the target".to_owned()));
        }
        let before = self.local.owner(self.conversation).await;
        let evidence = match self.fault.how {
            FaultKind::Kill | FaultKind::Stop | FaultKind::Drain => self.signal().await,
            FaultKind::Roll => self.roll().await,
            FaultKind::Chase => self.chase().await,
            FaultKind::PauseKill => self.pause_kill().await,
            FaultKind::Swizzle => self.swizzle(rng).await,
            FaultKind::Rollback => self.roll_back().await,
            FaultKind::Full => self.fill().await,
            FaultKind::Slow => self.slow().await,
            FaultKind::Clock | FaultKind::ClockAhead | FaultKind::ClockBehind | FaultKind::ClockDrift => {
                self.jump().await
            }
            FaultKind::PauseCut => self.pause_cut().await,
            FaultKind::Kick => self.kick().await,
            FaultKind::Move => self.change_addresses().await,
            how => match effect(how) {
                Some(effect) => self.links(effect).await,
                None => Err(FaultError::Skipped("not a network fault".to_owned())),
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

    /// Runs a kill, stop or drain fault.
    async fn signal(&self) -> FaultEffect {
        let (fault, local, nodes) = (self.fault, self.local, self.nodes);
        // An error of the signal means that nothing has happened yet.
        fault.begin(local, nodes).map_err(skipped)?;
        self.hold().await;
        let stopped = fault.how == FaultKind::Stop;
        let took_effect = nodes.iter().all(|node| {
            if stopped {
                local.is_stopped(*node)
            } else {
                // A drain may still be in progress after the hold.
                fault.how == FaultKind::Drain || local.is_gone(*node)
            }
        });
        fault.heal(local, nodes).await?;
        bitten(
            took_effect,
            match fault.how {
                FaultKind::Stop => "the processes were stopped",
                FaultKind::Drain => "the processes exited",
                _ => "the processes were killed",
            },
        )
    }

    async fn roll(&self) -> FaultEffect {
        let began = Instant::now();
        for node in self.nodes {
            self.step.say(format!("node {node}"));
            self.local.hit(*node, ProcessSignal::Drain)?;
            self.local.ended(*node, DRAIN).await?;
            self.local.restart(*node).await?;
            // One node at a time: the shards keep their majority during the whole roll.
            self.local.ready(*node).await?;
            tokio::time::sleep(self.fault.hold).await;
        }
        let took = began.elapsed().as_secs_f64();
        Ok(format!("{} nodes in {took:.1} s", self.nodes.len()))
    }

    async fn chase(&self) -> FaultEffect {
        let mut killed: Vec<u64> = Vec::new();
        for _ in 0..CHASE {
            let owner = self
                .until(async |fault_run: &Self| {
                    let owner = fault_run.local.owner(fault_run.conversation).await?;
                    // Other nodes may still report the killed owner.
                    (!fault_run.local.is_gone(owner)).then_some(owner)
                })
                .await
                .ok_or_else(|| {
                    FaultError::Indeterminate(format!("no shard owner after {killed:?} were killed"))
                })?;
            self.step.say(format!("killing node {owner}"));
            self.local.hit(owner, ProcessSignal::Kill)?;
            tokio::time::sleep(self.fault.hold).await;
            // Before the next kill: with two nodes down, the restart would have no majority.
            self.local.restart(owner).await?;
            self.local.ready(owner).await?;
            killed.push(owner);
        }
        Ok(format!("killed {killed:?}"))
    }

    /// Stops A, which misses what B and C commit. Then kills B, stops C, resumes A and restarts B.
    async fn pause_kill(&self) -> FaultEffect {
        let all = self.all();
        let owner = self.local.owner(self.conversation).await;
        let mut others = all.iter().copied().filter(|node| Some(*node) != owner);
        let (Some(c), Some(a), Some(b)) = (owner, others.next(), others.next()) else {
            return Err(FaultError::Skipped(
                "needs a shard owner and two other nodes".to_owned(),
            ));
        };
        let local = self.local;
        local.hit(a, ProcessSignal::Stop).map_err(skipped)?;
        self.step.say(format!("{a} stopped, {b} and {c} continue"));
        self.hold().await;
        local.hit(b, ProcessSignal::Kill)?;
        local.hit(c, ProcessSignal::Stop)?;
        local.hit(a, ProcessSignal::Continue)?;
        local.restart(b).await?;
        self.step
            .say(format!("{c} stopped, {a} continued, {b} restarted"));
        // A and B are now the only majority.
        let went_on = local.ready(b).await;
        self.hold().await;
        // C is resumed before the result is checked: an error must not leave it stopped.
        local.hit(c, ProcessSignal::Continue)?;
        went_on?;
        for node in [a, b, c] {
            local.ready(node).await?;
        }
        Ok(format!(
            "{a} missed the entries acknowledged by {b} and {c}, then {a} and {b} continued without {c}"
        ))
    }

    async fn links(&self, effect: NetworkFault) -> FaultEffect {
        let pair = matches!(self.fault.target, FaultTarget::Pair(..) | FaultTarget::Bridge);
        let ways = self.fault.how.ways(pair, self.nodes, &self.all());
        let on = self.wires()?.install(ways.clone(), effect);
        self.hold().await;
        // Read before the fault is removed: later traffic is not its effect.
        let touched = on.touched();
        drop(on);
        self.all_ready().await?;
        bitten(
            touched > 0,
            &format!("the network proxy applied it {touched} times, on the paths {ways:?}"),
        )
    }

    async fn swizzle(&self, rng: &mut StdRng) -> FaultEffect {
        let links = self.wires()?;
        let mut ways = FaultKind::Mute.ways(false, self.nodes, &self.all());
        // Each link once, because both of its directions are cut together.
        ways.retain(|(a, b)| a < b || !self.nodes.contains(b));
        ways.shuffle(rng);
        // One half of the hold for the cuts, the other one for the healing.
        let pause = self.fault.hold / (2 * ways.len().max(1)) as u32;
        let mut on: Vec<(Direction, FaultGuard)> = Vec::new();
        for (a, b) in &ways {
            on.push((
                (*a, *b),
                links.install(vec![(*a, *b), (*b, *a)], NetworkFault::Cut),
            ));
            self.step.say(format!("{} links cut", on.len()));
            tokio::time::sleep(pause).await;
        }
        on.shuffle(rng);
        let healed: Vec<Direction> = on.iter().rev().map(|(way, _)| *way).collect();
        let mut touched = 0;
        // Removed one by one, because dropping a guard heals its link.
        while let Some((_, installed)) = on.pop() {
            tokio::time::sleep(pause).await;
            touched += installed.touched();
        }
        self.all_ready().await?;
        bitten(
            touched > 0,
            &format!("the network proxy applied it {touched} times; cut {ways:?}, healed {healed:?}"),
        )
    }

    /// Opens a session of a client's user at a node, beside the client's own session.
    async fn session(
        &self,
        node: u64,
        client: ClientIx,
        device: &str,
    ) -> Result<ClientSession, session::Error> {
        self.session_of(node, client, device, None).await
    }

    async fn session_of(
        &self,
        node: u64,
        client: ClientIx,
        device: &str,
        resume: Option<(&str, u64)>,
    ) -> Result<ClientSession, session::Error> {
        let at = self.local.node(node);
        let at = at.ok_or_else(|| session::Error::Lost(format!("there is no node {node}")))?;
        ClientSession::open(ClientLogin {
            node: &at.http,
            token: &self.token(client),
            device,
            resume,
        })
        .await
    }

    fn user(&self, client: ClientIx) -> UserId {
        self.context.borrow().payload.user_id(client)
    }

    fn token(&self, client: ClientIx) -> String {
        self.token.replace("{user}", self.user(client).as_str())
    }

    /// Returns the conversation of the fault, and its index in the oracle.
    fn conversation(&self) -> Result<(&ConversationId, ConvIx), FaultError> {
        let missing = || FaultError::Skipped("needs a conversation".to_owned());
        let conversation = self.conversation.ok_or_else(missing)?;
        let oracle = &mut self.context.borrow_mut().oracle;
        Ok((conversation, oracle.conversation(conversation.as_str())))
    }

    /// Reports a violation that the fault itself has observed.
    fn violate(&self, kind: ViolationKind, client: Option<ClientIx>, s: u64, detail: String) {
        let oracle = &mut self.context.borrow_mut().oracle;
        let conv = self.conversation.map(|name| oracle.conversation(name.as_str()));
        oracle.violate(kind, conv, client, s, detail);
    }

    async fn metrics(&self, node: u64) -> Option<String> {
        http::get(&self.local.node(node)?.http, "/metrics").await.ok()
    }

    async fn hold(&self) {
        self.step.wait(self.fault.hold).await;
    }

    async fn all_ready(&self) -> Result<(), FaultError> {
        for node in self.local.nodes() {
            // A node that another fault holds becomes ready with that fault.
            if !self.local.is_gone(node.id) && !self.local.is_stopped(node.id) {
                self.local.ready(node.id).await?;
            }
        }
        Ok(())
    }

    fn all(&self) -> Vec<u64> {
        self.local.nodes().iter().map(|node| node.id).collect()
    }

    fn wires(&self) -> Result<&NetworkProxy, FaultError> {
        let none = || {
            FaultError::Skipped(
                "the nodes are not connected through the network proxy of the harness".to_owned(),
            )
        };
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

/// Returns the network effect of a link fault; `None` for other faults.
fn effect(how: FaultKind) -> Option<NetworkFault> {
    let ms = Duration::from_millis;
    Some(match how {
        FaultKind::Cut | FaultKind::Mute | FaultKind::Deaf => NetworkFault::Cut,
        FaultKind::Delay => NetworkFault::Delay(ms(20), ms(120)),
        FaultKind::Loss => NetworkFault::Loss(5),
        FaultKind::Reset => NetworkFault::Reset(ms(400)),
        // One megabit per second.
        FaultKind::Throttle => NetworkFault::Throttle(125_000),
        _ => return None,
    })
}

fn bitten(took_effect: bool, evidence: &str) -> FaultEffect {
    if took_effect {
        Ok(evidence.to_owned())
    } else {
        Err(FaultError::Indeterminate(format!(
            "no effect observed: {evidence}"
        )))
    }
}

fn skipped(error: impl ToString) -> FaultError {
    FaultError::Skipped(error.to_string())
}

// === impl FaultError ===

impl From<cluster::Error> for FaultError {
    fn from(error: cluster::Error) -> FaultError {
        FaultError::Indeterminate(error.to_string())
    }
}
