//! Comparison of the replicas of a shard, row by row, at one index of its log.
//!
//! The digest in the status covers what entries changed, and not rows that a disk changed later. Here every replica reads
//! all of its rows. The shard's owner chooses an index that every replica will reach, each takes a copy of its rows there
//! ([`RowCopies`](crate::raft)), and the owner compares the summaries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};
use storage::ShardId;

use crate::blocking::blocking;
use crate::ids::{ComparedReplica, NodeId, ReplicaComparison};
use crate::member::Member;
use crate::member::replicas::Replica;
use crate::raft::read_position;
use crate::shard::MemberMethod;

/// Attempts to find an index that every replica reaches.
const ATTEMPTS: u32 = 8;
/// Time in which the rate of entries is measured.
const SAMPLE: Duration = Duration::from_millis(100);
/// Time in which a replica must reach the index.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time limit of reading all rows of a replica.
const READING: Duration = Duration::from_secs(300);

/// Owners that are asked one after the other while a shard changes hands.
pub(super) const OWNERS: u32 = 20;
/// Pause before the next owner is asked.
pub(super) const MOVE: Duration = Duration::from_millis(500);
/// Time limit of a comparison at the owner, with all of its attempts.
const COMPARISON: Duration = Duration::from_secs(600);

/// Request for the rows of a replica.
#[derive(Serialize, Deserialize)]
struct RowsRequest {
    shard: u16,
    index: u64,
}

/// Answer of a replica to a request for its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum RowsAnswer {
    Rows {
        rows: u64,
        digest: u128,
        /// Digest of the effects of all entries, as in the status.
        log_digest: u128,
    },
    /// The replica is past the index, or not there in time.
    Missed,
    /// A row cannot be read.
    Unreadable(String),
}

// === impl Member ===

