//! Everything that is stored about a user, for the export of a person: rows of the user's shard, and per conversation the
//! membership and the user's own events.
//!
//! Only back ends ask these queries, so none checks a membership. None returns a secret, nor the hash of one.

use crate::state_machine::ChatTable;
use bytes::Bytes;
use protocol::{ConversationId, GroupInvite, Role, UserId};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::consent::WishesQuery;
use super::erasure::listed;
use super::log::WINDOW_BYTES;
use super::login::{DeviceTokenEntry, DevicesQuery};
use super::presence::last_seen;
use super::profiles::{ProfilesQuery, StoredProfile};
use super::user_access::UserAccessQuery;
use super::{QueryError, Result, ScatterQuery, ShardQuery};
use crate::state_machine::device_cursors::{DEVICES, DeviceCursorsRow};
use crate::state_machine::login::{TokenFamilyId, TokenFamilyRow};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{ConvRow, EventKind, EventRow, MemberRow, VersionedRow, corrupt};
use crate::state_machine::user_access::UserAccess;
use crate::state_machine::{custom_data, keys};

/// Rows of the log that one page reads.
const ROWS: usize = 512;
/// Conversations of one page.
const CONVERSATIONS: usize = 256;

/// Query for the rows of a user in the user's shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportedUserQuery {
    pub user: UserId,
}

/// Query for a page of a user's conversations, former ones included, in the order of their ids. An empty page is the
/// last one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportedConversationsQuery {
    pub user: UserId,
    /// Exclusive lower bound of the ids; `None` for the first page.
    pub after: Option<ConversationId>,
}

/// Query for the membership of a user in a conversation and a page of the user's own messages and edits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportedConversationQuery {
    pub conv: ConversationId,
    pub user: UserId,
    /// Exclusive lower bound of the positions; 0 for the first page.
    pub after: u64,
}

/// Rows of a user in the user's shard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExportedUser {
    pub profile: StoredProfile,
    pub access: UserAccess,
    pub group_invite: GroupInvite,
    /// Milliseconds since the epoch; `None` if unknown.
    pub last_seen_ms: Option<u64>,
    pub logins: Vec<ExportedLogin>,
    pub device_tokens: Vec<DeviceTokenEntry>,
    pub devices: Vec<ExportedDevice>,
}

/// Login of a user, without its tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportedLogin {
    pub id: TokenFamilyId,
    /// Milliseconds since the epoch.
    pub opened_ms: u64,
    /// Milliseconds since the epoch.
    pub expires_ms: u64,
}

/// Cursors of a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportedDevice {
    pub device: String,
    /// Conversations with the position up to which the device has everything.
    pub positions: Vec<(ConversationId, u64)>,
}

/// Part of a conversation that concerns a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExportedConversation {
    /// `None` if the user never was a member.
    pub membership: Option<ExportedMembership>,
    /// Tails of the user's messages and edits, ascending.
    pub events: Vec<Bytes>,
    /// Lower bound of the next page; `None` on the last page.
    pub next: Option<u64>,
}

/// Membership of a user with the cursors.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExportedMembership {
    /// `None` for a former member.
    pub role: Option<Role>,
    /// First position of the membership.
    pub since: u64,
    /// Position of the event that ended it; 0 while it lasts.
    pub until: u64,
    pub read: u64,
    pub delivered: u64,
    pub muted: bool,
    pub pinned: bool,
    pub banned: bool,
    /// Custom data of the member.
    pub data: Option<Box<str>>,
}

// === impl ExportedUserQuery ===

impl ShardQuery for ExportedUserQuery {
    type Page = ExportedUser;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<ExportedUser> {
        let user = &self.user;
        let profiles = ProfilesQuery {
            users: Vec::new(),
            with_data: true,
        };
        // No profile has this version.
        let profile = profiles.read(rows, &(user.clone(), u64::MAX))?;
        let device_tokens = DevicesQuery {
            user: user.clone(),
            presented: None,
        };
        Ok(ExportedUser {
            profile: profile.unwrap_or_default(),
            access: UserAccessQuery { user: user.clone() }.read(rows)?,
            group_invite: WishesQuery { user: user.clone() }.read(rows)?,
            last_seen_ms: last_seen(rows, user)?,
            logins: logins(rows, user)?,
            device_tokens: device_tokens.read(rows)?,
            devices: devices(rows, user)?,
        })
    }
}

