//! Faults, drawn from the seed and carried out one after the other.

use std::time::Duration;

use bytes::Bytes;
use cluster::transport::LinkConditions;
use cluster::{NodeId, ShardId};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::clocks::Wrong;
use crate::machine::{self, Append, OLD_KIND};
use crate::member::{Member, SHARDS};
use crate::simulation::Simulation;

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// One member loses power and comes back after a while. Its disk keeps the first `kept` of its unsynced writes.
    Crash {
        node: NodeId,
        retained: usize,
        down: Duration,
    },
    /// All members lose power at once.
    PowerCut { retained: usize, down: Duration },
    /// A member hands over, stops and comes back.
    Restart { node: NodeId, down: Duration },
    /// A member's disk is full for a while.
    DiskFull { node: NodeId, lasts: Duration },
    /// A member's fsyncs fail; after a while it is started again on a disk that works.
    DiskFails { node: NodeId, lasts: Duration },
    /// A member is cut off, both ways.
    Partition { node: NodeId, lasts: Duration },
    /// One member can't be heard by another.
    OneWay {
        from: NodeId,
        to: NodeId,
        lasts: Duration,
    },
    /// Links break now and then, and everything is slow.
    Storm {
        loss: f64,
        delay: Duration,
        lasts: Duration,
    },
    /// Three things in a row, which lose what was acknowledged before it was durable: `a` is cut off while the others
    /// go on, `b` loses power, and then `a` and `b` are to go on without the third.
    PauseKill { a: NodeId, b: NodeId, lasts: Duration },
    /// The owner of a shard stops for a while, gets what was sent to it meanwhile, and then is cut off, with clients that
    /// go on asking it.
    PauseCut {
        shard: ShardId,
        paused: Duration,
        cut: Duration,
    },
    /// A member's wall clock is wrong for a while, in which other things happen. If one is wrong already, that one is
    /// wrong in this way from now on.
    Clock {
        node: NodeId,
        wrong: Wrong,
        lasts: Duration,
    },
    /// A connection is reset.
    Reset { a: NodeId, b: NodeId },
    /// The rows of a replica change beside its log, and the replica is rebuilt, while other faults happen.
    Rebuild { node: NodeId, shard: ShardId },
    /// An owner that was deposed without knowing proposes under its old epoch.
    Deposed { shard: ShardId },
}

// === impl Fault ===

impl Fault {
    /// Draws any fault but the special ones.
    pub(crate) fn draw(random: &mut StdRng) -> Fault {
        let node = NodeId(random.random_range(1..=3));
        let other = NodeId(node.0 % 3 + 1);
        let lasts = Duration::from_millis(random.random_range(100..6_000));
        let retained = retained(random);
        match random.random_range(0..18) {
            0..=2 => Fault::Crash {
                node,
                retained,
                down: lasts,
            },
            3 => Fault::PowerCut {
                retained,
                down: lasts,
            },
            4..=5 => Fault::Partition { node, lasts },
            6 => Fault::OneWay {
                from: node,
                to: other,
                lasts,
            },
            7..=8 => {
                let delay = Duration::from_millis(random.random_range(1..120));
                Fault::Storm {
                    loss: random.random_range(0.0..0.02),
                    delay,
                    lasts,
                }
            }
            9 => Fault::Restart { node, down: lasts },
            10 => Fault::DiskFull { node, lasts },
            11 => Fault::DiskFails { node, lasts },
            12..=13 => Fault::pause_cut(random),
            14..=15 => Fault::Reset { a: node, b: other },
            _ => Fault::clock(random),
        }
    }

    fn clock(random: &mut StdRng) -> Fault {
        const DAY: i64 = 24 * 3600 * 1000;
        let ahead_ms = [10 * DAY, -10 * DAY, 11_000, -11_000, 9_000, 0][random.random_range(0..6)];
        // A second a minute is much for a clock; this comes to the bound within a run.
        let drift = [0.0, 1_000.0 / 60.0, -1_000.0 / 60.0, 3_000.0][random.random_range(0..4)];
        Fault::Clock {
            node: NodeId(random.random_range(1..=3)),
            wrong: Wrong { ahead_ms, drift },
            lasts: Duration::from_millis(random.random_range(1_000..12_000)),
        }
    }