impl Member {
    /// Runs work of the service on the member's own runtime, to its end, even if the caller gives up.
    ///
    /// # Errors
    /// The member stops before the end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, String> {
        let work = self.runtime.spawn(work);
        work.await.map_err(|_| "the node is stopping".to_owned())?
    }

    /// Compares the replicas of an owned shard; `None` if this member does not own it.
    ///
    /// # Errors
    /// The replicas were never at one index.
    pub(crate) async fn compare(
        self: &Arc<Member>,
        shard: ShardId,
    ) -> Result<Option<ReplicaComparison>, String> {
        for attempt in 1..=ATTEMPTS {
            let replica = self.replica(shard).filter(|replica| replica.epoch().is_some());
            let Some(replica) = replica else { return Ok(None) };
            let index = next_index(&replica, attempt).await;
            let asked = replica.group.voters().into_iter().map(async |node| {
                let answer = match node == self.id() {
                    true => self.own_rows(shard, index).await,
                    false => self.ask_rows(node, shard, index).await,
                };
                (node, answer)
            });
            let answers = futures::future::join_all(asked).await;
            if !answers
                .iter()
                .any(|(_, answer)| answer == &Ok(RowsAnswer::Missed))
            {
                return Ok(Some(compared(shard, index, answers)));
            }
        }
        Err("the replicas were not at one index in time: repeat it while fewer clients write".to_owned())
    }

    /// Compares the replicas of a shard, here or at its owner.
    ///
    /// # Errors
    /// Those of [`compare`](Self::compare), and no owner or no answer of it.
    pub(crate) async fn compare_at_owner(
        self: &Arc<Member>,
        shard: ShardId,
    ) -> Result<ReplicaComparison, String> {
        for _ in 0..OWNERS {
            if let Some(comparison) = self.compare(shard).await? {
                return Ok(comparison);
            }
            let body = Bytes::copy_from_slice(&shard.0.to_be_bytes());
            let asked = self.ask_other_owner(shard, MemberMethod::Compare, body, COMPARISON);
            // Empty: the shard has another owner by now.
            if let Some(answer) = asked.await?.filter(|answer| !answer.is_empty()) {
                return postcard::from_bytes(&answer).map_err(|error| error.to_string());
            }
            tokio::time::sleep(MOVE).await;
        }
        Err("the shard has no owner, or its owner changes again and again".to_owned())
    }

    /// Returns the answer to a [`MemberMethod::Compare`].
    pub(super) async fn compare_for(self: &Arc<Member>, mut request: Bytes) -> Result<Bytes, Bytes> {
        let shard = request
            .try_get_u16()
            .map_err(|_| Bytes::from_static(b"malformed request"))?;
        let comparison = self.compare(ShardId(shard)).await.map_err(Bytes::from)?;
        let Some(comparison) = comparison else {
            return Ok(Bytes::new());
        };
        postcard::to_stdvec(&comparison)
            .map(Bytes::from)
            .map_err(|_| Bytes::new())
    }

    async fn ask_rows(&self, node: NodeId, shard: ShardId, index: u64) -> Result<RowsAnswer, String> {
        let request = RowsRequest {
            shard: shard.0,
            index,
        };
        let body = postcard::to_stdvec(&request).map_err(|error| error.to_string())?;
        let answer = self.ask_rpc(node, MemberMethod::GetRows, body.into(), PATIENCE + READING);
        let answer = answer.await.ok_or("the node does not answer")?;
        postcard::from_bytes(&answer).map_err(|error| error.to_string())
    }

    /// Returns the answer to a [`MemberMethod::GetRows`].
    pub(super) async fn rows_for(&self, request: &[u8]) -> Result<Bytes, Bytes> {
        let malformed = |_| Bytes::from_static(b"malformed request");
        let RowsRequest { shard, index } = postcard::from_bytes(request).map_err(malformed)?;
        let answer = self.own_rows(ShardId(shard), index).await.map_err(Bytes::from)?;
        postcard::to_stdvec(&answer).map(Bytes::from).map_err(malformed)
    }

    async fn own_rows(&self, shard: ShardId, index: u64) -> Result<RowsAnswer, String> {
        let replica = self.replica(shard).ok_or("the node has no replica")?;
        let copy = match replica.group.copies().at(index, PATIENCE).await {
            Ok(Some(copy)) => copy,
            Ok(None) => return Ok(RowsAnswer::Missed),
            Err(error) => return Ok(RowsAnswer::Unreadable(error.to_string())),
        };
        let applied = copy.applied().unwrap_or_default();
        let position = read_position(&applied).map_err(|error| error.to_string())?;
        let summary = blocking(move || copy.summary())
            .await
            .map_err(|error| error.to_string())?;
        Ok(match summary {
            Ok(summary) => RowsAnswer::Rows {
                rows: summary.rows,
                digest: summary.digest,
                log_digest: position.map_or(0, |position| position.digest),
            },
            Err(error) => RowsAnswer::Unreadable(error.to_string()),
        })
    }
}

/// Returns an index that no replica has passed when it hears of it. Without writes that is the applied one, which all
/// reach; with writes it is ahead by what is written meanwhile, and more with each attempt.
async fn next_index(replica: &Replica, attempt: u32) -> u64 {
    let before = replica.group.status().applied;
    tokio::time::sleep(SAMPLE).await;
    let now = replica.group.status().applied;
    now + now.saturating_sub(before) * u64::from(attempt) * 2
}

