//! A world: network, members, clients, faults; one run from start to verdict.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cluster::transport::{LinkConditions, SimNetworkHandle};
use cluster::{NodeId, ShardId};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::client::{self, History, Reads};
use crate::clocks::Clocks;
use crate::faults::Fault;
use crate::invariants;
use crate::invariants::replicas_agree::{self, Digests};
use crate::machine::{Append, OLD_KIND};
use crate::member::{Activation, Member, SHARDS};

/// Clients in a world.
const CLIENTS: u16 = 5;
/// How often the members' digests are looked at.
const OBSERVE: Duration = Duration::from_millis(10);
/// How long a healed cluster may take to serve every conversation again.
const CONVERGE: Duration = Duration::from_secs(60);

/// What goes wrong, and when.
pub(crate) struct RunPlan {
    faults: Vec<(Duration, Fault)>,
    /// Time of one fsync.
    sync_delay: Duration,
    /// The faults begin while the members still find each other.
    while_growing: bool,
    /// Clients that only read.
    readers: u64,
}

/// What a run found.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) seed: u64,
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

pub(crate) struct Simulation {
    seed: u64,
    pub(crate) network: SimNetworkHandle,
    pub(crate) members: Rc<Vec<Member>>,
    pub(crate) activations: Arc<Mutex<Vec<Activation>>>,
    pub(crate) history: History,
    pub(crate) reads: Reads,
    pub(crate) digests: RefCell<Digests>,
    pub(crate) clocks: Arc<Clocks>,
    next_id: Cell<u32>,
}

/// The network at rest.
pub(crate) fn ideal_conditions() -> LinkConditions {
    LinkConditions {
        delay: Duration::from_millis(1),
        jitter: Duration::from_millis(1),
        loss: 0.0,
    }
}

// === impl RunPlan ===

impl RunPlan {
    /// A handful of faults of any kind.
    pub(crate) fn faulty(seed: u64) -> RunPlan {
        RunPlan {
            while_growing: seed.is_multiple_of(4),
            ..RunPlan::draw(
                seed,
                5,
                if seed.is_multiple_of(4) { 800 } else { 2_500 },
                Fault::draw,
            )
        }
    }

    /// Power cuts in quick succession.
    pub(crate) fn power_cuts(seed: u64) -> RunPlan {
        RunPlan {
            // Long enough for a message to be acknowledged meanwhile, by members that don't wait for it.
            sync_delay: Duration::from_millis(12),
            ..RunPlan::draw(seed, 8, 2_500, Fault::power_cut)
        }
    }

    /// Members cut off, and power lost, in the order that makes two of three forget.
    pub(crate) fn pause_kills(seed: u64) -> RunPlan {
        RunPlan {
            sync_delay: Duration::from_millis(12),
            ..RunPlan::draw(seed, 4, 1_500, Fault::pause_kill)
        }
    }

    /// Members paused and then cut off, with many who read.
    pub(crate) fn pause_cuts(seed: u64) -> RunPlan {
        RunPlan {
            // Long enough for messages to be under way when the pause begins.
            sync_delay: Duration::from_millis(12),
            readers: 6,
            ..RunPlan::draw(seed, 8, 2_000, Fault::pause_cut)
        }
    }

    /// No fault.
    pub(crate) fn quiet() -> RunPlan {
        RunPlan {
            faults: Vec::new(),
            sync_delay: Duration::from_millis(1),
            while_growing: false,
            readers: 0,
        }
    }

    /// Replicas that are rebuilt while members die.
    pub(crate) fn rebuilds(seed: u64) -> RunPlan {
        RunPlan {
            sync_delay: Duration::from_millis(12),
            ..RunPlan::draw(seed, 10, 1_500, Fault::rebuild)
        }
    }

    /// Takeovers, and owners that were deposed without knowing.
    pub(crate) fn deposed_owners(seed: u64) -> RunPlan {
        RunPlan::draw(seed, 10, 1_500, Fault::deposed)
    }

    /// A clock that is wrong, and members that restart meanwhile.
    pub(crate) fn wrong_clocks(seed: u64) -> RunPlan {
        RunPlan::draw(seed, 6, 2_500, Fault::wrong_clock)
    }

    fn draw(seed: u64, count: usize, pause_ms: u64, draw: impl Fn(&mut StdRng) -> Fault) -> RunPlan {
        let mut random = StdRng::seed_from_u64(seed);
        let pause = |random: &mut StdRng| Duration::from_millis(random.random_range(50..pause_ms));
        RunPlan {
            faults: (0..count)
                .map(|_| (pause(&mut random), draw(&mut random)))
                .collect(),
            sync_delay: Duration::from_millis(random.random_range(0..6)),
            while_growing: false,
            readers: 1,
        }
    }
}

// === impl Simulation ===

impl Simulation {
    pub(crate) fn new(seed: u64, plan: &RunPlan) -> Simulation {
        let network = SimNetworkHandle::new(seed);
        network.set_conditions(ideal_conditions());
        let activations = Arc::default();
        let clocks = Arc::new(Clocks::new(3));
        let members = (1..=3)
            .map(|id| Member::new(NodeId(id), &network, plan.sync_delay, &activations, &clocks))
            .collect();
        Simulation {
            seed,
            network,
            members: Rc::new(members),
            activations,
            history: History::default(),
            reads: Reads::default(),
            digests: RefCell::default(),
            clocks,
            next_id: Cell::new(0),
        }
    }

    pub(crate) fn member(&self, node: NodeId) -> &Member {
        self.members.iter().find(|member| member.node == node).unwrap()
    }