    pub(crate) fn wrong_clock(random: &mut StdRng) -> Fault {
        match random.random_range(0..3) {
            0 => Fault::Crash {
                node: NodeId(random.random_range(1..=3)),
                retained: 0,
                down: Duration::from_millis(random.random_range(100..2_000)),
            },
            _ => Fault::clock(random),
        }
    }

    pub(crate) fn power_cut(random: &mut StdRng) -> Fault {
        Fault::PowerCut {
            retained: retained(random),
            down: Duration::from_millis(random.random_range(10..500)),
        }
    }

    pub(crate) fn pause_kill(random: &mut StdRng) -> Fault {
        let a = random.random_range(1..=3);
        let b = (a + random.random_range(0..2)) % 3 + 1;
        Fault::PauseKill {
            a: NodeId(a),
            b: NodeId(b),
            lasts: Duration::from_millis(random.random_range(1_000..5_000)),
        }
    }

    pub(crate) fn pause_cut(random: &mut StdRng) -> Fault {
        Fault::PauseCut {
            shard: ShardId(random.random_range(0..SHARDS)),
            // Until shortly before the others elect another owner. After more than a second the appends have timed out,
            // and what the sockets hold answers nothing any more.
            paused: Duration::from_millis(random.random_range(920..990)),
            cut: Duration::from_millis(random.random_range(800..3_000)),
        }
    }

    pub(crate) fn deposed(random: &mut StdRng) -> Fault {
        if random.random_bool(0.5) {
            Fault::Crash {
                node: NodeId(random.random_range(1..=3)),
                retained: 0,
                down: Duration::from_millis(1_500),
            }
        } else {
            Fault::Deposed {
                shard: ShardId(random.random_range(0..SHARDS)),
            }
        }
    }

    /// Mostly rebuilds, and between them what makes two of three forget.
    pub(crate) fn rebuild(random: &mut StdRng) -> Fault {
        match random.random_range(0..8) {
            0 => Fault::draw(random),
            1 => Fault::pause_kill(random),
            2 => Fault::Partition {
                node: NodeId(random.random_range(1..=3)),
                lasts: Duration::from_millis(random.random_range(500..3_000)),
            },
            _ => Fault::Rebuild {
                node: NodeId(random.random_range(1..=3)),
                shard: ShardId(random.random_range(0..SHARDS)),
            },
        }
    }

