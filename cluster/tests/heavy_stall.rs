//! A disk that stalls under some shards is no reason to elect other leaders.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

#[expect(dead_code, reason = "shared with the other tests of real members")]
mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cluster::{CommittedBatch, Config, NodeId, ShardId, StateMachine, StateMachineError};
use parking_lot::{Condvar, Mutex};
use storage::Transaction;
use support::{Member, Rows, SHARDS, config, eventually, reserved_addr};
use tokio::runtime::Runtime;

/// Threads of a member: as many as a small node has.
const THREADS: usize = 2;

/// A machine whose disk can stall.
#[derive(Default)]
struct Stalling {
    disk: Mutex<Disk>,
    released: Condvar,
}

#[derive(Default)]
struct Disk {
    stalled: BTreeSet<ShardId>,
    /// Shards in which something waits for it.
    held: BTreeSet<ShardId>,
}

// === impl Stalling ===

impl Stalling {
    fn stall(&self, shards: &[ShardId]) {
        self.disk.lock().stalled.extend(shards);
    }

    fn release(&self) {
        self.disk.lock().stalled.clear();
        self.released.notify_all();
    }

    fn held(&self) -> usize {
        self.disk.lock().held.len()
    }
}

impl StateMachine for Stalling {
    fn apply(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError> {
        let mut disk = self.disk.lock();
        while disk.stalled.contains(&batch.shard) {
            disk.held.insert(batch.shard);
            self.released.wait(&mut disk);
        }
        disk.held.remove(&batch.shard);
        drop(disk);
        Rows.apply(tx, batch)
    }
}

/// Starts a member on threads of its own, which end with the process.
async fn start(path: PathBuf, addr: String, config: Config, machine: Arc<Stalling>) -> Member {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .unwrap();
    let runtime: &'static Runtime = Box::leak(Box::new(runtime));
    let started = runtime.spawn(async move { Member::start_with(path, &addr, config, machine).await });
    started.await.unwrap()
}

fn shards() -> impl Iterator<Item = ShardId> {
    (0..SHARDS).map(ShardId)
}

/// Owner and epoch of every shard, as a member has heard.
fn owners(member: &Member) -> Vec<(Option<NodeId>, u64)> {
    let routes = shards().map(|shard| member.cluster.route(shard));
    routes.map(|route| (route.owner, route.epoch)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_two_shards_costs_no_election() {
    let directory = tempfile::tempdir().unwrap();
    let addrs: Vec<String> = (0..3).map(|_| reserved_addr()).collect();
    let machines: Vec<Arc<Stalling>> = (0..3).map(|_| Arc::default()).collect();
    let mut members = Vec::new();
    for (number, addr) in addrs.iter().enumerate() {
        let config = Config {
            seeds: vec![addrs[0].clone()],
            ..config(addr)
        };
        let path = directory.path().join(number.to_string());
        members.push(start(path, addr.clone(), config, machines[number].clone()).await);
    }
    eventually("every shard where it belongs", async || {
        members.iter().all(|member| {
            let status = member.cluster.status();
            let is_balanced = status
                .shards
                .iter()
                .all(|s| s.owner.is_some() && s.owner == s.preferred);
            member.cluster.ready().is_ok() && is_balanced && owners(member) == owners(&members[0])
        })
    })
    .await;
    let before = owners(&members[0]);

    // The owner of one shard has its disk stall under two others.
    let unstalled = ShardId(0);
    let owner = before[0].0.unwrap();
    let position = members.iter().position(|m| m.cluster.node_id() == owner).unwrap();
    let stalled: Vec<ShardId> = shards()
        .filter(|&shard| shard != unstalled)
        .take(THREADS)
        .collect();
    machines[position].stall(&stalled);
    let members = Arc::new(members);
    let writes = stalled.iter().map(|&shard| {
        let members = members.clone();
        tokio::spawn(async move { members[0].write(shard, "under a stall").await })
    });
    let writes: Vec<_> = writes.collect();
    eventually("the stall", async || machines[position].held() == THREADS).await;

    // For longer than any follower waits for a leader it doesn't hear.
    for number in 0..12 {
        members[0]
            .write(unstalled, &format!("beside the stall {number}"))
            .await;
        tokio::time::sleep(config("").election_max / 4).await;
    }
    assert_eq!(owners(&members[0]), before, "an election while the disk stalled");
    machines[position].release();
    for write in writes {
        write.await.unwrap();
    }
    for shard in stalled {
        eventually("what was written under the stall", async || {
            members.iter().all(|member| member.has(shard, "under a stall"))
        })
        .await;
    }
    assert_eq!(owners(&members[0]), before, "an election after the stall");
    for member in Arc::into_inner(members).unwrap() {
        member.stop().await;
    }
}