    /// Starts a crashed member again, in the background: it may have to wait for others.
    pub(crate) fn restart(&self, node: NodeId) {
        let members = self.members.clone();
        tokio::task::spawn_local(async move {
            let member = members.iter().find(|member| member.node == node).unwrap();
            if let Err(error) = member.start().await {
                tracing::error!(%node, %error, "could not start");
            }
        });
    }

    pub(crate) fn next_id(&self) -> u32 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    pub(crate) fn conversation_of(&self, shard: ShardId) -> u16 {
        (0_u16..).find(|c| cluster_shard_of(*c) == shard).unwrap()
    }

    /// Looks at every member's digests.
    pub(crate) fn observe(&self) {
        for cluster in self.members.iter().filter_map(Member::running) {
            self.digests.borrow_mut().observe(&cluster.status());
        }
    }

    /// Runs the plan and gives the verdict.
    pub(crate) async fn run(self, plan: &RunPlan) -> Result<(), Violation> {
        let local = LocalSet::new();
        let simulation = Rc::new(self);
        local.run_until(simulation.clone().live(plan)).await?;
        for check in invariants::ALL {
            (check.holds)(&simulation).map_err(|what| Violation {
                seed: simulation.seed,
                invariant: check.name,
                what,
            })?;
        }
        for member in simulation.members.iter() {
            if let Some(cluster) = member.running() {
                cluster.shutdown().await;
            }
        }
        Ok(())
    }

    async fn live(self: Rc<Simulation>, plan: &RunPlan) -> Result<(), Violation> {
        for member in self.members.iter() {
            self.restart(member.node);
        }
        let simulation = self.clone();
        let observer = tokio::task::spawn_local(async move {
            loop {
                simulation.observe();
                tokio::time::sleep(OBSERVE).await;
            }
        });
        let verdict = self.suffer(plan).await;
        observer.abort();
        verdict
    }

    async fn suffer(self: Rc<Simulation>, plan: &RunPlan) -> Result<(), Violation> {
        if !plan.while_growing {
            self.wait("three replicas of each shard", |simulation| simulation.is_whole())
                .await?;
        }
        let length: Duration = plan.faults.iter().map(|(pause, _)| *pause).sum();
        let until = Instant::now() + length + Duration::from_secs(12);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|id| {
                let (members, history) = (self.members.clone(), self.history.clone());
                tokio::task::spawn_local(client::run(self.seed, id, members, history, until))
            })
            .collect();
        let readers: Vec<_> = (0..plan.readers)
            .map(|reader| {
                let (members, reads) = (self.members.clone(), self.reads.clone());
                tokio::task::spawn_local(client::read(self.seed ^ (reader << 32), members, reads, until))
            })
            .collect();
        for (pause, fault) in &plan.faults {
            tokio::time::sleep(*pause).await;
            tracing::info!(?fault, "a fault");
            fault.clone().happen(&self).await;
        }
        self.network.heal();
        self.network.set_conditions(ideal_conditions());
        self.clocks.put_right();
        tracing::info!("healed");
        for client in clients {
            client.await.unwrap();
        }
        for reader in readers {
            reader.await.unwrap();
        }
        self.converge().await
    }

    /// The faults are over: everything must come back, and soon.
    async fn converge(&self) -> Result<(), Violation> {
        let running =
            |simulation: &Simulation| simulation.members.iter().all(|member| member.running().is_some());
        self.wait("every member to run", running).await?;
        self.wait("three replicas of each shard", |simulation| simulation.is_whole())
            .await?;
        let mut random = StdRng::seed_from_u64(self.seed);
        for conversation in 0..client::CONVERSATIONS {
            let append = Append {
                conversation,
                client: u16::MAX - 1,
                id: self.next_id(),
                kind: OLD_KIND,
            };
            let sent = client::send_until_acked(&self.members, &append, &mut random);
            if tokio::time::timeout(CONVERGE, sent).await.is_err() {
                return Err(self.stuck(format!(
                    "conversation {conversation} takes no message after healing"
                )));
            }
        }
        self.wait("equal replicas", invariants::replicas_are_equal)
            .await
            .map_err(|mut violation| {
                violation.what += &format!("\n{:?}", invariants::difference(self));
                violation
            })?;
        self.wait("replicas at the same index", replicas_agree::level)
            .await
    }

    fn is_whole(&self) -> bool {
        self.members
            .iter()
            .all(|member| member.running().is_some_and(|cluster| cluster.ready().is_ok()))
    }

    async fn wait(&self, what: &str, done: impl Fn(&Simulation) -> bool) -> Result<(), Violation> {
        let deadline = Instant::now() + CONVERGE;
        while !done(self) {
            if Instant::now() > deadline {
                return Err(self.stuck(format!("waited in vain for {what}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn stuck(&self, what: String) -> Violation {
        let state = self.members.iter().map(|member| match member.running() {
            Some(cluster) => {
                let status = cluster.status();
                let shards: Vec<String> = status
                    .shards
                    .iter()
                    .map(|shard| format!("\n    {shard:?}"))
                    .collect();
                format!("\n  {:?} {:?}{}", cluster.ready(), status.nodes, shards.concat())
            }
            None => format!("\n  {} is down", member.node),
        });
        Violation {
            seed: self.seed,
            invariant: "converges after faults",
            what: what + &state.collect::<String>(),
        }
    }
}

/// The shard of a simulated conversation, as [`cluster::Cluster::shard_of`] has it.
fn cluster_shard_of(conversation: u16) -> ShardId {
    cluster::shard_of(&conversation.to_be_bytes(), SHARDS)
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: violated: {}\n{}",
            self.seed, self.invariant, self.what
        )
    }
}
