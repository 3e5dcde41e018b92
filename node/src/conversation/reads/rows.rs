//! From the rules' reading functions to the answers between nodes. Blocks: runs on the [pool](super::pool).

use protocol::{ConvId, GroupInvite, UserId};
use storage::State;

use crate::conversation::timeline::login::Keyring;
use crate::conversation::timeline::read::{
    self, BansPage, BlocksPage, ConvView, Denied, Direction, HistoryPage, IndexPage, MembersPage,
    MessagesPage, Missed, Summary, Window,
};
use crate::rpc::Refused;
use crate::rpc::read::{
    Blocks, History, INDEX_LIMIT, Index, IndexAfter, Indexed, Members, Open, Range, Ranged, SharedWith, Since,
};
use crate::rpc::register::{Caught, Proof, Register, Registered};

/// Events that one `open` or one conversation of a `sync` returns.
const WINDOW: usize = 50;
/// Events that one range returns.
const RANGE: usize = 256;
/// Bytes of events and of indexes in the answer to a registration; the node reads or asks for the rest afterwards. A
/// link takes far more, but what waits behind an answer waits for all of it.
const REGISTERED_BYTES: usize = 1 << 20;
/// Of so many of a user's conversations, the latest, a node is told when it registers the user.
pub(crate) const REGISTERED_INDEX: usize = 128;

pub(crate) fn exists(state: &State, conv: &ConvId) -> Result<bool, Denied> {
    Ok(read::last(state, conv)?.is_some())
}

pub(super) fn open(state: &State, q: &Open) -> Result<ConvView, Refused> {
    read::open(&state.view(), &q.conv, &q.user, q.have, WINDOW).map_err(refused)
}

pub(super) fn history(state: &State, q: &History) -> Result<HistoryPage, Refused> {
    read::history(&state.view(), &q.conv, &q.user, q.page, q.limit as usize).map_err(refused)
}

pub(super) fn messages(state: &State, q: &History) -> Result<MessagesPage, Refused> {
    read::messages(&state.view(), &q.conv, &q.user, q.page, q.limit as usize).map_err(refused)
}

pub(super) fn members(state: &State, q: &Members) -> Result<MembersPage, Refused> {
    read::members(
        &state.view(),
        &q.conv,
        &q.user,
        q.after.as_ref(),
        q.limit as usize,
    )
    .map_err(refused)
}

pub(super) fn bans(state: &State, q: &Members) -> Result<BansPage, Refused> {
    let (after, limit) = (q.after.as_ref(), q.limit as usize);
    read::bans(&state.view(), &q.conv, &q.user, after, limit).map_err(refused)
}

pub(super) fn blocks(state: &State, q: &Blocks) -> Result<BlocksPage, Refused> {
    read::blocks(&state.view(), &q.user, q.after.as_ref(), q.limit as usize).map_err(refused)
}

pub(super) fn keyring(state: &State) -> Result<Option<Keyring>, Refused> {
    read::keyring(state).map_err(refused)
}

pub(super) fn range(state: &State, q: &Range) -> Result<Ranged, Refused> {
    let view = state.view();
    let last = last(&view, &q.conv)?;
    let events = read::range(&view, &q.conv, q.after, RANGE).map_err(refused)?;
    Ok(Ranged { last, events })
}

pub(super) fn missed(state: &State, q: &Since) -> Result<Missed, Refused> {
    read::missed(&state.view(), &q.conv, &q.user, q.after, RANGE).map_err(refused)
}

pub(super) fn sync(
    state: &State,
    conv: &ConvId,
    user: &UserId,
    have: u64,
    limit: u32,
) -> Result<Window, Refused> {
    read::sync(
        &state.view(),
        conv,
        user,
        Some(have),
        (limit as usize).min(WINDOW),
    )
    .map_err(refused)
}

pub(super) fn summary(state: &State, conv: &ConvId, user: &UserId) -> Result<Summary, Refused> {
    read::summary(&state.view(), conv, user).map_err(refused)
}

