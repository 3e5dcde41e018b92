//! Row access for queries: maps the state machine's read functions to RPC responses. Blocks; runs on the
//! [pool](super::blocking_pool).

use protocol::{ConversationId, GroupInvite, UserId};
use storage::ShardState;

use crate::rpc::RpcError;
use crate::rpc::login::{Devices, DevicesQuery};
use crate::rpc::read::{
    HistoryRequest, INDEX_LIMIT, IndexAfter, IndexQuery, Indexed, ListBlocks, MembersQuery, OpenQuery,
    RangeQuery, Ranged, SharedWith, SinceQuery,
};
use crate::rpc::register::{CaughtUp, InterestRegistered, Proof, RegisterInterest};
use crate::state_machine::{
    BansPage, BlocksPage, Direction, HistoryPage, IndexPage, Keyring, MemberConversation, MembersPage,
    MessagesPage, Missed, MissedEvents, QueryError, Summary, query,
};

/// Events that one `open`, or one conversation of a `sync`, returns.
const WINDOW: usize = 50;
/// Events of one conversation in the response to `Range`, `Missed` or a registration.
const RANGE: usize = 256;
/// Bytes of events and conversation lists in the response to a registration; the node reads or requests the rest later.
/// A connection allows more, but a large response delays all behind it.
const REGISTERED_BYTES: usize = 1 << 20;
/// Latest conversations per user in the response to a registration.
pub(crate) const REGISTERED_INDEX: usize = 128;

pub(crate) fn exists(state: &ShardState, conv: &ConversationId) -> Result<bool, QueryError> {
    Ok(query::last(state, conv)?.is_some())
}

pub(super) fn open(state: &ShardState, q: &OpenQuery) -> Result<MemberConversation, RpcError> {
    query::open(&state.view(), &q.conv, &q.user, q.have, WINDOW).map_err(refused)
}

pub(super) fn history(state: &ShardState, q: &HistoryRequest) -> Result<HistoryPage, RpcError> {
    query::history(&state.view(), &q.conv, &q.user, q.page, q.limit as usize).map_err(refused)
}

pub(super) fn messages(state: &ShardState, q: &HistoryRequest) -> Result<MessagesPage, RpcError> {
    query::messages(&state.view(), &q.conv, &q.user, q.page, q.limit as usize).map_err(refused)
}

pub(super) fn members(state: &ShardState, q: &MembersQuery) -> Result<MembersPage, RpcError> {
    query::members(
        &state.view(),
        &q.conv,
        &q.user,
        q.after.as_ref(),
        q.limit as usize,
    )
    .map_err(refused)
}

pub(super) fn bans(state: &ShardState, q: &MembersQuery) -> Result<BansPage, RpcError> {
    let (after, limit) = (q.after.as_ref(), q.limit as usize);
    query::bans(&state.view(), &q.conv, &q.user, after, limit).map_err(refused)
}

pub(super) fn blocks(state: &ShardState, q: &ListBlocks) -> Result<BlocksPage, RpcError> {
    query::blocks(&state.view(), &q.user, q.after.as_ref(), q.limit as usize).map_err(refused)
}

pub(super) fn keyring(state: &ShardState) -> Result<Option<Keyring>, RpcError> {
    query::keyring(state).map_err(refused)
}

pub(super) fn devices(state: &ShardState, q: &DevicesQuery) -> Result<Devices, RpcError> {
    let found = match &q.presented {
        None => query::device_tokens(state, &q.user),
        Some((id, token)) => {
            query::device_token(state, &q.user, *id, token).map(|found| found.into_iter().collect())
        }
    };
    found.map_err(refused)
}

pub(super) fn range(state: &ShardState, q: &RangeQuery) -> Result<Ranged, RpcError> {
    let view = state.view();
    let last = last(&view, &q.conv)?;
    let events = query::range(&view, &q.conv, q.after, RANGE).map_err(refused)?;
    Ok(Ranged { last, events })
}

pub(super) fn missed(state: &ShardState, q: &SinceQuery) -> Result<Missed, RpcError> {
    query::missed(&state.view(), &q.conv, &q.user, q.after, RANGE).map_err(refused)
}

pub(super) fn sync(
    state: &ShardState,
    conv: &ConversationId,
    user: &UserId,
    have: u64,
    limit: u32,
) -> Result<MissedEvents, RpcError> {
    query::sync(
        &state.view(),
        conv,
        user,
        Some(have),
        (limit as usize).min(WINDOW),
    )
    .map_err(refused)
}

pub(super) fn summary(state: &ShardState, conv: &ConversationId, user: &UserId) -> Result<Summary, RpcError> {
    query::summary(&state.view(), conv, user).map_err(refused)
}

pub(super) fn mentioning(
    state: &ShardState,
    conv: &ConversationId,
    user: &UserId,
) -> Result<Vec<UserId>, RpcError> {
    query::mentioning(&state.view(), conv, user).map_err(refused)
}

pub(super) fn index(state: &ShardState, q: &IndexQuery) -> Result<Indexed, RpcError> {
    let from = q.from.as_ref().map(|(ms, conv)| (*ms, conv));
    let limit = (q.limit as usize).min(INDEX_LIMIT);
    query::placed(&state.view(), &q.user, from, q.direction, limit).map_err(refused)
}

pub(super) fn index_after(state: &ShardState, q: &IndexAfter) -> Result<IndexPage, RpcError> {
    let limit = (q.limit as usize).min(INDEX_LIMIT);
    query::index(&state.view(), &q.user, q.after.as_ref(), limit).map_err(refused)
}

pub(super) fn shared_with(state: &ShardState, q: &SharedWith) -> Result<Option<ConversationId>, RpcError> {
    query::shared_with(&state.view(), &q.user, &q.convs).map_err(refused)
}

pub(super) fn wishes(state: &ShardState, user: &UserId) -> Result<GroupInvite, RpcError> {
    query::wishes(state, user).map_err(refused)
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
            events = query::range(view, conv, *have, RANGE).map_err(refused)?;
            bytes += events.iter().map(|event| event.tail.len()).sum::<usize>();
        }
        convs.push(CaughtUp { last, events });
    }
    let mut admits = Vec::with_capacity(wants.admits.len());
    for (conv, user) in &wants.admits {
        let (since, history) = query::member_since(view, conv, user).map_err(refused)?;
        // From the view of the membership, so the proof holds for exactly this position.
        admits.push(Proof {
            at: last(view, conv)?,
            since,
            history,
        });
    }
    let indexes = first_indexes(&wants.users, bytes, |user| {
        query::placed(view, user, None, Direction::Older, REGISTERED_INDEX).map_err(refused)
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
    mut index_of: impl FnMut(&UserId) -> Result<Indexed, RpcError>,
) -> Result<Vec<Indexed>, RpcError> {
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
    Ok(query::last(view, conv)
        .map_err(refused)?
        .map_or(0, |(last, _)| last.seq))
}

fn refused(denied: QueryError) -> RpcError {
    match denied {
        QueryError::NotMember => RpcError::NotMember,
        QueryError::Forbidden(why) => RpcError::Forbidden(why.to_owned()),
        QueryError::Storage(error) => RpcError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::answer::LastEvent;

    use super::*;
    use crate::state_machine::PlacedEntry;

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
