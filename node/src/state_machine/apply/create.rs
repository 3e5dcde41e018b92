//! `create` in two steps, and direct conversations created by their first message.
//!
//! The key of a `create` is unique per user, but the new conversation may live in any shard. The user's shard first
//! binds the key to a conversation id; the conversation's shard then creates the conversation, and repeats the result
//! on a retry.

use std::collections::BTreeSet;

use crate::state_machine::ChatTable;
use protocol::{
    ClientMessageId, ConversationId, ConversationKind, ErrorCode, HistoryVisibility, MembershipChange, Role,
    UserId, limits, text,
};

use super::membership::{RoleChange, admit};
use super::{CommandScope, Result, blocks, fresh, invalid, key, not_member, of_a_person, refused};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::dedup::Dedups;
use crate::state_machine::outcome::{ApplyEffect, CommandResult, EventEnvelope, UserOutcome};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{ConvRow, DedupRow, VersionedRow};
use crate::state_machine::{custom_data, keys, rules};

/// Conversation to be created.
#[derive(Clone, Copy)]
pub(super) struct CreateArguments<'a> {
    pub(super) kind: ConversationKind,
    pub(super) members: &'a [UserId],
    pub(super) title: Option<&'a str>,
    pub(super) data: Option<&'a str>,
}

/// Initial members of a conversation.
struct Founding<'a> {
    /// First member, the owner of a group or channel.
    founder: &'a UserId,
    /// Other members in the given order, without duplicates.
    others: Vec<&'a UserId>,
    /// Peer of a direct conversation.
    peer: Option<&'a UserId>,
}

/// Binds the key to `conversation`, or returns the conversation bound before.
pub(super) fn reserve(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    conversation: &ConversationId,
    cid: &ClientMessageId,
) -> Result<UserOutcome> {
    let scope = keys::dedup_scope(None, user);
    if let Some(row) = work.rows.get(ChatTable::Dedup, &keys::dedup(&scope, cid))? {
        let row = DedupRow::decode(&row)?;
        // Rows of other commands name no conversation; a row under this scope always does.
        return Ok(UserOutcome::Reserved {
            conversation: row.conv.unwrap_or_else(|| conversation.clone()),
            dup: true,
        });
    }
    // The scope without its final zero byte is the key of the counter row of the user's `create` keys.
    let counter = &scope[..scope.len() - 1];
    let mut dedups = match work.rows.get(ChatTable::Dedup, counter)? {
        Some(row) => Dedups::decode(&row)?,
        None => Dedups::default(),
    };
    let row = DedupRow {
        k: 0,
        ts: work.now_ms,
        s: 0,
        mn: 0,
        conv: Some(conversation.clone()),
    };
    dedups.add(work.rows, &scope, cid, row, work.reached_ms)?;
    work.rows.put(ChatTable::Dedup, counter, &dedups.encode());
    Ok(UserOutcome::Reserved {
        conversation: conversation.clone(),
        dup: false,
    })
}

/// Creates a conversation with its initial members.
pub(super) fn create(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    new: CreateArguments<'_>,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    // A repeated key returns its first result before any check: a later change of limits must not refuse it.
    fresh(work, by, cid)?;
    let (founder, members) = match new.members {
        // The system becomes no member: it creates the conversation for the first of them.
        [first, rest @ ..] if by.user.is_system() => (first, rest),
        members => (by.user, members),
    };
    let founding = check(by, founder, CreateArguments { members, ..new })?;
    if let Some(conv) = work.conv(by.conv)? {
        // Either a retry whose key has expired, or the peer of a direct conversation that created it first.
        let mine = conv.creator == *founder || conv.peer.as_ref() == Some(founder);
        // The same refusal as for a missing conversation: an id must not reveal that the conversation exists.
        if !mine {
            return not_member();
        }
        let mut applied = CommandResult::silent(ApplyEffect::None);
        (applied.seq, applied.ts, applied.dup) = (Some(conv.last_s), conv.last_ts, true);
        return Ok(applied);
    }
    blocks::unblocked(work, by)?;
    let events = found(work, by, new.kind, &founding, new.title)?;
    if let Some(data) = new.data {
        custom_data::write(work.rows, &keys::conversation_data(by.conv), data);
    }
    // `found` numbers its events from 1, so their count is the position of the last one.
    let (s, ts) = (events.len() as u64, work.now_ms);
    if let Some(mut me) = work.author(by.conv, by.user)? {
        work.keep_result(by.conv, by.user, &mut me, cid, (s, 0, ts))?;
        work.set_member(by.conv, by.user, me);
    }
    Ok(CommandResult {
        seq: Some(s),
        mn: None,
        ts,
        dup: false,
        events,
        effect: ApplyEffect::None,
    })
}

