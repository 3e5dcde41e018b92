//! What it costs to prove that a read is fresh: by asking a majority, or by openraft's lease.
//!
//! `cargo run --release -p rookery-cluster --features planted-bugs --example read_cost -- 3` measures three members in one
//! process, over TCP on this machine and a RocksDB each, and readers on a thread of their own; each way in turn, again and
//! again, so that what else the machine does falls on all of them. The last argument is the number of members.

#![expect(clippy::unwrap_used, reason = "a measurement that fails panics")]

#[expect(dead_code, reason = "shared with the tests of real members")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster::seeded_bugs::{SeededBug, plant};
use cluster::{Cluster, Config, ShardId};
use support::{Member, SHARDS, config, eventually, reserved_addr};
use tokio::task::LocalSet;

/// Of one measurement.
const LENGTH: Duration = Duration::from_secs(2);
/// Measurements of each kind.
const TURNS: usize = 5;

/// A way to prove it.
const WAYS: [(&str, Option<SeededBug>); 2] = [
    ("majority", None),
    ("openraft lease", Some(SeededBug::LeaseReads)),
];

/// What was measured of one way.
#[derive(Default)]
struct Figures {
    micros: Vec<u32>,
    cpu: Duration,
    refused: usize,
}

fn main() {
    let count: usize = std::env::args().nth(1).map_or(3, |count| count.parse().unwrap());
    let members = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let grown = members.block_on(async {
        let first = reserved_addr();
        let mut grown = Vec::new();
        for number in 0..count {
            let addr = if number == 0 {
                first.clone()
            } else {
                reserved_addr()
            };
            let config = Config {
                seeds: vec![first.clone()],
                ..config(&addr)
            };
            grown.push(Member::start(path.join(number.to_string()), &addr, config).await);
        }
        eventually("every shard where it belongs", async || {
            grown.iter().all(|member| {
                let shards = member.cluster.status().shards;
                member.cluster.ready().is_ok()
                    && shards.iter().all(|s| s.owner.is_some() && s.owner == s.preferred)
            })
        })
        .await;
        grown
    });
    println!("{count} member(s), {SHARDS} shards, {TURNS} turns of {LENGTH:?}");
    println!("| readers | way | reads/s | p50 µs | p99 µs | CPU µs/read | refused |");
    println!("|---|---|---|---|---|---|---|");
    for readers in [1, 16, 128] {
        let mut figures: [Figures; 2] = Default::default();
        for _ in 0..TURNS {
            for ((_, bug), figures) in WAYS.iter().zip(&mut figures) {
                plant(*bug);
                measure(&grown, readers, figures);
            }
        }
        for ((way, _), figures) in WAYS.iter().zip(&mut figures) {
            figures.print(readers, way);
        }
    }
    members.block_on(async {
        for member in grown {
            member.stop().await;
        }
    });
}

/// Each reader asks for one shard at its owner, one question after the other.
fn measure(members: &[Member], readers: usize, figures: &mut Figures) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let owners: Vec<(Cluster, ShardId, u64)> = (0..SHARDS)
        .filter_map(|shard| {
            let owned = |member: &Member| member.cluster.owned_epoch(ShardId(shard));
            let owner = members.iter().find(|member| owned(member).is_some())?;
            Some((owner.cluster.clone(), ShardId(shard), owned(owner)?))
        })
        .collect();
    let owners = Rc::new(owners);
    let before = cpu();
    let until = Instant::now() + LENGTH;
    LocalSet::new().block_on(&runtime, async {
        let readers: Vec<_> = (0..readers)
            .map(|reader| {
                let owners = owners.clone();
                tokio::task::spawn_local(async move {
                    let (cluster, shard, epoch) = &owners[reader % owners.len()];
                    let (mut micros, mut refused) = (Vec::new(), 0);
                    while Instant::now() < until {
                        let asked = Instant::now();
                        match cluster.readable(*shard, *epoch).await {
                            Ok(()) => micros.push(u32::try_from(asked.elapsed().as_micros()).unwrap()),
                            Err(_) => refused += 1,
                        }
                        // A lease is answered without waiting: the others must get their turn.
                        tokio::task::yield_now().await;
                    }
                    (micros, refused)
                })
            })
            .collect();
        for reader in readers {
            let (micros, refused) = reader.await.unwrap();
            figures.micros.extend(micros);
            figures.refused += refused;
        }
    });
    figures.cpu += cpu() - before;
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

// === impl Figures ===

impl Figures {
    fn print(&mut self, readers: usize, way: &str) {
        self.micros.sort_unstable();
        let count = self.micros.len().max(1);
        let at = |part: f64| {
            self.micros
                .get((count as f64 * part) as usize)
                .copied()
                .unwrap_or(0)
        };
        let length = LENGTH.as_secs_f64() * TURNS as f64;
        println!(
            "| {readers} | {way} | {:.0} | {} | {} | {:.1} | {} |",
            count as f64 / length,
            at(0.5),
            at(0.99),
            self.cpu.as_secs_f64() * 1e6 / count as f64,
            self.refused
        );
    }
}