fn logins(rows: &impl RowReader, user: &UserId) -> Result<Vec<ExportedLogin>> {
    let (start, end) = keys::token_families(user);
    let mut logins = Vec::new();
    for (key, row) in rows.scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, usize::MAX)? {
        let row = TokenFamilyRow::decode(&row)?;
        logins.extend(keys::token_family_id(user, &key).map(|id| ExportedLogin {
            id,
            opened_ms: row.opened_ms,
            expires_ms: row.expires_ms,
        }));
    }
    Ok(logins)
}

fn devices(rows: &impl RowReader, user: &UserId) -> Result<Vec<ExportedDevice>> {
    let (start, end) = keys::all_device_cursors(user);
    let found = rows.scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, DEVICES)?;
    let device = |(key, row): &(Bytes, Bytes)| {
        // The name of a device may hold any text.
        let name = key.get(start.len()..).unwrap_or_default();
        Ok(ExportedDevice {
            device: String::from_utf8_lossy(name).into_owned(),
            positions: DeviceCursorsRow::decode(row)?.cursors.positions,
        })
    };
    found.iter().map(device).collect()
}

// === impl ExportedConversationsQuery ===

impl ShardQuery for ExportedConversationsQuery {
    type Page = Vec<ConversationId>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<Vec<ConversationId>> {
        let found = listed(rows, &self.user, self.after.as_ref(), CONVERSATIONS)?;
        Ok(found.into_iter().map(|(conv, _)| conv).collect())
    }
}

// === impl ExportedConversationQuery ===

impl ShardQuery for ExportedConversationQuery {
    type Page = ExportedConversation;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.conv
    }

    fn read(&self, rows: &impl RowReader) -> Result<ExportedConversation> {
        let (conv, user) = (&self.conv, &self.user);
        let mut exported = ExportedConversation {
            membership: membership(rows, conv, user)?,
            events: Vec::new(),
            next: None,
        };
        let row = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())?;
        let Some(row) = row.map(|row| ConvRow::decode(&row)).transpose()? else {
            return Ok(exported);
        };
        // Rows below the first retained position are trimmed.
        let after = self.after.max(row.floor() - 1);
        let (start, end) = keys::range_of_messages(conv, after + 1, row.last_s + 1);
        let found = rows.scan(ChatTable::Message, &start..&end, ScanOrder::Ascending, ROWS)?;
        let full = found.len() == ROWS;
        let mut bytes = 0;
        let mut last = None;
        for (key, row) in &found {
            let s = keys::seq_of(conv, key);
            let s = s.ok_or_else(|| QueryError::Storage(corrupt("a malformed key of an event")))?;
            let row = EventRow::decode(row)?;
            let words = matches!(
                row.kind,
                EventKind::Message | EventKind::Tombstone | EventKind::Edit
            );
            if words && row.author == *user {
                // One event may exceed the page alone; without it the reader would never advance.
                if bytes + row.tail.len() > WINDOW_BYTES && bytes > 0 {
                    exported.next = last;
                    return Ok(exported);
                }
                bytes += row.tail.len();
                exported.events.push(row.tail);
            }
            last = Some(s);
        }
        exported.next = last.filter(|_| full);
        Ok(exported)
    }
}

fn membership(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
) -> Result<Option<ExportedMembership>> {
    let row = rows.get(ChatTable::Member, &keys::member(conv, user))?;
    let Some(row) = row.map(|row| MemberRow::decode(&row)).transpose()? else {
        return Ok(None);
    };
    Ok(Some(ExportedMembership {
        role: row.role,
        since: row.since,
        until: row.until,
        read: row.read,
        delivered: row.delivered,
        muted: row.muted,
        pinned: row.pinned,
        banned: row.banned,
        data: custom_data::read(rows, &keys::member_data(conv, user))?,
    }))
}