    /// Lets it happen, and lets it pass.
    pub(crate) async fn happen(self, simulation: &Simulation) {
        let network = &simulation.network;
        match self {
            Fault::Crash { node, retained, down } => {
                simulation.member(node).crash(retained);
                tokio::time::sleep(down).await;
                simulation.restart(node);
            }
            Fault::PowerCut { retained, down } => {
                for member in simulation.members.iter() {
                    member.crash(retained);
                }
                tokio::time::sleep(down).await;
                for member in simulation.members.iter() {
                    simulation.restart(member.node);
                }
            }
            Fault::Restart { node, down } => {
                simulation.member(node).stop().await;
                tokio::time::sleep(down).await;
                simulation.restart(node);
            }
            Fault::DiskFull { node, lasts } => {
                simulation.member(node).disk.set_full(true);
                tokio::time::sleep(lasts).await;
                simulation.member(node).disk.set_full(false);
            }
            Fault::DiskFails { node, lasts } => {
                simulation.member(node).disk.set_failing(true);
                tokio::time::sleep(lasts).await;
                simulation.member(node).crash(0);
                simulation.member(node).disk.set_failing(false);
                simulation.restart(node);
            }
            Fault::Partition { node, lasts } => {
                network.partition(&[node]);
                tokio::time::sleep(lasts).await;
                network.heal();
            }
            Fault::OneWay { from, to, lasts } => {
                network.block(from, to);
                tokio::time::sleep(lasts).await;
                network.heal();
            }
            Fault::Storm { loss, delay, lasts } => {
                network.set_conditions(LinkConditions {
                    delay,
                    jitter: delay,
                    loss,
                });
                tokio::time::sleep(lasts).await;
                network.set_conditions(crate::simulation::ideal_conditions());
            }
            Fault::PauseKill { a, b, lasts } => {
                let third = NodeId(6 - a.0 - b.0);
                network.partition(&[a]);
                tokio::time::sleep(lasts).await;
                simulation.member(b).crash(0);
                network.heal();
                network.partition(&[third]);
                simulation.restart(b);
                tokio::time::sleep(lasts).await;
                network.heal();
            }
            Fault::PauseCut { shard, paused, cut } => {
                let Some(node) = owner(simulation, shard) else {
                    return;
                };
                let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|&other| other != node).collect();
                for &other in &others {
                    network.block(node, other);
                    network.block(other, node);
                }
                tokio::time::sleep(paused).await;
                // What the sockets held, one after the other.
                for &other in &others {
                    network.unblock(other, node);
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                network.partition(&[node]);
                tokio::time::sleep(cut).await;
                network.heal();
            }
            Fault::Clock { node, wrong, lasts } => {
                let node = simulation.clocks.wrong().unwrap_or(node);
                simulation.clocks.of(node).set(wrong);
                let clocks = simulation.clocks.clone();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(lasts).await;
                    clocks.put_right();
                });
            }
            Fault::Reset { a, b } => network.reset(a, b),
            Fault::Rebuild { node, shard } => {
                let Some(damaged) = simulation.member(node).running() else {
                    return;
                };
                machine::damage(&damaged.state(shard));
                let asked = simulation.member(NodeId(node.0 % 3 + 1)).running();
                let asked = asked.unwrap_or(damaged);
                // In the background: it may be refused, or cut off at any step.
                tokio::task::spawn_local(async move {
                    let rebuilt = asked.rebuild_replica(shard, node).await;
                    tracing::info!(%node, %shard, ?rebuilt, "a rebuild");
                });
            }
            Fault::Deposed { shard } => propose_as_deposed(simulation, shard).await,
        }
    }
}

/// The member that owns the shard, by its own word.
fn owner(simulation: &Simulation, shard: ShardId) -> Option<NodeId> {
    let owns = |member: &&Member| {
        member
            .running()
            .is_some_and(|cluster| cluster.owned_epoch(shard).is_some())
    };
    simulation.members.iter().find(owns).map(|member| member.node)
}

/// How many unsynced writes survive a power cut: mostly none.
fn retained(random: &mut StdRng) -> usize {
    if random.random_bool(0.5) {
        0
    } else {
        random.random_range(0..6)
    }
}

/// Finds an epoch of the shard that is over and has the present leader propose under it.
async fn propose_as_deposed(simulation: &Simulation, shard: ShardId) {
    let epochs: Vec<u64> = simulation
        .activations
        .lock()
        .iter()
        .filter(|a| a.shard == shard)
        .map(|a| a.epoch)
        .collect();
    let (Some(&oldest), Some(&newest)) = (epochs.iter().min(), epochs.iter().max()) else {
        return;
    };
    if oldest == newest {
        return;
    }
    let append = Append {
        conversation: simulation.conversation_of(shard),
        client: u16::MAX,
        id: simulation.next_id(),
        kind: OLD_KIND,
    };
    let command = Bytes::from(postcard::to_stdvec(&append).unwrap());
    for member in simulation.members.iter() {
        if let Some(cluster) = member.running() {
            let proposed = cluster.propose_as(shard, oldest, vec![command.clone()]);
            // Without an answer the entry may still be applied; the invariants see it then.
            drop(tokio::time::timeout(Duration::from_secs(1), proposed).await);
        }
    }
}
