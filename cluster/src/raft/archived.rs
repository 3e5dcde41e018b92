//! Position of a shard in an archive, and the log and position with which the first replica of a restored group begins.

use std::io;
use std::sync::mpsc;

use bytes::Bytes;
use openraft::vote::leader_id_std::CommittedLeaderId;
use openraft::{EmptyNode, LogId as RaftLogId};
use storage::{Durability, HardKey, RaftLog};

use crate::ids::{NodeId, ShardOwner, ShardPosition};
use crate::raft::digest::Digest;
use crate::raft::state_machine::AppliedPosition;
use crate::raft::{LogId, Membership, Vote, codec};

/// Decodes the applied position of a replica; `None` if it has applied nothing.
///
/// # Errors
/// If the record is damaged, or of another build.
pub(crate) fn read_position(applied: &[u8]) -> Result<Option<ShardPosition>, io::Error> {
    let position: AppliedPosition = codec::decode(applied)?;
    Ok(position.last.map(|last| ShardPosition {
        index: last.index,
        term: last.leader_id.term,
        level: position.level,
        digest: position.digest.to_number(),
    }))
}

/// Returns the applied position of a replica that is the only member of its group.
///
/// # Errors
/// Never for this crate's types; the signature is that of the codec.
pub(crate) fn single_member_position(position: &ShardPosition, node: NodeId) -> Result<Bytes, io::Error> {
    let last = log_id(position);
    let members: std::collections::BTreeMap<u64, EmptyNode> = [(node.0, EmptyNode {})].into();
    let membership = openraft::Membership::new(vec![[node.0].into()], members).map_err(io::Error::other)?;
    codec::encode(&AppliedPosition {
        last: Some(last),
        membership: Membership::new(Some(last), membership),
        // No process owns the shard: the first takeover of the restored group gets a later index.
        owner: ShardOwner::default(),
        level: position.level,
        digest: Digest::from_number(position.digest),
    })
}

/// Writes the log of a replica that begins behind a position, as that of a replica that installed a snapshot. Blocks for
/// an fsync.
///
/// # Errors
/// If the store refuses the write.
pub(crate) fn write_log(log: &RaftLog, position: &ShardPosition, node: NodeId) -> Result<(), io::Error> {
    log.purge_to(position.index, codec::encode(&log_id(position))?);
    // In the position's own term: the first election begins a later one, and log ids never go back.
    let vote = codec::encode(&Vote::new(position.term, node.0))?;
    let (sender, done) = mpsc::channel();
    log.put_hard(
        HardKey::Vote,
        vote,
        Durability::Synced,
        // Fails only if the receiver is gone, which waits below.
        Some(Box::new(move |result| drop(sender.send(result)))),
    );
    done.recv().map_err(io::Error::other)?.map_err(io::Error::other)
}

fn log_id(position: &ShardPosition) -> LogId {
    RaftLogId {
        leader_id: CommittedLeaderId::new(position.term),
        index: position.index,
    }
}