/// Returns the comparison of what the replicas answered.
fn compared(
    shard: ShardId,
    index: u64,
    answers: Vec<(NodeId, Result<RowsAnswer, String>)>,
) -> ReplicaComparison {
    let mut counts: BTreeMap<(u64, u128, u128), usize> = BTreeMap::new();
    for (_, answer) in &answers {
        if let Ok(RowsAnswer::Rows {
            rows,
            digest,
            log_digest,
        }) = answer
        {
            *counts.entry((*rows, *digest, *log_digest)).or_default() += 1;
        }
    }
    let majority = counts
        .into_iter()
        .find_map(|(rows, count)| (count * 2 > answers.len()).then_some(rows));
    let replicas = answers.into_iter().map(|(node, answer)| {
        let (mut replica, found) = (ComparedReplica::silent(node), answer);
        match found {
            Ok(RowsAnswer::Rows {
                rows,
                digest,
                log_digest,
            }) => {
                replica.rows = Some(rows);
                replica.digest = Some(format!("{digest:032x}"));
                replica.log_digest = Some(format!("{log_digest:032x}"));
                replica.differs = majority.is_some_and(|most| most != (rows, digest, log_digest));
            }
            Ok(RowsAnswer::Unreadable(reason)) => {
                replica.failure = Some(reason);
                replica.differs = majority.is_some();
            }
            // `compare` repeats these.
            Ok(RowsAnswer::Missed) => {}
            Err(reason) => replica.failure = Some(reason),
        }
        replica
    });
    ReplicaComparison {
        shard: shard.0,
        index,
        has_majority: majority.is_some(),
        replicas: replicas.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(digest: u128) -> Result<RowsAnswer, String> {
        Ok(RowsAnswer::Rows {
            rows: 7,
            digest,
            log_digest: 1,
        })
    }

    fn compare(answers: &[Result<RowsAnswer, String>]) -> ReplicaComparison {
        let answers = (1..).map(NodeId).zip(answers.iter().cloned()).collect();
        compared(ShardId(4), 9, answers)
    }

    /// Nodes of which the comparison says that they differ, and those that it permits to rebuild.
    fn judged(answers: &[Result<RowsAnswer, String>]) -> (Vec<u64>, Vec<u64>) {
        let comparison = compare(answers);
        let differing = comparison.replicas.iter().filter(|replica| replica.differs);
        let differing = differing.map(|replica| replica.node.0).collect();
        let nodes = 1..=answers.len() as u64;
        let permitted = nodes.filter(|node| comparison.permits_rebuild(NodeId(*node)).is_ok());
        (differing, permitted.collect())
    }

    #[test]
    fn only_a_minority_may_be_rebuilt() {
        let unreadable = || Ok(RowsAnswer::Unreadable("damaged".to_owned()));
        let silent = || Err("the node does not answer".to_owned());
        for (answers, differing, permitted) in [
            (vec![rows(1), rows(1), rows(1)], vec![], vec![]),
            (vec![rows(1), rows(2), rows(1)], vec![2], vec![2]),
            (vec![unreadable(), rows(1), rows(1)], vec![1], vec![1]),
            // Nobody knows who is right.
            (vec![rows(1), rows(2), rows(3)], vec![], vec![]),
            (vec![rows(1), rows(2), silent()], vec![], vec![]),
            (vec![rows(1), unreadable()], vec![], vec![]),
            (vec![unreadable(), unreadable(), rows(1)], vec![], vec![]),
            (vec![unreadable()], vec![], vec![]),
            // A silent node is not rebuilt: it may be the only one that has newer entries.
            (vec![rows(1), rows(1), silent()], vec![], vec![]),
            // Two of five differ: one after the other.
            (
                vec![rows(1), rows(1), rows(1), rows(2), rows(3)],
                vec![4, 5],
                vec![4, 5],
            ),
            // The one that differs is needed as long as another one is silent: two of four would remain.
            (vec![rows(1), rows(1), rows(2), silent()], vec![], vec![]),
        ] {
            assert_eq!(judged(&answers), (differing, permitted), "{answers:?}");
        }
        let refused = compare(&[rows(1), rows(2)])
            .permits_rebuild(NodeId(2))
            .unwrap_err();
        assert!(refused.contains("no majority"), "{refused}");
        let refused = compare(&[rows(1), rows(1), rows(1)])
            .permits_rebuild(NodeId(9))
            .unwrap_err();
        assert!(refused.contains("no replica"), "{refused}");
    }
}
