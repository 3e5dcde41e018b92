//! Erasures of users: their state for back ends, and the next work for the owner of the shard.

use crate::state_machine::ChatTable;
use protocol::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::{QueryError, Result, ShardQuery};
use crate::state_machine::erasure::{ErasureId, ErasureJob};
use crate::state_machine::keys;
use crate::state_machine::outcome::OutboxId;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{IndexRow, VersionedRow, corrupt};

/// Query for an erasure; `None` if there is none with this id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErasureQuery {
    pub id: ErasureId,
}

/// Erasure that is under way.
#[derive(Clone, PartialEq, Debug)]
pub struct RunningErasure {
    pub id: ErasureId,
    pub job: ErasureJob,
    /// Next conversations of the user, with the versions of their rows.
    pub conversations: Vec<(ConversationId, OutboxId)>,
}

// === impl ErasureQuery ===

impl ShardQuery for ErasureQuery {
    type Page = Option<ErasureJob>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        self.id.0
    }

    fn read(&self, rows: &impl RowReader) -> Result<Option<ErasureJob>> {
        let row = rows.get(ChatTable::UserIndex, &keys::erasure(self.id))?;
        Ok(row.map(|row| ErasureJob::decode(&row)).transpose()?)
    }
}

/// Returns up to `limit` erasures of the shard that are under way, each with up to `conversations` of the user's
/// conversations, former ones included.
pub fn running_erasures(
    rows: &impl RowReader,
    limit: usize,
    conversations: usize,
) -> Result<Vec<RunningErasure>> {
    let (start, end) = keys::running_erasures();
    let found = rows.scan(ChatTable::UserIndex, &start..&end, ScanOrder::Ascending, limit)?;
    let mut running = Vec::with_capacity(found.len());
    for (key, _) in &found {
        let id = keys::running_erasure_id(key);
        let id = id.ok_or_else(|| QueryError::Storage(corrupt("a malformed key of an erasure")))?;
        let job = ErasureQuery { id }.read(rows)?;
        let job = job.ok_or_else(|| QueryError::Storage(corrupt("an erasure is missing")))?;
        let conversations = listed(rows, &job.user, None, conversations)?;
        running.push(RunningErasure {
            id,
            job,
            conversations,
        });
    }
    Ok(running)
}

/// Returns up to `limit` conversations of a user above `after`, former ones included.
pub(super) fn listed(
    rows: &impl RowReader,
    user: &UserId,
    after: Option<&ConversationId>,
    limit: usize,
) -> Result<Vec<(ConversationId, OutboxId)>> {
    let (start, end) = keys::range_after(user.as_str(), after.map(ConversationId::as_str));
    let found = rows.scan(ChatTable::UserIndex, &start..&end, ScanOrder::Ascending, limit)?;
    let item = |(key, row): &(bytes::Bytes, bytes::Bytes)| {
        let conv = keys::rest(user.as_str(), key).and_then(|conv| ConversationId::parse(conv).ok());
        let conv = conv.ok_or_else(|| QueryError::Storage(corrupt("a malformed key of a conversation")))?;
        Ok((conv, IndexRow::decode(row)?.version))
    };
    found.iter().map(item).collect()
}
