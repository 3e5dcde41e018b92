//! Consent of a user to being added, decided in the user's shard: block list, own setting, daily limits.

use crate::state_machine::ChatTable;
use protocol::{ClientMessageId, ConversationId, ConversationKind, ErrorCode, GroupInvite, UserId};
use storage::{Error, ScanOrder};

use super::membership::absent;
use super::{CommandScope, Result, fresh, key, member, refused};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::consent::{AddedRow, AdditionLimits, AdditionVerdict, COUNTS_MS, WishesRow};
use crate::state_machine::keys;
use crate::state_machine::outcome::{ApplyEffect, CommandResult, UserOutcome};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{BlockRow, IndexRow, VersionedRow};
use crate::state_machine::rules::Permission;

/// Request of `by` to add the user.
#[derive(Clone, Copy)]
pub(super) struct AdditionAttempts<'a> {
    pub(super) by: &'a UserId,
    pub(super) conv: &'a ConversationId,
    /// Idempotency key of the addition: the same key counts once.
    pub(super) cid: &'a ClientMessageId,
    /// Conversation with both as members, according to the shard of `by`; `None` if not looked up.
    pub(super) shared: Option<&'a ConversationId>,
    pub(super) bounds: AdditionLimits,
}

/// Decides whether `asks.by` may add the user to the conversation, and counts a permitted addition.
pub(super) fn may_add(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    asks: AdditionAttempts<'_>,
) -> Result<UserOutcome> {
    let answer = |verdict| Ok(UserOutcome::Addition(verdict));
    // The block goes first: a blocked user must not learn the other setting from the verdict.
    let block = work.rows.get(ChatTable::UserIndex, &keys::block(user, asks.by))?;
    let block = block.map(|row| BlockRow::decode(&row)).transpose()?;
    if block.is_some_and(|block| block.on) {
        return answer(AdditionVerdict::Declined);
    }
    match (wishes(work, user)?.group_invite, asks.shared) {
        (GroupInvite::Anyone, _) => {}
        (GroupInvite::SharesConversation, None) => return answer(AdditionVerdict::SharedOnly),
        // `shared` comes from another shard and may be stale, so this shard checks its own row of the user.
        (GroupInvite::SharesConversation, Some(shared)) if is_in(work, user, shared)? => {}
        (GroupInvite::SharesConversation | GroupInvite::NoOne, _) => {
            return answer(AdditionVerdict::Declined);
        }
    }
    answer(if count(work, user, asks)? {
        AdditionVerdict::Allowed
    } else {
        AdditionVerdict::Declined
    })
}

/// Sets the users who may add this user to groups and channels.
pub(super) fn wish(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    group_invite: GroupInvite,
) -> Result<UserOutcome> {
    let row = WishesRow { group_invite };
    work.rows
        .put(ChatTable::UserIndex, &keys::wishes(user), &row.encode());
    Ok(UserOutcome::Recorded)
}

/// Refuses an addition without consent, at the place of the change in the log. Any other reason for a refusal takes
/// precedence, and an earlier result under the same key is repeated. `who` is the invited user; `None` means that the
/// conversation was to be created.
pub(super) fn not_added(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    who: Option<&UserId>,
    why: &str,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    match who {
        Some(who) => {
            let member = member(work, by)?;
            member.may(Permission::Invite)?;
            absent(work, by, who)?;
        }
        None => {
            // The conversation may exist although the key has expired; the first result then still counts.
            if let Some(conv) = work.conv(by.conv)?
                && conv.creator == *by.user
            {
                let mut applied = CommandResult::silent(ApplyEffect::None);
                (applied.seq, applied.ts, applied.dup) = (Some(conv.last_s), conv.last_ts, true);
                return Ok(applied);
            }
        }
    }
    refused(ErrorCode::Forbidden, why)
}

fn wishes(work: &ApplyContext<'_, impl RowWriter>, user: &UserId) -> Result<WishesRow> {
    let row = work.rows.get(ChatTable::UserIndex, &keys::wishes(user))?;
    let row = row.map(|row| WishesRow::decode(&row)).transpose()?;
    Ok(row.unwrap_or_default())
}

/// Returns true if `conv` is a group with the user as a member. Direct conversations and channels do not count: a user
/// starts or joins them without consent of anybody.
fn is_in(work: &ApplyContext<'_, impl RowWriter>, user: &UserId, conv: &ConversationId) -> Result<bool> {
    if conv.kind() != Some(ConversationKind::Group) {
        return Ok(false);
    }
    let row = work.rows.get(ChatTable::UserIndex, &keys::index(user, conv))?;
    let row = row.map(|row| IndexRow::decode(&row)).transpose()?;
    Ok(row.is_some_and(|row| row.member))
}

/// Counts the addition. Returns false, and counts nothing, if a limit within 24 hours is reached. Expired rows of the
/// scanned range are deleted here, which bounds the next scan.
fn count(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    asks: AdditionAttempts<'_>,
) -> Result<bool> {
    let AdditionLimits { by_one, by_all } = asks.bounds;
    let key = keys::added(user, asks.by, asks.conv, asks.cid);
    let now_ms = work.now_ms;
    if by_one == 0 && by_all == 0 {
        return Ok(true);
    }
    let counts = |row: &[u8]| Ok::<_, Error>(AddedRow::decode(row)?.at_ms.saturating_add(COUNTS_MS) > now_ms);
    // A retry of a permitted addition must pass even if the limit has been reached since.
    let known = work.rows.get(ChatTable::UserIndex, &key)?;
    if known.map(|row| counts(&row)).transpose()?.unwrap_or(false) {
        return Ok(true);
    }
    let mine = keys::added_by(user, asks.by);
    // Without a total limit only the rows of this adder are read: those of the others cannot change the verdict.
    let (start, end) = match by_all {
        0 => keys::added_by_one(user, asks.by),
        _ => keys::added_by_anybody(user),
    };
    let (mut one, mut all) = (0u32, 0u32);
    for (key, row) in work.rows.scan(
        ChatTable::UserIndex,
        &start..&end,
        ScanOrder::Ascending,
        usize::MAX,
    )? {
        if !counts(&row)? {
            work.rows.delete(ChatTable::UserIndex, &key);
            continue;
        }
        all += 1;
        one += u32::from(key.starts_with(&mine));
    }
    if by_one > 0 && one >= by_one || by_all > 0 && all >= by_all {
        return Ok(false);
    }
    let row = AddedRow { at_ms: now_ms };
    work.rows.put(ChatTable::UserIndex, &key, &row.encode());
    Ok(true)
}
