//! Queries with their fields as arguments.

use protocol::{ConversationId, UserId};

pub(super) use crate::state_machine::query::*;
use crate::state_machine::{Keyring, RowReader, SecretBytes, TokenFamilyId};

type Result<T> = std::result::Result<T, QueryError>;

fn size(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

pub(super) fn open(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    have: Option<u64>,
) -> Result<MemberConversation> {
    let (conv, user) = (conv.clone(), user.clone());
    OpenQuery { conv, user, have }.read(rows)
}

pub(super) fn sync(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    have: Option<u64>,
    limit: usize,
) -> Result<MissedEvents> {
    let member = QueryContext::of(rows, conv, user)?;
    newest(rows, conv, &member, have.unwrap_or(0), limit)
}

pub(super) fn history(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    page: HistoryRange,
    limit: usize,
) -> Result<HistoryPage> {
    let (conv, user, limit) = (conv.clone(), user.clone(), size(limit));
    HistoryRequest {
        conv,
        user,
        page,
        limit,
    }
    .read(rows)
}

pub(super) fn messages(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    page: HistoryRange,
    limit: usize,
) -> Result<MessagesPage> {
    let (conv, user, limit) = (conv.clone(), user.clone(), size(limit));
    MessagesQuery {
        conv,
        user,
        page,
        limit,
    }
    .read(rows)
}

pub(super) fn members(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<MembersPage> {
    let (conv, user, after, limit) = (conv.clone(), user.clone(), after.cloned(), size(limit));
    MembersQuery {
        conv,
        user,
        after,
        limit,
    }
    .read(rows)
}

pub(super) fn bans(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<BansPage> {
    let (conv, user, after, limit) = (conv.clone(), user.clone(), after.cloned(), size(limit));
    BansQuery {
        conv,
        user,
        after,
        limit,
    }
    .read(rows)
}

pub(super) fn blocks(
    rows: &impl RowReader,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<BlocksPage> {
    let (user, after, limit) = (user.clone(), after.cloned(), size(limit));
    BlocksQuery { user, after, limit }.read(rows)
}

pub(super) fn index(
    rows: &impl RowReader,
    user: &UserId,
    after: Option<&ConversationId>,
    limit: usize,
) -> Result<IndexPage> {
    let (user, after, limit) = (user.clone(), after.cloned(), size(limit));
    IndexAfter { user, after, limit }.read(rows)
}

pub(super) fn summary(rows: &impl RowReader, conv: &ConversationId, user: &UserId) -> Result<Summary> {
    let question = SummariesQuery {
        user: user.clone(),
        convs: Vec::new(),
        data_kind: None,
    };
    Ok(question.read(rows, conv)?.expect("no kind is required"))
}

pub(super) fn keyring(rows: &impl RowReader) -> Result<Option<Keyring>> {
    KeyringQuery.read(rows)
}

pub(super) fn device_tokens(rows: &impl RowReader, user: &UserId) -> Result<Vec<DeviceTokenEntry>> {
    let (user, presented) = (user.clone(), None);
    DevicesQuery { user, presented }.read(rows)
}

pub(super) fn device_token(
    rows: &impl RowReader,
    user: &UserId,
    id: TokenFamilyId,
    token: &SecretBytes,
) -> Result<Option<DeviceTokenEntry>> {
    let (user, presented) = (user.clone(), Some((id, token.clone())));
    let found = DevicesQuery { user, presented }.read(rows)?;
    Ok(found.into_iter().next())
}