/// Creates the direct conversation for its first message. Returns its `member` events.
pub(super) fn direct(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    peer: &UserId,
) -> Result<Vec<EventEnvelope>> {
    let new = CreateArguments {
        kind: ConversationKind::Direct,
        members: std::slice::from_ref(peer),
        title: None,
        data: None,
    };
    let founding = check(by, by.user, new)?;
    blocks::unblocked(work, by)?;
    found(work, by, new.kind, &founding, None)
}

/// Checks the arguments. The peer of a direct conversation may be the founder itself; the conversation then has no other
/// member.
fn check<'a>(
    by: CommandScope<'_>,
    founder: &'a UserId,
    CreateArguments {
        kind,
        members,
        title,
        data,
    }: CreateArguments<'a>,
) -> Result<Founding<'a>> {
    if by.conv.kind() != Some(kind) {
        return invalid("the conversation's id is of another kind");
    }
    if members.len() > limits::MEMBERS_AT_CREATE
        || title.is_some_and(|title| title.len() > limits::TITLE_BYTES)
    {
        return refused(ErrorCode::BadRequest, "too many members, or too long a title");
    }
    fit(title)?;
    if !custom_data::fits(data) {
        return invalid("the custom data is too large");
    }
    // The system takes part in direct conversations only, those that it has begun or to which a user replies.
    if kind != ConversationKind::Direct {
        members.iter().chain([founder]).try_for_each(of_a_person)?;
    } else if members.iter().any(UserId::is_tombstone) {
        return refused(ErrorCode::BadRequest, "the id is reserved");
    }
    let mut seen = BTreeSet::from([founder]);
    let others: Vec<_> = members.iter().filter(|user| seen.insert(user)).collect();
    let mut with = None;
    if kind == ConversationKind::Direct {
        let peer = match (&others[..], members) {
            ([peer], _) => *peer,
            ([], [oneself, ..]) => oneself,
            _ => {
                return refused(
                    ErrorCode::BadRequest,
                    "a direct conversation is with exactly one user",
                );
            }
        };
        // The id of a direct conversation is derived from its two users; any other id would allow two conversations of
        // a pair.
        if *by.conv != ConversationId::direct(founder, peer) {
            return refused(
                ErrorCode::BadRequest,
                "a direct conversation is between the user and the one named",
            );
        }
        if title.is_some() {
            return refused(ErrorCode::BadRequest, "a direct conversation has no title");
        }
        if data.is_some() {
            return refused(ErrorCode::BadRequest, "a direct conversation has no custom data");
        }
        with = Some(peer);
    }
    Ok(Founding {
        founder,
        others,
        peer: with,
    })
}

/// Refuses a title that must not be shown to others, such as one with control characters.
pub(super) fn fit(title: Option<&str>) -> Result<()> {
    match title.filter(|title| !title.is_empty()).map(text::visible) {
        Some(Err(why)) => refused(ErrorCode::BadRequest, format!("title must have {why}")),
        _ => Ok(()),
    }
}

/// Writes the conversation row and one `member` event per initial member, the founder first.
fn found(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    kind: ConversationKind,
    Founding {
        founder,
        others,
        peer,
    }: &Founding<'_>,
    title: Option<&str>,
) -> Result<Vec<EventEnvelope>> {
    let now_ms = work.now_ms;
    let mut conv = ConvRow {
        kind,
        title: title.map(Into::into),
        creator: (*founder).clone(),
        peer: peer.cloned(),
        created_ms: now_ms,
        last_s: 0,
        last_mn: 0,
        last_ts: now_ms,
        message_s: 0,
        message_ts: 0,
        watched: false,
        members: 0,
        owners: 0,
        history: if kind == ConversationKind::Channel {
            HistoryVisibility::All
        } else {
            HistoryVisibility::Joined
        },
        floor: 0,
        swept: 0,
        gone_mn: 0,
        blanked: 0,
        hooks: Vec::new(),
        deleted_mn: 0,
    };
    let founder_role = if kind == ConversationKind::Direct {
        Role::Member
    } else {
        Role::Owner
    };
    let roles = std::iter::once((*founder, founder_role))
        .chain(others.iter().map(|user| (*user, rules::role_of_new(kind))));
    let arrived = others.len() as u64 + 1;
    let mut events = Vec::with_capacity(others.len() + 1);
    for (who, role) in roles {
        let change = RoleChange {
            who,
            role,
            why: MembershipChange::Create,
            // All initial members see the log from its first event ...
            since: Some(1),
        };
        events.push(admit(work, by, &mut conv, change)?);
        // ... and start with all creation events read, so that none counts as unread.
        if let Some(mut member) = work.member(by.conv, who)? {
            member.read_to(arrived, 0);
            work.set_member(by.conv, who, member);
        }
    }
    work.set_conv(by.conv, conv);
    Ok(events)
}