pub(super) fn mentioning(state: &State, conv: &ConvId, user: &UserId) -> Result<Vec<UserId>, Refused> {
    read::mentioning(&state.view(), conv, user).map_err(refused)
}

pub(super) fn index(state: &State, q: &Index) -> Result<Indexed, Refused> {
    let from = q.from.as_ref().map(|(ms, conv)| (*ms, conv));
    let limit = (q.limit as usize).min(INDEX_LIMIT);
    read::placed(&state.view(), &q.user, from, q.direction, limit).map_err(refused)
}

pub(super) fn index_after(state: &State, q: &IndexAfter) -> Result<IndexPage, Refused> {
    let limit = (q.limit as usize).min(INDEX_LIMIT);
    read::index(&state.view(), &q.user, q.after.as_ref(), limit).map_err(refused)
}

pub(super) fn shared_with(state: &State, q: &SharedWith) -> Result<Option<ConvId>, Refused> {
    read::shared_with(&state.view(), &q.user, &q.convs).map_err(refused)
}

pub(super) fn wishes(state: &State, user: &UserId) -> Result<GroupInvite, Refused> {
    read::wishes(state, user).map_err(refused)
}

/// What a node missed, and whom it may let subscribe. One look for all of it.
pub(crate) fn registered(view: &storage::View, wants: &Register) -> Result<Registered, Refused> {
    let mut bytes = 0;
    let mut convs = Vec::with_capacity(wants.convs.len());
    for (conv, have) in &wants.convs {
        let last = last(view, conv)?;
        let mut events = Vec::new();
        if let Some(have) = have
            && *have < last
            && bytes < REGISTERED_BYTES
        {
            events = read::range(view, conv, *have, RANGE).map_err(refused)?;
            bytes += events.iter().map(|event| event.tail.len()).sum::<usize>();
        }
        convs.push(Caught { last, events });
    }
    let mut admits = Vec::with_capacity(wants.admits.len());
    for (conv, user) in &wants.admits {
        let (since, history) = read::member_since(view, conv, user).map_err(refused)?;
        admits.push(Proof {
            at: last(view, conv)?,
            since,
            history,
        });
    }
    let indexes = first_indexes(&wants.users, bytes, |user| {
        read::placed(view, user, None, Direction::Older, REGISTERED_INDEX).map_err(refused)
    })?;
    Ok(Registered {
        convs,
        admits,
        indexes,
        recent: Vec::new(),
    })
}

/// The conversations of the first users, as many as fit beside `bytes`, of one user at least.
fn first_indexes(
    users: &[UserId],
    mut bytes: usize,
    mut index_of: impl FnMut(&UserId) -> Result<Indexed, Refused>,
) -> Result<Vec<Indexed>, Refused> {
    let mut indexes = Vec::new();
    for user in users {
        if bytes >= REGISTERED_BYTES && !indexes.is_empty() {
            break;
        }
        let index = index_of(user)?;
        // The numbers of each take so much at most.
        bytes += index
            .iter()
            .map(|placed| placed.conv.as_str().len() + 52)
            .sum::<usize>();
        indexes.push(index);
    }
    Ok(indexes)
}

fn last(view: &storage::View, conv: &ConvId) -> Result<u64, Refused> {
    Ok(read::last(view, conv)
        .map_err(refused)?
        .map_or(0, |(last, _)| last.s))
}

fn refused(denied: Denied) -> Refused {
    match denied {
        Denied::NotMember => Refused::NotMember,
        Denied::Forbidden(why) => Refused::Forbidden(why.to_owned()),
        Denied::Storage(error) => Refused::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::answer::Last;

    use super::*;
    use crate::conversation::timeline::read::Placed;

    #[test]
    fn the_answer_to_a_registration_is_bounded_whatever_its_users_are_in() {
        let users: Vec<UserId> = (0..1024)
            .map(|n| UserId::parse(&format!("u{n}")).unwrap())
            .collect();
        let conv = ConvId::parse(&"g".repeat(64)).unwrap();
        let placed = Placed {
            conv: conv.clone(),
            ms: 9,
            since_ms: 8,
            last: Last::default(),
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
