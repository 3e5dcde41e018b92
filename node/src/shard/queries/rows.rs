//! Rows in the response to a registration. Blocks; runs on the [pool](super::blocking_pool).

use protocol::{ConversationId, UserId};
use storage::ShardState;

use crate::rpc::RpcError;
use crate::rpc::register::{CaughtUp, InterestRegistered, Proof, RegisterInterest};
use crate::state_machine::query::{self, Direction, PlacedEntry, QueryError, RANGE};

/// Bytes of events and conversation lists in the response to a registration; the node reads or requests the rest later.
/// A connection allows more, but a large response delays all behind it.
const REGISTERED_BYTES: usize = 1 << 20;
/// Latest conversations per user in the response to a registration.
pub(crate) const REGISTERED_INDEX: usize = 128;

pub(crate) fn exists(state: &ShardState, conv: &ConversationId) -> Result<bool, QueryError> {
    Ok(query::last(state, conv)?.is_some())
}

/// Returns the events that a node missed and the memberships of users who subscribe, all from one view.
pub(crate) fn registered(
    view: &storage::ReadView,
    wants: &RegisterInterest,
) -> Result<InterestRegistered, RpcError> {
    let mut bytes = 0;
    let mut convs = Vec::with_capacity(wants.convs.len());
    for (conv, have) in &wants.convs {
        let last = last(view, conv)?;
        // Above the bound only `last` is set: the node reads the events itself.
        let mut events = Vec::new();
        if let Some(have) = have
            && *have < last
            && bytes < REGISTERED_BYTES
        {
            events = query::range(view, conv, *have, RANGE)?;
            bytes += events.iter().map(|event| event.tail.len()).sum::<usize>();
        }
        convs.push(CaughtUp { last, events });
    }
    let mut admits = Vec::with_capacity(wants.admits.len());
    for (conv, user) in &wants.admits {
        let (since, history) = query::member_since(view, conv, user)?;
        // From the view of the membership, so the proof holds for exactly this position.
        admits.push(Proof {
            at: last(view, conv)?,
            since,
            history,
        });
    }
    let indexes = first_indexes(&wants.users, bytes, |user| {
        query::placed(view, user, None, Direction::Older, REGISTERED_INDEX).map_err(RpcError::from)
    })?;
    Ok(InterestRegistered {
        convs,
        admits,
        indexes,
        recent: Vec::new(),
    })
}

/// Returns the conversations of the first users, as far as they fit beside `bytes`; at least those of one user.
fn first_indexes(
    users: &[UserId],
    mut bytes: usize,
    mut index_of: impl FnMut(&UserId) -> Result<Vec<PlacedEntry>, RpcError>,
) -> Result<Vec<Vec<PlacedEntry>>, RpcError> {
    let mut indexes = Vec::new();
    for user in users {
        // One at least: an empty response would be requested again without end.
        if bytes >= REGISTERED_BYTES && !indexes.is_empty() {
            break;
        }
        let index = index_of(user)?;
        // Upper bound of the numbers in one entry's encoding.
        bytes += index
            .iter()
            .map(|placed| placed.conv.as_str().len() + 52)
            .sum::<usize>();
        indexes.push(index);
    }
    Ok(indexes)
}

fn last(view: &storage::ReadView, conv: &ConversationId) -> Result<u64, RpcError> {
    Ok(query::last(view, conv)?.map_or(0, |(last, _)| last.seq))
}

#[cfg(test)]
mod tests {
    use protocol::response::LastEvent;

    use super::*;
    use crate::state_machine::query::INDEX_LIMIT;

    #[test]
    fn registration_response_size_is_bounded() {
        let users: Vec<UserId> = (0..1024)
            .map(|n| UserId::parse(&format!("u{n}")).unwrap())
            .collect();
        let conv = ConversationId::parse(&"g".repeat(64)).unwrap();
        let placed = PlacedEntry {
            conv: conv.clone(),
            ms: 9,
            since_ms: 8,
            last: LastEvent::default(),
            large: false,
        };
        let all = |_: &UserId| Ok(vec![placed.clone(); INDEX_LIMIT]);
        let (mut left, mut answers) = (&users[..], 0);
        while !left.is_empty() {
            // Events may have filled it already.
            let indexes = first_indexes(left, answers % 2 * REGISTERED_BYTES, all).unwrap();
            let answer = crate::rpc::encode(&indexes);
            assert!(answer.len() < 2 * REGISTERED_BYTES, "{} bytes", answer.len());
            assert!(!indexes.is_empty(), "it goes on");
            left = &left[indexes.len()..];
            answers += 1;
        }
        assert!(answers > 10);
    }
}
